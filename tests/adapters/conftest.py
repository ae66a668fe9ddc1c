"""A tiny model, its oracle and its trace, for tests that name the `model` they are of."""

import copy
from collections.abc import Callable, Sequence

import nnsight
import pytest

from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.models.adapter import Adapter

from support.oracle import Oracle
from support.tiny_models import Tiny


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest, tiny_model: Callable[[str], Tiny]) -> Tiny:
    """Give the model of an architecture, which tests choose indirectly."""
    return tiny_model(getattr(request, "param", "gpt2"))


@pytest.fixture(scope="module")
def oracle(model: Tiny) -> Oracle:
    """Give the plain model."""
    return Oracle(model.architecture, model.plain, model.tokenizer, bos=True)


@pytest.fixture(scope="module")
def traced(model: Tiny) -> nnsight.NNsight:
    """Give the model for nnsight."""
    return nnsight.NNsight(copy.deepcopy(model.plain))


@pytest.fixture(scope="module")
def adapters(model: Tiny, traced: nnsight.NNsight) -> Sequence[Adapter]:
    """Give the model on each host."""
    return (
        BridgeAdapter(model.bridge, tokenizer=model.tokenizer, bos=True),
        TraceAdapter(traced, tokenizer=model.tokenizer, bos=True),
    )


@pytest.fixture(params=["transformer_lens", "nnsight"])
def adapter(request: pytest.FixtureRequest, adapters: Sequence[Adapter]) -> Adapter:
    """Give the model on one host after the other."""
    return adapters[request.param == "nnsight"]
