"""Prompts continued batch by batch: what hosts do alike of it."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from steer_plugin.adapters.shared.batch_cuts import runs_over_padding
from steer_plugin.adapters.shared.memory import Memory
from steer_plugin.adapters.shared.sampling import draws, generation_settings
from steer_plugin.adapters.shared.tokens import TokenBatch, Tokens
from steer_plugin.errors import ModelError
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.models.adapter import ModelInfo
from steer_plugin.models.generation import FinishReason, Generation, Prompt, Writing
from steer_plugin.models.provenance import found_on, versions

Told = Callable[[int, str], None]
"""Told which prompt is continued, by its place, and with what next."""

Continued = tuple[Int[Tensor, "text token"], Float[Tensor, "text new_token"]]
"""The ids of prompts and of what continues them, and how likely each new one was; on the CPU."""

Continue = Callable[[TokenBatch, dict[str, Any], dict[str, Any]], Continued]
"""Continues a batch, by what transformers' `generate` takes by name, and what `choose` does."""


@dataclass(frozen=True)
class Asked:
    """What is to be written.

    Attributes:
        prompts: all of them.
        rows: which of them, by their places; None for all.
        plan: what is done to the model meanwhile.
        writing: how.
        told: see `Told`; None tells nobody.
        progress: what to call the work in a bar on stderr; None shows none.
    """

    prompts: Sequence[Prompt]
    rows: Sequence[int] | None
    plan: AnyPlan | None
    writing: Writing
    told: Told | None
    progress: str | None


def continue_in_batches(
    asked: Asked,
    run: Continue,
    *,
    info: ModelInfo,
    model: Any,
    tokens: Tokens,
    batch_tokens: int,
    memory: Memory,
    streams: bool = True,
) -> Generation:
    """Continue prompts in batches of similar length; see `Adapter.generate`.

    Args:
        asked: which prompts, and how.
        run: continues a batch.
        info: says which model it is.
        model: of transformers, with or without its weights.
        tokens: of the model.
        batch_tokens: padded tokens a batch, the new ones among them.
        memory: sees to it that batches fit.
        streams: whether what chooses tokens runs here, where it can tell.

    Raises:
        ModelError: a prompt cannot be taken, or the model's scores are no numbers.
    """
    writing = asked.writing
    encoded = tokens.prompts(asked.prompts, writing.max_new_tokens)
    rows = _checked(asked.rows, len(encoded))
    settings = generation_settings(model, tokens.tokenizer, max_new_tokens=writing.max_new_tokens)
    random_streams = writing.streams(len(encoded))
    last = model.generation_config.eos_token_id
    ends = {last} if isinstance(last, int) else set(last or ())
    written: dict[int, _Written] = {}

    def continued(batch: TokenBatch) -> Continued:
        for row in batch.rows:
            # A batch that memory had no room for begins anew, and has told what it tells again.
            written.setdefault(row, _Written(row, tokens, ends, asked.told)).begin()

        def tell(chosen: Int[Tensor, " text"]) -> None:
            for row, number in zip(batch.rows, chosen.tolist(), strict=True):
                written[row].add(number)

        choice = {
            "temperature": writing.temperature,
            "top_p": writing.top_p,
            "uniform": draws([random_streams[row] for row in batch.rows], writing.max_new_tokens),
            "tell": tell if streams and asked.told is not None else None,
        }
        return run(batch, settings, choice)

    batches = tokens.prompt_batches(
        encoded, rows, writing.max_new_tokens, batch_tokens, alike=runs_over_padding(model)
    )
    with tqdm(
        total=len(rows), desc=asked.progress, unit="text", disable=asked.progress is None
    ) as bar:
        for batch in batches:
            for part, (ids, log_probabilities) in memory.run(batch, continued):
                new = ids[:, part.ids.shape[1] :].tolist()
                for row, numbers, logs in zip(
                    part.rows, new, log_probabilities.tolist(), strict=True
                ):
                    written[row].end(numbers, logs)
                bar.update(len(part.rows))
    entries = [written[row] for row in rows]
    return Generation(
        tuple(entry.text for entry in entries),
        tuple(tuple(entry.ids) for entry in entries),
        tuple(tuple(entry.log_probabilities) for entry in entries),
        tuple(entry.finish_reason for entry in entries),
        {
            "model": asdict(info),
            "found_on": list(found_on(asked.plan)),
            "intervention": None if asked.plan is None else asked.plan.hash,
            "sampling": asdict(writing),
            "versions": versions(),
        },
    )


def _checked(rows: Sequence[int] | None, prompts: int) -> list[int]:
    chosen = [*range(prompts)] if rows is None else [*rows]
    if not chosen or len(set(chosen)) < len(chosen) or not {*chosen} <= {*range(prompts)}:
        raise ModelError(
            f"rows {chosen} of {prompts} prompts; give each once, from 0 to {prompts - 1}"
        )
    return chosen


class _Written:
    """What one prompt is continued with."""

    def __init__(self, row: int, tokens: Tokens, ends: set[int], told: Told | None) -> None:
        self._row, self._tokens, self._ends, self._told = row, tokens, ends, told
        self._told_text = ""
        self.begin()

    def begin(self) -> None:
        """Begin after the prompt."""
        self.ids: list[int] = []
        self.log_probabilities: list[float] = []
        self.text = ""

    @property
    def finish_reason(self) -> FinishReason:
        """Say why it ends; what stands after an end token is padding, and is not held."""
        return "stop" if self.ids and self.ids[-1] in self._ends else "length"

    def add(self, number: int) -> None:
        """Take the next token, and tell what can be read by now."""
        if self.finish_reason == "stop":
            return
        self.ids.append(number)
        self.text = self._tokens.decode(self.ids)
        # A character may be of several tokens.
        if not self.text.endswith("\ufffd"):
            self._tell()

    def end(self, numbers: list[int], log_probabilities: list[float]) -> None:
        """Take all of it, and tell what is not told yet.

        Raises:
            ModelError: a token was chosen by what is no number.
        """
        count = next(
            (place + 1 for place, number in enumerate(numbers) if number in self._ends),
            len(numbers),
        )
        self.ids, self.log_probabilities = numbers[:count], log_probabilities[:count]
        if any(math.isnan(log) for log in self.log_probabilities):
            raise ModelError(
                f"after prompt {self._row} the model's scores of the next token are not finite; "
                "check its weights and dtype, or steer less"
            )
        self.text = self._tokens.decode(self.ids)
        self._tell()

    def _tell(self) -> None:
        if self._told is None or self._told_text.startswith(self.text):
            return
        # A tokenizer may write earlier tokens otherwise once it knows later ones: do n, don't.
        both = [self.text, self._told_text]
        known = len(os.path.commonprefix(both))  # noqa: RUF071 (character by character)
        self._told(self._row, self.text[known:])
        self._told_text = self.text
