"""Masked pooling against one sentence at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from steer_plugin.activations.pooling import ACTIVE, pool, pooler
from steer_plugin.errors import ModelError
from steer_plugin.settings.names import Pooling
from steer_plugin.settings.parts import POOLINGS

from support.oracle import pooled

TEXTS, TOKENS, UNITS = 4, 5, 3


@st.composite
def padded(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draw activations with ties, signs and zeros, and a mask with holes, at least one a text."""
    numbers = st.sampled_from([-2.5, -1.0, -0.0, 0.0, 1.0, 1.0, 3.75])
    activations = draw(arrays.arrays(np.float64, (TEXTS, TOKENS, UNITS), elements=numbers))
    valid = draw(arrays.arrays(np.bool_, (TEXTS, TOKENS)))
    valid[np.arange(TEXTS), draw(arrays.arrays(np.intp, TEXTS, elements=st.integers(0, 4)))] = True
    return activations, valid


@pytest.mark.parametrize("pooling", [*POOLINGS, ACTIVE])
@settings(max_examples=40)
@given(sentences=padded())
def test_each_sentence_is_pooled_over_its_valid_tokens(
    pooling: Pooling, sentences: tuple[np.ndarray, np.ndarray]
) -> None:
    activations, valid = sentences

    found = pool(torch.from_numpy(activations), torch.from_numpy(valid), pooling)

    for text, response in enumerate(found.numpy()):
        wanted = pooled(activations[text][valid[text]], pooling)
        np.testing.assert_allclose(response, wanted, rtol=0, atol=1e-15)


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("pooling", [*POOLINGS, ACTIVE])
def test_what_stands_in_padding_does_not_leak(pooling: Pooling, garbage: float) -> None:
    activations = torch.tensor([[[1.0], [garbage], [-2.0], [garbage]]])
    valid = torch.tensor([[True, False, True, False]])

    found = pool(activations, valid, pooling)

    wanted = {"max": 1.0, "min": -2.0, "mean": -0.5, "last": -2.0, "active": 0.5}
    assert found.tolist() == [[wanted[pooling]]]


@pytest.mark.parametrize("pooling", ["max", "mean", "min", "active"])
def test_nan_at_a_valid_token_is_not_hidden(pooling: Pooling) -> None:
    activations = torch.tensor([[[1.0], [float("nan")]]] * 3)
    valid = torch.tensor([[True, True], [False, True], [True, False]])

    for few in (valid[:1], valid[:2], valid):
        nan = pool(activations[: len(few)], few, pooling).isnan()
        assert nan[:, 0].tolist() == few[:, 1].tolist()


@pytest.mark.parametrize("pooling", [*POOLINGS, ACTIVE])
@pytest.mark.parametrize(
    ("given_", "answered"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_responses_are_in_float32_or_wider(
    given_: torch.dtype, answered: torch.dtype, pooling: Pooling
) -> None:
    activations = torch.randn((2, 4, 3), generator=torch.Generator().manual_seed(0)).to(given_)
    valid = torch.tensor([[True, True, False, False], [True, True, True, True]])

    found = pool(activations, valid, pooling)

    assert found.dtype == answered
    for text, tokens in enumerate((2, 4)):
        wanted = pooled(activations[text, :tokens].double().numpy(), pooling)
        np.testing.assert_allclose(found[text], wanted, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_active_counts_tokens_above_zero_and_their_number_comes_back(dtype: torch.dtype) -> None:
    tokens = 4_000
    activations = torch.full((1, tokens, 3), torch.finfo(dtype).smallest_normal, dtype=dtype)
    activations[0, 0, :] = torch.tensor([0.0, -0.0, -1.0], dtype=dtype)
    activations[0, 1:1234, 1] = -5

    found = pool(activations, torch.ones((1, tokens), dtype=torch.bool), "active")

    assert (found.double() * tokens).round().tolist() == [[3_999, 2_766, 3_999]]
    assert (found * tokens - torch.tensor([[3_999, 2_766, 3_999]])).abs().max() < 1e-3


def test_a_pooling_that_is_not_to_be_had_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="'median' is not a pooling; choose one of: max, mean, mi"):
        pooler("median")
    with pytest.raises(ModelError, match=r"'active' is not a pooling; .*: max, mean, min, last$"):
        POOLINGS.check("active")


def test_the_mean_of_bfloat16_is_summed_in_float32() -> None:
    activations = torch.ones((1, 1000, 1), dtype=torch.bfloat16)
    activations[0, 0] = 256

    found = pool(activations, torch.ones((1, 1000), dtype=torch.bool), "mean")

    assert found.item() == pytest.approx(1.255)
