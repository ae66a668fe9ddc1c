"""Places for labels beside points, where they cover nothing."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

Pixels = Float[np.ndarray, "point 2"]
"""From the left and from the top."""

Obstacles = Float[np.ndarray, "obstacle 2"]
"""The same, of what a label may not cover."""

_LETTER = 6.2
_TALL = 12.0
_MARGIN = 3.0
_NEARER = 1.6
_SIDES = ((8.0, 10.0), (8.0, -10.0), (-8.0, -10.0), (-8.0, 10.0), (9.0, 0.0), (-9.0, 0.0))


def free_places(
    points: Pixels, texts: Sequence[str], obstacles: Obstacles, size: tuple[float, float]
) -> list[tuple[float, float] | None]:
    """Find a place for each text beside its point, nearer to it than to any other point.

    Args:
        points: where the texts belong, the first to have its place first.
        texts: at the figures' size; "" needs no place.
        obstacles: what no text may cover, the points among them.
        size: width and height of the panel, in pixels.

    Returns:
        The left end and the middle of each text; None where it has no place, or needs none.
    """
    taken = obstacles
    places: list[tuple[float, float] | None] = []
    for point, text in enumerate(texts):
        wide = _LETTER * len(text)
        places.append(None)
        for right, down in _SIDES if text else ():
            left, middle = points[point] + [right - wide * (right < 0), down]
            inside = 0 <= left <= size[0] - wide and _TALL / 2 <= middle <= size[1] - _TALL / 2
            covers = (_away(taken, left, middle, wide) < _MARGIN).any()
            away = _away(points, left, middle, wide)
            others = np.delete(away, point).min(initial=np.inf)
            if inside and not covers and _NEARER * away[point] <= others:
                places[-1] = (float(left), float(middle))
                taken = np.concatenate([taken, _filled(left, middle, wide)])
                break
    return places


def _away(points: Pixels, left: float, middle: float, wide: float) -> Float[np.ndarray, " point"]:
    """Measure how far points are from a label."""
    across = np.maximum(left - points[:, 0], points[:, 0] - left - wide)
    down = np.abs(points[:, 1] - middle) - _TALL / 2
    return np.hypot(np.maximum(across, 0), np.maximum(down, 0))


def _filled(left: float, middle: float, wide: float) -> Obstacles:
    """Give points so dense in a label that no other fits between them."""
    across = np.linspace(left, left + wide, 2 + int(wide // 4))
    lines = [np.stack([across, 0 * across + middle + down], axis=1) for down in (-4.0, 4.0)]
    return np.concatenate(lines)


def along(points: Pixels) -> Obstacles:
    """Give points so dense along a line that no label fits between them.

    Args:
        points: where the line bends, in its order.
    """
    if len(points) == 0:
        return np.empty((0, 2))
    places = np.arange(len(points))
    steps = np.append(np.arange(0, len(points) - 1, 0.02), len(points) - 1)
    return np.stack([np.interp(steps, places, points[:, axis]) for axis in (0, 1)], axis=1)
