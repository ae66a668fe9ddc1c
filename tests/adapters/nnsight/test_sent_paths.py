"""For which models a request takes along where their sites are."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import nnsight
import pytest

from steer_plugin.adapters.nnsight.sent_paths import _models_in

from support.tiny_models import Tiny


@pytest.mark.parametrize("place", ["the tracer", "a local", "a global", "an object"])
def test_a_model_is_seen_wherever_it_is_held_and_its_parts_are_none(
    place: str, tiny_model: Callable[[str], Tiny]
) -> None:
    model = nnsight.NNsight(tiny_model("llama").plain)
    names: dict[str, Any] = {"held": SimpleNamespace(held=model) if place == "an object" else model}
    parts: dict[str, Any] = {"attention": model.model.layers[0].self_attn, "numbers": [1]}
    tracer: Any = SimpleNamespace(
        envoy=model if place == "the tracer" else None,
        info=SimpleNamespace(
            frame=SimpleNamespace(
                f_globals=names if place == "a global" else {},
                f_locals=parts | (names if place in ("a local", "an object") else {}),
            )
        ),
    )

    assert _models_in(tracer) == [model]
