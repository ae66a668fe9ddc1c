"""Where a model is read from: a hub, a folder or a file."""

import hashlib
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from steer_plugin.adapters.demo_weights import demo_weights
from steer_plugin.adapters.shared.adapter_folders import (
    AdapterFolder,
    fetch_adapters,
    is_adapter_folder,
    is_hub_id_of_adapters,
)
from steer_plugin.adapters.shared.hub_commit import commit_of
from steer_plugin.adapters.shared.shipped_tokenizer import read_tokenizer
from steer_plugin.errors import ModelError
from steer_plugin.settings.model import DEMO, ModelSettings
from steer_plugin.storage.file_hashes import FileHashes

MODEL_FILES = {".safetensors", ".bin", ".json", ".model", ".txt"}


@dataclass(frozen=True)
class Source:
    """Where a model is read from.

    Attributes:
        path: hub id or folder, as transformers takes it.
        name: what results record.
        sha256: a hash of what is read; empty where the hub knows the commit.
        gguf: the file to read, where it is one.
        adapter: what is merged into the model, whose base is at the path.
        commit: of adapters from a hub; empty of all else.
    """

    path: str
    name: str
    sha256: str = ""
    gguf: Path | None = None
    adapter: AdapterFolder | None = None
    commit: str = ""

    @property
    def asked(self) -> str | None:
        """The commit or branch of a hub id that adapters are of; None for the main one."""
        return None if self.adapter is None else self.adapter.revision

    @property
    def at(self) -> dict[str, str]:
        """What transformers' own `from_pretrained` takes."""
        place = {"pretrained_model_name_or_path": self.path}
        return place if self.asked is None else {**place, "revision": self.asked}

    def revision_with(self, config: Any) -> str | None:
        """Say what results record: the model's commit, the hash of files, the adapters' commit.

        Args:
            config: of the model; None of a file.
        """
        at_hub = None if config is None else commit_of(config, self.path, self.asked)
        digest = f"sha256:{self.sha256}" if self.sha256 else ""
        return " + ".join(filter(None, [at_hub, digest, self.commit])) or None

    def tokenizer(self) -> Any:
        """Load the tokenizer as the model ships it."""
        if self.adapter is not None and self.adapter.has_tokenizer:
            return read_tokenizer(self.adapter.path)
        return read_tokenizer(**self.at)


def source_of(
    settings: ModelSettings,
    hashes: FileHashes,
    base_of: AdapterFolder | None = None,
) -> Source:
    """Look where a model is read from, and fetch adapters.

    Args:
        settings: which model, and what runs it.
        hashes: remembers those of large files.
        base_of: the adapters that it is the base of, whose settings say which of its commits.

    Raises:
        ModelError: there is none, or it is of a kind that the host does not run.
    """
    model = settings.model
    if settings.host == "ndif" and (model == DEMO or model.lower().endswith(".gguf")):
        raise ModelError(
            f"{model!r} is a file here, which no NDIF server has; give a model by its hub id"
        )
    try:
        path = demo_weights(hashes) if model == DEMO else Path(model).expanduser()
    except RuntimeError as error:
        raise ModelError(
            f"{model!r} is in a home folder, and none is known; set HOME, or write the path whole"
        ) from error
    if path.suffix.lower() == ".gguf":
        return Source(str(path.parent), path.name, _gguf_hash(path, hashes), path)
    if path.exists() or model.startswith((".", "/", "~")):
        folder = path.resolve()
        if is_adapter_folder(folder):
            return _source_of_adapter(settings, folder.name, folder, hashes, base_of)
        return Source(str(folder), folder.name, _folder_hash(folder, hashes))
    if is_hub_id_of_adapters(model, None if base_of is None else base_of.revision):
        return _source_of_adapter(settings, model, None, hashes, base_of)
    return Source(model, model)


def _source_of_adapter(
    settings: ModelSettings,
    name: str,
    folder: Path | None,
    hashes: FileHashes,
    base_of: AdapterFolder | None,
) -> Source:
    if base_of is not None:
        raise ModelError(
            f"{name} holds adapters itself; merge it by peft's merge_and_unload, save that, and "
            "name its folder as the base"
        )
    if settings.host == "ndif":
        raise ModelError(
            f"{name} holds adapters, which an NDIF server does not merge; give a model by its hub "
            "id"
        )
    if settings.quantize is not None:
        raise ModelError(
            f"quantize {settings.quantize} was given for {name}, and adapters are merged into "
            "weights that are whole; leave it out"
        )
    adapter = AdapterFolder.at(fetch_adapters(name) if folder is None else folder, name)
    try:
        base = source_of(replace(settings, model=adapter.base), hashes, adapter)
    except ModelError as error:
        raise adapter.without_base(str(error)) from error
    if base.gguf is not None:
        raise adapter.without_base("adapters are of a model that transformers saved")
    named = f"{base.name} + {name}"
    if folder is None:
        return Source(base.path, named, base.sha256, adapter=adapter, commit=adapter.path.name)
    digest = _files_hash(folder, hashes)
    if base.sha256:
        digest = hashlib.sha256(f"{base.sha256} {digest}".encode()).hexdigest()
    return Source(base.path, named, digest, adapter=adapter)


def _gguf_hash(path: Path, hashes: FileHashes) -> str:
    if not path.is_file():
        raise ModelError(f"{path} is not there; give the path of a .gguf file")
    if find_spec("gguf") is None:
        raise ModelError("reading .gguf takes a package; run: pip install 'steer-plugin[gguf]'")
    return hashes.sha256(path)


def _folder_hash(folder: Path, hashes: FileHashes) -> str:
    """Name what a model folder holds: a SHA-256 over its files' names and contents."""
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder} is no model folder: there is no config.json in it; give a folder that "
            "save_pretrained wrote, a .gguf file or a hub id"
        )
    return _files_hash(folder, hashes)


def _files_hash(folder: Path, hashes: FileHashes) -> str:
    files = sorted(path for path in folder.iterdir() if path.suffix in MODEL_FILES)
    lines = "".join(f"{path.name} {hashes.sha256(path)}\n" for path in files)
    return hashlib.sha256(lines.encode()).hexdigest()
