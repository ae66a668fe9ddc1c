import pytest

from steer_plugin.corpora.language_codes import (
    LANGUAGE,
    english_name,
    iso_639_1,
    tatoeba_code,
    two_letters,
)
from steer_plugin.errors import CorpusError

# Sundar et al. 2025: the 22 languages of its analysis, as it names them.
OF_THE_PAPER = {
    "tha_Thai": "th", "ces_Latn": "cs", "deu_Latn": "de", "ell_Grek": "el", "eng_Latn": "en",
    "fra_Latn": "fr", "heb_Hebr": "he", "hin_Deva": "hi", "ind_Latn": "id", "ita_Latn": "it",
    "jpn_Jpan": "ja", "kor_Hang": "ko", "nld_Latn": "nl", "pes_Arab": "fa", "pol_Latn": "pl",
    "por_Latn": "pt", "ron_Latn": "ro", "rus_Cyrl": "ru", "spa_Latn": "es", "tur_Latn": "tr",
    "ukr_Cyrl": "uk", "vie_Latn": "vi",
}  # fmt: skip
ALSO = {"zho_Hans": "zh", "arb_Arab": "ar", "swh_Latn": "sw", "est_Latn": "et"}

each_language = pytest.mark.parametrize("code", [*OF_THE_PAPER, *ALSO])


@each_language
def test_a_language_has_the_two_letters_of_iso_639_1_with_and_without_its_script(code: str) -> None:
    expected = {**OF_THE_PAPER, **ALSO}[code]
    assert LANGUAGE.fullmatch(code)
    assert iso_639_1(code) == iso_639_1(code[:3]) == two_letters(code) == expected


def test_languages_have_their_english_names() -> None:
    names = {code: english_name(code) for code in ("pes_Arab", "ell_Grek", "yue_Hant", "jpn_Jpan")}
    assert list(names.values()) == ["Persian", "Greek", "Cantonese", "Japanese"]
    assert english_name("zho_Hant") == english_name("zho") == "Chinese"
    assert english_name("qqq_Latn") is None


def test_flores_plus_calls_mandarin_and_estonian_otherwise_and_they_are_the_same() -> None:
    for new, old in (("cmn_Hans", "zho_Hans"), ("ekk_Latn", "est_Latn"), ("ara_Arab", "arb_Arab")):
        for give in (english_name, iso_639_1, two_letters, tatoeba_code):
            assert give(new) == give(old)


def test_tatoeba_names_macrolanguages_or_not_as_its_files_do() -> None:
    codes = {"deu_Latn": "deu", "zho_Hans": "cmn", "zho_Hant": "cmn", "arb_Arab": "ara",
             "pes_Arab": "pes", "swh_Latn": "swh", "yue_Hant": "yue", "als_Latn": "sqi",
             "afr_Latn": "afr"}  # fmt: skip
    assert {code: tatoeba_code(code) for code in codes} == codes


def test_two_letters_stand_for_one_script_alone() -> None:
    assert two_letters("zho_Hans") == two_letters("cmn_Hans") == "zh"
    assert two_letters("zho_Hant") is None
    assert two_letters("yue_Hant") is None
    assert two_letters("qqq_Latn") is None


@pytest.mark.parametrize("code", ["yue_Hant", "qqq_Latn", "", "de"])
def test_a_language_without_two_letters_is_an_error_that_lists_the_others(code: str) -> None:
    with pytest.raises(CorpusError, match=rf"^'{code}' has no ISO 639-1 code here; .*deu, ell"):
        iso_639_1(code)
