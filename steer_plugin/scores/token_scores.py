"""Scores of neurons by how many tokens they are active at: activation frequency and LAPE.

They count tokens, not sentences: `active` is the share of each text's tokens at which a neuron is
active (pooling `active`), `tokens` how many tokens that text has.
"""

import numpy as np
from jaxtyping import Float
from scipy.special import xlogy
from torch import Tensor

from steer_plugin.errors import ScoreError
from steer_plugin.responses.unit_chunks import (
    MEMORY,
    Labels,
    Matrix,
    as_matrix,
    as_tensor,
    by_concept,
    labels_of,
    map_units,
)
from steer_plugin.scores.concept_sums import sum_by_concept
from steer_plugin.settings.parts import Score

BAR = 0.95  # LAPE's percentile of all shares, above which a neuron belongs to a language
ROUNDING = 1e-6  # of a share in float32, and of nothing else that could be taken for one


def activation_frequency(
    active: Matrix, tokens: Labels, labels: Labels, *, memory: int = MEMORY
) -> Float[np.ndarray, "concept unit"]:
    """Give how much larger a share of each concept's tokens a neuron is active at than of the rest.

    p+ - p-, with p the share of tokens whose activation is above 0, over all of the concept's
    tokens and over all others. Chance is 0, which a neuron that is active at all tokens or at none
    has exactly.

    Args:
        active: the share of each sentence's tokens at which each neuron is active.
        tokens: how many tokens each sentence has, at least one.
        labels: the concept of each sentence, in 0..C-1, each concept at least once, C >= 2.
        memory: bytes of working memory to stay within.

    Returns:
        Scores in [-1, 1], float64.

    Raises:
        ScoreError: `active` is no share of so many tokens, or the labels are not as described.
    """
    counts, totals = _count_active(active, tokens, labels, memory)
    rest = (counts.sum(0) - counts) / (totals.sum() - totals)
    return np.asarray(counts / totals - rest)


def lape(
    active: Matrix, tokens: Labels, labels: Labels, *, memory: int = MEMORY
) -> Float[np.ndarray, "concept unit"]:
    """Give how far each neuron's activity is from spread evenly over the concepts.

    Language activation probability entropy (Tang et al. 2024, arXiv 2402.16438, equations 3 to 5):
    p is the share of a concept's tokens at which a neuron is active, q = p / sum p over concepts,
    H = - sum q ln q. A neuron belongs to the concepts whose p is above the 95th percentile
    (linearly interpolated) of p over all neurons and concepts. There it scores 1 - H / ln C, and 0
    elsewhere. So the paper's 1% of neurons with the lowest entropy are the k that score highest,
    and k plays the part of its 1%.

    Chance is 0, which a neuron that is equally active in all concepts, or never, has exactly.

    Arguments and errors are those of `activation_frequency`.

    Returns:
        Scores in [0, 1], float64.
    """
    counts, totals = _count_active(active, tokens, labels, memory)
    share = counts / totals
    even = share.mean(0)
    ratio = share / np.where(even > 0, even, 1.0)
    # The mean of C q ln (C q) is ln C - H.
    missing = (xlogy(ratio, ratio).mean(0) / np.log(len(share))).clip(0, 1)
    uneven = share.max(0) > share.min(0)
    return np.where((share > np.quantile(share, BAR)) & uneven, missing, 0.0)


def _count_active(
    active: Matrix, tokens: Labels, labels: Labels, memory: int
) -> tuple[Float[np.ndarray, "concept unit"], Float[np.ndarray, "concept 1"]]:
    """Count, for each concept, the tokens at which each neuron is active, and all its tokens."""
    matrix = as_matrix(active)
    concept, sizes = labels_of(matrix, labels)
    lengths = as_tensor(tokens).to(matrix.device)
    if lengths.shape != (len(matrix),) or bool((lengths < 1).any()):
        raise ScoreError(
            f"token counts have shape {tuple(lengths.shape)} and the least is "
            f"{int(lengths.min())}; give one or more for each of the {len(matrix)} sentences"
        )
    order = concept.argsort(stable=True)
    lengths = lengths[order].double().unsqueeze(1)

    def count(chunk: Float[Tensor, "sentence chunk"], first_unit: int) -> dict[str, Tensor]:
        exact = chunk[order].double() * lengths
        whole = exact.round()
        wrong = ~((exact - whole).abs() <= ROUNDING * lengths) | (whole < 0) | (whole > lengths)
        if bool(wrong.any()):
            sentence, unit = (int(i) for i in wrong.nonzero()[0])
            raise ScoreError(
                f"unit {first_unit + unit} is active at {float(exact[sentence, unit]):.6g} of the "
                f"{int(lengths[sentence])} tokens of sentence {int(order[sentence])}; give whole "
                "numbers of tokens as shares, as the pooling 'active' does"
            )
        return {"counts": sum_by_concept(whole.T, sizes)}

    counts = map_units(count, matrix, memory)["counts"]
    totals = sum_by_concept(lengths.T, sizes)
    return by_concept(counts), by_concept(totals)


ACTIVATION_FREQUENCY = Score(activation_frequency, counts_tokens=True, title="activation frequency")
LAPE = Score(lape, counts_tokens=True, below_chance=False, all_units=True, title="1 - LAPE")
