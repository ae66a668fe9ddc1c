"""What it takes to make a plan of many numbers: steering vectors at all blocks of a large model."""

from itertools import pairwise

import numpy as np
from contest import Row, medians, times_faster

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.methods.steering_vectors import VECTOR_SITE, SteeringVectors

LAYERS, WIDTH = 70, 7_000
REPEATS = 5


def rows() -> list[Row]:
    """Make a plan from arrays, and check and sort its numbers one by one, as was done before."""
    space = UnitSpace(VECTOR_SITE, tuple(range(LAYERS)), (WIDTH,) * LAYERS)
    numbers = np.random.default_rng(0).standard_normal((1, len(space)), dtype=np.float32)
    vectors = SteeringVectors(("deu_Latn",), space, {"mean_difference": numbers}, {})

    def one_by_one() -> None:
        layers, indices = space.addresses(np.arange(len(space)))
        units = sorted(zip(layers.tolist(), indices.tolist(), numbers[0].tolist(), strict=True))
        assert not any(unit[:2] == following[:2] for unit, following in pairwise(units))
        tuple(zip(*units, strict=True))

    seconds = medians(
        {
            "arrays": lambda: vectors.intervention("deu_Latn", layer=space.layers),
            "tuples": one_by_one,
        },
        repeats=REPEATS,
    )
    what = f"a plan of {len(space):,} numbers, as arrays"
    return [times_faster(what, "sorted as tuples", seconds["arrays"], seconds["tuples"], ">= 4")]
