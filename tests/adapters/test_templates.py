"""What a tokenizer puts around a text, on every host: it runs, and is in no response."""

import copy
from collections.abc import Callable
from typing import Any

import nnsight
import numpy as np
import pytest
from tokenizers import processors

from steer_plugin.adapters.nnsight.trace_adapter import TraceAdapter
from steer_plugin.adapters.transformer_lens.bridge_adapter import BridgeAdapter
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import gather

from support.oracle import Oracle
from support.tiny_models import BOS, EOS, SPECIAL, Tiny

BOS_ID, EOS_ID = SPECIAL.index(BOS), SPECIAL.index(EOS)
SITE = "hook_resid_post"
KEYS = [(SITE, layer) for layer in range(3)]
TEXTS = ["air ant bay", "cat", "desk ear fire hand jar key lake"]
# As XGLM ships it, and with an end as well.
TEMPLATES = {f"{EOS} $A": (1, 0), f"{BOS} $A {EOS}": (1, 1)}


@pytest.fixture(params=["transformer_lens", "nnsight"])
def adapter_with(
    request: pytest.FixtureRequest, tiny_model: Callable[[str], Tiny]
) -> Callable[[str], Adapter]:
    def make(single: str) -> Adapter:
        model = tiny_model("xglm")
        tokenizer: Any = copy.deepcopy(model.tokenizer)
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=single, special_tokens=[(token, SPECIAL.index(token)) for token in (BOS, EOS)]
        )
        if request.param == "nnsight":
            return TraceAdapter(nnsight.NNsight(copy.deepcopy(model.plain)), tokenizer=tokenizer)
        return BridgeAdapter(model.bridge, tokenizer=tokenizer)

    return make


@pytest.fixture
def oracle(tiny_model: Callable[[str], Tiny]) -> Oracle:
    model = tiny_model("xglm")
    return Oracle("xglm", model.plain, model.tokenizer, bos=False)


@pytest.mark.parametrize("single", TEMPLATES)
@pytest.mark.parametrize("written", [False, True])
def test_it_runs_once_and_is_not_pooled(
    single: str, written: bool, adapter_with: Callable[[str], Adapter], oracle: Oracle
) -> None:
    """Also where a text has it in itself already, as a chat template writes it."""
    before, after = TEMPLATES[single]
    adapter, reading = adapter_with(single), Reading(SITE, "mean")
    texts = [single.replace("$A", text) if written else text for text in TEXTS]

    found = gather(adapter, texts, [reading])[reading].numpy()

    for row, text in zip(found, TEXTS, strict=True):
        ids = adapter.tokens.tokenizer(text)["input_ids"]  # type: ignore[attr-defined]
        _, read = oracle.forward(ids, read=KEYS)
        wanted = [read[key][before : len(ids) - after].mean(0) for key in KEYS]
        np.testing.assert_allclose(row, np.concatenate(wanted), rtol=0, atol=1e-5)


def test_texts_and_losses_begin_with_it(
    adapter_with: Callable[[str], Adapter], oracle: Oracle
) -> None:
    adapter = adapter_with(f"{EOS} $A")

    texts = adapter.generate([TEXTS[0], ""], max_new_tokens=5, temperature=0).texts
    (losses,) = adapter.losses(TEXTS[:1])

    for text, prompt in zip(texts, (TEXTS[0], ""), strict=True):
        ids = [EOS_ID, *oracle.ids(prompt)]
        for _ in range(5):
            ids.append(int(oracle.forward(ids)[0][-1].argmax()))
        new = ids[1 + len(oracle.ids(prompt)) :]
        ended = new[: new.index(EOS_ID)] if EOS_ID in new else new
        assert text == oracle.tokenizer.decode(ended, skip_special_tokens=True)
    ids = [EOS_ID, *oracle.ids(TEXTS[0])]
    wanted = -oracle.forward(ids)[0].log_softmax(-1)[range(3), ids[1:]]
    np.testing.assert_allclose(losses, wanted, rtol=0, atol=1e-5)
