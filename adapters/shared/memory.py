"""Batches that there is no memory for are halved, until they fit."""

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch

from steer_plugin.adapters.shared.losses import WindowBatch
from steer_plugin.adapters.shared.tokens import TokenBatch
from steer_plugin.errors import ModelError
from steer_plugin.storage.artifacts import one_line

Texts = TypeVar("Texts", TokenBatch, WindowBatch)
Answer = TypeVar("Answer")

# How allocators without an exception of their own put it: the CPU's, and those of MPS and cuBLAS.
WORDS = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


@dataclass
class Memory:
    """Runs batches as large as memory holds.

    Attributes:
        name: of the model.
        say: told, a line each, when a batch is halved; None tells nobody.
        room: for how many tokens beside those of each text.
        most: how many padded tokens may fit; None until a batch did not.
    """

    name: str
    say: Callable[[str], None] | None = None
    room: int = 0
    most: int | None = None

    def run(
        self, batch: Texts, forward: Callable[[Texts], Answer]
    ) -> Iterator[tuple[Texts, Answer]]:
        """Run a batch whole, or in parts of half as many texts where memory ends.

        Yields:
            Each part in the order of the texts, with its answer.

        Raises:
            ModelError: a text alone is more than memory holds.
        """
        waiting = [batch]
        while waiting:
            part = waiting.pop()
            texts, width = part.shape
            size = texts * (width + self.room)
            if self.most is None or size <= self.most or texts == 1:
                try:
                    answer = forward(part)
                except Exception as error:
                    if not _ran_out(error):
                        raise
                    self._halve(texts, width, size, one_line(error))
                else:
                    yield part, answer
                    continue
                # The error held what the pass had computed, until here.
                _release()
            middle = (texts + 1) // 2
            waiting += [part.part(slice(middle, None)), part.part(slice(middle))]

    def _halve(self, texts: int, width: int, size: int, reason: str) -> None:
        if texts == 1:
            after = f" and {self.room} new ones" if self.room else ""
            raise ModelError(
                f"{self.name} ran out of memory at one text of {width} tokens{after} "
                f"({reason[:160]}); give shorter texts or fewer new tokens, load the model as "
                "bfloat16 or quantised, or take a device with more memory"
            ) from None
        self.most = size // 2
        if self.say is not None:
            self.say(
                f"Out of memory at {texts} texts of {width} tokens; going on with batches half as "
                f"large (a batch_tokens of {self.most} spares the attempt)"
            )


def _ran_out(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in WORDS)


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
