"""Hugging Face data sets: those at hand, and those that are loaded by name, as "hf:name"."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, TypeVar

from steer_plugin.corpora.tables import Table, choose_split, refuse_split
from steer_plugin.errors import CorpusError

SCHEME = "hf:"
# Whole ones, and such as are streamed.
_KINDS = ("Dataset", "DatasetDict", "IterableDataset", "IterableDatasetDict")

Loaded = TypeVar("Loaded")


def is_dataset(source: object) -> bool:
    """Tell a data set, or several splits of one, without importing their library."""
    # Whoever holds one has imported it.
    library = sys.modules.get("datasets")
    kinds = (getattr(library, kind, None) for kind in _KINDS)
    return isinstance(source, tuple(kind for kind in kinds if isinstance(kind, type)))


def is_hub(source: object) -> bool:
    """Tell whether a source is the name of a data set on a hub."""
    return isinstance(source, str) and source.startswith(SCHEME)


def parse_hub(source: str) -> tuple[str, str | None]:
    """Divide "hf:name" or "hf:name:split" into the name and the split, None where there is none.

    Raises:
        CorpusError: there is no name, or an empty split.
    """
    name, colon, split = source.removeprefix(SCHEME).partition(":")
    if not name or (colon and not split):
        raise CorpusError(
            f"{source!r} names no data set; give {SCHEME}name or {SCHEME}name:split, such as "
            f"{SCHEME}openlanguagedata/flores_plus:dev"
        )
    return name, split or None


def config_names(name: str) -> Sequence[str]:
    """List the configurations of a data set, such as one a language.

    Args:
        name: on the hub, or a local folder in a hub's layout.

    Raises:
        CorpusError: the extra `[datasets]` is not installed, or the data set cannot be had.
    """
    configs = _ask(name, lambda datasets: datasets.get_dataset_config_names(name))
    return list(map(str, configs))


def load(name: str, config: str | None = None) -> Any:
    """Load all splits of a data set, in one of its configurations.

    Raises:
        CorpusError: as `config_names`; or there is no such configuration.
    """
    full_name = name if config is None else f"{name} ({config})"
    return _ask(full_name, lambda datasets: datasets.load_dataset(name, config))


def read_dataset(source: Any, split: str | None, name: str = "the dataset") -> Table:
    """Read a Hugging Face `Dataset`, or one split of a `DatasetDict`; streaming ones to their end.

    Raises:
        CorpusError: the split is not there, or one is needed, or the stream breaks off.
    """
    if isinstance(source, dict):
        source = source[choose_split(name, source, split)]
    else:
        refuse_split(name, split)
    plain = source.with_format(None)
    if hasattr(plain, "__len__"):
        columns = {column: list(plain[column]) for column in plain.column_names}
    else:
        columns = _stream(plain, name)
    kinds = getattr(plain, "features", None) or {}
    return Table(
        name,
        lambda row: f"{name}, row {row + 1}",
        columns,
        {
            column: tuple(kind.names)
            for column, kind in kinds.items()
            if type(kind).__name__ == "ClassLabel"
        },
    )


def _stream(source: Any, name: str) -> dict[str, list[Any]]:
    try:
        rows = list(source)
    except Exception as error:  # whatever the library stumbles over on its way to a hub
        reason = " ".join(str(error).split())[:200]
        raise CorpusError(
            f"{name} broke off while it was streamed ({reason}); try again, or load it whole"
        ) from error
    columns = dict.fromkeys(column for row in rows for column in row)
    return {column: [row.get(column) for row in rows] for column in columns}


def _ask(name: str, ask: Callable[[Any], Loaded]) -> Loaded:
    try:
        datasets = import_module("datasets")
    except ImportError as error:
        raise CorpusError(
            "data sets of a hub need the package 'datasets'; run: pip install "
            "'steer-plugin[datasets]'"
        ) from error
    try:
        return ask(datasets)
    except Exception as error:  # whatever the library stumbles over on its way to a hub
        reason = " ".join(str(error).split())[:200]
        raise CorpusError(
            f"the data set {name} cannot be loaded ({reason}); check its name, the network and "
            "its terms of use, or give a folder"
        ) from error
