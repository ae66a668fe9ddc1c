"""How well the best unit of each concept tells it, on texts that did not choose the unit."""

from pathlib import Path

import pandas as pd

from steer_plugin.activations.sites import unit_label
from steer_plugin.analyses.run.base_experts import check_given
from steer_plugin.analyses.run.checkpoints import Checkpoints, Say
from steer_plugin.analyses.run.inputs import RunData
from steer_plugin.analyses.run.manifest import ran_with
from steer_plugin.analyses.run.passes import Passes
from steer_plugin.analyses.run.settings import RunSettings
from steer_plugin.analyses.run.stages.expert_tables import (
    judge_units,
    judging_finder,
    measure_luck,
)
from steer_plugin.analyses.run.stages.finder import Finder
from steer_plugin.experts.summaries import score_curve
from steer_plugin.models.adapter import Adapter
from steer_plugin.settings.budget import MEMORY


def judge_concepts(
    adapter: Adapter,
    data: RunData,
    settings: RunSettings,
    folder: Path,
    *,
    say: Say,
    memory: int = MEMORY,
) -> pd.DataFrame:
    """Score each concept's best unit on the texts that judge, beside what chance gives the best.

    Steps are shared with `experiment.compare_methods`; arguments and errors are those of it.

    Returns:
        One row a concept: `concept`; `unit`, such as L3N17; `find_score`, on the texts that chose
        it; `judge_score`, on the others; and, where the run permutes labels, `null_high` and `p` of
        `chance.null_frame`, which `find_score` has to beat.
    """
    steps = Checkpoints(folder, say, memory, ran_with(settings, adapter.info))
    passes = Passes(adapter, steps)
    finder, judge = (
        Finder(passes, data.find, settings, "experts", data.experts),
        judging_finder(passes, data, settings),
    )
    check_given(data.experts, adapter, say)
    passes.want([finder.want, judge.want])
    experts = finder.experts()
    null, _ = measure_luck(finder, experts)
    finder.finish()
    curve = score_curve(experts, judge_units(judge))
    passes.close()
    best = curve[curve["rank"] == 1]
    site = experts.space.site
    units = [
        unit_label(site, layer, index)
        for layer, index in zip(best["layer"].tolist(), best["index"].tolist(), strict=True)
    ]
    frame = best.assign(unit=units)[["concept", "unit", "find_score", "judge_score"]]
    if null.empty:
        return frame.reset_index(drop=True)
    return frame.merge(null[["concept", "null_high", "p"]], on="concept")
