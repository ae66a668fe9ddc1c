"""Figure 4: from the target to each language."""

import dataclasses
from typing import Any

import pandas as pd
import pytest

from steer_plugin.analyses import theme
from steer_plugin.analyses.charts_targets import (
    from_targets,
    from_targets_table,
    from_targets_title,
    target_figures,
)
from steer_plugin.analyses.results import Results
from steer_plugin.analyses.theme import themed

import frames


@pytest.fixture(scope="module")
def base() -> Results:
    return frames.results(layers=("12", "final"), top_ks=(300,))


def spec_of(results: Results) -> dict[str, Any]:
    with themed():
        spec: dict[str, Any] = from_targets(results).to_dict()
    return spec


def rows(*moved: tuple[float, float]) -> pd.DataFrame:
    """Give rows of German with these changes and q-values."""
    table = pd.DataFrame(moved, columns=["change", "change_q"])
    return table.assign(target="deu_Latn", change_low=table["change"] - 1)


def test_the_target_asks_and_each_other_language_answers_at_the_last_layer(base: Results) -> None:
    table = from_targets_table(base)

    assert (table["query"] == table["target"]).all()
    assert (table["layer"] == "final").all()
    assert len(table) == len(frames.TARGETS) * (len(frames.LANGUAGES) - 1)


def test_the_title_counts_by_false_discovery_rate_where_it_is_there() -> None:
    table = rows((0.3, 0.01), (0.2, 0.2), (-0.1, 0.04), (0.1, 0.049))

    assert from_targets_title(table) == (
        "Retrieval from the target with experts: German 2 up, 1 down of 4"
    )


def test_the_title_counts_by_each_interval_in_results_from_before_there_were_rates() -> None:
    table = rows((0.3, 0.5), (0.2, 0.5)).drop(columns="change_q").assign(change_low=[0.1, -0.1])

    assert from_targets_title(table).endswith("German 1 up, 0 down of 2")


def test_languages_that_were_not_seen_are_marked_and_explained(base: Results) -> None:
    told = dataclasses.replace(
        base, provenance={**base.provenance, "seen": "deu_Latn, eng_Latn, spa_Latn"}
    )
    (figure,) = target_figures(told)

    text = str(spec_of(told))
    assert "French\N{DAGGER}" in text
    assert "English\N{DAGGER}" not in text
    assert "\N{DAGGER}: not seen in pre-training" in figure.caption
    assert "\N{DAGGER}" not in str(spec_of(base))


def test_the_axis_has_its_unit_and_holds_every_interval(base: Results) -> None:
    spec = spec_of(base)

    layers = spec["spec"]["layer"]
    assert {layer["encoding"]["x"]["title"] for layer in layers} == {
        "Top-1 retrieval accuracy (0 to 1)"
    }
    (data,) = (part for part in spec["datasets"].values() if "low" in part[0])
    lows = [row["low"] for row in data if row["low"] is not None]
    low, high = layers[0]["encoding"]["x"]["scale"]["domain"]
    assert low <= min(0, *lows)
    assert high >= max(row["end"] for row in data)
    domain = layers[0]["encoding"]["color"]["scale"]
    assert dict(zip(domain["domain"], domain["range"], strict=True)) == dict(
        zip(theme.CONDITIONS, theme.CONDITION_COLOURS, strict=True)
    )
