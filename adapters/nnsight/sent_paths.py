"""Where the sites of a traced model are: worked out here, and sent along to a server as data."""

import functools
from functools import partial
from typing import Any, cast

from nnsight.intervention.envoy import Envoy
from nnsight.schema.request import RequestModel

from steer_plugin.adapters.nnsight.portable_code import portable, send_as, send_as_data
from steer_plugin.adapters.shared import module_paths
from steer_plugin.adapters.shared.module_paths import ModulePaths

# By kind of model, what a request takes along: paths, or why there are none.
_SENT: dict[str, ModulePaths | str] = {}


class PathsOf:
    """Says where a traced model has its sites; on a server, what was worked out before."""

    def __call__(self, model: Any) -> ModulePaths:
        """Give the paths of an nnsight model.

        Raises:
            LookupError: its architecture is unknown.
        """
        return module_paths.paths_of(model._module)


paths_of = PathsOf()


def _sent_paths(model: Any, sent: Any) -> Any:
    kind = model.config.model_type
    paths = sent.get(kind, f"of a {kind!r} model no paths were sent; name it in a variable")
    if hasattr(paths, "sites"):
        return paths
    raise LookupError(paths)


def work_out_before_sending() -> None:
    """Work out, where a request is written, the paths of each model that its block can name."""
    serialize = cast("Any", RequestModel.serialize).__func__

    @functools.wraps(serialize)
    def with_paths(cls: type, tracer: Any, *args: Any, **kwargs: Any) -> Any:
        for model in _models_in(tracer):
            kind = model._module.config.model_type
            try:
                _SENT[kind] = paths_of(model)
            except LookupError as error:  # said where a plan asks for them
                _SENT[kind] = str(error.args[0])
        return serialize(cls, tracer, *args, **kwargs)

    setattr(RequestModel, "serialize", classmethod(with_paths))  # noqa: B010 (mypy knows it as read-only)


def _models_in(tracer: Any) -> list[Any]:
    """List the models that are traced, or that a block can name, by themselves or in an object."""
    frame = tracer.info.frame
    local = frame.f_locals.values()
    holders = [each for each in local if not isinstance(each, Envoy)]
    held = [part for each in holders for part in getattr(each, "__dict__", {}).values()]
    named = [*frame.f_globals.values(), *local, *held, getattr(tracer, "envoy", None)]
    return [
        each
        for each in named
        # Parts of a model, such as its attention, have its configuration too.
        if isinstance(each, Envoy) and hasattr(each._module, "base_model_prefix")
    ]


work_out_before_sending()
send_as_data(ModulePaths)
send_as(PathsOf, lambda _: (partial(partial, portable(_sent_paths), sent=dict(_SENT)), ()))
