import unicodedata

import pytest

from steer_plugin.corpora.parallel import ParallelCorpus
from steer_plugin.corpora.text_forms import KnownTexts, is_blank, normal_form

TEXT = "Füße über Café 한글"
WRITTEN_OTHERWISE = {
    "decomposed": unicodedata.normalize("NFD", TEXT),
    "two spaces": TEXT.replace(" ", "  "),
    "no-break spaces": TEXT.replace(" ", "\u00a0"),
    "ideographic space": TEXT.replace(" ", "\u3000"),
    "line separator": TEXT.replace(" ", "\u2028"),
    "tab and line end": TEXT.replace(" ", "\t\n"),
    "spaces at its ends": f" {TEXT}\n",
    "byte order mark": f"\ufeff{TEXT}",
    "zero-width space": TEXT.replace("a", "a\u200b"),
    "soft hyphen": TEXT.replace("f", "f\u00ad"),
    "left-to-right mark": f"{TEXT}\u200e",
    "variation selector": TEXT.replace("a", "a\ufe0f"),
    "combining grapheme joiner": TEXT.replace("a", "a\u034f"),
    "joiner before an accent": unicodedata.normalize("NFD", TEXT).replace("\u0301", "\u034f\u0301"),
    "Hangul filler": f"{TEXT}\u3164",
    "control character": f"{TEXT}\x07",
}


@pytest.mark.parametrize("way", WRITTEN_OTHERWISE)
def test_what_looks_the_same_is_the_same(way: str) -> None:
    text = WRITTEN_OTHERWISE[way]
    assert text != TEXT
    assert normal_form(text) == TEXT
    assert text in KnownTexts.of([TEXT])
    assert TEXT in KnownTexts.of([text])
    # One side of a split, in whatever language's column.
    source = {
        "eng_Latn": [TEXT, "b", "c", "d"],
        "deu_Latn": ["e", "f", text, "h"],
    }
    for seed in range(8):
        find, judge = ParallelCorpus.read(source).split(seed)
        assert ({"1", "3"} <= set(find.ids)) != ({"1", "3"} <= set(judge.ids))


@pytest.mark.parametrize("other", [TEXT.lower(), TEXT.replace(" ", ""), "Fuße über Café 한글", "𝐅"])
def test_what_looks_otherwise_is_another_text(other: str) -> None:
    assert other not in KnownTexts.of([TEXT, "F"])


@pytest.mark.parametrize("text", ["", " \t", "\u200b\ufeff", "\u3164", "\u2800", "\x00", "\u00ad"])
def test_nothing_to_read_is_blank(text: str) -> None:
    assert is_blank(text)
    assert not is_blank(text + ".")


LONG, SHORT = "It rains in the hills.", "It rains."


@pytest.mark.parametrize(
    "document",
    [
        LONG,
        SHORT,
        f"Weather\n{SHORT}\nSun",
        f"We said: {LONG} So it was.",
        "It rains in\nthe hills.",
        f"A\u00a0{LONG}".replace(" ", "\u00a0"),
    ],
)
def test_a_document_quotes_a_text(document: str) -> None:
    assert KnownTexts.of([LONG, SHORT]).quoted_in(document)


@pytest.mark.parametrize(
    "document", ["It rains in the hill", f"Here {SHORT} There it does not.", ""]
)
def test_a_document_does_not_quote_a_text(document: str) -> None:
    assert not KnownTexts.of([LONG, SHORT]).quoted_in(document)
