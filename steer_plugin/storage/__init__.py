"""Results on disk, whole or not at all: folders of JSON, safetensors and parquet.

May import: errors.
"""

from steer_plugin.storage.artifacts import Artifact, read_artifact, write_artifact

__all__ = [
    "Artifact",
    "read_artifact",
    "write_artifact",
]
