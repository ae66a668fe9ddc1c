"""A model of transformers as an adapter."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from typing import Any

from steer_plugin.adapters.shared.dtypes import dtype_of
from steer_plugin.adapters.shared.hooked_adapter import Answer, HookedAdapter, Key, Reader
from steer_plugin.adapters.shared.hub_commit import commit_of
from steer_plugin.adapters.shared.model_sites import ModelSites
from steer_plugin.adapters.shared.placement import devices_of
from steer_plugin.adapters.shared.shipped_tokenizer import shipped_tokenizer
from steer_plugin.adapters.shared.steered_tokens import Steered, SteeredTokens
from steer_plugin.adapters.shared.tokens import tokens_for
from steer_plugin.adapters.transformers.hooks import reading, steering
from steer_plugin.adapters.transformers.wrappers import recorded_name, unwrapped
from steer_plugin.models.adapter import UNKNOWN, ModelInfo
from steer_plugin.settings.model import BATCH_TOKENS


class ModelAdapter(HookedAdapter):
    """A `PreTrainedModel` behind the verbs of `steer_plugin.models.adapter.Adapter`.

    Its class, modules and weights are left as they are.

    Args:
        model: a causal language model of transformers, or one wrapped by PEFT or torch.compile; on
            any device or devices, in any dtype. It is put into evaluation mode.
        tokenizer: the tokenizer as the model ships it. None loads it from where the model is from.
        bos: whether BOS is put before each text; None does as the tokenizer ships.
        batch_tokens: padded tokens a batch, fewer from where memory ends on.
        chat: whether each text is what the user says, in the tokenizer's chat template.
        say: told, a line each, when memory ends; None tells nobody.
        name: what results record as the model's name; None takes the one it was loaded by.
        revision: what results record as its revision; None takes the commit where it is known.

    Raises:
        ModelError: the model has no weights, its tokenizer cannot be loaded, or it has no BOS and
            `bos` is True.
    """

    def __init__(
        self,
        model: Any,
        *,
        tokenizer: Any = None,
        bos: bool | None = None,
        batch_tokens: int = BATCH_TOKENS,
        chat: bool = False,
        say: Callable[[str], None] | None = None,
        name: str | None = None,
        revision: str | None = None,
    ) -> None:
        """Hold the model; nothing is run yet."""
        inner = unwrapped(model)
        inner.eval()
        config = inner.config
        source = name or config.name_or_path or UNKNOWN
        shipped = shipped_tokenizer(source) if tokenizer is None else tokenizer
        name = name or recorded_name(model)
        tokens = tokens_for(shipped, bos, config, chat)
        text_config = config.get_text_config()
        info = ModelInfo(
            name=name,
            revision=revision or commit_of(config) or UNKNOWN,
            host=f"transformers {version('transformers')}",
            n_layers=int(text_config.num_hidden_layers),
            d_model=int(text_config.hidden_size),
            dtype=dtype_of(inner),
            bos=tokens.bos,
            chat=chat,
            device=devices_of(inner),
        )
        super().__init__(inner, info, tokens, batch_tokens, say)
        self._sites = ModelSites(inner, name)

    def _widths_of(self, site: str, layers: tuple[int, ...]) -> tuple[int, ...]:
        return self._sites.widths(site, layers)

    def _steered(self, steps: Sequence[Steered]) -> AbstractContextManager[Any]:
        following = [
            (step, SteeredTokens(step, self.tokens.bos_id, touched=touched))
            for step, touched in steps
        ]
        return steering(self._model, self._sites, following)

    @contextmanager
    def _reading(
        self, steps: Sequence[Steered], readers: Mapping[Key, Reader[Answer]]
    ) -> Iterator[dict[Key, Answer]]:
        with self._steered(steps), reading(self._model, self._sites, readers) as answers:
            yield answers
