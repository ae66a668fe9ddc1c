"""What a model is asked to continue, and what it continues it with."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

from steer_plugin.errors import ModelError

if TYPE_CHECKING:
    import pandas as pd

Messages = Sequence[Mapping[str, str]]
"""A conversation: each message has a `role`, such as "user", and its `content`."""

Prompt = str | Messages
"""A text, or a conversation that the tokenizer's own chat template writes as one."""

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Writing:
    """How a prompt is continued.

    Attributes:
        max_new_tokens: at most so many tokens more.
        temperature: of the sampling; at 0, as below 1e-6, the likeliest token is next.
        top_p: sample from the likeliest tokens that together have this probability, above 0 and at
            most 1.
        seed: of the sampling, from 0; or one for each prompt.

    Raises:
        ModelError: one of them is out of its range.
    """

    max_new_tokens: int = 32
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | tuple[int, ...] = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        right = {
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "temperature": (0 <= self.temperature < math.inf, "0 or more"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "seed": (min(self._seeds, default=0) >= 0, "0 or more"),
        }
        for name, (fits, wanted) in right.items():
            if not fits:
                raise ModelError(f"{name} is {getattr(self, name)}; give {wanted}")

    @property
    def _seeds(self) -> tuple[int, ...]:
        return self.seed if isinstance(self.seed, tuple) else (self.seed,)

    def streams(self, prompts: int) -> list[tuple[int, int]]:
        """Give what the random numbers of each prompt hang on: its seed, and its place among its.

        Raises:
            ModelError: there are several seeds, and not one for each prompt.
        """
        if not isinstance(self.seed, tuple):
            return [(self.seed, row) for row in range(prompts)]
        if len(self.seed) != prompts:
            raise ModelError(
                f"{len(self.seed)} seeds were given for {prompts} prompts; give one for all, or "
                "one for each"
            )
        places: defaultdict[int, count[int]] = defaultdict(count)
        return [(seed, next(places[seed])) for seed in self.seed]


@dataclass(frozen=True)
class Generation:
    """What a model wrote after prompts, an entry a prompt in the order that was asked for.

    Attributes:
        texts: without the prompts and without special tokens.
        ids: of the new tokens, the end token among them where there is one.
        log_probabilities: of each of them, in nats, given all that stands before it, under the
            model as it was steered, whatever temperature and top-p.
        finish_reasons: "stop" after an end token, "length" after `max_new_tokens`.
        provenance: the model, the models that the plan's experts were found on, and what else the
            texts depend on, as JSON values.
    """

    texts: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    log_probabilities: tuple[tuple[float, ...], ...]
    finish_reasons: tuple[FinishReason, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def frame(self) -> "pd.DataFrame":
        """Tabulate it, one row a prompt.

        Returns:
            `text`; `tokens`, how many; `log_probability`, the sum over them, in nats; and
            `finish_reason`.
        """
        import pandas as pd

        return pd.DataFrame(
            {
                "text": self.texts,
                "tokens": [len(ids) for ids in self.ids],
                "log_probability": [math.fsum(logs) for logs in self.log_probabilities],
                "finish_reason": self.finish_reasons,
            }
        )

    def records(self) -> list[dict[str, Any]]:
        """Give it as JSON values, one object a prompt.

        Returns:
            `text`, `ids`, `log_probabilities` and `finish_reason` of each, and the `provenance` of
            all.
        """
        return [
            {
                "text": text,
                "ids": list(ids),
                "log_probabilities": list(log_probabilities),
                "finish_reason": reason,
                "provenance": dict(self.provenance),
            }
            for text, ids, log_probabilities, reason in zip(
                self.texts, self.ids, self.log_probabilities, self.finish_reasons, strict=True
            )
        ]
