"""What is probed: where units respond, how tokens become a response, and what makes an expert."""

from collections.abc import Sequence
from dataclasses import dataclass

from steer_plugin.errors import ModelError, ScoreError, SiteError
from steer_plugin.settings.names import (
    SCORES,
    SENTENCE_POOLINGS,
    SITES,
    TOKEN_SCORES,
    ScoreName,
    SentencePooling,
    check_name,
)

QUANTILES = (0.05, 0.25, 0.75, 0.95)


@dataclass(frozen=True)
class ProbeSettings:
    """What is read of a model's units, and what they are scored by.

    Attributes:
        site: where units are; one of `steer_plugin.settings.names.SITES`.
        pooling: how a sentence's tokens become one response.
        score: what makes an expert.
        layers: the blocks to look at; None for all.
        quantiles: which quantiles of the positives' responses are kept, each in [0, 1].
        lines: whether Linear-AcT's line of each unit is kept too, for the operation `affine`.
        source: the one concept that all others are told from, each on its own; None tells each from
            all others together.

    Raises:
        SiteError: there is no such site.
        ModelError: there is no such pooling.
        ScoreError: there is no such score or quantile.
    """

    site: str = "mlp.hook_post"
    pooling: SentencePooling = "max"
    score: ScoreName = "auroc"
    layers: tuple[int, ...] | None = None
    quantiles: tuple[float, ...] = QUANTILES
    lines: bool = False
    source: str | None = None

    def __post_init__(self) -> None:
        """Check the names and the quantiles."""
        check_name(self.site, tuple(SITES), "a site", SiteError)
        check_name(self.pooling, SENTENCE_POOLINGS, "a pooling", ModelError)
        check_name(self.score, SCORES, "a score", ScoreError)
        check_quantiles(self.quantiles)

    @property
    def counts_tokens(self) -> bool:
        """Whether the score counts the tokens at which a unit is active."""
        return self.score in TOKEN_SCORES


def check_quantiles(quantiles: Sequence[float]) -> None:
    """Refuse numbers that are no quantiles.

    Raises:
        ScoreError: one is not from 0 to 1.
    """
    if not all(0 <= quantile <= 1 for quantile in quantiles):
        raise ScoreError(f"quantiles are {tuple(quantiles)}; give numbers from 0 to 1")
