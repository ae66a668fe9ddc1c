"""Every measure at every layer, for one target a chart."""

import dataclasses
from typing import Any

import pandas as pd
import pytest

from steer_plugin.analyses.report.charts.condition_curves import (
    PANELS,
    layer_exhibits,
    measures_by_layer,
    measures_by_layer_table,
    measures_by_layer_title,
)
from steer_plugin.analyses.report.theme import themed
from steer_plugin.analyses.run.results import Results
from steer_plugin.analyses.statistics.figure_rows import over_pairs

from support import frames

LAYERS = ("0", "6", "12", "final")


@pytest.fixture(scope="module")
def base() -> Results:
    plain = frames.results(layers=LAYERS, top_ks=(300,))
    measures = {measure for measure, _, _ in PANELS} - {"top-1", "gap"}
    pattern = over_pairs(plain.retrieval, "top-1")
    geometry = pd.concat([pattern.assign(measure=measure) for measure in sorted(measures)])
    return dataclasses.replace(plain, geometry=geometry.reset_index(drop=True))


def test_every_measure_has_a_panel_with_every_layer(base: Results) -> None:
    table = measures_by_layer_table(base)

    assert list(dict.fromkeys(table["panel"])) == [name for _, _, name in PANELS]
    for _, rows in table.groupby(["target", "panel"]):
        assert sorted(rows["layer"]) == sorted(LAYERS)


def test_there_is_a_chart_a_target_and_none_for_a_single_layer(base: Results) -> None:
    names = [figure.name for figure in layer_exhibits(base)]

    assert names == [f"measures_by_layer_{target}" for target in frames.TARGETS]
    assert layer_exhibits(frames.results(layers=("final",), top_ks=(300,))) == []


def title(best: float, after: float, last: float) -> str:
    rows = [("12", best, after), ("final", last, last)]
    table = pd.DataFrame(rows, columns=["layer", "pre", "post"]).assign(
        measure="top-1", centring="raw"
    )
    change = table["post"] - table["pre"]
    return measures_by_layer_title(
        table.assign(change=change, change_low=change - 0.01, change_high=change + 0.01)
    )


def test_the_title_says_where_the_unsteered_model_retrieves_best_and_what_is_left_of_it() -> None:
    assert title(0.67, 0.48, 0.05) == (
        "The unsteered model retrieves best after block 12: 0.67, with experts 0.48 (change −0.20 "
        "to −0.18); after the final norm: 0.05, with experts 0.05 (change −0.01 to +0.01)"
    )
    assert title(0.3, 0.3, 0.5) == (
        "No layer retrieves better than the last: 0.50, with experts 0.50 (change −0.01 to +0.01)"
    )


def test_the_title_gives_no_interval_where_there_is_none(base: Results) -> None:
    rows = measures_by_layer_table(base).query("target == 'deu_Latn'")

    said = measures_by_layer_title(rows.assign(change_low=float("nan"), change_high=float("nan")))

    assert "change" not in said
    assert "nan" not in said


def test_the_caption_says_at_which_k(base: Results) -> None:
    assert all("k = 300" in figure.caption for figure in layer_exhibits(base))


def test_axes_say_which_block_and_end_at_the_final_norm(base: Results) -> None:
    table = measures_by_layer_table(base)
    with themed():
        spec: dict[str, Any] = measures_by_layer(table[table["target"] == "deu_Latn"]).to_dict()

    panels = spec["concat"]
    assert [panel["title"]["text"] for panel in panels] == [name for _, _, name in PANELS]
    for panel in panels:
        x = panel["layer"][0]["encoding"]["x"]
        assert x["title"] == "Block"
        assert x["axis"]["values"][-1] == len(LAYERS) - 1
        assert "'final'" in x["axis"]["labelExpr"]
