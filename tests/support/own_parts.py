"""Registering parts for the length of a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from steer_plugin.registry import Registry


@contextmanager
def as_before(*registries: Registry[Any, Any]) -> Iterator[None]:
    """Leave registries as they were before the block."""
    before = [dict(registry._parts) for registry in registries]
    try:
        yield
    finally:
        for registry, parts in zip(registries, before, strict=True):
            registry._parts.clear()
            registry._parts.update(parts)
