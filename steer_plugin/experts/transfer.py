"""Experts of one model put on another, as those of a base model on its chat model."""

from dataclasses import asdict

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.errors import SiteError
from steer_plugin.experts.table import ExpertTable
from steer_plugin.models.adapter import Adapter
from steer_plugin.models.provenance import recorded_model


def check_units(table: ExpertTable, adapter: Adapter) -> None:
    """Refuse experts of a model whose units are not those of this one.

    Args:
        table: the experts.
        adapter: the model that is to be steered.

    Raises:
        SiteError: the site is missing, blocks are more or fewer, the residual stream is wider or
            narrower, or a block has another number of units.
    """
    theirs, info = table.space, adapter.info
    recorded = recorded_model(table.provenance)
    shape = {name: recorded.get(name, getattr(info, name)) for name in ("n_layers", "d_model")}
    beyond = max(theirs.layers, default=0) >= max(info.n_layers, 1)
    here = adapter.space(theirs.site, None if beyond else theirs.layers)
    if (theirs, shape) != (here, {name: getattr(info, name) for name in shape}):
        known = recorded.get("name", "another model")
        raise SiteError(
            f"the experts are of {known} ({_units(theirs, **shape)}), and {info.name} has other "
            f"units ({_units(here, info.n_layers, info.d_model)}); give experts that were found on "
            "it, or on the model that it was made from"
        )


def _units(space: UnitSpace, n_layers: int, d_model: int) -> str:
    widths = " or ".join(map(str, dict.fromkeys(space.widths)))
    return f"{n_layers} blocks of {widths} units at {space.site}, d_model {d_model}"


def differences(table: ExpertTable, adapter: Adapter) -> list[str]:
    """Say, a line each, in what the model that the experts were found on differs from this one."""
    recorded = recorded_model(table.provenance)
    # `info` leaves its hashes empty, and older tables have fewer fields.
    return [
        f"Note: the experts' model has {name} {recorded.get(name)}, this one {here}"
        for name, here in asdict(adapter.info).items()
        if here != "" and recorded.get(name, here) != here
    ]
