"""Folders of adapters, as PEFT saves them beside the name of the base model that they are of."""

import json
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import LocalEntryNotFoundError

from steer_plugin.adapters.shared.checkpoint_weights import ALL_THE_SAME, named_tensors
from steer_plugin.errors import ModelError
from steer_plugin.settings.model import ADAPTER_CONFIG as CONFIG
from steer_plugin.storage.artifacts import one_line

WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
MODEL_CONFIG = "config.json"
TOKENIZER = "tokenizer_config.json"
# Of a repository on a hub, whose folders are checkpoints of the training.
REPOSITORY_FILES = ["*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken", *WEIGHTS]
WHERE = f"as base_model_name_or_path into its {CONFIG}"
# What all layers share, and PEFT loads once.
SHARED = re.compile(r"vblora_vector_bank|\.tinylora_v\.|\.unilora_theta_d\.")


@dataclass(frozen=True)
class AdapterFolder:
    """Adapters, and the model that they are of.

    Attributes:
        path: of the folder.
        name: what errors and results call it.
        base: a hub id or a folder.
        revision: which commit or branch of a hub id; None for the main one.
    """

    path: Path
    name: str
    base: str
    revision: str | None = None

    @classmethod
    def at(cls, folder: Path, name: str) -> "AdapterFolder":
        """Look at a folder that has an `adapter_config.json`; see `is_adapter_folder`.

        Args:
            folder: as PEFT saves it.
            name: of the folder, or the hub id that it was fetched by.

        Raises:
            ModelError: it has no weights, or those of a whole model as well, does not name its
                base, or PEFT is not installed.
        """
        if (folder / MODEL_CONFIG).is_file():
            raise ModelError(
                f"{name} holds a model and adapters of one; put {CONFIG} and {WEIGHTS[0]} "
                f"into a folder of their own, and write where the model is {WHERE}"
            )
        if not any((folder / weights).is_file() for weights in WEIGHTS):
            raise ModelError(f"{name} has an {CONFIG} and no {WEIGHTS[0]}; fetch it again whole")
        try:
            settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            base, revision = settings.get("base_model_name_or_path"), settings.get("revision")
        except (OSError, ValueError, AttributeError) as error:
            raise ModelError(
                f"cannot read {folder / CONFIG}: {one_line(error)}; fetch it again"
            ) from error
        if not base:
            raise ModelError(
                f"{name} is an adapter whose {CONFIG} names no base; write where it is {WHERE}"
            )
        if find_spec("peft") is None:
            raise ModelError(
                f"{name} is an adapter, and reading one takes a package; run: pip install "
                "'steer-plugin[peft]'"
            )
        return cls(folder, name, str(base), revision)

    @property
    def has_tokenizer(self) -> bool:
        """Whether it ships a tokenizer in place of its base's."""
        return (self.path / TOKENIZER).is_file()

    def without_base(self, reason: str) -> ModelError:
        """Say that the base cannot be loaded, and why."""
        reason = reason.removeprefix(f"cannot load the model {self.base!r}: ")
        return ModelError(
            f"{self.name} is an adapter of {self.base!r}, which cannot be loaded: {reason}; put it "
            f"there, or write where it is {WHERE}"
        )

    def merged_into(self, model: Any) -> Any:
        """Merge the adapters into the weights of their base, which is changed in place.

        Args:
            model: the base, of transformers.

        Returns:
            The model, of the base's class.

        Raises:
            ModelError: they do not merge, lack weights, or hold some that the base has no place
                for.
        """
        if getattr(model, "hf_quantizer", None) is not None:
            raise ModelError(
                f"the weights of {self.base!r} are quantised, and merging {self.name} would round "
                f"it; {ALL_THE_SAME}"
            )
        try:
            return self._merged(model)
        except ModelError:
            raise
        except Exception as error:  # PEFT raises whatever it stumbles over
            raise ModelError(
                f"{self.name} cannot be merged into {self.base!r}: {one_line(error)[:300]}"
            ) from error

    def _merged(self, model: Any) -> Any:
        import peft

        path = str(self.path)
        settings = peft.PeftConfig.from_pretrained(path)
        if settings.is_prompt_learning or settings.is_adaption_prompt:
            raise ModelError(
                f"{self.name} holds learned tokens ({settings.peft_type.value}), which stand "
                "beside a text's own and cannot be merged; give adapters that are in modules, "
                "such as LoRA"
            )
        _make_room(model, peft.load_peft_weights(path, device="cpu"))
        settings.inference_mode = True
        attached = peft.PeftModel(model, settings)
        report = attached.load_adapter(
            path,
            "default",
            torch_device=str(next(model.parameters()).device),
        )
        missing = [name for name in report.missing_keys if not SHARED.search(name)]
        if missing:
            raise ModelError(
                f"{self.name} lacks {named_tensors(missing)}, which would be random; fetch it "
                "again whole"
            )
        if report.unexpected_keys:
            raise ModelError(
                f"{self.name} holds {named_tensors(report.unexpected_keys)}, for which "
                f"{self.base!r} has no place, so it is of another base; write where that is {WHERE}"
            )
        return attached.merge_and_unload(safe_merge=True)


def is_adapter_folder(folder: Path) -> bool:
    """Tell whether PEFT saved adapters in a folder, alone or beside a model."""
    return (folder / CONFIG).is_file()


def is_hub_id_of_adapters(model: str, revision: str | None = None) -> bool:
    """Tell whether a repository holds adapters; not where there is none, or it does not tell.

    Of what was fetched before no hub is asked: without a network that takes half a minute, and as
    long again for each file that whoever loads a model asks for.

    Raises:
        ModelError: nothing of it was fetched, and no hub is reached.
    """
    try:
        for name in (CONFIG, MODEL_CONFIG):
            if isinstance(try_to_load_from_cache(model, name, revision=revision), str):
                return name == CONFIG
        hf_hub_download(model, CONFIG, revision=revision)
    except LocalEntryNotFoundError as error:
        reason = one_line(error.__cause__ or error)[:300]
        raise ModelError(
            f"cannot load the model {model!r}: it is not in the hub's cache here, and the hub "
            f"cannot be asked ({reason}); fetch it where there is a network, or give a folder"
        ) from error
    except Exception:  # of the hub and of HTTP, which who loads the model meets again
        return False
    return True


def fetch_adapters(hub_id: str) -> Path:
    """Fetch adapters into the cache of hubs, where they are not there.

    Returns:
        The folder, whose name is their commit.

    Raises:
        ModelError: they cannot be fetched.
    """
    try:
        return Path(
            snapshot_download(hub_id, allow_patterns=REPOSITORY_FILES, ignore_patterns="*/*")
        )
    except Exception as error:  # of the hub and of HTTP
        raise ModelError(
            f"the adapters {hub_id!r} cannot be fetched: {one_line(error)[:300]}; fetch them into "
            "a folder, and give that"
        ) from error


def _make_room(model: Any, stored: dict[str, Any]) -> None:
    """Give the embedding the rows that adapters hold of it, where words were added with them."""
    embedding = model.get_input_embeddings()
    (name,) = (name for name, module in model.named_modules() if module is embedding)
    places = {f"base_model.model.{name}{layer}.weight" for layer in ("", ".base_layer")}
    for tensor in places & set(stored):
        rows = len(stored[tensor])
        if rows != len(embedding.weight):
            model.resize_token_embeddings(rows, mean_resizing=False)
