import subprocess
import sys

import pytest
from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

from steer_plugin.corpora.language_codes import (
    LANGUAGE,
    english_name,
    iso_639_1,
    iso_codes,
    language_label,
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


NAMES = {
    "eng_Latn": "English", "deu_Latn": "German", "fra_Latn": "French", "spa_Latn": "Spanish",
    "jpn_Jpan": "Japanese", "rus_Cyrl": "Russian", "zho_Hans": "Chinese", "zho_Hant": "Chinese",
    "tha_Thai": "Thai", "ces_Latn": "Czech", "ell_Grek": "Greek", "heb_Hebr": "Hebrew",
    "hin_Deva": "Hindi", "ind_Latn": "Indonesian", "ita_Latn": "Italian", "kor_Hang": "Korean",
    "nld_Latn": "Dutch", "pes_Arab": "Persian", "pol_Latn": "Polish", "por_Latn": "Portuguese",
    "ron_Latn": "Romanian", "tur_Latn": "Turkish", "ukr_Cyrl": "Ukrainian",
    "vie_Latn": "Vietnamese", "arb_Arab": "Arabic", "ary_Arab": "Moroccan Arabic",
    "swh_Latn": "Swahili", "yue_Hant": "Cantonese", "nob_Latn": "Norwegian Bokmål",
    "nno_Latn": "Norwegian Nynorsk", "prs_Arab": "Dari", "tgl_Latn": "Tagalog",
    "fil_Latn": "Filipino", "pbt_Arab": "Pashto", "quy_Latn": "Quechua", "azj_Latn": "Azerbaijani",
    "azb_Arab": "South Azerbaijani", "slk_Latn": "Slovak", "kin_Latn": "Kinyarwanda",
    "war_Latn": "Waray", "oci_Latn": "Occitan", "npi_Deva": "Nepali", "uig_Arab": "Uyghur",
}  # fmt: skip


def test_languages_have_their_english_names_with_and_without_their_script() -> None:
    assert {code: english_name(code) for code in NAMES} == NAMES
    assert {code: english_name(code[:3]) for code in NAMES} == NAMES


@pytest.mark.parametrize("code", ["qqq_Latn", "", "de", "German", "deu-Latn", "DEU_Latn"])
def test_what_is_no_language_has_no_name_and_is_shown_as_it_is(code: str) -> None:
    assert english_name(code) is None
    assert language_label(code) == code


def test_no_two_languages_of_flores_200_have_one_name() -> None:
    names = {code: english_name(code) for code in FAIRSEQ_LANGUAGE_CODES}
    assert len(names) > 200
    assert None not in names.values()
    assert len(set(names.values())) == len({code[:3] for code in names})


def test_help_does_not_wait_for_the_names_of_languages() -> None:
    code = "import sys, steer_plugin.corpora.parallel; print('langcodes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False"]


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


@pytest.mark.parametrize("code", ["yue_Hant", "ars_Arab", "qqq_Latn", "", "de"])
def test_a_language_without_two_letters_is_an_error_that_says_what_to_give(code: str) -> None:
    with pytest.raises(CorpusError, match=rf"^'{code}' has no ISO 639-1 code; .*such as deu_Latn$"):
        iso_639_1(code)


def test_a_language_goes_by_the_code_of_its_macrolanguage_where_it_is_the_usual_member() -> None:
    codes = {
        "deu_Latn": ("deu", "de"), "nob_Latn": ("nob", "nb", "no"), "nno_Latn": ("nno", "nn"),
        "arb_Arab": ("arb", "ar"), "ars_Arab": ("ars",), "zsm_Latn": ("zsm", "ms"),
        "ind_Latn": ("ind", "id"), "prs_Arab": ("prs", "fa"), "yue_Hant": ("yue",),
        "pbt_Arab": ("pbt", "ps"), "azj_Latn": ("azj", "az"), "azb_Arab": ("azb",),
        "twi_Latn": ("twi", "tw", "ak"), "hrv_Latn": ("hrv", "hr"), "nonsense": (),
    }  # fmt: skip
    assert {code: iso_codes(code) for code in codes} == codes
