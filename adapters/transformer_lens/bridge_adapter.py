"""TransformerLens: a TransformerBridge as an adapter."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version
from typing import Any, cast

from transformer_lens.model_bridge import TransformerBridge

from steer_plugin.adapters.shared.dtypes import dtype_of
from steer_plugin.adapters.shared.hooked_adapter import Answer, HookedAdapter, Key, Reader
from steer_plugin.adapters.shared.hub_commit import commit_of
from steer_plugin.adapters.shared.model_sites import Note, measured_widths
from steer_plugin.adapters.shared.placement import devices_of
from steer_plugin.adapters.shared.shipped_tokenizer import shipped_tokenizer
from steer_plugin.adapters.shared.steered_tokens import (
    Steered,
    SteeredTokens,
)
from steer_plugin.adapters.shared.tokens import tokens_for
from steer_plugin.adapters.transformer_lens.deviations import require_agreement
from steer_plugin.adapters.transformer_lens.hooks import (
    Hook,
    NamedHook,
    bridge_hook,
    hooked,
    reading_hooks,
    require_site,
    steering_hooks,
)
from steer_plugin.adapters.transformer_lens.passes import watch_passes
from steer_plugin.errors import ModelError
from steer_plugin.models.adapter import UNKNOWN, ModelInfo
from steer_plugin.settings.model import BATCH_TOKENS


class BridgeAdapter(HookedAdapter):
    """A TransformerBridge behind the verbs of `steer_plugin.models.adapter.Adapter`.

    Args:
        bridge: on any device, in any dtype; it is put into evaluation mode.
        tokenizer: the tokenizer as the model ships it. None loads it from where the bridge has its
            own from; the bridge's own puts BOS where the model never saw it.
        bos: whether BOS is put before each text; None does as the tokenizer ships.
        batch_tokens: padded tokens a batch, fewer from where memory ends on.
        chat: whether each text is what the user says, in the tokenizer's chat template.
        say: told, a line each, when memory ends; None tells nobody.
        name: what results record as the model's name; None takes the bridge's.
        revision: what results record as its revision; None takes the commit where it is known.

    Raises:
        ModelError: the tokenizer cannot be loaded, or has no BOS and `bos` is True, or no chat
            template and `chat` is; or the bridge computes otherwise than the model.
    """

    def __init__(
        self,
        bridge: TransformerBridge,
        *,
        tokenizer: Any = None,
        bos: bool | None = None,
        batch_tokens: int = BATCH_TOKENS,
        chat: bool = False,
        say: Callable[[str], None] | None = None,
        name: str | None = None,
        revision: str | None = None,
    ) -> None:
        """Hold the bridge; nothing is run yet."""
        require_agreement(bridge)
        bridge.eval()
        self.bridge = bridge
        model = cast("Any", bridge.original_model)
        self._widths: dict[tuple[str, int], int] = {}
        shipped = _shipped_tokenizer(bridge) if tokenizer is None else tokenizer
        tokens = tokens_for(shipped, bos, model.config, chat)
        info = ModelInfo(
            name=name or str(bridge.cfg.model_name),
            revision=revision or commit_of(model.config) or UNKNOWN,
            host=f"transformer_lens {version('transformer-lens')}",
            n_layers=int(bridge.cfg.n_layers),
            d_model=int(bridge.cfg.d_model),
            dtype=dtype_of(model),
            bos=tokens.bos,
            chat=chat,
            device=devices_of(model),
        )
        super().__init__(model, info, tokens, batch_tokens, say)

    def _widths_of(self, site: str, layers: tuple[int, ...]) -> tuple[int, ...]:
        """Read widths from tensors, since configs name them in many ways."""
        missing = [layer for layer in layers if (site, layer) not in self._widths]
        for layer in missing:
            require_site(self.bridge, site, layer)

        def hooks(note: Note) -> AbstractContextManager[Any]:
            def reader(layer: int) -> Hook:
                return lambda activations, hook: note(layer, activations)  # noqa: ARG005

            named = [(bridge_hook(self.bridge, site, layer), reader(layer)) for layer in missing]
            return hooked(self.bridge, named)

        measured = measured_widths(self._model, self._info.name, site, missing, hooks)
        self._widths |= {(site, layer): width for layer, width in measured.items()}
        return tuple(self._widths[site, layer] for layer in layers)

    def _reading(
        self, steps: Sequence[Steered], readers: Mapping[Key, Reader[Answer]]
    ) -> AbstractContextManager[dict[Key, Answer]]:
        named = {
            key: (bridge_hook(self.bridge, site, layer), read)
            for key, (site, layer, read) in readers.items()
        }
        return reading_hooks(self.bridge, self._steering(steps), named)

    def _steered(self, steps: Sequence[Steered]) -> AbstractContextManager[Any]:
        return hooked(self.bridge, self._steering(steps))

    def _steering(self, steps: Sequence[Steered]) -> list[NamedHook]:
        hooks: list[NamedHook] = []
        for step, touched in steps:
            tokens = SteeredTokens(step, self.tokens.bos_id, touched=touched)
            hooks += steering_hooks(self.bridge, step, tokens, watch_passes(self.bridge).context)
        return hooks


def _shipped_tokenizer(bridge: TransformerBridge) -> Any:
    bridge_tokenizer = bridge.tokenizer
    if bridge_tokenizer is None:
        raise ModelError("the bridge has no tokenizer; give adapt(..., tokenizer=...)")
    return shipped_tokenizer(bridge_tokenizer.name_or_path)
