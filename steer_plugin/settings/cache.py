"""Where what is kept lies, unless somebody says where."""

import os
from pathlib import Path

CACHE = "STEER_PLUGIN_CACHE"


def default_cache() -> Path | None:
    """Give the folder that the environment names, or else one in the user's own cache folder.

    Returns:
        The folder, which need not be there yet; None where the user has no folder of their own.
    """
    if named := os.environ.get(CACHE):
        return Path(named)
    from platformdirs import user_cache_path

    try:
        folder = user_cache_path("steer-plugin") / "responses"
    except RuntimeError:
        return None
    # Where nothing says what ~ is, it stays.
    return folder if folder.is_absolute() else None
