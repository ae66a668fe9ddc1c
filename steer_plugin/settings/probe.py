"""What is probed: where units respond, how tokens become a response, and what makes an expert."""

from collections.abc import Sequence
from dataclasses import dataclass

from steer_plugin.errors import ScoreError
from steer_plugin.settings.parts import POOLINGS, SCORES, SITES

QUANTILES = (0.05, 0.25, 0.75, 0.95)


@dataclass(frozen=True)
class ProbeSettings:
    """What is read of a model's units, and what they are scored by.

    Attributes:
        site: where units are; one of `SITES`.
        pooling: how a sentence's tokens become one response; one of `POOLINGS`.
        score: what makes an expert; one of `SCORES`.
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
    pooling: str = "max"
    score: str = "auroc"
    layers: tuple[int, ...] | None = None
    quantiles: tuple[float, ...] = QUANTILES
    lines: bool = False
    source: str | None = None

    def __post_init__(self) -> None:
        """Check the names and the quantiles."""
        SITES.check(self.site)
        POOLINGS.check(self.pooling)
        SCORES.check(self.score)
        check_quantiles(self.quantiles)

    @property
    def counts_tokens(self) -> bool:
        """Whether the score counts the tokens at which a unit is active."""
        return SCORES[self.score].counts_tokens


def check_quantiles(quantiles: Sequence[float]) -> None:
    """Refuse numbers that are no quantiles.

    Raises:
        ScoreError: one is not from 0 to 1.
    """
    if not all(0 <= quantile <= 1 for quantile in quantiles):
        raise ScoreError(f"quantiles are {tuple(quantiles)}; give numbers from 0 to 1")
