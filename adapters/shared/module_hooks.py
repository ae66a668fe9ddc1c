"""PyTorch hooks on the modules of a model: what stands at a place, read and written."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from steer_plugin.adapters.shared.module_paths import Place

Act = Callable[[Tensor], Tensor | None]
"""Is given a tensor; what it returns takes its place, unless that is None."""


@contextmanager
def module_hooks(model: Any, acts: Iterable[tuple[Place, Act]]) -> Iterator[list[tuple[Any, int]]]:
    """Let functions see and change what stands at places of a model inside the block.

    Those at one place act in the order in which they are given, after hooks that were set before.

    Args:
        model: a torch module.
        acts: each with its place.

    Yields:
        For each the table of hooks that it is in, and its number there.
    """
    handles = []
    try:
        for (path, side), act in acts:
            module = model.get_submodule(path)
            handles.append(
                module.register_forward_pre_hook(_before(act), with_kwargs=True)
                if side == "input"
                else module.register_forward_hook(_after(act))
            )
        with uncompiled() if _is_compiled(model) else nullcontext():
            yield [(handle.hooks_dict_ref(), handle.id) for handle in handles]
    finally:
        for handle in handles:
            handle.remove()


def uncompiled() -> AbstractContextManager[Any]:
    """Run all uncompiled, in the whole process, since compiled code passes hooks by."""
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


def _is_compiled(model: Any) -> bool:
    return any(part._compiled_call_impl is not None for part in model.modules())


def _before(act: Act) -> Callable[..., Any]:
    def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            changed = act(args[0])
            return None if changed is None else ((changed, *args[1:]), kwargs)
        name = next(name for name, value in kwargs.items() if isinstance(value, Tensor))
        changed = act(kwargs[name])
        return None if changed is None else (args, {**kwargs, name: changed})

    return hook


def _after(act: Act) -> Callable[..., Any]:
    def hook(_: Any, __: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return act(output)
        changed = act(output[0])
        if changed is None:
            return None
        # A named tuple takes its parts one by one.
        make = getattr(output, "_make", type(output))
        return make((changed, *output[1:]))

    return hook
