"""What steering gains and what it costs: language probability against perplexity, by k."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from steer_plugin.analyses.generation.language_id import Identifier, language_probabilities
from steer_plugin.analyses.generation.texts import Texts
from steer_plugin.analyses.statistics.bootstrap import RESAMPLES, Weights, interval, resamples
from steer_plugin.errors import AnalysisError

UNSTEERED = "before"
LOSS_KEYS = ["document", "stretch", "tokens"]
Replicate = Float[np.ndarray, " resample"]
UnitSums = Float[np.ndarray, " unit"]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one way to run the model gave.

    Attributes:
        condition: "before" for the unsteered model, "experts", or the name of a control.
        top_k: how many units are steered; 0 for the unsteered model.
        texts: what it wrote; see `generate_texts`.
        losses: on documents in the target language; see `score_documents`.
    """

    condition: str
    top_k: int
    texts: Texts
    losses: pd.DataFrame

    def halves(self) -> tuple["Outcome", "Outcome"]:
        """Part the texts by seed: every second one from the first on, then the others."""
        seeds = list(self.texts)
        first, second = (
            replace(self, texts={seed: self.texts[seed] for seed in half})
            for half in (seeds[::2], seeds[1::2])
        )
        return first, second


def loss_sums(losses: pd.DataFrame) -> tuple[UnitSums, UnitSums]:
    """Add up the losses and the tokens of what a bootstrap draws: documents, or parts of one.

    Perplexity is exp(sum of NLL / number of scored tokens) (PAPER, formulae). Of a single document
    its stretches of `STRETCH` tokens are drawn: a block bootstrap (Carlstein 1986, Annals of
    Statistics 14), which speaks of text like this document, not of other documents. Of two or three
    documents a bootstrap says little, as few are the ways to draw them.

    Args:
        losses: as `score_documents` gives them.

    Returns:
        The losses of each in nats, and how many tokens it has.
    """
    key = "document" if _over_documents(losses) else "stretch"
    sums = losses.groupby(key)[["nll", "tokens"]].sum()
    return sums["nll"].to_numpy(np.float64), sums["tokens"].to_numpy(np.float64)


def mean_loss(losses: pd.DataFrame, weights: Weights) -> Replicate:
    """Give the mean loss a token, the logarithm of the perplexity, by weights on `loss_sums`.

    Infinite where a document or stretch of infinite loss has weight.
    """
    nll, tokens = loss_sums(losses)
    infinite = np.isinf(nll)
    mean = weights @ np.where(infinite, 0, nll) / (weights @ tokens)
    return np.asarray(np.where(weights @ infinite > 0, np.inf, mean))


def seed_draws(
    seeds: int, *, count: int = RESAMPLES, seed: int = 0
) -> Int[np.ndarray, "resample seed"]:
    """Draw how often each seed is in each resample: with replacement, so many as there are.

    Raises:
        AnalysisError: no resamples.
    """
    if count < 1:
        raise AnalysisError(f"{count} resamples give no interval; draw at least one")
    generator = np.random.default_rng((seed, 2))
    return np.asarray(generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=count))


def hierarchical_means(
    values: Float[np.ndarray, "seed sentence"],
    drawn: Int[np.ndarray, "resample seed"],
    generator: np.random.Generator,
) -> Replicate:
    """Give bootstrap replicates of a mean over seeds and the sentences of each.

    Each resample draws seeds, and for each of these draws sentences of that seed, both with
    replacement and so many as there are (Davison and Hinkley 1997, section 3.8). Where seeds do not
    differ it counts the spread of sentences twice, and 95% intervals of a difference over 8 seeds
    hold the truth 98 times in 100; where seeds are all that differs, 89 times.

    Args:
        values: one a sentence.
        drawn: how often each seed is drawn; see `seed_draws`.
        generator: draws the sentences.
    """
    seeds, sentences = values.shape
    even = np.full(sentences, 1 / sentences)
    total = np.zeros(len(drawn))
    for row, times in zip(values, drawn.T, strict=True):
        total += generator.multinomial(times * sentences, even) @ row
    return np.asarray(total / (seeds * sentences))


def tradeoff(
    target: str,
    before: Outcome,
    steered: Sequence[Outcome],
    *,
    identify: Identifier = language_probabilities,
    count: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Put the probability of the target language beside the perplexity, condition by condition.

    The curve of Sundar et al. 2025 (arXiv 2502.15639, figure 3; PAPER steps 9 and 10). All
    intervals are 95% percentile intervals. Those of a probability and its gain are of a
    hierarchical bootstrap over seeds, then over the sentences of a seed (see
    `hierarchical_means`). A resample draws the same seeds for all conditions. Texts of two
    conditions are sampled from one stream of random numbers and so may go together; they are drawn
    apart, which errs on the wide side. Those of a perplexity and its cost are of
    a bootstrap over documents, which are the same in all conditions, or over the stretches of a
    single one (see `loss_sums`). Models and units are not resampled.

    Args:
        target: FLORES-200 code of the language that is steered towards.
        before: of the unsteered model.
        steered: of the other conditions, with the same seeds, number of texts and documents.
        identify: gives the probability that a text is in a language.
        count: how many resamples.
        seed: of the resamples.

    Returns:
        One row a condition, the unsteered model first: `target`, `top_k`, `condition`;
        `probability` of the target language in [0, 1], `gain` (probability - unsteered),
        `perplexity`, and `cost` (perplexity / unsteered), each followed by its `_low` and `_high`;
        `sentences` (texts a seed), `seeds`, `documents`, `tokens` (scored), `resampled`, what the
        perplexity's interval is over: `documents` or `stretches`, and `resampled_units`, how many
        of them. A perplexity beyond the floating-point range, or with an infinite loss, is
        infinite; so are both ends of the latter's interval.

    Raises:
        AnalysisError: the conditions do not go together, there is one text or one stretch, a
            probability is none, or the identifier does not know the language.
    """
    outcomes = [before, *steered]
    _check(before, steered)
    drawn = seed_draws(len(before.texts), count=count, seed=seed)
    units = len(loss_sums(before.losses)[0])
    if units < 2:
        raise AnalysisError(
            "the perplexity is of one document of one stretch, which has no interval; give more "
            "text"
        )
    even = np.full((1, units), 1 / units)
    weights = np.concatenate([even, resamples(units, count=count, seed=seed)])
    rows = []
    unsteered: tuple[Replicate, Replicate] | None = None
    for outcome in outcomes:
        values = _probabilities(outcome.texts, target, identify)
        # The same draws of sentences for all steered conditions, others for the unsteered one.
        generator = np.random.default_rng((seed, 3, int(outcome is before)))
        means = hierarchical_means(values, drawn, generator)
        probability = np.concatenate([[values.mean()], means])
        loss = mean_loss(outcome.losses, weights)
        unsteered = unsteered or (probability, loss)
        rows.append(
            {
                "target": target,
                "top_k": outcome.top_k,
                "condition": outcome.condition,
                **_with_interval("probability", probability),
                **_with_interval("gain", probability - unsteered[0]),
                **_exp(_with_interval("perplexity", loss)),
                **_exp(_with_interval("cost", loss - unsteered[1])),
                "sentences": values.shape[1],
                "seeds": values.shape[0],
                "documents": int(outcome.losses["document"].nunique()),
                "tokens": int(outcome.losses["tokens"].sum()),
                "resampled": "documents" if _over_documents(outcome.losses) else "stretches",
                "resampled_units": units,
            }
        )
    return pd.DataFrame(rows)


def _over_documents(losses: pd.DataFrame) -> bool:
    return bool(losses["document"].nunique() > 1)


def _with_interval(name: str, values: Replicate) -> dict[str, float]:
    """Give a figure, the first of `values`, and the interval of its replicates, the rest."""
    figure = float(values[0])
    low, high = (figure, figure) if np.isinf(figure) else interval(values[1:, None])[:, 0]
    return {name: figure, f"{name}_low": float(low), f"{name}_high": float(high)}


def _exp(columns: Mapping[str, float]) -> dict[str, float]:
    with np.errstate(over="ignore"):
        return {name: float(np.exp(value)) for name, value in columns.items()}


def _probabilities(
    texts: Texts, target: str, identify: Identifier
) -> Float[np.ndarray, "seed sentence"]:
    values = np.stack([identify(written, target) for written in texts.values()])
    if not ((values >= 0) & (values <= 1)).all():
        raise AnalysisError(
            f"the identifier gave {target} a probability outside [0, 1]; it should give one that "
            "is normalised over all its languages"
        )
    return values


def _check(before: Outcome, steered: Sequence[Outcome]) -> None:
    if (before.condition, before.top_k) != (UNSTEERED, 0):
        raise AnalysisError(
            f"{before.condition!r} at k = {before.top_k} was given as the unsteered model; give "
            f"{UNSTEERED!r} at 0"
        )
    counts = {len(written) for written in before.texts.values()}
    if len(counts) != 1 or len(before.texts) * max(counts) < 2:
        raise AnalysisError("each seed needs as many texts, at least two in all; write more")
    named: set[tuple[str, int]] = {(UNSTEERED, 0)}
    for outcome in steered:
        name = f"{outcome.condition!r} at k = {outcome.top_k}"
        if (outcome.condition, outcome.top_k) in named or outcome.condition == UNSTEERED:
            raise AnalysisError(f"{name} is given twice; give each condition once")
        named.add((outcome.condition, outcome.top_k))
        if (
            list(outcome.texts) != list(before.texts)
            or {len(written) for written in outcome.texts.values()} != counts
        ):
            raise AnalysisError(f"{name} has other seeds or numbers of texts than the unsteered")
        if not outcome.losses[LOSS_KEYS].equals(before.losses[LOSS_KEYS]):
            raise AnalysisError(f"{name} was scored on other documents than the unsteered model")
