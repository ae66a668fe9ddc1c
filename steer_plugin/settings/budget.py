"""What finding experts may cost: memory, disk, and where responses are kept."""

from dataclasses import dataclass
from pathlib import Path

MEMORY = 4_000_000_000


@dataclass(frozen=True)
class Budget:
    """What responses of units may take.

    Attributes:
        memory: bytes of working memory, beside the model and the activations of one batch.
        disk: bytes that responses may take in `cache`, and a model that is converted into it; None
            takes what is free. Where not all responses fit, the texts pass through the model
            several times, for some layers each; a model that does not fit is not kept.
        cache: folder in which responses are kept, batch by batch, and found again when the same is
            asked for anew; several processes may share it. None holds them in memory, all of them.
    """

    memory: int = MEMORY
    disk: int | None = None
    cache: Path | None = None
