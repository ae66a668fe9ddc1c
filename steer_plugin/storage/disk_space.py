"""What may be written to a disk, and how a number of bytes is printed."""

import shutil
from pathlib import Path

SPARE = 0.95  # of the free disk, what is taken at most


def free_disk(folder: Path) -> int:
    """Say how many bytes may be written into a folder that may not be there yet."""
    existing = next(place for place in (folder, *folder.resolve().parents) if place.exists())
    return int(SPARE * shutil.disk_usage(existing).free)


def size(count: float) -> str:
    """Print a number of bytes, such as 9.4 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
