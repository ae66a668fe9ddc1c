"""Checks of annotations at run time, as `tests/conftest.py` puts them on the package."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

# The numeric tower lets an int stand where a float is annotated, as for mypy.
_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(call: Callable[..., Any]) -> Callable[..., Any]:
    """Check what a function is given and gives, but for functions made inside of others.

    Those are made anew at each call, and a check is dearer to make than most calls are.
    """
    return call if "<locals>" in call.__qualname__ else _checked(call)


@contextmanager
def without_checks() -> Iterator[None]:
    """Call the package as its users do, for a block."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)
