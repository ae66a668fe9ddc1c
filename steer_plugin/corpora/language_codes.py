"""The codes and names that data sets, language identifiers and readers have for a language.

FLORES-200 joins ISO 639-3 and ISO 15924 (`deu_Latn`); Tatoeba has ISO 639-3 alone (`deu`); BUCC,
PAWS-X and language identifiers have ISO 639-1 (`de`). Data sets differ in whether they name a
macrolanguage or the one language of it that they hold: Mandarin is `zho` in FLORES-200, `cmn` in
FLORES+ and Tatoeba.
"""

import re

from steer_plugin.errors import CorpusError

# ISO 639-3 and ISO 15924, as FLORES-200 joins them.
LANGUAGE = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")

# FLORES-200, ISO 639-1, and the name in English.
_TABLE = """
arb_Arab ar Arabic
ben_Beng bn Bengali
bul_Cyrl bg Bulgarian
cat_Latn ca Catalan
ces_Latn cs Czech
dan_Latn da Danish
deu_Latn de German
ell_Grek el Greek
eng_Latn en English
est_Latn et Estonian
eus_Latn eu Basque
fin_Latn fi Finnish
fra_Latn fr French
heb_Hebr he Hebrew
hin_Deva hi Hindi
hun_Latn hu Hungarian
ind_Latn id Indonesian
ita_Latn it Italian
jpn_Jpan ja Japanese
kor_Hang ko Korean
nld_Latn nl Dutch
pes_Arab fa Persian
pol_Latn pl Polish
por_Latn pt Portuguese
ron_Latn ro Romanian
rus_Cyrl ru Russian
spa_Latn es Spanish
swe_Latn sv Swedish
swh_Latn sw Swahili
tam_Taml ta Tamil
tel_Telu te Telugu
tha_Thai th Thai
tur_Latn tr Turkish
ukr_Cyrl uk Ukrainian
urd_Arab ur Urdu
vie_Latn vi Vietnamese
yue_Hant - Cantonese
zho_Hans zh Chinese
"""
_ROWS = tuple(tuple(line.split()) for line in _TABLE.strip().splitlines())
_NAMES = {flores[:3]: name for flores, _, name in _ROWS}
_TWO = {flores[:3]: two for flores, two, _ in _ROWS if two != "-"}
_FLORES = {two: flores for flores, two, _ in _ROWS if two != "-"}

# ISO 639-3 codes of other data sets, and what FLORES-200 calls the same language.
_OTHERS = {"ara": "arb", "cmn": "zho", "ekk": "est", "fas": "pes", "swa": "swh"}

# Where Tatoeba's ISO 639-3 is not that of FLORES-200 or FLORES+.
_TATOEBA = {
    "als": "sqi",
    "arb": "ara",
    "azj": "aze",
    "ekk": "est",
    "fil": "tgl",
    "khk": "mon",
    "kmr": "kur",
    "uzn": "uzb",
    "ydd": "yid",
    "zho": "cmn",
}


def english_name(code: str) -> str | None:
    """Name a language by its FLORES-200 or FLORES+ code, script or not; None if it is not known."""
    return _NAMES.get(_language(code))


def iso_639_1(code: str) -> str:
    """Give the two letters of a language, such as `de` for `deu_Latn`.

    Raises:
        CorpusError: the language is not known here, or has none (Cantonese).
    """
    language = _language(code)
    if language not in _TWO:
        raise CorpusError(
            f"{code!r} has no ISO 639-1 code here; give a FLORES-200 code of one of: "
            f"{', '.join(_TWO)}"
        )
    return _TWO[language]


def two_letters(code: str) -> str | None:
    """Give the two letters by which BUCC and PAWS-X mean a language in this very script, or None.

    Their `zh` is in simplified characters, so that it is `zho_Hans` and not `zho_Hant`.
    """
    language, underscore, script = code.partition("_")
    two = _TWO.get(_language(language))
    usual = two is not None and _FLORES[two].endswith(underscore + script)
    return two if usual else None


def tatoeba_code(code: str) -> str:
    """Give the three letters that Tatoeba has for a language, such as `cmn` for `zho_Hans`.

    It does not tell scripts apart: of its 1,000 Mandarin sentences, 333 and more hold traditional
    characters, 301 and more simplified ones.
    """
    language = code.partition("_")[0]
    return _TATOEBA.get(language, language)


def _language(code: str) -> str:
    language = code.partition("_")[0]
    return _OTHERS.get(language, language)


def language_name(code: str) -> str:
    """Name a language by its FLORES-200 code, or give back a code that is not known."""
    return english_name(code) or code


def language_label(code: str) -> str:
    """Name a language with its code, such as "German (deu_Latn)"; an unknown code stands alone."""
    name = language_name(code)
    return code if name == code else f"{name} ({code})"
