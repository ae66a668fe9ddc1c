"""Embeddings moved without a model: what adding or subtracting a few vectors does by itself."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from steer_plugin.analyses.measures.unit_vectors import check_alike
from steer_plugin.analyses.statistics.figures import Figures
from steer_plugin.errors import AnalysisError
from steer_plugin.responses.embeddings import Embeddings
from steer_plugin.settings.parts import Control

Fitted = Mapping[str, Float[np.ndarray, "fit_sentence d_model"]]
Moved = dict[str, Float[np.ndarray, "sentence d_model"]]


def constant_shift(before: Embeddings, *, fit: tuple[Fitted, Fitted]) -> Moved:
    """Add an intervention's mean effect to embeddings that are made without it.

    One vector for all languages and sentences, the mean of after - before over both in `fit`. A
    shared vector lowers raw cosine distance though nothing aligned (PAPER, "Constant shift"), so
    what it gives of a change is no alignment: as a control of `comparison.compare_controls` its
    `share` says how much that is.

    Fitted on the sentences that are judged, the control has seen them and the intervention has not.
    That favours the control, by little: one vector comes from all languages and sentences. Fitted
    on other sentences it has no such favour.

    Args:
        before: what is shifted and judged: language -> one row a sentence.
        fit: embeddings without and with the intervention, of the same sentences as each other: of
            the half that finds experts, or of `before`'s own.

    Returns:
        As `before`, in float64.

    Raises:
        AnalysisError: languages or shapes that do not fit each other.
    """
    unsteered, steered = fit
    check_alike(unsteered, steered, "embeddings without and with the intervention")
    _check_width(before, unsteered)
    effects = [
        rows.mean(0, dtype=np.float64) - unsteered[language].mean(0, dtype=np.float64)
        for language, rows in steered.items()
    ]
    shift = np.mean(effects, axis=0)
    return {language: rows + shift for language, rows in before.items()}


def centred(before: Embeddings, *, fit: Fitted) -> Moved:
    """Subtract each language's mean embedding, which undoes whatever moves a language as a whole.

    As a control beside an intervention this asks whether that is all it takes. Fitted on `before`
    itself it is the `language` centring of `unit_vectors`, whose centres have seen each
    sentence that is judged (a share of 1 / sentences of its own direction is taken off); fitted on
    other sentences it is what one could do to a new sentence.

    Args:
        before: what is centred and judged: language -> one row a sentence.
        fit: embeddings of the same languages whose means are subtracted: of the half that finds
            experts, or `before` itself.

    Returns:
        As `before`, in float64.

    Raises:
        AnalysisError: a language of `before` is not in `fit`, or the widths differ.
    """
    missing = [language for language in before if language not in fit]
    if missing:
        raise AnalysisError(
            f"there are no means for {', '.join(missing)}; give embeddings of the same languages"
        )
    _check_width(before, fit)
    return {
        language: rows - fit[language].mean(0, dtype=np.float64)
        for language, rows in before.items()
    }


def centred_figures(before: Figures) -> Figures:
    """Give the unsteered figures without each language's mean, whatever centring is asked for.

    Without the means of languages there is none left that they have in common. CKA has no such
    figure of its own, since it takes means out by itself.
    """
    place = {
        (measure, *pair): number
        for number, (measure, centring, *pair) in enumerate(before.keys)
        if centring == "language"
    }
    chosen = [
        place.get((measure, *pair), number)
        for number, (measure, _, *pair) in enumerate(before.keys)
    ]
    return replace(before, values=before.values[chosen], influence=before.influence[:, :, chosen])


def _check_width(before: Embeddings, fit: Fitted) -> None:
    widths = {rows.shape[1] for embeddings in (before, fit) for rows in embeddings.values()}
    counts = {len(rows) for rows in fit.values()}
    if len(widths) != 1 or 0 in counts:
        raise AnalysisError(
            f"embeddings of {sorted(widths)} numbers and {sorted(counts)} sentences have no mean "
            "in common; embed with the same model, at the same layer, one sentence or more"
        )


CONSTANT_SHIFT = Control(
    lambda before, after: constant_shift(before, fit=(before, after)),
    of="embeddings",
    label="Constant shift",
    subject="Adding the intervention's mean effect alone gives",
    what="one vector, the experts' mean effect, added to all embeddings made without steering",
)
CENTRING = Control(
    centred_figures,
    of="figures",
    label="Centring",
    subject="Subtracting each language's mean, without steering, gives",
    what="each language's mean taken off its embeddings made without steering",
)
