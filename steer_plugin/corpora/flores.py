"""The layouts of FLORES-200 and FLORES+: splits, files, tables, columns; see docs/data.md.

- FLORES-200: `dev/eng_Latn.dev`, `devtest/eng_Latn.devtest`, a sentence a line;
- FLORES+ as an archive: `dev/dev.eng_Latn`, the same;
- FLORES+ as its hub has it: `dev/eng_Latn.jsonl` or, earlier, `dev/eng_Latn.parquet`, and a
  configuration a language, with the columns `id` and `text`; FLORES-200 there has `sentence`;
- a table of FLORES+ in all languages: `id`, `iso_639_3`, `iso_15924`, `text`.

FLORES-200 has beside the folders of its splits `metadata_dev.tsv` and `metadata_devtest.tsv`, a row
a line: `URL`, `domain`, `topic`, `has_image`, `has_hyperlink`; tables have these as columns.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from steer_plugin.corpora.language_codes import LANGUAGE, is_language
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
# The document that a sentence is from, in FLORES-200 and in FLORES+.
_DOCUMENT_COLUMNS = ("URL", "url")


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
    for name, path in files.items():
        if not is_language(name) and (code := LANGUAGE.search(name)):
            raise CorpusError(
                f"{path} is named like a copy and would be a language of its own; remove it, or "
                f"rename it to {path.name.replace(name, code[0])}"
            )
    if all(path.suffix in TABLE_SUFFIXES for path in files.values()):
        tables = {language: lambda path=path: read_table(path) for language, path in files.items()}
        return TableByLanguage(str(home), tables)
    lists = {
        language: (str(path), lambda path=path: read_lines(path))
        for language, path in files.items()
    }
    places = (place / f"metadata_{chosen}.tsv" for place in (home, home.resolve().parent))
    metadata = next((path for path in places if path.is_file()), None)
    about = None if metadata is None else lambda: read_table(metadata)
    return ListByLanguage(str(home), "line", lists, about)


def language_configs(configs: Sequence[str]) -> list[str]:
    """Keep the configurations of a data set that are one language, not a pair of them."""
    return list(filter(is_language, configs))


def document_column(table: Table) -> str | None:
    """Name the column of the document that a sentence is from; None where there is none."""
    return next((column for column in _DOCUMENT_COLUMNS if column in table.columns), None)


def text_column(table: Table) -> str:
    """Name the column of one language's sentences."""
    return "sentence" if "sentence" in table.columns else "text"


def is_long(columns: Collection[object]) -> bool:
    """Tell whether a table of these columns has a row a sentence of one language."""
    by_language = ({"language"}, set(CODE_COLUMNS))
    return any({"id", "text"} | names <= set(columns) for names in by_language)


def with_language_column(table: Table) -> Table:
    """Join the two columns of codes to one, `language`, where there is none.

    Raises:
        CorpusError: a code is no text.
    """
    if "language" in table.columns:
        return table
    codes = zip(*(table.columns[column] for column in CODE_COLUMNS), strict=True)
    languages = [
        "_".join(check_text(code, table.place(row), "language") for code in pair)
        for row, pair in enumerate(codes)
    ]
    return replace(table, columns={**table.columns, "language": languages})


def _language_files(home: Path, split: str) -> dict[str, Path]:
    files = {path.stem: path for path in sorted(home.glob(f"[!.]*.{split}"))} or {
        name: path
        for path in sorted(home.glob(f"{split}.*"))
        if LANGUAGE.search(name := path.name.removeprefix(f"{split}."))
    }
    if files or home.resolve().name != split:
        return files
    return {
        path.stem: path
        for suffix in TABLE_SUFFIXES
        for path in sorted(home.glob(f"[!.]*{suffix}"))
        if LANGUAGE.search(path.stem)
    }
