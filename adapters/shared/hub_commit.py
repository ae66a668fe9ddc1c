"""Which commit of a hub a model was read from."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError


def commit_of(config: Any, hub_id: str | None = None, revision: str | None = None) -> str | None:
    """Name the commit that a model's configuration is of; None where nothing tells.

    transformers 5.15 writes it into the configuration. Later ones do not, and keep what they
    fetched in a folder of that name.

    Args:
        config: of transformers, as it was read.
        hub_id: what it was read by; None where that is not known.
        revision: the branch, tag or commit that was asked for; None for the main one.
    """
    commit: str | None = getattr(config, "_commit_hash", None)
    if commit is None and hub_id is not None and not Path(hub_id).exists():
        # A path of a server's is no hub id.
        with suppress(HFValidationError):
            cached = try_to_load_from_cache(hub_id, "config.json", revision=revision)
            commit = Path(cached).parent.name if isinstance(cached, str) else None
    return commit
