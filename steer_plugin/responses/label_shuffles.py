"""Labels that say nothing: those of rows, permuted among what is exchangeable."""

import numpy as np
from jaxtyping import Int

Rows = Int[np.ndarray, " row"]


def shuffled_labels(labels: Rows, sentences: Rows | None, groups: Rows | None, seed: int) -> Rows:
    """Permute labels within parallel sentences, of whole groups, or of all rows.

    Args:
        labels: of the rows.
        sentences: which parallel sentence each row is; None where none is parallel.
        groups: the group of each row; None where nothing is known of groups.
        seed: of the permutations, 0 or more.
    """
    generator = np.random.default_rng(seed)
    of_groups = _group_labels(labels, sentences, groups)
    if groups is not None and of_groups is not None:
        _, group = np.unique(groups, return_inverse=True)
        drawn_labels: Rows = generator.permutation(of_groups)[group]
        return drawn_labels
    chance = generator.random(len(labels))
    block = np.zeros_like(labels) if sentences is None else sentences
    permuted = np.empty_like(labels)
    permuted[np.lexsort((chance, block))] = labels[np.argsort(block, kind="stable")]
    return permuted


def shuffled_note(labels: Rows, sentences: Rows | None, groups: Rows | None, seed: int) -> str:
    """Say how `Probe.shuffled` permutes the labels of such rows."""
    by_group = _group_labels(labels, sentences, groups) is not None
    return f"shuffled{' by group' if by_group else ''}, seed {seed}"


def _group_labels(
    labels: Rows, sentences: Rows | None, groups: Rows | None
) -> Int[np.ndarray, " group"] | None:
    """Give the label of each group where each has one, and texts are not parallel."""
    if groups is None or sentences is not None:
        return None
    names, of_groups = np.unique(np.stack([groups, labels]), axis=1)
    return of_groups if len(set(names.tolist())) == len(names) else None
