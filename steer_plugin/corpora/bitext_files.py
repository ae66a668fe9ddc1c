"""Tatoeba and BUCC-18 as their makers lay them out in folders; see docs/data.md."""

from pathlib import Path

from steer_plugin.corpora.bitext import Bitext, both_ways
from steer_plugin.corpora.language_codes import tatoeba_code, two_letters
from steer_plugin.corpora.tables import check_text, read_lines
from steer_plugin.errors import CorpusError

ENGLISH = "eng_Latn"
# XTREME calls BUCC's training set test. BUCC's own test set has no gold.
BUCC_SPLITS = ("test", "training")


def tatoeba_files(folder: Path, language: str) -> tuple[Bitext, ...]:
    """Read `tatoeba.deu-eng.deu` and `tatoeba.deu-eng.eng`, both ways; nothing if neither is there.

    Raises:
        CorpusError: one of them cannot be read, is empty in places, or longer than the other.
    """
    code = tatoeba_code(language)
    sides = [folder / f"tatoeba.{code}-eng.{side}" for side in (code, "eng")]
    if not any(side.is_file() for side in sides):
        _refuse_sorted_tatoeba(folder, language)
        return ()
    texts = [
        [
            check_text(line, f"{side}, line {number}", "sentence")
            for number, line in enumerate(read_lines(side), start=1)
        ]
        for side in sides
    ]
    if len(texts[0]) != len(texts[1]):
        raise CorpusError(
            f"{sides[0]} ends at line {len(texts[0])} but {sides[1]} at line {len(texts[1])}; a "
            "line is the translation of the same line of the other, so give both whole"
        )
    return both_ways("tatoeba", (language, ENGLISH), *texts)


def bucc_files(folder: Path, language: str) -> tuple[Bitext, ...]:
    """Read `de-en.test.de`, `de-en.test.en` and `de-en.test.gold`, both ways; nothing if none is.

    A query is a sentence that the gold file names, and all sentences of the other language are
    candidates. One that has several translations there asks for the first of them.

    Raises:
        CorpusError: there is no gold file, or it does not fit the sentences.
    """
    code = two_letters(language)
    if code is None:
        return ()
    stems = [
        home / f"{code}-en.{split}"
        for split in BUCC_SPLITS
        for home in (folder, folder / f"{code}-en")
    ]
    files = [(_ending(stem, code), _ending(stem, "en"), _ending(stem, "gold")) for stem in stems]
    present = [trio for trio in files if any(path.is_file() for path in trio)]
    # The first with its gold: BUCC's own folder has a test set without.
    trio = next((trio for trio in present if trio[2].is_file()), present[0] if present else None)
    if trio is None:
        return ()
    if not trio[2].is_file():
        raise CorpusError(
            f"{trio[2]} is not there, and without it no sentence has a translation; XTREME's "
            f"script deletes it, so put BUCC's own {code}-en.training.gold in its place"
        )
    return _with_gold(trio, language)


def _ending(stem: Path, ending: str) -> Path:
    return stem.with_name(f"{stem.name}.{ending}")


def _with_gold(trio: tuple[Path, Path, Path], language: str) -> tuple[Bitext, ...]:
    foreign, english = _numbered(trio[0]), _numbered(trio[1])
    pairs: dict[tuple[str, str], None] = {}
    for number, line in enumerate(read_lines(trio[2]), start=1):
        foreign_id, _, english_id = line.partition("\t")
        for key, known, side in ((foreign_id, foreign, trio[0]), (english_id, english, trio[1])):
            if key not in known:
                raise CorpusError(
                    f"{trio[2]}, line {number}: {side} has no sentence {key!r}; write two ids of "
                    "its sentences a line, with a tab between them"
                )
        pairs[foreign_id, english_id] = None
    turned = [(english_id, foreign_id) for foreign_id, english_id in pairs]
    return (
        _asking(list(pairs), (language, ENGLISH), foreign, english),
        _asking(turned, (ENGLISH, language), english, foreign),
    )


def _asking(
    pairs: list[tuple[str, str]],
    languages: tuple[str, str],
    queries: dict[str, str],
    candidates: dict[str, str],
) -> Bitext:
    places = {key: place for place, key in enumerate(candidates)}
    answers: dict[str, int] = {}
    for query, answer in pairs:
        answers.setdefault(query, places[answer])
    return Bitext(
        "bucc18",
        *languages,
        tuple(queries[key] for key in answers),
        tuple(candidates.values()),
        tuple(answers.values()),
    )


def _numbered(path: Path) -> dict[str, str]:
    """Read lines of id, tab and sentence."""
    sentences: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        place = f"{path}, line {number}"
        key, tab, text = line.partition("\t")
        if not tab:
            raise CorpusError(f"{place}: no tab in {line!r:.60}; write id, tab and sentence a line")
        if key in sentences:
            raise CorpusError(f"{place}: the id {key!r} stands twice; give every line its own")
        sentences[key] = check_text(text, place, "sentence")
    return sentences


def _refuse_sorted_tatoeba(folder: Path, language: str) -> None:
    code = two_letters(language)
    sorted_side = folder / f"{code}-en.en"
    if code is not None and sorted_side.is_file():
        raise CorpusError(
            f"{sorted_side} was written by XTREME's script, which sorts the English sentences, so "
            "that no line is the translation of the other's; give LASER's folder data/tatoeba/v1"
        )
