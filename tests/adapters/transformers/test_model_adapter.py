"""A plain model of transformers, against hooks by hand and under whatever calls it."""

import collections
import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from steer_plugin import Intervention, ModelSettings, adapt, steered
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.adapters.shared.module_hooks import module_hooks
from steer_plugin.errors import InterventionError, ModelError, SiteError
from steer_plugin.models.adapter import Reading
from steer_plugin.responses.forward_pass import gather

from support import saved_models, tiny_models
from support.covering import pairwise
from support.oracle import Oracle
from support.oracle import Plan as OraclePlan
from support.plans import intervention, plan

TEXTS = ["air ant apple bark", "cat", "desk ear egg eye farm fire fish"]
PLAN = Intervention("hook_resid_post", (1, 1, 2), (0, 3, 5), (2.0, -1.0, 1.0), "set")


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_models.model("llama")


@pytest.fixture(scope="module")
def tokenizer(shipped: Callable[[str], Any]) -> Any:
    return shipped("llama")


@contextmanager
def by_hand(model: Any) -> Iterator[None]:
    """Do `PLAN` by hooks, at every token."""
    handles = []
    for layer in (1, 2):
        units = {
            int(index): value
            for at, index, value in zip(PLAN.layers, PLAN.indices, PLAN.values, strict=True)
            if at == layer
        }

        def write(_: Any, __: Any, output: Tensor, units: dict[int, float] = units) -> Tensor:
            output = output.clone()
            for index, value in units.items():
                output[..., index] = value
            return output

        handles.append(model.model.layers[layer].register_forward_hook(write))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def logits(model: Any, ids: Tensor, **settings: Any) -> Tensor:
    with torch.no_grad():
        answer: Tensor = model(ids, **settings).logits
    return answer


@pytest.fixture(scope="module")
def ids(tokenizer: Any) -> Tensor:
    return torch.tensor(tokenizer(TEXTS[:1])["input_ids"])


@pytest.mark.parametrize(
    ("architecture", "operation", "positions"),
    pairwise(
        ("llama", "gpt2", "bloom", "opt"),
        ("set", "add", "affine"),
        ("all", "prompt", "last", "generated"),
    ),
)
def test_each_verb_does_what_plain_hooks_do(
    architecture: str, operation: str, positions: str, shipped: Callable[[str], Any]
) -> None:
    plain = tiny_models.model(architecture)
    oracle = Oracle(architecture, copy.deepcopy(plain), shipped("llama"), bos=True)
    adapter = adapt(plain, tokenizer=shipped("llama"))
    step: OraclePlan = plan("mlp.hook_post", operation, positions=positions)
    given = intervention(step)

    reading = Reading("hook_resid_post", "mean")
    answers = gather(adapter, TEXTS, [reading], intervention=given)
    texts = adapter.generate(TEXTS, intervention=given, max_new_tokens=4, temperature=0)
    losses = adapter.losses(TEXTS, intervention=given)

    keys = [("hook_resid_post", layer) for layer in range(tiny_models.N_LAYERS)]
    np.testing.assert_allclose(
        answers[reading].numpy(),
        oracle.responses(TEXTS, keys, "mean", step),
        rtol=1e-5,
        atol=1e-5,
    )
    assert list(texts.texts) == [oracle.greedy(text, 4, step) for text in TEXTS]
    for text, loss in zip(TEXTS, losses, strict=True):
        np.testing.assert_allclose(loss, oracle.losses(text, 64, 32, step), rtol=1e-4, atol=1e-4)


def test_class_and_modules_are_left_as_they_are(model: Any, tokenizer: Any, ids: Tensor) -> None:
    before = {name: type(part) for name, part in model.named_modules()}
    bare = logits(model, ids)

    adapter = adapt(model, tokenizer=tokenizer)
    gather(adapter, TEXTS, [Reading("mlp.hook_post", "max")], intervention=PLAN)

    assert {name: type(part) for name, part in model.named_modules()} == before
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    assert torch.equal(logits(model, ids), bare)


def test_a_folder_is_loaded_by_name(tmp_path: Path) -> None:
    folder = saved_models.save_model(tmp_path / "tiny")
    adapter = load_adapter(ModelSettings(str(folder), host="transformers"))

    assert adapter.info.host.startswith("transformers ")
    assert adapter.identify().fingerprint
    assert adapter.generate(["air"], max_new_tokens=2, temperature=0).texts


def test_a_pipeline_is_steered(model: Any, tokenizer: Any) -> None:
    write = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)
    settings: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False, "return_full_text": False}
    with by_hand(model):
        wanted = write(TEXTS, **settings)
    bare = write(TEXTS, **settings)

    with steered(model, PLAN):
        assert write(TEXTS, **settings) == wanted != bare
    assert write(TEXTS, **settings) == bare


def test_an_evaluation_of_trainer_is_steered(model: Any, tmp_path: Path, ids: Tensor) -> None:
    rows = [{"input_ids": ids[0], "labels": ids[0]}] * 3
    trainer = transformers.Trainer(
        model,
        transformers.TrainingArguments(str(tmp_path), use_cpu=True, report_to=[]),
        eval_dataset=rows,
    )
    with by_hand(model):
        wanted = trainer.evaluate()["eval_loss"]
    bare = trainer.evaluate()["eval_loss"]

    with steered(model, PLAN):
        assert trainer.evaluate()["eval_loss"] == pytest.approx(wanted, abs=1e-6)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(bare, abs=1e-6)
    assert wanted != pytest.approx(bare, abs=1e-3)


def test_what_was_compiled_is_steered_inside_the_block_and_only_there(ids: Tensor) -> None:
    model = tiny_models.model("llama")
    with by_hand(model):
        wanted = logits(model, ids)
    compiled: Any = torch.compile(model, backend="eager")
    bare = logits(compiled, ids)

    with steered(compiled, PLAN):
        torch.testing.assert_close(logits(compiled, ids), wanted)
    torch.testing.assert_close(logits(compiled, ids), bare)


def checkpointed(model: Any) -> None:
    enable = getattr(model, "activation_checkpointing_enable", None)
    (enable or model.gradient_checkpointing_enable)()


def test_gradients_with_checkpointing_are_those_of_steered_passes(ids: Tensor) -> None:
    def gradient(model: Any) -> Tensor:
        model.zero_grad()
        model(ids, labels=ids, use_cache=False).loss.backward()
        weight: Tensor = model.model.layers[0].mlp.up_proj.weight
        assert weight.grad is not None
        return weight.grad.clone()

    model = tiny_models.model("llama").train()
    with by_hand(model):
        wanted = gradient(model)
    bare = gradient(model)
    checkpointed(model)

    with steered(model, PLAN):
        torch.testing.assert_close(gradient(model), wanted)
    torch.testing.assert_close(gradient(model), bare)


def test_two_checkpointed_passes_at_once_are_refused_where_their_tokens_differ(
    ids: Tensor,
) -> None:
    model = tiny_models.model("llama").train()
    checkpointed(model)
    mask = torch.ones_like(ids)
    mask[0, 0] = 0

    with steered(model, Intervention("mlp.hook_post", (0,), (1,), (2.0,))):
        losses = [
            model(ids, attention_mask=each, labels=ids, use_cache=False).loss
            for each in (torch.ones_like(ids), mask)
        ]
        with pytest.raises(InterventionError, match="run backward after each pass"):
            sum(losses).backward()


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # asked by PEFT
@pytest.mark.parametrize("merged", [False, True])
def test_a_model_with_adapters_of_peft_is_steered(ids: Tensor, merged: bool) -> None:
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(r=2, target_modules=["down_proj", "q_proj"], init_lora_weights=False)
    model = peft.get_peft_model(tiny_models.model("llama"), settings).eval()
    if merged:
        model = model.merge_and_unload()
    inner = model if merged else model.get_base_model()
    with by_hand(inner):
        wanted = logits(model, ids)
    bare = logits(model, ids)

    with steered(model, PLAN):
        torch.testing.assert_close(logits(model, ids), wanted)
    torch.testing.assert_close(logits(model, ids), bare)
    assert not torch.allclose(wanted, bare)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # asked by PEFT
def test_adapters_of_peft_are_recorded_by_name(tokenizer: Any) -> None:
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(r=2, target_modules=["down_proj"])
    base = tiny_models.model("llama")
    base.config.name_or_path = "tiny"
    names = [adapt(base, tokenizer=tokenizer).info.name]
    model = peft.get_peft_model(base, settings, adapter_name="polite")
    names.append(adapt(model, tokenizer=tokenizer).info.name)
    names.append(adapt(model, tokenizer=tokenizer, name="mine").info.name)

    assert names == ["tiny", "tiny + polite", "mine"]


def test_what_was_compiled_is_steered_by_the_verbs_too(tokenizer: Any) -> None:
    model = tiny_models.model("llama")
    adapter = adapt(model, tokenizer=tokenizer)
    wanted = adapter.losses(TEXTS[:1], intervention=PLAN)[0]
    model.compile(backend="eager")
    adapter.losses(TEXTS[:1])

    np.testing.assert_array_equal(adapter.losses(TEXTS[:1], intervention=PLAN)[0], wanted)


def test_a_plan_inside_of_a_block_is_set_whatever_texts_the_block_is_for(
    ids: Tensor,
) -> None:
    model = tiny_models.model("llama")
    mask = [[True] * ids.shape[1]]
    one_text = Intervention("hook_resid_post", (1,), (0,), (3.0,), "set", positions=mask)
    with steered(model, one_text), steered(model, PLAN):
        assert logits(model, ids).isfinite().all()


def test_a_named_tuple_that_a_block_gives_is_steered() -> None:
    output_of = collections.namedtuple("output_of", "hidden weights")

    class Block(torch.nn.Module):
        def forward(self, given: Tensor) -> Any:
            return output_of(given, None)

    model = torch.nn.ModuleDict({"block": Block()})
    with module_hooks(model, [(("block", "output"), lambda hidden: hidden + 1)]):
        output = model["block"](torch.zeros(2))

    assert output.hidden.tolist() == [1, 1]


def test_prompt_in_pieces_is_steered_by_the_length_of_the_cache(ids: Tensor, model: Any) -> None:
    last = Intervention("hook_resid_post", (1,), (0,), (3.0,), "set", positions="prompt")
    with steered(model, last):
        whole = logits(model, ids)
    with steered(model, last, prompt_length=ids.shape[1]), torch.no_grad():
        first = model(ids[:, :2], use_cache=True)
        second = model(ids[:, 2:], past_key_values=first.past_key_values).logits

    torch.testing.assert_close(second, whole[:, 2:])


def test_a_pass_of_embeddings_is_refused(ids: Tensor, model: Any) -> None:
    embeddings = model.get_input_embeddings()(ids).detach()
    with steered(model, PLAN):
        logits(model, ids)
        with pytest.raises(InterventionError, match="give ids, not embeddings"):
            model(inputs_embeds=embeddings)


def test_a_pass_of_embeddings_is_refused_where_blocks_put_all_tokens_in_one_row() -> None:
    opt = tiny_models.model("opt")
    given = Intervention("mlp.hook_post", (0,), (0,), (2.0,))
    embeddings = torch.ones(1, 3, tiny_models.D_MODEL)
    with steered(opt, given), pytest.raises(InterventionError, match="give ids, not embeddings"):
        opt(inputs_embeds=embeddings)


def test_a_mask_by_position_is_one_by_name(ids: Tensor, model: Any) -> None:
    padded = torch.cat([torch.full((1, 2), 5), ids], 1)
    mask = torch.ones_like(padded)
    mask[:, :2] = 0
    first = Intervention("hook_resid_post", (1,), (0,), (3.0,), "set", positions=slice(0, 1))
    with steered(model, first), torch.no_grad():
        named = model(padded, attention_mask=mask).logits
        placed = model(padded, mask).logits

    assert torch.equal(placed, named)


@pytest.mark.filterwarnings("error")
def test_a_plan_that_refuses_a_pass_is_heard_and_the_next_is_steered(
    ids: Tensor, model: Any
) -> None:
    one_text = Intervention(
        "hook_resid_post", (1,), (0,), (3.0,), "set", positions=[[True] * ids.shape[1]]
    )
    with steered(model, one_text):
        with pytest.raises(InterventionError):
            logits(model, ids.repeat(2, 1))
        logits(model, ids)


@pytest.mark.parametrize("inside", ["model.layers.0", "lm_head"])
def test_after_an_interrupt_passes_are_told_apart_as_before(
    inside: str, ids: Tensor, model: Any
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    shorter = ids[:, :2]
    with steered(model, PLAN):
        wanted = logits(model, shorter)
        handle = model.get_submodule(inside).register_forward_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            logits(model, ids)
        handle.remove()
        assert torch.equal(logits(model, shorter), wanted)


def steered_logits(model: Any, ids: Tensor, given: Intervention, removed: bool = False) -> None:
    with steered(model, given):
        if removed:
            model.model.layers[1]._forward_hooks.clear()
        logits(model, ids)


def test_hooks_that_are_removed_inside_the_block_are_told(model: Any, ids: Tensor) -> None:
    with pytest.raises(InterventionError, match="hooks were removed"):
        steered_logits(model, ids, PLAN, removed=True)


def test_what_is_not_in_the_model_is_refused_by_name(model: Any, ids: Tensor) -> None:
    for layer, index, message in ((1, 999, "L1N999 does not exist"), (7, 0, "layer 7 does not")):
        with pytest.raises(SiteError, match=message):
            steered_logits(model, ids, Intervention("hook_resid_post", (layer,), (index,), (1.0,)))
    with pytest.raises(ModelError, match="runs here; NDIF runs nnsight models"):
        adapt(model, remote=True)
