"""What a hook cannot see of its forward pass: the cache, the mask, the call to `generate`."""

import functools
import inspect
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import GenerationMixin

from steer_plugin.adapters.shared.steered_tokens import PassContext

# One object a call to `generate`, and None outside.
_generation: ContextVar[object | None] = ContextVar("generation", default=None)


class PassWatch:
    """Notes the context of each forward pass of a bridge, for as long as it lives."""

    def __init__(self, bridge: TransformerBridge) -> None:
        """Begin to watch."""
        _number_generations()
        inputs: dict[str, Any] = {}

        def note(_: Any, __: Any, kwargs: dict[str, Any]) -> None:
            cache: Any = kwargs.get("past_key_values")
            mask = kwargs.get("attention_mask")
            inputs["past"] = int(cache.get_seq_length()) if hasattr(cache, "get_seq_length") else 0
            inputs["attention"] = mask.bool() if isinstance(mask, Tensor) else None

        model: Any = bridge.original_model
        handle = model.base_model.register_forward_pre_hook(note, with_kwargs=True)
        weakref.finalize(self, handle.remove)
        self._inputs = inputs

    def context(self) -> PassContext:
        """Describe the pass that runs."""
        return PassContext(run=_generation.get(), **self._inputs)


@functools.cache
def _number_generations() -> None:
    """Tell calls to `generate` apart, from now on: of TransformerLens and of transformers."""
    for owner, name in (
        (TransformerBridge, "generate"),
        (TransformerBridge, "generate_stream"),
        (GenerationMixin, "generate"),
    ):
        setattr(owner, name, _numbered(getattr(owner, name)))


def _numbered(generate: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(generate)
    def numbered(*args: Any, **kwargs: Any) -> Any:
        token = _generation.set(object())
        try:
            return generate(*args, **kwargs)
        finally:
            _generation.reset(token)

    @functools.wraps(generate)
    def numbered_items(*args: Any, **kwargs: Any) -> Iterator[Any]:
        run, items = object(), generate(*args, **kwargs)
        while True:
            token = _generation.set(run)
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                _generation.reset(token)
            yield item

    return numbered_items if inspect.isgeneratorfunction(generate) else numbered
