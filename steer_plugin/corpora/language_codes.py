"""The codes and names that data sets, language identifiers and readers have for a language.

FLORES-200 joins ISO 639-3 and ISO 15924 (`deu_Latn`); Tatoeba has ISO 639-3 alone (`deu`); BUCC,
PAWS-X and most language identifiers have ISO 639-1 (`de`). Data sets differ in whether they name a
macrolanguage or the one language of it that they hold: Mandarin is `zho` in FLORES-200, `cmn` in
FLORES+ and Tatoeba. What is the same language `langcodes` knows, after Unicode's CLDR and IANA's
registry of language subtags.
"""

import re
from functools import cache

from steer_plugin.errors import CorpusError

# ISO 639-3 and ISO 15924, as FLORES-200 joins them; FLORES+ tells varieties apart by Glottolog.
LANGUAGE = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}(?:_[a-z]{4}[0-9]{4})?")
_ISO_639_3 = re.compile(r"[a-z]{3}")

# Members of macrolanguages that FLORES has alone or as the usual one, and CLDR does not.
_MACROLANGUAGES = {"fil": "tl", "nb": "no", "pbt": "ps", "quy": "qu"}

# Where the registry's first name is not the usual one, or is another language's too.
_NAMES = {
    "ace": "Acehnese",
    "el": "Greek",
    "fil": "Filipino",
    "ht": "Haitian Creole",
    "ky": "Kyrgyz",
    "lus": "Mizo",
    "nso": "Northern Sotho",
    "or": "Odia",
    "pa": "Punjabi",
    "prs": "Dari",
    "ps": "Pashto",
    "ug": "Uyghur",
    "yue": "Cantonese",
}

# FLORES has the script, CLDR the writing system that it is part of.
_WRITING_SYSTEMS = {"Hang": "Kore"}

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


def is_language(name: object) -> bool:
    """Tell whether a column or file is named as FLORES names languages."""
    return isinstance(name, str) and LANGUAGE.fullmatch(name) is not None


def iso_codes(code: str) -> tuple[str, ...]:
    """List the ISO 639 codes that a language goes by, the narrowest first.

    Of a macrolanguage only the usual member goes by its code too: `arb_Arab` is `arb` and `ar`,
    `ars_Arab` is `ars` alone.

    Args:
        code: of FLORES-200 or FLORES+, with or without the script, such as `nob_Latn`.

    Returns:
        Such as `nob`, `nb`, `no`; nothing for what is no three letters.
    """
    language = code.partition("_")[0]
    return _iso_codes(language) if _ISO_639_3.fullmatch(language) else ()


def english_name(code: str) -> str | None:
    """Name a language by its FLORES-200 or FLORES+ code, script or not; None if it is not known."""
    codes = iso_codes(code)
    if not codes:
        return None
    narrowest, two = codes[0], _two_letters(code) or ""
    usual = _NAMES.get(narrowest) or _NAMES.get(two)
    return usual or _registered_names().get(two) or _registered_names().get(narrowest)


def iso_639_1(code: str) -> str:
    """Give the two letters of a language, such as `de` for `deu_Latn`.

    Raises:
        CorpusError: the language is not known, or has none (Cantonese).
    """
    two = _two_letters(code)
    if two is None:
        raise CorpusError(
            f"{code!r} has no ISO 639-1 code; give the FLORES-200 code of a language that has one, "
            "such as deu_Latn"
        )
    return two


def two_letters(code: str) -> str | None:
    """Give the two letters by which BUCC and PAWS-X mean a language in this very script, or None.

    Their `zh` is in simplified characters, so that it is `zho_Hans` and not `zho_Hant`.
    """
    two, (_, *script) = _two_letters(code), code.split("_")
    if two is None or not script:
        return two
    from langcodes import Language

    usual = Language.get(two).maximize().script
    return two if _WRITING_SYSTEMS.get(script[0], script[0]) == usual else None


def tatoeba_code(code: str) -> str:
    """Give the three letters that Tatoeba has for a language, such as `cmn` for `zho_Hans`.

    It does not tell scripts apart: of its 1,000 Mandarin sentences, 333 and more hold traditional
    characters, 301 and more simplified ones.
    """
    language = code.partition("_")[0]
    return _TATOEBA.get(language, language)


def language_name(code: str) -> str:
    """Name a language by its FLORES-200 code, or give back a code that is not known."""
    # Other words that stand where a language may are languages too: `all` is Allar.
    if not LANGUAGE.fullmatch(code):
        return code
    return english_name(code) or code


def language_label(code: str) -> str:
    """Name a language with its code, such as "German (deu_Latn)"; an unknown code stands alone."""
    name = language_name(code)
    return code if name == code else f"{name} ({code})"


def _two_letters(code: str) -> str | None:
    return next((iso for iso in iso_codes(code) if len(iso) == 2), None)


@cache
def _iso_codes(language: str) -> tuple[str, ...]:
    # Takes 50 ms, for which `steer-plugin --help` need not wait.
    from langcodes import Language

    standard = Language.get(language)
    macrolanguage = standard.prefer_macrolanguage().language or language
    codes = (language, standard.language, macrolanguage, _MACROLANGUAGES.get(macrolanguage))
    return tuple(dict.fromkeys(filter(None, codes)))


@cache
def _registered_names() -> dict[str, str]:
    """Read the first name of each language, without what tells it from its namesakes."""
    from langcodes.registry_parser import parse_registry

    return {
        entry["Subtag"]: entry["Description"][0].partition(" (")[0]
        for entry in parse_registry()  # type: ignore[no-untyped-call]
        if entry["Type"] == "language"
    }
