"""What is kept is found again by what would answer just now, and by nothing else."""

import copy
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import nnsight
import pytest
import torch
from tokenizers import processors
from transformer_lens.model_bridge import TransformerBridge

from steer_plugin import ModelSettings, adapt, steered
from steer_plugin.adapters import load_adapter
from steer_plugin.adapters.shared import fingerprint
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.models.provenance import versions
from steer_plugin.responses.forward_pass import gather
from steer_plugin.responses.pass_folder import PassFolder
from steer_plugin.settings.names import Host

from support import command_line, saved_models, tiny_models
from support.plans import intervention, plan

TEXTS = ["air ant bay", "sea ship fox hill key", "owl"]
READINGS = (Reading("hook_resid_post", "mean"),)
HOSTS: tuple[Host, ...] = ("transformer_lens", "nnsight")

# Loads the model anew and says what would answer, as another process of the same user would.
ANEW = """
import json, sys
from dataclasses import asdict
import torch
torch.set_num_threads(int(sys.argv[3]))
from steer_plugin import ModelSettings
from steer_plugin.adapters import load_adapter
settings = ModelSettings(sys.argv[1], host=sys.argv[2], batch_tokens=int(sys.argv[4]))
print(json.dumps(asdict(load_adapter(settings).identify())))
"""


class Held:
    """A model in memory, and how its user holds it."""

    def __init__(self, host: str, tokenizer: Any, dtype: torch.dtype = torch.float32) -> None:
        self.host = host
        self.tokenizer = copy.deepcopy(tokenizer)
        self.plain = tiny_models.model("llama", dtype=dtype)
        self.model: Any = (
            TransformerBridge.boot_transformers(
                "tiny-llama",
                hf_model=self.plain,
                tokenizer=copy.deepcopy(tokenizer),
                device="cpu",
                dtype=dtype,
            )
            if host == "transformer_lens"
            else nnsight.NNsight(self.plain)
        )

    def adapter(self, **more: Any) -> Adapter:
        return adapt(
            self.model, **{"tokenizer": self.tokenizer, "name": "tiny", "revision": "1", **more}
        )


def key(adapter: Adapter, folder: Path) -> str:
    return PassFolder.of(folder, adapter.identify(), TEXTS, READINGS).folder.name


@pytest.fixture(params=HOSTS)
def held(request: pytest.FixtureRequest, shipped: Callable[[str], Any]) -> Held:
    return Held(request.param, shipped("llama"))


def down_projection(held: Held) -> Any:
    names = dict(held.plain.named_parameters())
    return next(value for name, value in names.items() if ".0." in name and "down_proj" in name)


def ablated(held: Held) -> None:
    down_projection(held).data[:, 5] = 0  # changes no version that torch counts


def fine_tuned(held: Held) -> None:
    with torch.no_grad():
        down_projection(held)[0, 0] += 1e-6


def rows_swapped(held: Held) -> None:
    with torch.no_grad():
        down_projection(held).copy_(down_projection(held).flip(0))


def adapted_with_lora(held: Held) -> None:
    weight = down_projection(held)
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(weight.shape[0], 2, generator=generator)
    right = torch.randn(2, weight.shape[1], generator=generator)
    weight.data += 1e-3 * left @ right


def tokenizer_of_other_words(held: Held) -> None:
    backend = json.loads(held.tokenizer.backend_tokenizer.to_str())
    words = backend["model"]["vocab"]
    words["air"], words["ant"] = words["ant"], words["air"]
    held.tokenizer._tokenizer = type(held.tokenizer.backend_tokenizer).from_str(json.dumps(backend))


def tokenizer_with_more_words(held: Held) -> None:
    held.tokenizer.add_tokens(["zebra"])


def tokenizer_with_a_suffix(held: Held) -> None:
    held.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 2)]
    )


def hooked(held: Held) -> None:
    def double(module: Any, inputs: Any, output: Any) -> Any:  # noqa: ARG001
        return 2 * output

    down = next(m for n, m in held.plain.named_modules() if n.endswith("down_proj"))
    down.register_forward_hook(double)


def hooked_for_long_texts(held: Held) -> None:
    """Change what no short text shows: only the code of the hook tells."""

    def long(module: Any, inputs: Any) -> Any:  # noqa: ARG001
        return inputs if inputs[0].shape[1] < 10_000 else (2 * inputs[0],)

    down = next(m for n, m in held.plain.named_modules() if n.endswith("down_proj"))
    down.register_forward_pre_hook(long)


def another_attention(held: Held) -> None:
    held.plain.set_attn_implementation("sdpa")


def half_precision(held: Held) -> None:
    held.plain.to(torch.bfloat16)


CHANGES = [
    ablated,
    fine_tuned,
    rows_swapped,
    adapted_with_lora,
    tokenizer_of_other_words,
    tokenizer_with_more_words,
    tokenizer_with_a_suffix,
    hooked,
    hooked_for_long_texts,
    another_attention,
    half_precision,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_the_key_changes_with_whatever_changes_an_answer(
    held: Held, change: Callable[[Held], None], tmp_path: Path
) -> None:
    adapter = held.adapter()
    before = key(adapter, tmp_path)

    change(held)

    assert key(adapter, tmp_path) != before
    # Nor does it matter that somebody still holds the adapter of before.
    assert key(held.adapter(), tmp_path) == key(adapter, tmp_path)


def test_the_key_changes_in_compatibility_mode(
    tmp_path: Path, shipped: Callable[[str], Any]
) -> None:
    held = Held("transformer_lens", shipped("llama"))
    adapter = held.adapter()
    before = key(adapter, tmp_path)

    held.model.enable_compatibility_mode()

    assert key(adapter, tmp_path) != before
    assert key(adapter, tmp_path) == key(adapter, tmp_path)


def test_the_key_changes_with_an_edit_in_nnsight(
    tmp_path: Path, shipped: Callable[[str], Any]
) -> None:
    held = Held("nnsight", shipped("llama"))
    adapter = held.adapter()
    before = key(adapter, tmp_path)

    with held.model.edit(inplace=True):
        held.model.model.layers[0].mlp.down_proj.output[:] = 0

    assert key(adapter, tmp_path) != before


@pytest.mark.parametrize("positions", ["all", "generated"])
def test_the_key_changes_while_its_user_steers(
    positions: str, tmp_path: Path, shipped: Callable[[str], Any]
) -> None:
    held = Held("transformer_lens", shipped("llama"))
    adapter = held.adapter()
    plans = [
        intervention(plan("mlp.hook_post", "set", positions=positions, seed=seed))
        for seed in range(2)
    ]

    def keys() -> Iterator[str]:
        for given in plans:
            with steered(held.model, given):
                yield key(adapter, tmp_path)

    before = key(adapter, tmp_path)
    first, other = keys()

    assert len({before, first, other}) == 3
    assert list(keys()) == [first, other]
    assert key(adapter, tmp_path) == before


def test_the_key_changes_with_bos_and_host(tmp_path: Path, shipped: Callable[[str], Any]) -> None:
    adapters = [
        Held(host, shipped("llama")).adapter(bos=bos) for host in HOSTS for bos in (False, True)
    ]

    assert len({key(adapter, tmp_path) for adapter in adapters}) == len(adapters)


@pytest.mark.parametrize("package", ["torch", "transformers", "tokenizers", "steer-plugin"])
def test_the_key_changes_with_versions(
    held: Held, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key(held.adapter(), tmp_path)
    module = sys.modules[versions.__module__]

    monkeypatch.setattr(
        module, "_version", lambda name: "0.0.1" if name == package else version(name)
    )

    assert key(held.adapter(), tmp_path) != before


@pytest.mark.parametrize("host", HOSTS)
def test_the_key_stays_when_the_files_of_the_packages_are_gone_or_newer(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: Callable[[str], Any]
) -> None:
    adapter = Held(host, shipped("llama")).adapter()
    before = key(adapter, tmp_path)

    monkeypatch.setattr(sys, "path", [])

    with pytest.raises(PackageNotFoundError):
        version("torch")
    assert key(adapter, tmp_path) == before


@pytest.mark.parametrize("host", HOSTS)
def test_the_key_changes_with_the_version_of_the_host(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: Callable[[str], Any]
) -> None:
    held = Held(host, shipped("llama"))
    before = key(held.adapter(), tmp_path)
    module = sys.modules[type(held.adapter()).__module__]

    monkeypatch.setattr(module, "version", lambda _: "0.0.1")

    assert key(held.adapter(), tmp_path) != before


def test_the_key_is_the_same_after_passes_of_other_sizes(held: Held, tmp_path: Path) -> None:
    adapter = held.adapter()
    before = key(adapter, tmp_path)

    adapter.losses(TEXTS)
    adapter.generate(["air"], max_new_tokens=2)
    gather(adapter, TEXTS, READINGS)

    assert key(adapter, tmp_path) == before
    for batch_tokens in (1, 4096):
        assert key(held.adapter(batch_tokens=batch_tokens), tmp_path) == before


def test_the_number_of_threads_neither_changes_the_key_nor_is_changed(
    held: Held, tmp_path: Path
) -> None:
    threads = torch.get_num_threads()
    try:
        keys = set()
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            keys.add(key(held.adapter(), tmp_path))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)

    assert len(keys) == 1


def test_a_hook_is_told_from_one_that_holds_other_numbers(held: Held, tmp_path: Path) -> None:
    down = next(m for n, m in held.plain.named_modules() if n.endswith("down_proj"))
    adapter = held.adapter()

    def key_with(least: int, of: dict[str, list[float]]) -> str:
        def scale(module: Any, inputs: Any, output: Any) -> Any:  # noqa: ARG001
            return output if output.shape[1] < least else of["by"][0] * output

        handle = down.register_forward_hook(scale)
        found = key(adapter, tmp_path)
        handle.remove()
        return found

    held_numbers = [(9999, {"by": [2.0]}), (9998, {"by": [2.0]}), (9999, {"by": [3.0]})]

    keys = [key_with(*numbers) for numbers in held_numbers]

    assert len(set(keys)) == len(keys)
    assert [key_with(*numbers) for numbers in held_numbers] == keys


def test_a_hook_that_counts_and_records_is_the_same_hook(held: Held, tmp_path: Path) -> None:
    adapter = held.adapter()
    recorded: list[torch.Tensor] = []
    count = 0

    def record(module: Any, inputs: Any, output: Any) -> None:  # noqa: ARG001
        nonlocal count
        count += 1
        recorded.append(output)

    down = next(m for n, m in held.plain.named_modules() if n.endswith("down_proj"))
    down.register_forward_hook(record)

    first = key(adapter, tmp_path)

    assert key(adapter, tmp_path) == first
    assert count == len(recorded) > 0


@pytest.mark.parametrize("host", HOSTS)
def test_adapt_takes_name_revision_and_batch_size(
    host: Host, tmp_path: Path, shipped: Callable[[str], Any]
) -> None:
    held = Held(host, shipped("llama"))

    adapter = held.adapter(name="mine", revision="epoch 3", batch_tokens=1)

    assert (adapter.info.name, adapter.info.revision) == ("mine", "epoch 3")
    assert len(adapter.batches(TEXTS)) == len(TEXTS)
    gather(adapter, TEXTS, READINGS, keep=tmp_path)
    (about,) = tmp_path.glob("*/about.json")
    assert json.loads(about.read_text())["model"] == asdict(adapter.identify())


@pytest.mark.parametrize("host", HOSTS)
def test_another_process_finds_the_same_key(host: Host, tmp_path: Path) -> None:
    folder = saved_models.save_model(tmp_path / "llama")

    anew = command_line.run(folder, host, 2, 16, code=ANEW)

    here = load_adapter(ModelSettings(str(folder), host=host)).identify()
    assert json.loads(anew.out.splitlines()[-1]) == asdict(here)


def test_answers_after_the_weights_changed_are_those_of_a_new_model(
    held: Held, tmp_path: Path
) -> None:
    adapter = held.adapter()
    before = gather(adapter, TEXTS, READINGS, keep=tmp_path)[READINGS[0]]

    ablated(held)
    after = gather(adapter, TEXTS, READINGS, keep=tmp_path)[READINGS[0]]

    assert torch.equal(after, gather(adapter, TEXTS, READINGS)[READINGS[0]])
    assert (after - before).abs().max() > 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int8])
def test_any_one_bit_of_a_tensor_is_in_its_checksum(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    tensor = (100 * torch.randn(3, fingerprint.ROW + 3, generator=generator)).to(dtype)
    before = fingerprint._checksum(tensor)

    for row, column in ((0, 0), (1, 1), (2, fingerprint.ROW + 2)):
        changed = tensor.clone()
        changed[row].view(torch.uint8)[column * tensor.element_size()] ^= 1
        assert fingerprint._checksum(changed) != before
    assert fingerprint._checksum(tensor.clone()) == before
    assert fingerprint._checksum(tensor.T) != before
    # As a part of a larger one, at an odd place.
    assert fingerprint._checksum(torch.cat([tensor[0, :1], tensor.flatten()])[1:]) == before


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int8])
def test_rows_that_change_places_are_in_a_tensors_checksum(dtype: torch.dtype) -> None:
    """As the embeddings of two tokens that are in no text of fixed answers do."""
    generator = torch.Generator().manual_seed(0)
    tensor = (100 * torch.randn(2000, 64, generator=generator)).to(dtype)
    before = fingerprint._checksum(tensor)

    for first, second in ((10, 11), (10, 20), (0, 1999), (10, 10 + fingerprint.ROW)):
        changed = tensor.clone()
        changed[[first, second % 2000]] = tensor[[second % 2000, first]]
        assert fingerprint._checksum(changed) != before


def test_a_model_on_a_server_is_known_by_its_name(shipped: Callable[[str], Any]) -> None:
    adapter = Held("nnsight", shipped("llama")).adapter()

    found = fingerprint.identified(adapter, None, shipped("llama"))

    assert found.fingerprint
    assert not found.answers
    assert {**asdict(found), "fingerprint": ""} == asdict(adapter.info)
