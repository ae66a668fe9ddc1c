"""In which language a text is: the probability that a language identifier gives it."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from steer_plugin.corpora.language_codes import iso_codes, language_label
from steer_plugin.errors import AnalysisError

Identifier = Callable[[Sequence[str], str], Float[np.ndarray, " text"]]
"""From texts and the FLORES-200 code of a language to the probability, in [0, 1], of each text
being in that language. Any identifier will do that gives probabilities over all its languages."""


def language_probabilities(texts: Sequence[str], language: str) -> Float[np.ndarray, " text"]:
    """Give the probability that each text is in a language, as py3langid has it.

    Naive Bayes over byte n-grams (Lui and Baldwin 2012, "langid.py"), its scores normalised over
    all the languages that it knows, so that a text in a similar language takes some away. It names
    languages by ISO 639, without the script: both ways to write Chinese are one language. A text
    without a letter is in no language, and its probability is 0.

    Args:
        texts: of any length; of a few letters the identifier cannot be sure.
        language: FLORES-200 code, such as `deu_Latn`.

    Returns:
        Probabilities in [0, 1].

    Raises:
        AnalysisError: the identifier does not know the language.
    """
    code = identified_code(language)
    rank = _identifier().rank
    probabilities = [
        dict(rank(text))[code] if any(map(str.isalpha, text)) else 0.0 for text in texts
    ]
    return np.minimum(np.array(probabilities, dtype=np.float64), 1)


def identified_code(language: str) -> str:
    """Give the ISO 639 code by which the identifier knows a language: two letters, or three.

    Raises:
        AnalysisError: the identifier does not know the language.
    """
    labels = _identifier().labels
    codes = iso_codes(language)
    # The identifier's Guarani is that of Paraguay.
    members = (label for label in labels if set(iso_codes(label)) & set(codes))
    code = next((iso for iso in codes if iso in labels), None) or next(members, None)
    if code is None:
        raise AnalysisError(
            f"py3langid does not know {language_label(language)}; give another identifier, or one "
            f"of its languages: {', '.join(sorted(labels))}"
        )
    return code


@cache
def _identifier() -> Any:
    kind: Any = LanguageIdentifier
    return kind.from_model_file(MODEL_FILE, norm_probs=True)
