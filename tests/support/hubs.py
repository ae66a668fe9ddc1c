"""Data sets on disk, laid out as their repository on a hub is, that `datasets` loads for real."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets

Configs = Mapping[str, Mapping[str, Mapping[str, list[Any]]]]


def hub_folder(folder: Path, configs: Configs) -> str:
    """Write parquet files and a README.md with its configurations; name the folder as a hub's set.

    Args:
        configs: for each configuration and each split, its columns.
    """
    card = []
    for config, splits in configs.items():
        for split, columns in splits.items():
            path = folder / config / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            datasets.Dataset.from_dict(columns).to_parquet(path)
        files = [{"split": split, "path": f"{config}/{split}-*"} for split in splits]
        card.append({"config_name": config, "data_files": files})
    # JSON is YAML.
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(card)}\n---\n", encoding="utf-8")
    return f"hf:{folder}"
