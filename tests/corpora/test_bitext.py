"""Bitexts against loops by hand, and their readers on folders and data sets made here."""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steer_plugin.corpora.bitext import Bitext, both_ways, same_texts
from steer_plugin.corpora.bitext_readers import Kind, read_bitexts, read_paraphrases
from steer_plugin.corpora.text_forms import KnownTexts
from steer_plugin.errors import CorpusError

from support.hubs import hub_folder

DE, EN, ZH = "deu_Latn", "eng_Latn", "zho_Hans"

Writer = Callable[[Path], object]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def write(path: Path, lines: Iterable[str], end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


# The bitext itself.

WORDS = st.sampled_from(["a", "b", "b ", "B", "e\u0301", "é", ""])


@given(st.lists(WORDS))
def test_texts_share_a_number_if_and_only_if_they_are_equal_to_the_letter(texts: list[str]) -> None:
    numbers = same_texts(texts)
    assert numbers.shape == (len(texts),)
    for i, one in enumerate(texts):
        for j, other in enumerate(texts):
            assert (numbers[i] == numbers[j]) == (one == other)


# Bitexts are made in the tests: whoever checks annotations draws at random.
@st.composite
def parts(draw: st.DrawFn) -> tuple[list[str], list[str], list[int]]:
    candidates = draw(st.lists(WORDS, min_size=1, max_size=8))
    gold = draw(st.lists(st.integers(0, len(candidates) - 1), min_size=1, max_size=8))
    if draw(st.booleans()):
        gold = list(range(len(candidates)))
    return draw(st.lists(WORDS, min_size=len(gold), max_size=len(gold))), candidates, gold


def made(drawn: tuple[list[str], list[str], list[int]]) -> Bitext:
    queries, candidates, gold = map(tuple, drawn)
    return Bitext("made", DE, EN, queries, candidates, gold)


@given(parts(), st.integers(1, 10))
def test_taking_keeps_the_first_queries_and_what_each_should_find(
    drawn: tuple[list[str], list[str], list[int]], n: int
) -> None:
    bitext = made(drawn)
    taken = bitext.take(n)
    assert taken.queries == bitext.queries[:n]
    assert [taken.candidates[place] for place in taken.gold] == [
        bitext.candidates[place] for place in bitext.gold[:n]
    ]
    assert bitext.take(len(bitext.queries)) == bitext
    if bitext.gold == tuple(range(len(bitext.candidates))):
        assert taken.candidates == bitext.candidates[:n]
    else:
        assert taken.candidates == bitext.candidates


@given(parts(), parts())
def test_bitexts_have_one_hash_if_and_only_if_their_content_is_one(
    drawn: tuple[list[str], list[str], list[int]], again: tuple[list[str], list[str], list[int]]
) -> None:
    one, other = made(drawn), made(again)
    assert (one.hash == other.hash) == (one == other)
    changes = [
        dataclasses.replace(one, query_language=EN),
        dataclasses.replace(one, candidates_language=DE),
        dataclasses.replace(one, queries=(*one.queries[:-1], one.queries[-1] + "x")),
        dataclasses.replace(one, candidates=(*one.candidates, "x")),
    ]
    assert one.hash not in {change.hash for change in changes}


def test_the_hash_is_the_sha256_of_languages_texts_and_gold_as_json() -> None:
    bitext = Bitext("made", DE, EN, ("Ä",), ("A", "B"), (1,))
    text = r'["deu_Latn","eng_Latn",["\u00c4"],["A","B"],[1]]'
    assert bitext.hash == hashlib.sha256(text.encode()).hexdigest()
    assert json.loads(text)[2] == ["Ä"]


def test_both_ways_are_two_bitexts_that_ask_for_each_other() -> None:
    one, other = both_ways("made", (DE, EN), ["Ja.", "Nein."], ["Yes.", "No."])
    assert one == Bitext("made", DE, EN, ("Ja.", "Nein."), ("Yes.", "No."), (0, 1))
    assert other == Bitext("made", EN, DE, ("Yes.", "No."), ("Ja.", "Nein."), (0, 1))
    assert str(one) == "made deu_Latn-eng_Latn"


@pytest.mark.parametrize(
    ("queries", "gold", "message"),
    [
        ((), (), "has 0 queries and 0 answers; give one answer for each of at least one"),
        (("a", "b"), (0,), "has 2 queries and 1 answers"),
        (("a",), (2,), "has 2 candidates, and an answer at 2; give places from 0 to 1"),
        (("a",), (-1,), "has 2 candidates, and an answer at -1"),
    ],
)
def test_a_bitext_whose_answers_do_not_fit_is_refused(
    queries: tuple[str, ...], gold: tuple[int, ...], message: str
) -> None:
    with pytest.raises(CorpusError, match=rf"^made deu_Latn-eng_Latn {message}"):
        Bitext("made", DE, EN, queries, ("A", "B"), gold)


@pytest.mark.parametrize("n", [0, -1])
def test_taking_no_query_is_refused(n: int) -> None:
    with pytest.raises(CorpusError, match=rf"cannot take {n} queries .*; give at least 1"):
        Bitext("made", DE, EN, ("a",), ("A",), (0,)).take(n)


# Tatoeba.

GERMAN = ("Ja.", "Nein.\u2028Nie.", '"So', "So")
ENGLISH = ("Yes.", "No.", '"So"', "Yes.")
PAIRS = both_ways("tatoeba", (DE, EN), GERMAN, ENGLISH)


def tatoeba(folder: Path, code: str = "deu", end: str = "\n") -> Path:
    write(folder / f"tatoeba.{code}-eng.{code}", GERMAN, end)
    write(folder / f"tatoeba.{code}-eng.eng", ENGLISH, end)
    return folder


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tatoeba_is_read_both_ways_from_lasers_files(end: str, tmp_path: Path) -> None:
    found = read_bitexts(tatoeba(tmp_path, end=end), kind="tatoeba", languages=[EN, DE])
    assert found == PAIRS
    assert read_bitexts(str(tmp_path), kind="tatoeba", languages=[DE, DE]) == PAIRS
    assert found[0].same.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("language", "code"),
    [
        (ZH, "cmn"),
        ("zho_Hant", "cmn"),
        ("cmn_Hans", "cmn"),
        ("arb_Arab", "ara"),
        ("afr_Latn", "afr"),
    ],
)
def test_tatoeba_has_its_own_codes(language: str, code: str, tmp_path: Path) -> None:
    found = read_bitexts(tatoeba(tmp_path, code), kind="tatoeba", languages=[language])
    assert found == both_ways("tatoeba", (language, EN), GERMAN, ENGLISH)


# BUCC-18.

BUCC_DE = {"de-1": "eins", "de-2": "zwei", "de-3": "drei", "de-4": "eins"}
BUCC_EN = {"en-7": "none", "en-8": "two", "en-9": "one", "en-6": "two"}
GOLD = (("de-2", "en-8"), ("de-1", "en-9"), ("de-2", "en-9"))


def bucc(
    folder: Path,
    stem: str = "de-en.test",
    gold: Sequence[tuple[str, str]] = GOLD,
    code: str = "de",
) -> Path:
    for side, sentences in ((code, BUCC_DE), ("en", BUCC_EN)):
        write(folder / f"{stem}.{side}", map("\t".join, sentences.items()))
    write(folder / f"{stem}.gold", map("\t".join, gold))
    return folder


@pytest.mark.parametrize(
    "stem", ["de-en.test", "de-en.training", "de-en/de-en.test", "de-en/de-en.training"]
)
def test_bucc_asks_for_what_its_gold_names_among_all_sentences(stem: str, tmp_path: Path) -> None:
    there, back = read_bitexts(bucc(tmp_path, stem), kind="bucc18", languages=[DE])
    # de-2 has two translations and asks for the first.
    assert there == Bitext(
        "bucc18", DE, EN, ("zwei", "eins"), ("none", "two", "one", "two"), (1, 2)
    )
    assert there.same.tolist() == [0, 1, 2, 1]
    assert back == Bitext(
        "bucc18", EN, DE, ("two", "one"), ("eins", "zwei", "drei", "eins"), (1, 0)
    )


def test_buccs_own_test_set_without_gold_does_not_hide_the_training_set(tmp_path: Path) -> None:
    bucc(tmp_path, "de-en/de-en.training")
    expected = read_bitexts(tmp_path, kind="bucc18", languages=[DE])
    write(tmp_path / "de-en" / "de-en.test.de", ["de-9\tneun"])
    write(tmp_path / "de-en" / "de-en.test.en", ["en-1\tnine"])
    assert read_bitexts(tmp_path, kind="bucc18", languages=[DE]) == expected


@given(data=st.data())
def test_bucc_agrees_with_a_search_by_hand(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pairs = st.tuples(st.sampled_from(sorted(BUCC_DE)), st.sampled_from(sorted(BUCC_EN)))
    gold = data.draw(st.lists(pairs, min_size=1, max_size=6))
    folder = bucc(tmp_path_factory.mktemp("bucc"), gold=gold)
    for bitext, side in zip(
        read_bitexts(folder, kind="bucc18", languages=[DE]), (0, 1), strict=True
    ):
        own, others = (BUCC_DE, BUCC_EN) if side == 0 else (BUCC_EN, BUCC_DE)
        asked = []
        for pair in gold:
            if pair[side] not in asked:
                asked.append(pair[side])
        answers = [next(p[1 - side] for p in gold if p[side] == key) for key in asked]
        assert bitext.queries == tuple(own[key] for key in asked)
        assert bitext.candidates == tuple(others.values())
        assert bitext.gold == tuple(list(others).index(key) for key in answers)


def test_buccs_chinese_is_simplified(tmp_path: Path) -> None:
    bucc(tmp_path, "zh-en.test", code="zh")
    found = read_bitexts(tmp_path, kind="bucc18", languages=[ZH])
    assert {bitext.query_language for bitext in found} == {ZH, EN}
    with pytest.raises(CorpusError, match="nothing of bucc18 for zho_Hant, yue_Hant"):
        read_bitexts(tmp_path, kind="bucc18", languages=["zho_Hant", "yue_Hant"])


# PAWS-X.

PAWS = (
    ("1", "a", "b", "1"),
    ("2", "c", "d", "0"),
    ("3", '"a', "b", "1"),
    ("4", "NS", "e", "1"),
    ("5", "e", "NS", "1"),
    ("6", "f", "", "1"),
    ("7", "NS", "", "0"),
    ("8", "NSA", "NS, f", "1"),
)
PARAPHRASES = Bitext("pawsx", DE, DE, ("a", '"a', "NSA"), ("b", "b", "NS, f"), (0, 1, 2))


def paws(folder: Path, rows: Sequence[Sequence[str]] = PAWS) -> Path:
    header = ("id", "sentence1", "sentence2", "label")
    write(folder / "de" / "test_2k.tsv", map("\t".join, (header, *rows)))
    return folder


def test_pawsx_pairs_translated_sentences_with_label_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = read_bitexts(paws(tmp_path), kind="pawsx", languages=[DE])
    assert found == (PARAPHRASES,)
    assert found[0].same.tolist() == [0, 0, 1]
    (record,) = caplog.records
    assert record.getMessage().endswith(
        "test_2k.tsv: 3 pairs left out, for want of a whole sentence"
    )


CELLS = st.sampled_from(["a", "b", "NS", " NS ", "", " "])
PAWS_ROWS = st.lists(st.tuples(CELLS, CELLS, st.sampled_from(["0", "1"])), min_size=1, max_size=6)


@given(rows=PAWS_ROWS)
def test_pawsx_agrees_with_a_choice_by_hand(
    rows: list[tuple[str, str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept = []
    for one, other, label in rows:
        if label == "1" and one.strip() in ("a", "b") and other.strip() in ("a", "b"):
            kept.append((one, other))
    folder = paws(tmp_path_factory.mktemp("paws"), [("7", *row) for row in rows])
    if kept:
        (found,) = read_bitexts(folder, kind="pawsx", languages=[DE])
        assert list(zip(found.queries, found.candidates, strict=True)) == kept
        assert found.gold == tuple(range(len(kept)))
    else:
        with pytest.raises(CorpusError, match=r"test_2k\.tsv has no whole pair with label 1"):
            read_bitexts(folder, kind="pawsx", languages=[DE])


# Languages that are not there.


@pytest.mark.parametrize(
    ("kind", "make"), [("tatoeba", tatoeba), ("bucc18", bucc), ("pawsx", paws)]
)
def test_languages_that_a_set_lacks_are_left_out_and_named_and_all_of_them_are_an_error(
    kind: Kind, make: Callable[[Path], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path)
    expected = read_bitexts(tmp_path, kind=kind, languages=[DE])
    caplog.clear()
    asked = ["fra_Latn", DE, "qqq_Latn"]
    assert read_bitexts(tmp_path, kind=kind, languages=asked) == expected
    said = [record.getMessage() for record in caplog.records if "nothing" in record.getMessage()]
    assert said == [f"{tmp_path} has nothing of {kind} for fra_Latn, qqq_Latn"]
    with pytest.raises(CorpusError, match=f"nothing of {kind} for fra_Latn; .*; see docs/data.md"):
        read_bitexts(tmp_path, kind=kind, languages=["fra_Latn"])


# Hugging Face, in the columns of google/xtreme, and of mteb and google-research-datasets.


def pairs(ends: str = "", sides: Sequence[str] = ("source_sentence", "target_sentence")) -> dict:
    texts = [[text + ends for text in own] for own in (GERMAN, ENGLISH)]
    return dict(zip(sides, texts, strict=True))


def labelled(kind: type = str) -> dict:
    names = ("sentence1", "sentence2", "label")
    columns = dict(zip(names, map(list, zip(*(row[1:] for row in PAWS), strict=True)), strict=True))
    return {**columns, "label": list(map(kind, columns["label"]))}


BUCC_PAIRS = both_ways("bucc18", (DE, EN), GERMAN, ENGLISH)
ODD_PAIRS = {
    "source_sentence": [*GERMAN, "", "x", "swallowed\nde-2\tzwei", None, "y"],
    "target_sentence": [*ENGLISH, "z", "", "z", "z", "swallowed\nen-2\ttwo"],
}
MTEB = ("sentence1", "sentence2")
SETS: dict[str, tuple[Kind, dict, tuple[Bitext, ...]]] = {
    "tatoeba of xtreme": ("tatoeba", {"tatoeba.deu": {"validation": pairs("\n")}}, PAIRS),
    "tatoeba of mteb": ("tatoeba", {"deu-eng": {"test": pairs(sides=MTEB)}}, PAIRS),
    "bucc of xtreme": (
        "bucc18",
        {"bucc18.de": {"validation": pairs("?"), "test": ODD_PAIRS}},
        BUCC_PAIRS,
    ),
    "bucc of mteb": ("bucc18", {"de-en": {"test": pairs(sides=MTEB)}}, BUCC_PAIRS),
    "paws of xtreme": (
        "pawsx",
        {"PAWS-X.de": {"train": labelled(), "validation": labelled(), "test": labelled()}},
        (PARAPHRASES,),
    ),
    "paws by itself": ("pawsx", {"de": {"test": labelled(int)}}, (PARAPHRASES,)),
}


@pytest.mark.parametrize("name", SETS)
def test_sets_by_name_are_what_their_files_are(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kind, configs, expected = SETS[name]
    (config,) = configs
    other = {"other": {"train": {"text": ["x"]}}}
    source = hub_folder(tmp_path, {**configs, **other})
    assert read_bitexts(source, kind=kind, languages=[EN, DE, "fra_Latn"]) == expected
    absent = "eng_Latn, fra_Latn" if kind == "pawsx" else "fra_Latn"
    said = [record.getMessage() for record in caplog.records]
    assert said[-1] == f"{source} has nothing of {kind} for {absent}"
    if name == "bucc of xtreme":
        place = f"{source.removeprefix('hf:')} ({config})"
        assert said[-2] == f"{place}: 5 pairs left out, for want of a whole sentence"


@pytest.mark.parametrize("name", SETS)
def test_sets_that_are_loaded_already_are_read_by_language(name: str, tmp_path: Path) -> None:
    kind, configs, expected = SETS[name]
    (splits,) = configs.values()
    made = {split: datasets.Dataset.from_dict(columns) for split, columns in splits.items()}
    loaded = datasets.DatasetDict(made)
    assert read_bitexts({DE: loaded}, kind=kind, languages=[DE, "fra_Latn"]) == expected
    last = list(made.values())[-1]
    assert read_bitexts({DE: last}, kind=kind, languages=[DE]) == expected
    loaded.save_to_disk(tmp_path / "saved")
    again = datasets.load_from_disk(tmp_path / "saved")
    assert read_bitexts({DE: again}, kind=kind, languages=[DE]) == expected


def test_a_name_may_name_its_split(tmp_path: Path) -> None:
    source = hub_folder(tmp_path, {"bucc18.de": {"validation": pairs(), "test": pairs("?")}})
    there, _ = read_bitexts(f"{source}:validation", kind="bucc18", languages=[DE])
    assert there.queries == GERMAN
    with pytest.raises(CorpusError, match=r"\(bucc18.de\) has no split 'dev'; give split= one of"):
        read_bitexts(f"{source}:dev", kind="bucc18", languages=[DE])


# Paraphrases of one's own.


def test_paraphrases_are_read_by_language_from_one_table(tmp_path: Path) -> None:
    rows = [
        "language\tsentence1\tsentence2",
        *("deu_Latn\ta\tb", "eng_Latn\tc\td", "deu_Latn\te\tf"),
    ]
    path = write(tmp_path / "x.tsv", rows)
    found = read_paraphrases(path, languages=[DE, "fra_Latn", EN])
    assert found == (
        Bitext("paraphrases", DE, DE, ("a", "e"), ("b", "f"), (0, 1)),
        Bitext("paraphrases", EN, EN, ("c",), ("d",), (0,)),
    )
    with pytest.raises(CorpusError, match=r"x\.tsv has no paraphrases in fra_Latn; name others"):
        read_paraphrases(path, languages=["fra_Latn"])
    write(path, ["language\tsentence1\tsentence2", "deu_Latn\ta\t "])
    with pytest.raises(CorpusError, match=r"x\.tsv, line 2: the sentence2 is missing or empty"):
        read_paraphrases(path, languages=[DE])


# Whatever is wrong with them.


def latin_1(path: Path) -> None:
    path.write_bytes("Ja.\nSchön.\n".encode("latin-1"))


def changed(folder: Path, name: str, lines: Sequence[str] | None) -> Path:
    """Write other lines to a file, or remove it."""
    if lines is None:
        (folder / name).unlink()
    else:
        write(folder / name, lines)
    return folder


def xtremes_tatoeba(folder: Path) -> Path:
    write(folder / "de-en.de", GERMAN)
    write(folder / "de-en.en", sorted(ENGLISH))
    return folder


def columns(source: list, target: list) -> dict:
    return {"source_sentence": source, "target_sentence": target}


BUCC_SIDE = ["de-1\teins", "de-2\tzwei"]
LABEL = ("9", "a", "b")
BAD: dict[str, tuple[Kind, Writer, str]] = {
    "one side of tatoeba only": (
        "tatoeba",
        lambda tmp: changed(tatoeba(tmp), "tatoeba.deu-eng.eng", None),
        r"tatoeba\.deu-eng\.eng cannot be read \(No such file",
    ),
    "the other side only": (
        "tatoeba",
        lambda tmp: changed(tatoeba(tmp), "tatoeba.deu-eng.deu", None),
        r"tatoeba\.deu-eng\.deu cannot be read \(No such file",
    ),
    "sides of unequal length": (
        "tatoeba",
        lambda tmp: changed(tatoeba(tmp), "tatoeba.deu-eng.eng", ENGLISH[:3]),
        r"deu-eng\.deu ends at line 4 but .*deu-eng\.eng at line 3; a line is the translation",
    ),
    "an empty line": (
        "tatoeba",
        lambda tmp: changed(tatoeba(tmp), "tatoeba.deu-eng.eng", ["Yes.", "", "So.", "Yes."]),
        r"tatoeba\.deu-eng\.eng, line 2: the sentence is missing or empty",
    ),
    "an empty file": (
        "tatoeba",
        lambda tmp: changed(tatoeba(tmp), "tatoeba.deu-eng.eng", []),
        r"tatoeba\.deu-eng\.eng is empty",
    ),
    "latin-1": (
        "tatoeba",
        lambda tmp: [latin_1(tatoeba(tmp) / "tatoeba.deu-eng.deu"), tmp][1],
        r"tatoeba\.deu-eng\.deu, line 2: not UTF-8 \(byte 7 of the file, from 0\)",
    ),
    "tatoeba as xtreme sorts it": (
        "tatoeba",
        xtremes_tatoeba,
        r"de-en\.en was written by XTREME's script, which sorts .*; give LASER's folder",
    ),
    "an empty sentence by name": (
        "tatoeba",
        lambda tmp: hub_folder(tmp, {"tatoeba.deu": {"test": columns(["a", "\n"], ["b", "c"])}}),
        r"\(tatoeba\.deu\), row 2: the source_sentence is missing or empty",
    ),
    "columns of something else": (
        "tatoeba",
        lambda tmp: hub_folder(tmp, {"deu-eng": {"test": {"de": ["a"], "sentence1": ["b"]}}}),
        r"\(deu-eng\) has no column 'source_sentence', 'target_sentence' among de, sentence1;",
    ),
    "lists of sentences": (
        "bucc18",
        lambda tmp: hub_folder(tmp, {"de-en": {"test": columns([["a"]], [["b"]])}}),
        r"\(de-en\), row 1: the source_sentence is of type list, not text",
    ),
    "no whole sentence by name": (
        "bucc18",
        lambda tmp: hub_folder(tmp, {"bucc18.de": {"test": columns([""], ["a"])}}),
        r"\(bucc18\.de\) has no pair of whole sentences; give at least one",
    ),
    "bucc without gold, as xtreme leaves it": (
        "bucc18",
        lambda tmp: changed(bucc(tmp), "de-en.test.gold", None),
        r"de-en\.test\.gold is not there, .* XTREME's script deletes it, so put BUCC's own",
    ),
    "bucc without one side": (
        "bucc18",
        lambda tmp: changed(bucc(tmp), "de-en.test.en", None),
        r"de-en\.test\.en cannot be read",
    ),
    "a german id that is not there": (
        "bucc18",
        lambda tmp: bucc(tmp, gold=[GOLD[0], ("de-5", "en-8")]),
        r"de-en\.test\.gold, line 2: .*de-en\.test\.de has no sentence 'de-5'; write two ids",
    ),
    "an english id that is not there": (
        "bucc18",
        lambda tmp: bucc(tmp, gold=[GOLD[0], ("de-1", "en-5")]),
        r"de-en\.test\.gold, line 2: .*de-en\.test\.en has no sentence 'en-5'",
    ),
    "gold without a tab": (
        "bucc18",
        lambda tmp: changed(bucc(tmp), "de-en.test.gold", ["de-1 en-8"]),
        r"de-en\.test\.gold, line 1: .*de-en\.test\.de has no sentence 'de-1 en-8'",
    ),
    "gold of three columns": (
        "bucc18",
        lambda tmp: changed(bucc(tmp), "de-en.test.gold", ["de-1\ten-8\t1"]),
        r"de-en\.test\.gold, line 1: .*has no sentence 'en-8\\t1'",
    ),
    "a blank line in gold": (
        "bucc18",
        lambda tmp: changed(bucc(tmp), "de-en.test.gold", ["de-1\ten-8", ""]),
        r"de-en\.test\.gold, line 2: .*de-en\.test\.de has no sentence ''",
    ),
    "a sentence without a tab": (
        "bucc18",
        lambda tmp: changed(bucc(tmp), "de-en.test.de", [*BUCC_SIDE, "de-3 drei"]),
        r"de-en\.test\.de, line 3: no tab in 'de-3 drei'; write id, tab and sentence a line",
    ),
    "an id twice": (
        "bucc18",
        lambda tmp: changed(bucc(tmp), "de-en.test.de", [*BUCC_SIDE, "de-1\tdrei"]),
        r"de-en\.test\.de, line 3: the id 'de-1' stands twice; give every line its own",
    ),
    "an id without a sentence": (
        "bucc18",
        lambda tmp: changed(bucc(tmp), "de-en.test.de", [*BUCC_SIDE, "de-3\t "]),
        r"de-en\.test\.de, line 3: the sentence is missing or empty",
    ),
    "a label that is no number": (
        "pawsx",
        lambda tmp: paws(tmp, [PAWS[0], (*LABEL, "yes")]),
        r"test_2k\.tsv, line 3: the label is 'yes'; write 1 for a paraphrase, 0 for none",
    ),
    "a label that is another number": (
        "pawsx",
        lambda tmp: paws(tmp, [PAWS[0], (*LABEL, "2")]),
        r"test_2k\.tsv, line 3: the label is '2'",
    ),
    "no label": (
        "pawsx",
        lambda tmp: paws(tmp, [PAWS[0], LABEL]),
        r"test_2k\.tsv, line 3: 3 fields where the header has 4",
    ),
    "paws without labels, as xtreme leaves it": (
        "pawsx",
        lambda tmp: write(tmp / "test-de.tsv", ["a\tb"]).parent,
        r"test-de\.tsv was written by XTREME's script, which removes the labels .*; give the",
    ),
    "paws without negatives or positives": (
        "pawsx",
        lambda tmp: paws(tmp, [PAWS[1]]),
        r"test_2k\.tsv has no whole pair with label 1",
    ),
    "other columns": (
        "pawsx",
        lambda tmp: changed(paws(tmp), "de/test_2k.tsv", ["id\tone\tother\tlabel", "1\ta\tb\t1"]),
        r"test_2k\.tsv has no column 'sentence1', 'sentence2' among id, one, other, label; give ",
    ),
    "a place that is not there": (
        "pawsx",
        lambda tmp: tmp / "none",
        r"none is no folder; give one of pawsx; see docs/data\.md",
    ),
    "a file": (
        "tatoeba",
        lambda tmp: write(tmp / "x.tsv", ["a\tb"]),
        r"x\.tsv is no folder",
    ),
    "a data set of an unknown language": (
        "tatoeba",
        lambda _: datasets.Dataset.from_dict(pairs()),
        "a data set does not say which language it is in; give a mapping",
    ),
    "data sets of an unknown language": (
        "tatoeba",
        lambda _: datasets.DatasetDict({"test": datasets.Dataset.from_dict(pairs())}),
        "a data set does not say which language it is in; give a mapping",
    ),
    "two splits, none of them test": (
        "tatoeba",
        lambda _: {
            DE: datasets.DatasetDict(
                {split: datasets.Dataset.from_dict(pairs()) for split in ("train", "validation")}
            )
        },
        "the data set of deu_Latn needs a split; give split= one of: train, validation",
    ),
    "nothing of the language by name": (
        "tatoeba",
        lambda tmp: hub_folder(tmp, {"tatoeba.fra": {"validation": pairs()}}),
        "has nothing of tatoeba for deu_Latn; give one in its makers' layout",
    ),
    "a hub that cannot be reached": (
        "tatoeba",
        lambda _: "hf:google/xtreme",
        r"the data set google/xtreme cannot be loaded \(Couldn't reach .*\); check its name",
    ),
    "no name": ("tatoeba", lambda _: "hf:", "'hf:' names no data set; give hf:name or hf:name:"),
    "no split after a colon": ("tatoeba", lambda _: "hf:a:", "'hf:a:' names no data set"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_bad_input_is_an_error_that_names_place_and_remedy(fault: str, tmp_path: Path) -> None:
    kind, make, message = BAD[fault]
    with pytest.raises(CorpusError, match=message) as caught:
        read_bitexts(make(tmp_path), kind=kind, languages=[DE])
    assert "\n" not in str(caught.value)


def test_labels_that_a_data_set_lacks_are_no_pairs() -> None:
    features = datasets.Features(
        sentence1=datasets.Value("string"),
        sentence2=datasets.Value("string"),
        label=datasets.ClassLabel(names=["0", "1"]),
    )
    columns = {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [-1, 1]}
    made = datasets.Dataset.from_dict(columns, features=features)
    (found,) = read_bitexts({DE: made}, kind="pawsx", languages=[DE])
    assert (found.queries, found.candidates) == (("b",), ("d",))


def test_names_need_the_package_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(CorpusError, match=r"need the package 'datasets'; run: pip install '.*\["):
        read_bitexts("hf:google/xtreme", kind="tatoeba", languages=[DE])


def test_asking_for_english_alone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="has nothing of tatoeba for no language"):
        read_bitexts(tatoeba(tmp_path), kind="tatoeba", languages=[EN])


def test_same_is_an_integer_a_candidate() -> None:
    assert PAIRS[0].same.dtype == np.int64


def test_what_is_known_neither_asks_nor_is_sought() -> None:
    bitext = Bitext(
        "bucc18",
        "deu_Latn",
        "eng_Latn",
        queries=("q0", "q1 known", "q2", "q3", "q4"),
        candidates=("nobody's", "of q3", "known", "of q2", "of q1 and q4", "nobody's known"),
        gold=(2, 4, 3, 1, 4),
    )
    known = KnownTexts.of(["q1  known", "known", "nobody's known", "something else"])
    assert bitext.without(known) == dataclasses.replace(
        bitext,
        queries=("q2", "q3", "q4"),
        candidates=("nobody's", "of q3", "of q2", "of q1 and q4"),
        gold=(2, 1, 3),
    )
    alone = dataclasses.replace(bitext, queries=("q1 known",), gold=(4,))
    assert alone.without(known) is None
    assert bitext.without(KnownTexts.of(["other"])) == bitext
