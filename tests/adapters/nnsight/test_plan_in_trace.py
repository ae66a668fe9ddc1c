"""`apply_in_trace` in a user's own traces, here and on a server, beside their own reads."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import nnsight
import numpy as np
import pytest
import torch
from nnsight.intervention.backends.remote import RemoteError
from nnsight.modeling.transformers import TransformersModel

from steer_plugin import Intervention, apply_in_trace
from steer_plugin.adapters.nnsight.portable_code import portable

from support import ndif_fixture, saved_models, tiny_models
from support.oracle import Oracle
from support.plans import POSITIONS, composed, intervention, plan

TOLERANCE = 1e-5
TEXT = "air ant apple bark bay"
SHORT = "cat"
CHOSEN = plan("mlp.hook_post", "set")
GIVEN = intervention(CHOSEN)


ON_A_SERVER = pytest.param(True, id="on a server", marks=pytest.mark.xdist_group("ndif"))


@pytest.fixture(params=[pytest.param(False, id="here"), ON_A_SERVER])
def remote(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param:
        server = request.getfixturevalue("ndif")
        ndif_fixture.connect(server, monkeypatch)
        server.ready(server.models[0])
    return bool(request.param)


@pytest.fixture(scope="module")
def loaded(
    shipped: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> TransformersModel:
    folder = saved_models.save_model(tmp_path_factory.mktemp("models") / "llama")
    return TransformersModel(
        str(folder), task="text-generation", tokenizer=shipped("llama"), dispatch=True
    )


@pytest.fixture
def model(remote: bool, request: pytest.FixtureRequest) -> Any:
    if remote:
        return ndif_fixture.remote_model(request.getfixturevalue("ndif").models[0])
    return request.getfixturevalue("loaded")


@pytest.fixture(scope="module")
def oracle(shipped: Callable[[str], Any]) -> Oracle:
    return Oracle("llama", tiny_models.model("llama"), shipped("llama"), bos=True)


def logits_of(oracle: Oracle, text: str, chosen: Any = CHOSEN) -> np.ndarray:
    return oracle.forward(oracle.ids(text), chosen)[0].numpy()


def assert_close(found: torch.Tensor, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=0, atol=TOLERANCE)


def test_in_a_trace_with_reads_of_any_layer(model: Any, remote: bool, oracle: Oracle) -> None:
    with model.trace(TEXT, remote=remote):
        apply_in_trace(model, GIVEN)
        early = model.model.layers[0].mlp.down_proj.input.clone().save()
        late = model.model.layers[2].output.clone().save()
        logits = model.output.logits.save()

    _, found = oracle.forward(
        oracle.ids(TEXT), CHOSEN, read=[("mlp.hook_post", 0), ("hook_resid_post", 2)]
    )
    assert_close(early[0], found["mlp.hook_post", 0].numpy())
    assert_close(late[0], found["hook_resid_post", 2].numpy())
    assert_close(logits[0], logits_of(oracle, TEXT))


def test_padding_is_not_steered(model: Any, remote: bool, oracle: Oracle) -> None:
    with model.trace([TEXT, SHORT], remote=remote):
        apply_in_trace(model, GIVEN)
        neurons = model.model.layers[0].mlp.down_proj.input.clone().save()
        logits = model.output.logits.save()
    with model.trace([TEXT, SHORT], remote=remote):
        before = model.model.layers[0].mlp.down_proj.input.clone().save()

    assert_close(logits[1, -2:], logits_of(oracle, SHORT))
    padded = neurons.shape[1] - 2
    assert padded == 4
    assert torch.equal(neurons[1, :padded], before[1, :padded])
    assert not torch.equal(neurons[1, padded:], before[1, padded:])


@pytest.mark.parametrize("positions", POSITIONS)
def test_while_generating(model: Any, remote: bool, oracle: Oracle, positions: str) -> None:
    chosen = plan("mlp.hook_post", "add", positions=positions, strength=1.0)
    given = intervention(chosen)

    with model.generate(TEXT, max_new_tokens=6, do_sample=False, remote=remote) as tracer:
        apply_in_trace(model, given)
        ids = tracer.result.save()

    found = model.tokenizer.decode(ids[0, len(oracle.ids(TEXT)) :], skip_special_tokens=True)
    assert found == oracle.greedy(TEXT, 6, chosen)


def test_in_one_of_two_invokes(model: Any, remote: bool, oracle: Oracle) -> None:
    with model.trace(remote=remote) as tracer:
        with tracer.invoke(TEXT):
            apply_in_trace(model, GIVEN)
            after = model.output.logits.clone().save()
        with tracer.invoke(TEXT):
            before = model.output.logits.clone().save()

    assert_close(after[0], logits_of(oracle, TEXT))
    assert_close(before[0], logits_of(oracle, TEXT, None))


@pytest.mark.parametrize("site", ["mlp.hook_post", "mlp.hook_pre", "hook_mlp_out"])
@pytest.mark.parametrize("name", ["opt", "xglm"])
def test_in_an_invoke_a_prompt(
    name: str, site: str, shipped: Callable[[str], Any], tmp_path: Path
) -> None:
    """OPT's MLP has [text, token] as one dimension, which is not cut into invokes."""
    prompts, chosen = [TEXT, SHORT, "air ant"], plan(site, "set")
    given, tokenizer = intervention(chosen), shipped(name)
    folder = saved_models.save_model(tmp_path / name, name)
    model = TransformersModel(
        str(folder), task="text-generation", tokenizer=copy.deepcopy(tokenizer), dispatch=True
    )
    logits = []

    with model.trace() as tracer:
        for prompt in prompts:
            with tracer.invoke(prompt):
                apply_in_trace(model, given)
                logits.append(model.output.logits.clone().save())
        with tracer.invoke(SHORT):
            logits.append(model.output.logits.clone().save())

    oracle = Oracle(name, tiny_models.model(name), tokenizer, bos=True)
    for found, prompt, act in zip(logits, [*prompts, SHORT], [chosen] * 3 + [None], strict=True):
        wanted = logits_of(oracle, prompt, act)
        assert_close(found[0, -len(wanted) :], wanted)


def test_in_one_of_two_traces_of_a_session(model: Any, remote: bool, oracle: Oracle) -> None:
    with model.session(remote=remote):
        with model.trace(TEXT):
            apply_in_trace(model, GIVEN)
            after = model.output.logits.save()
        with model.trace(TEXT):
            before = model.output.logits.save()

    assert_close(after[0], logits_of(oracle, TEXT))
    assert_close(before[0], logits_of(oracle, TEXT, None))


def test_in_an_edit_that_stays(model: Any, remote: bool, oracle: Oracle) -> None:
    with model.edit() as (_, edited):
        apply_in_trace(edited, GIVEN)

    for _ in range(2):
        with edited.trace(TEXT, remote=remote):
            first = edited.model.layers[0].output.clone().save()
            after = edited.output.logits.save()
        assert_close(after[0], logits_of(oracle, TEXT))
        _, found = oracle.forward(oracle.ids(TEXT), CHOSEN, read=[("hook_resid_post", 0)])
        assert_close(first[0], found["hook_resid_post", 0].numpy())
    with edited.generate(TEXT, max_new_tokens=6, do_sample=False, remote=remote) as tracer:
        ids = tracer.result.save()
    text = model.tokenizer.decode(ids[0, len(oracle.ids(TEXT)) :], skip_special_tokens=True)
    assert text == oracle.greedy(TEXT, 6, CHOSEN)
    with model.trace(TEXT, remote=remote):
        before = model.output.logits.save()
    assert_close(before[0], logits_of(oracle, TEXT, None))


def test_in_an_edit_again_after_a_run_that_was_stopped(
    model: Any, remote: bool, oracle: Oracle
) -> None:
    with model.edit() as (_, edited):
        apply_in_trace(edited, GIVEN)
    # Before the last layer that is steered.
    with edited.trace(TEXT, remote=remote) as tracer:
        edited.model.layers[0].output.clone().save()
        tracer.stop()

    with edited.trace(TEXT, remote=remote):
        after = edited.output.logits.save()

    assert_close(after[0], logits_of(oracle, TEXT))


def test_two_plans_in_one_trace(model: Any, remote: bool, oracle: Oracle) -> None:
    other = plan("attn.hook_z", "scale", layers=(1,))
    second = intervention(other)

    with model.trace(TEXT, remote=remote):
        apply_in_trace(model, GIVEN)
        apply_in_trace(model, second)
        found = model.model.norm.output.save()

    ids = oracle.ids(TEXT)
    with oracle._steering(ids, other, len(ids)):
        _, wanted = oracle.forward(ids, CHOSEN, read=[("ln_final.hook_out", 0)])
    assert_close(found[0], wanted["ln_final.hook_out", 0].numpy())


@pytest.mark.parametrize("order", [1, -1])
def test_a_plan_of_two_steps_at_the_same_units(
    model: Any, remote: bool, oracle: Oracle, order: int
) -> None:
    steps = [plan("mlp.hook_post", operation, strength=1.0) for operation in ("scale", "add")]
    chosen = steps[::order]
    given = composed(chosen)

    with model.trace(TEXT, remote=remote):
        apply_in_trace(model, given)
        neurons = model.model.layers[0].mlp.down_proj.input.clone().save()
        logits = model.output.logits.save()

    wanted, read = oracle.forward(oracle.ids(TEXT), chosen, read=[("mlp.hook_post", 0)])
    assert_close(neurons[0], read["mlp.hook_post", 0].numpy())
    assert_close(logits[0], wanted.numpy())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Intervention("mlp.hook_post", (0,), (24,), (1.0,)), "unit L0N24 does not exist"),
        (Intervention("mlp.hook_post", (9,), (0,), (1.0,)), "layer 9 does not exist"),
    ],
)
def test_what_the_model_lacks_is_named(
    model: Any, remote: bool, wrong: Intervention, message: str
) -> None:
    with pytest.raises(RemoteError if remote else LookupError, match=message):
        with model.trace(TEXT, remote=remote):
            apply_in_trace(model, wrong)
            model.output.logits.save()


def test_a_plan_that_comes_after_a_read_is_refused(model: Any, remote: bool) -> None:
    with pytest.raises(RemoteError if remote else ValueError, match="call apply_in_trace before"):
        with model.trace(TEXT, remote=remote):
            model.model.layers[0].output.clone().save()
            apply_in_trace(model, GIVEN)


def test_a_plan_of_nothing_changes_nothing(model: Any, remote: bool, oracle: Oracle) -> None:
    nothing = Intervention("mlp.hook_post", (), (), ())
    none = intervention(plan("mlp.hook_post", "add", strength=0.0))

    with model.trace(TEXT, remote=remote):
        apply_in_trace(model, nothing)
        apply_in_trace(model, none)
        logits = model.output.logits.save()

    assert_close(logits[0], logits_of(oracle, TEXT, None))


def test_a_mask_that_is_no_plain_one_is_refused() -> None:
    model = nnsight.NNsight(tiny_models.model("llama"))
    ids = torch.tensor([[1, 4, 5]])

    with pytest.raises(ValueError, match=r"the mask has shape \(1, 1, 3, 3\), the token ids"):
        with model.trace(input_ids=ids, attention_mask=torch.zeros(1, 1, 3, 3)):
            apply_in_trace(model, GIVEN)
            model.output.logits.save()
    with pytest.raises(ValueError, match="takes token ids"):
        with model.trace(inputs_embeds=torch.zeros(1, 3, 16)):
            apply_in_trace(model, GIVEN)
            model.output.logits.save()


def test_ids_without_a_mask_are_all_steered(oracle: Oracle) -> None:
    model = nnsight.NNsight(tiny_models.model("llama"))

    with model.trace(torch.tensor([oracle.ids(TEXT)])):
        apply_in_trace(model, GIVEN)
        logits = model.output.logits.save()

    assert_close(logits[0], logits_of(oracle, TEXT))


def test_a_function_of_ours_travels_with_those_it_calls() -> None:
    from steer_plugin.interventions.arithmetic import steer_units
    from steer_plugin.interventions.operations import done

    copy = portable(steer_units)

    assert copy.__globals__["done"] is not done
    assert copy.__globals__["done"].__code__ is done.__wrapped__.__code__  # type: ignore[attr-defined]
    assert copy.__annotations__ == {}
    assert set(copy.__globals__) == {"__builtins__", "done", "torch"}


CELLS = """
import nnsight, torch
from support import tiny_models
from steer_plugin import adapt, apply_in_trace
from steer_plugin.models.adapter import Reading
from steer_plugin.responses.forward_pass import gather
from support.plans import POSITIONS, composed, intervention, plan
given = intervention(plan("mlp.hook_post", "set"))
model = nnsight.NNsight(tiny_models.model("llama"))
---
with model.trace(torch.tensor([[1, 4, 5]])):
    apply_in_trace(model, given)
    logits = model.output.logits.save()
print(f"{float(logits.detach().sum()):.3f}")
---
reading = Reading("ln_final.hook_out", "mean")
adapter = adapt(model, tokenizer=tokenizer)
print(f"{float(gather(adapter, ['air ant'], [reading], intervention=given)[reading].sum()):.3f}")
"""


def test_traces_work_in_a_notebook(
    tmp_path: Path, shipped: Callable[[str], Any], oracle: Oracle
) -> None:
    folder = Path(shipped("llama").name_or_path)
    lead = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from transformers import AutoTokenizer\n"
        f"tokenizer = AutoTokenizer.from_pretrained({str(folder)!r})"
    )
    cells = [lead, *CELLS.split("---\n")]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])

    nbclient.NotebookClient(notebook, timeout=300).execute(cwd=str(tmp_path))

    outputs = [out for cell in notebook.cells for out in cell.outputs]
    shown = "".join(out["text"] for out in outputs if out.get("name") == "stdout").split()
    logits, _ = oracle.forward([1, 4, 5], CHOSEN)
    means = oracle.responses(["air ant"], [("ln_final.hook_out", 0)], "mean", CHOSEN)
    assert [float(number) for number in shown] == pytest.approx(
        [float(logits.sum()), means.sum()], abs=2e-3
    )
