"""Folders that PEFT saves, against PEFT's own model under hooks by hand, on every host."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import peft
import pytest
import safetensors.torch
import torch
import transformers
from torch import Tensor

from steer_plugin import Intervention, ModelSettings, adapt
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.adapters.shared import adapter_folders
from steer_plugin.errors import ModelError
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import gather

from support import saved_models

HOSTS = ("transformers", "nnsight", "transformer_lens")
TEXTS = ["air ant apple bark", "cat", "desk ear egg eye farm fire fish"]
SITES = ("mlp.hook_post", "hook_resid_post")
LAST = Reading("hook_resid_post", "mean", (2,))
PLAN = Intervention("mlp.hook_post", (1, 1, 2), (0, 3, 5), (2.0, -1.0, 1.0), "set")
KINDS: dict[str, Callable[[], Any]] = {
    "LoRA": lambda: peft.LoraConfig(
        r=2, target_modules=["down_proj", "q_proj"], init_lora_weights=False
    ),
    "DoRA": lambda: peft.LoraConfig(
        r=2, target_modules=["down_proj", "v_proj"], init_lora_weights=False, use_dora=True
    ),
    "IA3": lambda: peft.IA3Config(
        target_modules=["k_proj", "down_proj"],
        feedforward_modules=["down_proj"],
        init_ia3_weights=False,
    ),
    "LoRA and a whole head": lambda: peft.LoraConfig(
        r=2, target_modules=["up_proj"], modules_to_save=["lm_head"], init_lora_weights=False
    ),
}

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")


def save(folder: Path, base: Path, settings: Any) -> Path:
    """Save adapters with random weights as a training run does, beside nothing else."""
    plain = transformers.AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager")
    torch.manual_seed(0)
    model = peft.get_peft_model(plain, settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "modules_to_save" in name:
                parameter.add_(torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_models.save_model(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def polite(base: Path) -> Path:
    return save(base.parent / "polite", base, KINDS["LoRA"]())


def by_hooks(model: Any, tokenizer: Any, plan: Intervention | None = None) -> dict[str, Tensor]:
    """Give means over each text's words, one text at a time, read and steered by hooks by hand."""
    blocks = model.get_base_model().model.layers
    rows: dict[str, list[Tensor]] = {site: [] for site in SITES}
    for text in TEXTS:
        read: dict[str, list[Tensor]] = {site: [] for site in SITES}
        handles = []
        for number, block in enumerate(blocks):
            units = {
                int(index): value
                for layer, index, value in zip(PLAN.layers, PLAN.indices, PLAN.values, strict=True)
                if plan is not None and layer == number
            }

            def neurons(_: Any, args: Any, units: dict[int, float] = units) -> Any:
                tensor = args[0].clone()
                for index, value in units.items():
                    tensor[..., index] = value
                read["mlp.hook_post"].append(tensor[0, 1:].mean(0))  # noqa: B023
                return (tensor,)

            def stream(_: Any, __: Any, output: Any) -> None:
                read["hook_resid_post"].append(output[0, 1:].mean(0))  # noqa: B023

            handles.append(block.mlp.down_proj.register_forward_pre_hook(neurons))
            handles.append(block.register_forward_hook(stream))
        with torch.no_grad():
            model(torch.tensor(tokenizer([text])["input_ids"]))
        for handle in handles:
            handle.remove()
        for site in SITES:
            rows[site].append(torch.cat(read[site]))
    return {site: torch.stack(rows[site]) for site in SITES}


def load(folder: str | Path, host: str = "transformers", **settings: Any) -> Adapter:
    return load_adapter(ModelSettings(str(folder), host=host, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_answers_as_the_model_of_peft_does(
    kind: str, host: str, base: Path, tmp_path: Path
) -> None:
    folder = save(tmp_path / "polite", base, KINDS[kind]())
    plain = transformers.AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager")
    model = peft.PeftModel.from_pretrained(plain, folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    adapter = load(folder, host)

    for plan in (None, PLAN):
        wanted = by_hooks(model, tokenizer, plan)
        readings = [Reading(site, "mean") for site in SITES]
        answers = gather(adapter, TEXTS, readings, intervention=plan)
        for reading in readings:
            torch.testing.assert_close(answers[reading], wanted[reading.site], rtol=0, atol=1e-5)
    ids = torch.tensor(tokenizer(TEXTS[:1])["input_ids"])
    with torch.no_grad():
        wanted_losses = torch.nn.functional.cross_entropy(
            model(ids).logits[0, :-1], ids[0, 1:], reduction="none"
        )
    torch.testing.assert_close(
        torch.as_tensor(adapter.losses(TEXTS[:1])[0]), wanted_losses, rtol=0, atol=1e-5
    )


def test_all_hosts_say_that_it_is_base_and_adapter(base: Path, polite: Path) -> None:
    bare = load(base)
    for host in HOSTS:
        info = load(polite, host).info
        assert info.name == "llama + polite"
        assert info.revision.startswith("sha256:")
        assert info.revision != bare.info.revision


def test_other_weights_of_base_or_adapter_are_another_revision_and_fingerprint(
    base: Path, polite: Path, tmp_path: Path
) -> None:
    seen = set()
    for number, change in enumerate(("nothing", "adapter", "base")):
        parts = tmp_path / str(number)
        shutil.copytree(base, parts / "llama")
        shutil.copytree(polite, parts / "polite")
        settings = json.loads((parts / "polite" / "adapter_config.json").read_text())
        settings["base_model_name_or_path"] = str(parts / "llama")
        (parts / "polite" / "adapter_config.json").write_text(json.dumps(settings))
        if change != "nothing":
            (file,) = (parts / {"adapter": "polite", "base": "llama"}[change]).glob("*.safetensors")
            weights = safetensors.torch.load_file(file)
            weights[min(weights)] += 0.5
            safetensors.torch.save_file(weights, file, metadata={"format": "pt"})
        info = load(parts / "polite").identify()
        seen.add((info.revision, info.fingerprint))
        again = load(parts / "polite").identify()
        assert again == info

    assert len({revision for revision, _ in seen}) == 3
    assert len({fingerprint for _, fingerprint in seen}) == 3


def test_adapt_takes_a_folder_as_load_adapter_does(polite: Path) -> None:
    adapter = adapt(polite, bos=False)

    assert adapter.info == load(polite, "transformer_lens", bos=False).info
    assert adapt(str(polite), bos=False).info == adapter.info
    with pytest.raises(ModelError, match=r"tokenizer cannot be given for .*polite"):
        adapt(str(polite), tokenizer=object())


@pytest.mark.filterwarnings("ignore:Setting .save_embedding_layers.:UserWarning")
def test_words_that_were_added_with_it_are_read(base: Path, tmp_path: Path) -> None:
    """A tokenizer of its own, and rows of the embedding for its words."""
    plain = transformers.AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager")
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["quartz"])
    plain.resize_token_embeddings(len(tokenizer) + 3)
    model = peft.get_peft_model(plain, KINDS["LoRA"]()).eval()
    model.save_pretrained(tmp_path / "polite")
    tokenizer.save_pretrained(tmp_path / "polite")
    ids = torch.tensor(tokenizer(["air quartz"])["input_ids"])
    with torch.no_grad():
        wanted = model(ids, output_hidden_states=True).hidden_states[-2][0, 1:].mean(0)

    for host in HOSTS:
        adapter = load(tmp_path / "polite", host)
        reading = Reading("hook_resid_post", "mean", (1,))
        answer = gather(adapter, ["air quartz"], [reading])[reading][0]
        torch.testing.assert_close(answer, wanted, rtol=0, atol=1e-5)


def without_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()


def with_config(**changed: Any) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        file = folder / "adapter_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))

    return act


def with_weights(act: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "adapter_model.safetensors"
        safetensors.torch.save_file(act(safetensors.torch.load_file(file)), file)

    return change


def of_more_layers(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights | {
        name.replace("layers.1", "layers.7"): tensor + 0 for name, tensor in weights.items()
    }


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "no weights": (
        without_weights,
        r"polite has an adapter_config\.json and no adapter_model\.safetensors; fetch it again",
    ),
    "no base": (
        with_config(base_model_name_or_path="/nowhere/base"),
        r"of '/nowhere/base', which .*: /nowhere/base is no model folder.*; put it there, or write",
    ),
    "a base on a hub that is not reached": (
        with_config(base_model_name_or_path="nobody/nothing"),
        "polite is an adapter of 'nobody/nothing', which cannot be loaded: it is not in .*; put it",
    ),
    "no name of a base": (
        with_config(base_model_name_or_path=None),
        r"polite is an adapter whose adapter_config\.json names no base; write where it is as",
    ),
    "no JSON": (
        lambda folder: (folder / "adapter_config.json").write_text("{") and None,
        r"cannot read .*polite/adapter_config\.json",
    ),
    "a layer less": (
        with_weights(
            lambda weights: {name: each for name, each in weights.items() if "layers.1" not in name}
        ),
        "polite lacks 4 tensors: .*, which would be random; fetch it again whole",
    ),
    "layers that the base lacks": (
        with_weights(of_more_layers),
        r"polite holds 4 tensors: .*layers\.7.*, for which .*llama.* has no place",
    ),
    "another width": (
        with_config(r=3),
        "polite",
    ),
    "modules that the base lacks": (
        with_config(target_modules=["c_attn"]),
        "polite.*c_attn",
    ),
}


HUB_ID, COMMIT = "somebody/polite", "5" * 40


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a repository as `huggingface_hub` keeps what it has fetched, with nothing in it."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / f"models--{HUB_ID.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    return repository / "snapshots" / COMMIT


@pytest.mark.parametrize("host", HOSTS)
def test_a_hub_id_of_adapters_is_their_folder(
    host: str, hub: Path, base: Path, polite: Path
) -> None:
    shutil.copytree(polite, hub)

    fetched, local, alone = load(HUB_ID, host), load(polite, host), load(base, host)

    assert fetched.info.name == f"{base.name} + {HUB_ID}"
    assert fetched.info.revision == f"{alone.info.revision} + {COMMIT}"
    assert fetched.identify().fingerprint == local.identify().fingerprint


def test_a_base_that_was_fetched_at_a_commit_alone_is_loaded(
    hub: Path, base: Path, polite: Path, tmp_path: Path
) -> None:
    shutil.copytree(base, hub)
    shutil.rmtree(hub.parents[1] / "refs")
    shutil.copytree(polite, tmp_path / "pinned")
    with_config(base_model_name_or_path=HUB_ID, revision=COMMIT)(tmp_path / "pinned")

    assert load(tmp_path / "pinned").info.name == f"{HUB_ID} + pinned"


def test_a_hub_id_of_what_is_no_model_is_refused_in_a_line(hub: Path, polite: Path) -> None:
    for wrong in (HUB_ID, "no/hub/id", "no hub id"):
        with pytest.raises(ModelError, match="cannot load the model"):
            load(wrong)
    shutil.copytree(polite, hub)
    (hub / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=f"{HUB_ID} has an adapter_config.json and no adapter_mod"):
        load(HUB_ID)


def test_a_repository_of_a_model_and_adapters_is_refused_again_and_again(
    hub: Path, base: Path, polite: Path
) -> None:
    shutil.copytree(base, hub)
    shutil.copytree(polite, hub, dirs_exist_ok=True)

    for _ in range(2):
        with pytest.raises(ModelError, match=f"{HUB_ID} holds a model and adapters of one"):
            load(HUB_ID)


@pytest.mark.parametrize("holds", ["a model", "adapters"])
def test_of_what_was_fetched_no_hub_is_asked(
    holds: str, hub: Path, base: Path, polite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(base if holds == "a model" else polite, hub)
    monkeypatch.setattr(
        adapter_folders, "hf_hub_download", lambda *_, **__: pytest.fail("a hub is asked")
    )

    name = load(HUB_ID).info.name

    assert name == (HUB_ID if holds == "a model" else f"{base.name} + {HUB_ID}")


@pytest.mark.parametrize("host", ["transformers", "ndif"])
def test_a_hub_that_cannot_be_asked_or_does_not_give_ends_in_a_line(
    host: str, hub: Path, polite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("it is gated")

    with monkeypatch.context() as patch:
        patch.setattr(adapter_folders, "hf_hub_download", refuse)
        with pytest.raises(ModelError, match="cannot load the model"):
            load(HUB_ID)
    shutil.copytree(polite, hub)
    monkeypatch.setattr(adapter_folders, "snapshot_download", refuse)
    lines = {"transformers": "cannot be fetched: it is gated; fetch them", "ndif": "does not merge"}
    with pytest.raises(ModelError, match=f"{HUB_ID}.* {lines[host]}"):
        load(HUB_ID, host)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_whole_is_refused_in_a_line(case: str, polite: Path, tmp_path: Path) -> None:
    act, message = REFUSED[case]
    shutil.copytree(polite, tmp_path / "polite")
    act(tmp_path / "polite")

    with pytest.raises(ModelError, match=message) as error:
        load(tmp_path / "polite")

    assert "\n" not in str(error.value)


@pytest.mark.parametrize("named", ["~/polite", "~/more"])
def test_adapters_of_adapters_are_refused(
    named: str, polite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("polite", "more"):
        shutil.copytree(polite, tmp_path / name)
    with_config(base_model_name_or_path=named)(tmp_path / "more")

    with pytest.raises(ModelError, match="holds adapters itself; merge it by peft's"):
        load(tmp_path / "more")


def test_a_model_beside_adapters_of_one_is_neither(polite: Path, tmp_path: Path) -> None:
    shutil.copytree(polite, tmp_path / "polite")
    (tmp_path / "polite" / "config.json").write_text("{}", encoding="utf-8")

    with pytest.raises(ModelError, match=r"polite holds a model and adapters of one; put adapter_"):
        load(tmp_path / "polite")


def test_learned_tokens_before_each_text_are_refused(base: Path, tmp_path: Path) -> None:
    settings = peft.PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")
    folder = save(tmp_path / "polite", base, settings)

    with pytest.raises(ModelError, match=r"polite .*PROMPT_TUNING.* cannot be merged"):
        load(folder)


def test_no_server_and_no_quantised_weights_take_adapters(polite: Path) -> None:
    with pytest.raises(ModelError, match=r"polite holds adapters, which .*NDIF"):
        load(polite, "ndif")
    with pytest.raises(ModelError, match=r"quantize nf4 .*adapters are merged"):
        load(polite, quantize="nf4")


def test_without_peft_a_line_says_what_to_install(
    polite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steer_plugin.adapters.shared.adapter_folders.find_spec", lambda _: None)

    with pytest.raises(ModelError, match=r"run: pip install 'steer-plugin\[peft\]'"):
        load(polite)
