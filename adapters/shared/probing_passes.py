"""Passes that look at a model: what steers it leaves them alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_PROBING: ContextVar[bool] = ContextVar("probing", default=False)


@contextmanager
def unsteered() -> Iterator[None]:
    """Let the passes inside the block by, whatever plans are set."""
    token = _PROBING.set(True)
    try:
        yield
    finally:
        _PROBING.reset(token)


def probing() -> bool:
    """Tell whether a pass is one that looks at the model."""
    return _PROBING.get()
