"""Responses of one layer at a time, read while a plan acts."""

from collections.abc import Callable

from steer_plugin.corpora.corpus import Corpus
from steer_plugin.interventions.plan import AnyPlan
from steer_plugin.models.adapter import Adapter
from steer_plugin.responses.probe import Probe, probe_units
from steer_plugin.settings.budget import Budget
from steer_plugin.settings.probe import ProbeSettings

ProbeUnder = Callable[[AnyPlan | None, int], Probe]
"""Reads the responses of a layer's units while a plan acts."""


def probe_under(
    adapter: Adapter,
    corpus: Corpus,
    settings: ProbeSettings = ProbeSettings(),
    *,
    budget: Budget = Budget(),
    progress: str | None = None,
) -> ProbeUnder:
    """Give what reads the responses of one layer under a plan, for methods that need that.

    Arguments are those of `probe_units`; what `settings` has of layers and scores is left out.
    """

    def read(plan: AnyPlan | None, layer: int) -> Probe:
        return probe_units(
            adapter,
            corpus,
            ProbeSettings(settings.site, settings.pooling, layers=(layer,), source=settings.source),
            intervention=plan,
            budget=budget,
            progress=None if progress is None else f"{progress}, layer {layer}",
        )

    return read
