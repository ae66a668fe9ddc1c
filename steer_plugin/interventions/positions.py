"""Which tokens a step touches: names, slices, masks, and functions of the tokens."""

import importlib
import inspect
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from steer_plugin.errors import ArtifactError, InterventionError
from steer_plugin.registry import source_text, text_hash
from steer_plugin.settings.positions import CHOICES, positions_text, slice_text

TokenChooser = Callable[[Tensor, Tensor], Tensor]
"""From ids and attention mask, each [batch, position], to a boolean mask of that shape."""


@dataclass(frozen=True)
class TokenFunction:
    """A function that says which tokens are touched, known by its name and source.

    Attributes:
        name: module and qualified name, such as `mine.tokens:nouns`.
        source: SHA-256 of the function's source and the values that it reads from around it.
        function: itself; not part of its identity.
    """

    name: str
    source: str
    function: TokenChooser = field(compare=False, repr=False)


Positions = (
    str
    | slice
    | tuple[str, ...]
    | Sequence[Sequence[bool]]
    | Bool[np.ndarray, "text token"]
    | Bool[Tensor, "text token"]
    | TokenFunction
    | TokenChooser
)
"""What may be given as positions; see `Intervention.positions`."""

Where = str | tuple[str, ...] | TokenFunction
"""What a plan holds of it: a name or slice as text, a mask as a row of 0 and 1 a text."""


def settled(given: Any) -> Where:
    """Give the form in which a plan holds positions; one in that form stays as it is.

    Raises:
        InterventionError: they say nothing of which tokens are meant, or a function cannot be told
            from another.
    """
    if isinstance(given, str):
        return positions_text(given)
    if isinstance(given, TokenFunction):
        return given
    if isinstance(given, slice):
        ends = (given.start, given.stop, given.step)
        try:
            whole = [None if end is None else operator.index(end) for end in ends]
        except TypeError as error:
            raise InterventionError(f"{given} is no slice of tokens; give whole numbers") from error
        return slice_text(slice(*whole))
    if callable(given):
        return token_function(given)
    rows = given.tolist() if isinstance(given, np.ndarray | Tensor) else given
    if isinstance(rows, list | tuple) and rows and all(map(_is_row, rows)):
        return tuple("".join(str(int(bit)) for bit in row) for row in rows)
    raise InterventionError(
        f"positions of type {type(given).__name__} say no tokens; {CHOICES}, a boolean mask with a "
        "row a text, or a function of ids and attention mask",
        page="how-to/plans",
    )


def _is_row(row: object) -> bool:
    if isinstance(row, str):
        return set(row) <= {"0", "1"}
    return isinstance(row, list | tuple) and all(isinstance(bit, bool | np.bool_) for bit in row)


def mask_of_others(rows: int, texts: int) -> str:
    """Say that a mask is not of the texts that are given."""
    return f"the mask of positions has {rows} rows, {texts} texts were given; give a row a text"


def described(where: Where) -> str:
    """Say which tokens are meant."""
    if isinstance(where, TokenFunction):
        return f"tokens by {where.name} (source {where.source[:8]})"
    if isinstance(where, tuple):
        return f"tokens of a mask of {len(where)} text{'' if len(where) == 1 else 's'}"
    if where == "last":
        return "last token"
    return f"tokens {where}" if ":" in where else f"{where} tokens"


def as_json(where: Where) -> Any:
    """Give JSON values that say which tokens are meant."""
    if isinstance(where, TokenFunction):
        return {"function": where.name, "source": where.source}
    return {"mask": list(where)} if isinstance(where, tuple) else where


def from_json(written: Any) -> Any:
    """Give positions as `as_json` writes them.

    Raises:
        ArtifactError: a function is not found under its name, or is another one by now.
    """
    if not isinstance(written, dict):
        return written
    if "mask" in written:
        return tuple(written["mask"])
    return _imported(written["function"], written["source"])


def require_importable(where: Where) -> None:
    """Refuse to save a function that could not be found again under its name.

    Raises:
        InterventionError: it could not.
    """
    if not isinstance(where, TokenFunction):
        return
    try:
        _imported(where.name, where.source)
        lost = where.name.startswith("__main__:")
    except ArtifactError:
        lost = True
    if lost:
        raise InterventionError(
            f"the function {where.name} could not be found again, so the plan cannot be saved; put "
            "the function into a module that can be imported, under its own name"
        )


def _imported(name: str, source: str) -> TokenFunction:
    module, _, path = name.partition(":")
    try:
        function = reduce(getattr, path.split("."), importlib.import_module(module))
        known = token_function(function)
    except (ImportError, AttributeError, ValueError, InterventionError) as error:
        raise ArtifactError(
            f"the plan's function {name} is not there: {error}; put its module where Python "
            "imports from"
        ) from error
    if known.source != source:
        raise ArtifactError(
            f"the plan's function {name} has source {known.source[:8]} now, and had {source[:8]} "
            "when the plan was made; restore it, or plan anew"
        )
    return known


def token_function(function: Any) -> TokenFunction:
    """Name a function, and hash all that makes it what it is.

    Raises:
        InterventionError: it is no plain function, its source is not to be had, or it reads what
            cannot be told from another of its kind.
    """
    if not isinstance(function, FunctionType):
        raise InterventionError(
            f"positions by an object of type {type(function).__name__}; give a plain function of "
            "ids and attention mask, made with def or lambda"
        )
    name = f"{function.__module__}:{function.__qualname__}"
    source = source_text(function)
    if source is None:
        raise InterventionError(
            f"the source of {name} cannot be read, and a plan is known by it; define the function "
            "in a file or a notebook's cell"
        )
    parts = [source]
    code = function.__code__
    if function.__name__ == "<lambda>":
        # Several may stand on one line, which is all that their source is.
        constants = [constant for constant in code.co_consts if not inspect.iscode(constant)]
        parts += [code.co_code.hex(), repr(constants), repr(code.co_names)]
    around = inspect.getclosurevars(function)
    read: dict[str, Any] = {**around.globals, **around.nonlocals, **(function.__kwdefaults__ or {})}
    read["defaults"] = function.__defaults__
    for variable, value in sorted(read.items()):
        if value is not None:
            parts.append(f"{variable}={_content(value, name, variable)}")
    return TokenFunction(name, text_hash("\0".join(parts)), function)


def _content(value: Any, name: str, variable: str) -> str:
    """Write a value so that another is written otherwise."""
    if value is None or isinstance(value, bool | int | float | str | bytes | torch.dtype):
        return repr(value)
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return f"{value.__module__}:{value.__qualname__}"
    if isinstance(value, list | tuple):
        return f"({','.join(_content(item, name, variable) for item in value)})"
    if isinstance(value, set | frozenset):
        return f"{{{','.join(sorted(_content(item, name, variable) for item in value))}}}"
    raise InterventionError(
        f"the function {name} reads {variable!r} from around it, of type {type(value).__name__}, "
        "whose content a plan cannot record; give it numbers or strings, or lists of them"
    )
