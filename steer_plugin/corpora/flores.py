"""The layouts of FLORES-200 and FLORES+: splits, files, tables, columns; see docs/data.md.

- FLORES-200: `dev/eng_Latn.dev`, `devtest/eng_Latn.devtest`, a sentence a line;
- FLORES+ as an archive: `dev/dev.eng_Latn`, the same;
- FLORES+ as its hub has it: `dev/eng_Latn.jsonl` or, earlier, `dev/eng_Latn.parquet`, and a
  configuration a language, with the columns `id` and `text`; FLORES-200 there has `sentence`;
- a table of FLORES+ in all languages: `id`, `iso_639_3`, `iso_15924`, `text`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from steer_plugin.corpora.language_codes import LANGUAGE
from steer_plugin.corpora.tables import (
    ListByLanguage,
    Table,
    TableByLanguage,
    check_text,
    choose_split,
    read_lines,
    read_table,
)
from steer_plugin.errors import CorpusError

SPLITS = ("dev", "devtest")
# The older ones last.
TABLE_SUFFIXES = (".jsonl", ".parquet")
# The columns that say together what the column `language` of other tables says.
CODE_COLUMNS = ("iso_639_3", "iso_15924")


def read_folder(folder: Path, split: str | None) -> ListByLanguage | TableByLanguage:
    """Read a folder of all splits or of one, in any of the layouts.

    Raises:
        CorpusError: it is laid out otherwise, or has another choice of splits.
    """
    homes = {
        name: home
        for name in SPLITS
        for home in (folder, folder / name)
        if _language_files(home, name)
    }
    if not homes:
        raise CorpusError(
            f"{folder} holds no sentences; a FLORES-200 folder holds files such as "
            "dev/eng_Latn.dev, other corpora are a .tsv, .csv, .jsonl or .parquet file"
        )
    chosen = choose_split(str(folder), homes, split)
    home = homes[chosen]
    files = _language_files(home, chosen)
    if all(path.suffix in TABLE_SUFFIXES for path in files.values()):
        tables = {language: lambda path=path: read_table(path) for language, path in files.items()}
        return TableByLanguage(str(home), tables)
    lists = {
        language: (str(path), lambda path=path: read_lines(path))
        for language, path in files.items()
    }
    return ListByLanguage(str(home), "line", lists)


def language_configs(configs: Sequence[str]) -> list[str]:
    """Keep the configurations of a data set that are one language, not a pair of them."""
    return [config for config in configs if LANGUAGE.match(config) and "-" not in config]


def text_column(table: Table) -> str:
    """Name the column of one language's sentences."""
    return "sentence" if "sentence" in table.columns else "text"


def with_language_column(table: Table) -> Table:
    """Join the two columns of codes to one, `language`.

    Raises:
        CorpusError: a code is no text.
    """
    codes = zip(*(table.columns[column] for column in CODE_COLUMNS), strict=True)
    languages = [
        "_".join(check_text(code, table.place(row), "language") for code in pair)
        for row, pair in enumerate(codes)
    ]
    return replace(table, columns={**table.columns, "language": languages})


def _language_files(home: Path, split: str) -> dict[str, Path]:
    files = {path.stem: path for path in sorted(home.glob(f"*.{split}"))} or {
        path.suffix.removeprefix("."): path
        for path in sorted(home.glob(f"{split}.*"))
        if LANGUAGE.fullmatch(path.suffix.removeprefix("."))
    }
    if files or home.resolve().name != split:
        return files
    return {
        path.stem: path
        for suffix in TABLE_SUFFIXES
        for path in sorted(home.glob(f"*{suffix}"))
        if LANGUAGE.match(path.stem)
    }
