"""Router logits of a mixture of experts as units: read and scored on every host, never steered."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nnsight
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from steer_plugin import Intervention, ParallelCorpus, ProbeSettings, adapt, find_experts
from steer_plugin.activations.sites import parse_units
from steer_plugin.errors import InterventionError, SiteError
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import gather
from steer_plugin.settings.names import ROUTER

from support import saved_models
from support.tiny_models import Tiny

TEXTS = ["air ant apple bark", "cat", "desk ear egg eye farm fire fish"]
EXPERTS = (2, 2, 2)


@pytest.fixture(scope="module", params=["transformers", "nnsight", "transformer_lens"])
def adapter(request: pytest.FixtureRequest, tiny_model: Callable[[str], Tiny]) -> Adapter:
    tiny = tiny_model("mixtral")
    models: dict[str, Any] = {
        "transformers": tiny.plain,
        "nnsight": nnsight.NNsight(copy.deepcopy(tiny.plain)),
        "transformer_lens": tiny.bridge,
    }
    return adapt(models[request.param], tokenizer=tiny.tokenizer, bos=True)


def test_they_are_what_transformers_records(
    adapter: Adapter, tiny_model: Callable[[str], Tiny]
) -> None:
    tiny = tiny_model("mixtral")
    rows = []
    for text in TEXTS:
        with torch.no_grad():
            ids = torch.tensor(tiny.tokenizer([text])["input_ids"])
            output = tiny.plain.model(ids, output_router_logits=True)
        rows.append(torch.cat([logits[1:].amax(0) for logits in output.router_logits]))

    answers = gather(adapter, TEXTS, [Reading(ROUTER, "max")])[Reading(ROUTER, "max")]

    assert adapter.space(ROUTER).widths == EXPERTS
    torch.testing.assert_close(answers, torch.stack(rows), rtol=0, atol=1e-5)


def test_they_are_scored_like_any_unit(adapter: Adapter, tmp_path: Path) -> None:
    corpus = ParallelCorpus.read(saved_models.save_corpus(tmp_path / "all.tsv"))
    texts, labels = corpus.labelled()
    reading = Reading(ROUTER, "max")

    table = find_experts(adapter, corpus, ProbeSettings(site=ROUTER))

    logits = gather(adapter, texts, [reading])[reading].numpy()
    for row in range(len(corpus.concepts)):
        wanted = [roc_auc_score(labels == row, column) for column in logits.T]
        np.testing.assert_allclose(table.scores[row], wanted, atol=1e-6)
    with pytest.raises(InterventionError, match="cannot be steered"):
        table.intervention(corpus.concepts[0], top_k=1)


def test_a_plan_there_is_refused_since_it_would_do_nothing() -> None:
    with pytest.raises(
        InterventionError, match=r"^units at mlp\.hook_router_logits are read and cannot be steered"
    ):
        Intervention(ROUTER, (0,), (1,), (1.0,))


@pytest.mark.parametrize("host", ["transformers", "transformer_lens"])
def test_a_dense_model_has_none(host: str, tiny_model: Callable[[str], Tiny]) -> None:
    tiny = tiny_model("llama")
    model = tiny.plain if host == "transformers" else tiny.bridge
    with pytest.raises(SiteError, match=r"has no mlp\.hook_router_logits in layer 0"):
        adapt(model, tokenizer=tiny.tokenizer).space(ROUTER)


def test_neurons_within_an_expert_are_refused_by_name() -> None:
    with pytest.raises(SiteError, match=r"'L3E5N17' is a neuron within one expert, .*models\.md$"):
        parse_units(["L3E5N17"], "mlp.hook_post")
