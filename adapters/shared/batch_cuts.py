"""Which texts stand side by side in a batch."""

from collections.abc import Iterator, Mapping
from typing import Any


def cut_by_length(
    lengths: Mapping[int, int], batch_tokens: int, room: int = 0, alike: bool = False
) -> Iterator[list[int]]:
    """Fill one batch after another, the longest texts first, those of one length by row.

    Args:
        lengths: of each text, by its row, in tokens.
        batch_tokens: padded tokens a batch; a longer text is a batch of its own.
        room: for how many tokens after each text.
        alike: whether all texts of a batch must have one length.
    """
    rows: list[int] = []
    for row in sorted(lengths, key=lambda row: (-lengths[row], row)):
        longest = lengths[rows[0]] if rows else 0
        full = (longest + room) * (len(rows) + 1) > batch_tokens
        if rows and (full or (alike and lengths[row] != longest)):
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def runs_over_padding(model: Any) -> bool:
    """Say whether padding before a text changes what a model gives for the text.

    The recurrences of RecurrentGemma and RWKV run over what attention masks, and so does what
    MiniMax's linear attention keeps for the next token, in transformers 5.23.

    Args:
        model: of transformers.
    """
    layers = getattr(model.config.get_text_config(), "layer_types", None) or ()
    return bool(getattr(model, "_is_stateful", False)) or "linear_attention" in layers
