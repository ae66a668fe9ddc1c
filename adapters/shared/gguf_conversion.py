"""A `.gguf` file as a model: read by transformers once, which takes minutes, and then kept."""

import functools
import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from steer_plugin.adapters.shared.checkpoint_weights import ATTENTION, WholeCheckpoint
from steer_plugin.adapters.shared.fingerprint import contents
from steer_plugin.adapters.shared.gguf_file import (
    divide_rotary_frequencies,
    read_header,
    rotary_divisors,
)
from steer_plugin.adapters.shared.shipped_tokenizer import read_tokenizer
from steer_plugin.errors import ArtifactError
from steer_plugin.models.provenance import versions
from steer_plugin.settings.budget import Budget
from steer_plugin.settings.cache import CACHE
from steer_plugin.storage.disk_space import free_disk, size
from steer_plugin.storage.file_hashes import FileHashes
from steer_plugin.storage.kept_folders import writing_alone
from steer_plugin.storage.model_folder import ModelFolder

PACKAGES = ("steer-plugin", "torch", "transformers", "tokenizers", "gguf", "numpy")
# Of a configuration, what saving a model sets anew.
SET_BY_SAVING = ("architectures", "quantization_config")
REST = "gguf.json"
READER_LOCK = threading.Lock()


@dataclass(frozen=True)
class LoadedFile:
    """A model that was read from a `.gguf` file.

    Attributes:
        model: of transformers.
        tokenizer: as the file has it.
        folder: holds the tokenizer as transformers saves it; None where it is not kept.
    """

    model: Any
    tokenizer: Any
    folder: Path | None


@dataclass(frozen=True)
class GGUFLoader:
    """Loads a `.gguf` file as transformers would.

    Attributes:
        path: of the file.
        sha256: of the file.
        dtype: of the weights, such as "float32".
        placement: what `from_pretrained` takes besides, such as `device_map`.
    """

    path: Path
    sha256: str
    dtype: str
    placement: dict[str, Any]

    def load(
        self, budget: Budget, hashes: FileHashes, say: Callable[[str], None] | None
    ) -> LoadedFile:
        """Load the file from where it is kept converted; convert it where it is not.

        Where it cannot be kept it is loaded all the same.

        Args:
            budget: where it is kept, and what may be written there.
            hashes: remembers those of large files.
            say: told, a line each, what is converted and what cannot be kept.

        Raises:
            ModelError: the file is damaged, or holds what no model of transformers does.
        """
        try:
            kept = self._kept(budget, hashes, say)
        except ArtifactError as error:
            if say is not None:
                say(f"{self.path.name} is not kept converted and loads as slowly again: {error}")
            model, tokenizer, _ = self._read(**self.placement)
            return LoadedFile(model, tokenizer, None)
        return LoadedFile(*self._load(kept.folder, **self.placement), kept.folder)

    def _kept(
        self, budget: Budget, hashes: FileHashes, say: Callable[[str], None] | None
    ) -> ModelFolder:
        if budget.cache is None:
            raise ArtifactError(f"no folder for it is given; set {CACHE} to one")
        makers = versions(PACKAGES)
        kept = ModelFolder.of(budget.cache, self.path.name, self.sha256, self.dtype, makers)
        if kept.is_whole(hashes):
            return kept
        with writing_alone(kept.folder):
            # Another process may have made it meanwhile.
            if not kept.is_whole(hashes):
                self._convert(kept, budget, say)
        return kept

    def _convert(
        self, kept: ModelFolder, budget: Budget, say: Callable[[str], None] | None
    ) -> None:
        tensors = read_header(self.path).tensors.values()
        wanted = sum(math.prod(tensor.shape) for tensor in tensors)
        wanted *= getattr(torch, self.dtype).itemsize
        free = free_disk(kept.folder.parent)
        room = free if budget.disk is None else min(budget.disk, free)
        if wanted > room:
            raise ArtifactError(
                f"it takes {size(wanted)} in {kept.folder.parent}, and there is room for "
                f"{size(room)}; free some, or choose another cache folder"
            )
        if say is not None:
            say(
                f"{self.path.name} is converted, once, into {kept.folder} ({size(wanted)}); "
                "loading it takes seconds from then on"
            )
        model, tokenizer, rest = self._read(device_map="cpu")
        wanted_contents = _contents(model, tokenizer)
        with kept.writing() as draft:
            _save(model, tokenizer, rest, draft)
            del model  # so that there is one in memory at a time
            if _contents(*self._load(draft, device_map="cpu")) != wanted_contents:
                raise ArtifactError("transformers does not load what it saves of this model")

    def _read(self, **placement: Any) -> tuple[Any, Any, dict[str, Any]]:
        """Read the file itself, and what the model has besides what transformers saves of it."""
        source = {"gguf_file": self.path.name}
        with one_reader():
            tokenizer = read_tokenizer(self.path.parent, **source)
            model = self._from_pretrained(self.path.parent, **source, **placement)
        config = model.config.to_dict()
        rest = {name: config[name] for name in SET_BY_SAVING if name in config}
        divisors = rotary_divisors(self.path, model)
        if divisors is not None:
            rest["rotary_divisors"] = divisors.tolist()
            divide_rotary_frequencies(model, divisors)
        return model, tokenizer, rest

    def _load(self, folder: Path, **placement: Any) -> tuple[Any, Any]:
        """Load what was kept, as if it had been read from the file just now."""
        rest = json.loads((folder / REST).read_text(encoding="utf-8"))
        model = self._from_pretrained(folder, **placement)
        if "rotary_divisors" in rest:
            divide_rotary_frequencies(model, torch.tensor(rest.pop("rotary_divisors")))
        quantisation = rest.get("quantization_config") or {}
        if "gguf_file" in quantisation:
            quantisation["gguf_file"] = self.path.name
        for name, value in rest.items():
            setattr(model.config, name, value)
        return model, read_tokenizer(folder)

    def _from_pretrained(self, folder: Path, **settings: Any) -> Any:
        return WholeCheckpoint(self.path.name, AutoModelForCausalLM).from_pretrained(
            str(folder), dtype=getattr(torch, self.dtype), attn_implementation=ATTENTION, **settings
        )


@contextmanager
def one_reader() -> Iterator[None]:
    """Let transformers parse each file once.

    It makes a reader each for configuration, tokenizer and weights, which takes 20 s a time for the
    262,144 words of Gemma 3.
    """
    import gguf  # of an extra, which other models do without

    with READER_LOCK:
        reader = gguf.GGUFReader
        vars(gguf)["GGUFReader"] = functools.cache(reader)
        try:
            yield
        finally:
            vars(gguf)["GGUFReader"] = reader


def _save(model: Any, tokenizer: Any, rest: dict[str, Any], folder: Path) -> None:
    # With these, transformers refuses to save what it has dequantised.
    vars(model).pop("hf_quantizer", None)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / REST).write_text(json.dumps(rest, indent=2) + "\n", encoding="utf-8")


def _contents(model: Any, tokenizer: Any) -> dict[str, Any]:
    return contents(model, tokenizer) | {"generation": model.generation_config.to_dict()}
