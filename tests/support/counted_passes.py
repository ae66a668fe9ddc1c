"""Which texts pass through an adapter, under which plan, and how often."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from steer_plugin.adapters.shared.fingerprint import TEXT

Passed = Counter[tuple[str, Any]]
"""By text and plan; the fixed text that a model is identified by is left out."""


@contextmanager
def counted_passes(adapter: Any) -> Iterator[Passed]:
    """Count the texts of each batch that an adapter reads."""
    passed: Passed = Counter()
    collect = adapter.collect

    def counted(texts: list[str], readings: Any, *, intervention: Any = None) -> Iterator[Any]:
        for batch in collect(texts, readings, intervention=intervention):
            passed.update((texts[row], intervention) for row in batch.rows if texts != [TEXT])
            yield batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapter, "collect", counted)
        yield passed
