"""The two sides of a corpus: what finds experts, and what judges them."""

import hashlib
from collections.abc import Hashable, Sequence

from steer_plugin.errors import CorpusError


def divide(
    ids: Sequence[str],
    alike: Sequence[Sequence[Hashable]],
    kinds: Sequence[str],
    *,
    seed: int,
    find: float,
    groups: int | None,
) -> tuple[list[int], list[int]]:
    """Divide rows into those that find and those that judge.

    Rows are ordered by the SHA-256 of seed and id. Those that share an entry in a column of
    `alike`, directly or through others, stay together: they find where, of every kind, they still
    fit.

    Args:
        ids: of each row.
        alike: columns whose equal entries keep rows together.
        kinds: of each row, such as "sentences"; each kind is divided by the same share.
        seed: another seed, another division.
        find: share of each kind that finds, above 0 and below 1.
        groups: how many groups there are, for messages; None where nothing is known of groups.

    Returns:
        The rows of both sides, each in the order of the digests.

    Raises:
        CorpusError: `find` is out of range, or a side would have none of a kind.
    """
    if not 0 < find < 1:
        raise CorpusError(
            f"find is {find}; give the share of sentences to find experts on, above 0 and below 1"
        )
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    room = {kind: round(find * count) for kind, count in counts.items()}
    order = sorted(range(len(ids)), key=lambda row: _digest(seed, ids[row]))
    cluster = _clusters(alike)
    clusters: dict[int, list[int]] = {}
    for row in order:
        clusters.setdefault(cluster[row], []).append(row)
    find_side: set[int] = set()
    for members in clusters.values():
        wanted = [kinds[row] for row in members]
        if all(wanted.count(kind) <= room[kind] for kind in set(wanted)):
            find_side.update(members)
            for kind in wanted:
                room[kind] -= 1
    finding = [kinds[row] for row in find_side]
    for kind, count in counts.items():
        if not 0 < finding.count(kind) < count:
            of_groups = "" if groups is None else f" of {groups} groups"
            raise CorpusError(
                f"find={find} leaves one side of {count} {kind}{of_groups} empty; give more "
                f"{'groups' if of_groups else 'sentences without repetitions'}, or another share"
            )
    return (
        [row for row in order if row in find_side],
        [row for row in order if row not in find_side],
    )


def _digest(seed: int, sentence_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{sentence_id}".encode()).digest()


def _clusters(columns: Sequence[Sequence[Hashable]]) -> list[int]:
    """Number the rows so that those which share an entry, directly or not, share a number."""
    parent = list(range(len(columns[0])))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first: dict[Hashable, int] = {}
    for column in columns:
        for row, entry in enumerate(column):
            parent[root(row)] = root(first.setdefault(entry, row))
    return [root(row) for row in range(len(parent))]
