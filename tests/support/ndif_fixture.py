"""One NDIF server for all tests, and a client of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nnsight
import pytest
import transformers
from nnsight.modeling import huggingface
from nnsight.modeling.transformers import TransformersModel

from support import saved_models
from support.ndif_server import NDIFServer

ROOT = Path(__file__).parents[2]
SECONDS_FOR_HURRIED = 1.0


def server_python() -> Path:
    """Name the interpreter that has NDIF: `$STEER_NDIF_PYTHON`, or what the Makefile installs."""
    return Path(os.environ.get("STEER_NDIF_PYTHON", ROOT / ".venv-ndif" / "bin" / "python"))


@contextmanager
def ndif_server(folder: Path) -> Iterator[NDIFServer]:
    """Run a server with a tiny Llama and a tiny GPT-2.

    A third model, another Llama, is deployed by the first request to it; requests to it are cut off
    after `SECONDS_FOR_HURRIED`.
    """
    llama, gpt2 = (saved_models.save_model(folder / name, name) for name in ("llama", "gpt2"))
    hurried = {saved_models.save_model(folder / "hurried", "llama"): SECONDS_FOR_HURRIED}
    with NDIFServer(server_python(), [llama, gpt2], execution_timeouts_s=hurried) as server:
        yield server


def connect(server: NDIFServer, patch: pytest.MonkeyPatch, *, key: str | None = None) -> None:
    """Let nnsight send its remote requests to the server, for one test.

    Args:
        server: a running one.
        patch: undoes it after the test.
        key: what to present instead of the server's own key.
    """
    patch.setattr(nnsight.CONFIG.API, "HOST", server.url)
    patch.setattr(nnsight.CONFIG.API, "APIKEY", server.key if key is None else key)
    patch.setattr(nnsight.CONFIG.APP, "REMOTE_LOGGING", False)
    for model in (*server.models, *server.execution_timeouts_s):
        # Else nnsight asks the hub how it spells a model's name.
        patch.setitem(huggingface._ID_CACHE, str(model), str(model))


def remote_model(folder: Path) -> Any:
    """Describe a model as nnsight's users do for remote work: no weights are loaded here."""
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    return TransformersModel(str(folder), task="text-generation", tokenizer=tokenizer)
