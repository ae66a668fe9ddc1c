"""What a hook cannot see of its forward pass: the cache, the mask, the call to `generate`."""

import functools
import inspect
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationMixin

from steer_plugin.adapters.shared.steered_tokens import PassContext, Run
from steer_plugin.adapters.shared.touched_tokens import cached_tokens

# The calls to `generate` that run, each inside the one before it, with what each was called on.
_running: ContextVar[tuple[tuple[object, Run], ...]] = ContextVar("running", default=())


class PassWatch:
    """Notes the context of each forward pass of a model, until it is removed or forgotten.

    Args:
        model: of transformers.
        owners: what `generate` may be called on, beside the model.
        begin: called where a pass begins, with its token ids (None where it has none) and context.
    """

    def __init__(
        self,
        model: Any,
        owners: Sequence[object] = (),
        begin: Callable[[Tensor | None, PassContext], None] | None = None,
    ) -> None:
        """Begin to watch."""
        note_generations(GenerationMixin, "generate")
        inputs: dict[str, Any] = {}
        owners = (*owners, model)
        self._owners, self._inputs = owners, inputs
        running: list[Any] = []

        def note(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            names = inspect.signature(module.forward).parameters
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            ids = given.get("input_ids", args[0] if args else None)
            width = ids.shape[1] if isinstance(ids, Tensor) else 0
            mask: Any = given.get("attention_mask")
            plain = isinstance(mask, Tensor) and mask.dim() == 2
            inputs["past"] = cached_tokens(given, width)
            inputs["attention"] = mask.bool() if plain else None
            # torch calls no hook after what is no Exception, such as KeyboardInterrupt.
            if module in running:
                running.clear()
            first = not running
            running.append(module)
            if begin is not None and first:
                begin(ids, PassContext(run=_run_of_pass(owners), **inputs))

        def end(module: Any, *_: Any) -> None:
            # Nor a hook before a pass that another one refused.
            if running and running[-1] is module:
                running.pop()

        self._removed = []
        # OPT's calls a module inside of its base model, and PEFT no hooks of the model.
        for module in {model: None, model.base_model: None}:
            for handle in (
                module.register_forward_pre_hook(note, with_kwargs=True),
                module.register_forward_hook(end, always_call=True),
            ):
                self._removed.append(weakref.finalize(self, handle.remove))

    def remove(self) -> None:
        """Watch no longer."""
        for remove in self._removed:
            remove()

    def context(self) -> PassContext:
        """Describe the pass that runs."""
        return PassContext(run=_run_of_pass(self._owners), **self._inputs)


def _run_of_pass(owners: Sequence[object]) -> Run | None:
    """Give the call to `generate` that a pass is in.

    A model that drafts for itself is called inside of its own `generate`, to continue the text.
    """
    runs = [run for owner, run in _running.get() if owner in owners]
    return next((run for run in runs if _continues(runs[-1], run)), None)


@functools.cache
def note_generations(owner: type, name: str) -> None:
    """Note calls to a class's `generate`, from now on."""
    setattr(owner, name, _noted(getattr(owner, name)))


def _continues(inner: Run, outer: Run) -> bool:
    if inner is outer:
        return True
    if inner.ids is None or outer.ids is None or len(inner.ids) != len(outer.ids):
        return False
    return torch.equal(inner.ids[:, : outer.ids.shape[1]], outer.ids)


def _run_of(owner: object, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run:
    if not isinstance(owner, GenerationMixin):
        return Run()  # its first pass is given the whole prompt
    ids = kwargs.get("input_ids", args[0] if args else kwargs.get("inputs"))
    mask: Any = kwargs.get("attention_mask")
    plain = isinstance(ids, Tensor) and ids.dim() == 2 and not ids.is_floating_point()
    masked = isinstance(mask, Tensor) and mask.dim() == 2
    return Run(ids if plain else None, mask.bool() if masked else None)


def _noted(generate: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(generate)
    def noted(self: object, *args: Any, **kwargs: Any) -> Any:
        token = _running.set((*_running.get(), (self, _run_of(self, args, kwargs))))
        try:
            return generate(self, *args, **kwargs)
        finally:
            _running.reset(token)

    @functools.wraps(generate)
    def noted_items(self: object, *args: Any, **kwargs: Any) -> Iterator[Any]:
        run, items = _run_of(self, args, kwargs), generate(self, *args, **kwargs)
        while True:
            token = _running.set((*_running.get(), (self, run)))
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                _running.reset(token)
            yield item

    return noted_items if inspect.isgeneratorfunction(generate) else noted
