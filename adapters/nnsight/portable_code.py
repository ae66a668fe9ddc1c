"""What a trace takes along to a server that has never heard of this package.

nnsight sends a block of code with the objects it names, and pickles what an installed package
defines as a reference to that package. Here functions travel as their source and plans as their
data instead.
"""

import inspect
from collections import ChainMap
from collections.abc import Callable, Collection
from dataclasses import fields
from functools import partial
from types import FunctionType, SimpleNamespace
from typing import Any, TypeVar, cast

from nnsight.intervention.serialization import CustomCloudPickler

from steer_plugin.errors import InterventionError

Function = TypeVar("Function", bound=Callable[..., Any])
PACKAGE = __name__.partition(".")[0]


def portable(function: Function) -> Function:
    """Copy a function so that nnsight sends its source, and that of each of ours it calls.

    The copy has no annotations, since those would be sent as references. All else that the function
    names must be plain data, of its own package, or of one that the server has: torch, nnsight.
    """
    plain = cast("FunctionType", inspect.unwrap(function))
    packages = {PACKAGE, plain.__module__.partition(".")[0]}
    copies: dict[FunctionType, FunctionType] = {}

    def copied(original: FunctionType) -> FunctionType:
        if original not in copies:
            globals_: dict[str, Any] = {"__builtins__": __builtins__}
            copy = FunctionType(
                original.__code__,
                globals_,
                original.__name__,
                original.__defaults__,
                original.__closure__,
            )
            copy.__kwdefaults__ = original.__kwdefaults__
            copy.__doc__ = original.__doc__
            copy.__module__ = original.__module__
            # Not importable under its name, so it is not sent as a reference.
            copy.__qualname__ = f"{portable.__name__}.<locals>.{original.__name__}"
            copies[original] = copy
            for name in _names(original):
                if name in original.__globals__:
                    value = original.__globals__[name]
                    named = inspect.unwrap(value) if callable(value) else value
                    travels = isinstance(named, FunctionType) and (
                        named.__module__.partition(".")[0] in packages
                    )
                    globals_[name] = copied(named) if travels else value
        return copies[original]

    return cast("Function", copied(plain))


def _names(function: FunctionType) -> set[str]:
    """List the global names in a function's code and in that of the functions inside it."""
    names: set[str] = set()
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [constant for constant in code.co_consts if inspect.iscode(constant)]
    return names


def send_as_data(kind: type, *more: str, without: Collection[str] = ()) -> None:
    """Make nnsight send the instances of a dataclass as a namespace with the same fields.

    Args:
        kind: the dataclass; of a field that is a function, the source is sent.
        more: properties that are sent as well.
        without: fields that are not sent.
    """
    names = [*(part.name for part in fields(kind) if part.name not in without), *more]

    def reduce(instance: Any) -> tuple[Any, ...]:
        values = {name: getattr(instance, name) for name in names}
        data = {
            name: portable(value) if isinstance(value, FunctionType) else value
            for name, value in values.items()
        }
        return partial(SimpleNamespace, **data), ()

    send_as(kind, reduce)


def keep_here(kind: type, reason: str) -> None:
    """Make nnsight refuse to send the instances of a class.

    Args:
        kind: the class.
        reason: on one line, what to do instead.
    """

    def reduce(instance: Any) -> tuple[Any, ...]:
        raise InterventionError(f"{instance}: {reason}")

    send_as(kind, reduce)


def send_as(kind: type, reduce: Callable[[Any], tuple[Any, ...]]) -> None:
    """Make nnsight send the instances of a class as what a function of one says.

    Args:
        kind: the class.
        reduce: gives what `__reduce__` would.
    """
    CustomCloudPickler.dispatch_table = ChainMap({kind: reduce}, CustomCloudPickler.dispatch_table)
