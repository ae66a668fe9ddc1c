"""What a result records of where it comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from steer_plugin.corpora.corpus import Corpus
from steer_plugin.interventions.plan import AnyPlan, acting_steps
from steer_plugin.models.adapter import ModelInfo

PACKAGES = (
    "steer-plugin",
    "torch",
    "transformers",
    "transformer-lens",
    "nnsight",
    "numpy",
    "py3langid",
)


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Give the version of each package; by default of those that a figure depends on."""
    return {package: _version(package) for package in packages}


# What was loaded runs on, whatever becomes of its files meanwhile.
@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def recorded_model(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the fields of the model that something was found on, by its provenance, if any."""
    model = record.get("model")
    return model if isinstance(model, Mapping) else {}


def found_on(plan: AnyPlan | None) -> tuple[str, ...]:
    """Name the models that the experts and vectors of a plan were found on, each once."""
    names = (recorded_model(step.provenance).get("name") for step in acting_steps(plan))
    return tuple(dict.fromkeys(name for name in names if name is not None))


def moved_lines(plan: AnyPlan | None, info: ModelInfo) -> list[str]:
    """Say, a line each, on which other models the experts of a plan were found."""
    return [
        f"Note: the experts were found on {name}, and {info.name} is steered"
        for name in found_on(plan)
        if name != info.name
    ]


def provenance(info: ModelInfo, corpus: Corpus, **settings: str) -> dict[str, Any]:
    """Put together model, corpus, settings and package versions, as JSON values.

    Args:
        info: the model.
        corpus: what it read.
        settings: what else the result depends on, such as `site` and `pooling`.
    """
    return {
        "model": asdict(info),
        "corpus": corpus.record,
        **settings,
        "versions": versions(),
    }
