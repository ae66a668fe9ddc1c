import dataclasses
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import pytest
import vl_convert

from steer_plugin.analyses.report import theme
from steer_plugin.analyses.report.charts import (
    condition_curves,
    condition_lanes,
    embedding_map,
    expert_heat_maps,
    retrieval_heat_map,
    score_curves,
)
from steer_plugin.analyses.report.contents import charts, exhibits
from steer_plugin.analyses.report.marks.panels import look
from steer_plugin.analyses.run.results import Results
from steer_plugin.corpora.language_codes import language_label
from steer_plugin.errors import AnalysisError

from support.frames import LANGUAGES, TARGETS, changed, results
from support.specs import encodings, rows_of, title_of

HEADLINE = {"layer": "final", "measure": "top-1", "centring": "raw", "top_k": 300}
OVER_ALL = {**HEADLINE, "query": "all", "candidates": "all"}
MANY = [f"x{chr(97 + i // 26)}{chr(97 + i % 26)}_Latn" for i in range(40)]


@pytest.fixture(scope="module")
def run() -> Results:
    return results()


@pytest.fixture(scope="module")
def specs(run: Results) -> dict[str, dict[str, Any]]:
    with theme.themed():
        return {name: chart.to_dict() for name, chart in charts(run).items()}


def test_the_page_order_is_experts_then_space_then_retrieval_then_the_picture(run: Results) -> None:
    assert list(charts(run)) == [
        "experts_by_layer",
        "score_curves",
        "expert_overlap",
        "distance_before_after",
        "gap_before_after",
        "retrieval_before_after",
        "retrieval_matrix",
        "from_targets",
        "by_layer",
        "effect_of_k",
        "embedding_map",
    ]


def test_every_chart_compiles_without_a_warning(
    specs: dict[str, dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    for spec in specs.values():
        vl_convert.vegalite_to_vega(spec, show_warnings=True)
    assert capfd.readouterr().err == ""


def test_every_mark_has_a_tooltip_or_shares_its_place_with_one(
    specs: dict[str, dict[str, Any]],
) -> None:
    for name, spec in specs.items():
        assert any("tooltip" in encoding for encoding in encodings(spec)), name


def test_the_conditions_have_the_same_three_colours_in_every_chart(
    specs: dict[str, dict[str, Any]],
) -> None:
    charts_of_conditions = (
        "distance_before_after",
        "gap_before_after",
        "retrieval_before_after",
        "by_layer",
        "effect_of_k",
    )
    for name in charts_of_conditions:
        scales = [
            encoding["color"]["scale"]
            for encoding in encodings(specs[name])
            if "scale" in encoding.get("color", {})
        ]
        assert scales
        for scale in scales:
            assert scale["domain"] == ["Before", "Random neurons", "Experts"]
            assert scale["range"] == ["#767676", "#E69F00", "#0072B2"]


def test_languages_have_no_colour_of_a_condition_and_no_look_twice() -> None:
    assert not set(theme.LANGUAGE_COLOURS) & set(theme.CONDITION_COLOURS)
    run = results(languages=MANY, targets=MANY[:1], top_ks=(300,), layers=("final",), sentences=5)
    with theme.themed():
        spec = embedding_map.embedding_map(run).to_dict()
    encoding = next(e for e in encodings(spec) if "shape" in e)
    looks = list(
        zip(encoding["color"]["scale"]["range"], encoding["shape"]["scale"]["range"], strict=True)
    )
    assert len(looks) == len(set(looks)) == 40


def test_a_target_looks_on_maps_as_it_does_among_targets(specs: dict[str, dict[str, Any]]) -> None:
    on_map = next(e for e in encodings(specs["embedding_map"]) if "shape" in e)
    names = [language_label(target) for target in TARGETS]
    for channel, wanted in zip(("color", "shape"), look(names, "name"), strict=True):
        scale, among_targets = on_map[channel]["scale"], wanted.to_dict()["scale"]
        assert scale["domain"][: len(names)] == among_targets["domain"]
        assert scale["range"][: len(names)] == among_targets["range"]


def test_languages_are_shown_by_name_and_code_and_an_unknown_code_by_itself() -> None:
    assert language_label("deu_Latn") == "German (deu_Latn)"
    assert language_label("qqq_Latn") == "qqq_Latn"


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("experts_by_layer", "Layer (block index)", None),
        ("score_curves", "Rank of the neuron (log)", "AUROC"),
        ("distance_before_after", "Cosine distance (0 to 2)", None),
        ("gap_before_after", "Gap (difference of mean cosines)", None),
        ("retrieval_before_after", "Top-1 retrieval accuracy (0 to 1)", None),
        ("retrieval_matrix", "Candidates", "Query"),
        ("by_layer", "Layer of the embedding", "Top-1, all pairs"),
        ("effect_of_k", "k neurons steered (log)", "Top-1, all pairs"),
    ],
)
def test_axes_say_what_they_measure(
    specs: dict[str, dict[str, Any]], name: str, x: str, y: str | None
) -> None:
    seen: dict[str, set[Any]] = {"x": set(), "y": set()}
    for encoding in encodings(specs[name]):
        for axis in seen:
            if "title" in encoding.get(axis, {}):
                seen[axis].add(encoding[axis]["title"])
    assert x in seen["x"]
    assert y in seen["y"]


def test_retrieval_shows_before_control_and_experts_of_each_target(
    run: Results, specs: dict[str, dict[str, Any]]
) -> None:
    rows = rows_of(specs["retrieval_before_after"])
    shown = rows[rows["panel"] == "All ordered pairs, embeddings as they are"]
    table = run.retrieval
    for target in TARGETS:
        wanted = table[
            (table["target"] == target)
            & np.logical_and.reduce([table[key] == value for key, value in OVER_ALL.items()])
        ].iloc[0]
        drawn = shown[shown["target"] == target].set_index("condition")
        assert len(drawn) == 3
        assert drawn.loc["Before", "value"] == pytest.approx(wanted["pre"])
        assert drawn.loc["Experts", "value"] == pytest.approx(wanted["post"])
        assert drawn.loc["Random neurons", "value"] == pytest.approx(wanted["control"])
        assert drawn.loc["Random neurons", "least"] == pytest.approx(wanted["control_min"])
        assert drawn.loc["Random neurons", "most"] == pytest.approx(wanted["control_max"])


def test_the_whiskers_are_the_value_before_plus_the_interval_of_the_change(run: Results) -> None:
    moved = changed(
        run,
        "retrieval",
        {**OVER_ALL, "target": "deu_Latn"},
        pre=0.1,
        change_low=0.2,
        change_high=0.4,
        control_change_low=-0.05,
        control_change_high=0.01,
    )
    rows = condition_lanes.conditions(
        condition_lanes.retrieval_before_after_table(moved).query("query == 'all'")
    )
    drawn = rows[(rows["target"] == "deu_Latn") & (rows["centring"] == "raw")]
    ends = drawn.set_index("condition")[["low", "high"]]
    assert ends.loc["Experts"].tolist() == pytest.approx([0.3, 0.5])
    assert ends.loc["Random neurons"].tolist() == pytest.approx([0.05, 0.11])
    assert ends.loc["Before"].isna().all()


def test_raw_and_centred_distances_stand_side_by_side(specs: dict[str, dict[str, Any]]) -> None:
    panels = list(dict.fromkeys(rows_of(specs["distance_before_after"])["panel"]))
    assert panels == [
        "All pairs of languages, embeddings as they are",
        "All pairs of languages, common mean removed",
        "Target to the others, embeddings as they are",
        "Target to the others, common mean removed",
        "Language means to the medoid, embeddings as they are",
        "Language means to the medoid, common mean removed",
        "Translations only, all pairs, embeddings as they are",
        "Translations only, all pairs, common mean removed",
    ]
    assert specs["distance_before_after"]["columns"] == 2


def test_the_matrix_has_every_ordered_pair_for_experts_and_control(
    run: Results, specs: dict[str, dict[str, Any]]
) -> None:
    rows = rows_of(specs["retrieval_matrix"])
    n = len(LANGUAGES)
    assert len(rows) == len(TARGETS) * 2 * n * (n - 1)
    table = run.retrieval
    where = {**HEADLINE, "target": "spa_Latn", "query": "jpn_Jpan", "candidates": "fra_Latn"}
    wanted = table[np.logical_and.reduce([table[k] == v for k, v in where.items()])].iloc[0]
    cell = rows[
        (rows["target"] == "Spanish, k = 300")
        & (rows["query"] == "Japanese (jpn_Jpan)")
        & (rows["candidates"] == "French (fra_Latn)")
    ].set_index("condition")
    assert cell.loc["Experts", "change"] == pytest.approx(wanted["change"])
    assert cell.loc["Random neurons", "change"] == pytest.approx(wanted["control_change"])


def test_the_matrix_has_a_diverging_scheme_with_0_in_the_middle(
    specs: dict[str, dict[str, Any]],
) -> None:
    spec = specs["retrieval_matrix"]
    scale = next(e["color"]["scale"] for e in encodings(spec) if "scale" in e.get("color", {}))
    assert scale["scheme"] == "purplegreen"
    assert scale["domainMid"] == 0
    assert scale["domain"][0] == -scale["domain"][1]
    assert scale["domain"][1] == pytest.approx(rows_of(spec)["change"].abs().max())


def test_cells_are_bold_where_the_interval_excludes_0(
    run: Results, specs: dict[str, dict[str, Any]]
) -> None:
    where = {**HEADLINE, "target": "deu_Latn", "query": "eng_Latn", "candidates": "fra_Latn"}

    def sure(low: float, high: float) -> bool:
        moved = changed(run, "retrieval", where, change_low=low, change_high=high)
        with theme.themed():
            rows = rows_of(retrieval_heat_map.retrieval_matrix(moved).to_dict())
        cell = rows[
            (rows["target"] == "German, k = 300")
            & (rows["query"] == "English (eng_Latn)")
            & (rows["candidates"] == "French (fra_Latn)")
            & (rows["condition"] == "Experts")
        ]
        return bool(cell["sure"].iloc[0])

    figures = {
        part["transform"][0]["filter"]: part["mark"]["fontWeight"]
        for part in specs["retrieval_matrix"]["spec"]["layer"]
        if part["mark"]["type"] == "text"
    }
    assert figures == {"(datum.sure === true)": "bold", "(datum.sure === false)": "normal"}
    assert not sure(-0.01, 0.2)
    assert sure(0.01, 0.2)
    assert sure(-0.2, -0.01)


def test_the_matrix_title_counts_pairs_by_their_intervals(run: Results) -> None:
    pairs = {**HEADLINE, "target": "deu_Latn"}
    moved = changed(run, "retrieval", pairs, change_low=-0.1, change_high=0.1)
    moved = changed(
        moved, "retrieval", {**pairs, "query": "eng_Latn"}, change_low=0.1, change_high=0.2
    )
    moved = changed(
        moved,
        "retrieval",
        {**pairs, "query": "eng_Latn", "candidates": "fra_Latn"},
        change_low=-0.2,
        change_high=-0.1,
    )
    title = title_of_chart(retrieval_heat_map.retrieval_matrix(moved))
    assert title.startswith("Top-1 of 42 pairs of languages with experts: German 5 up, 1 down (")


def title_of_chart(chart: Any) -> str:
    with theme.themed():
        return title_of(chart.to_dict())


def test_the_heat_map_title_names_the_fewest_layers_with_half_of_the_experts(run: Results) -> None:
    table = pd.DataFrame(
        {
            "concept": ["deu_Latn"] * 4,
            "layer": [0, 1, 2, 3],
            "top_k": [300] * 4,
            "experts": [30, 100, 150, 20],
            "share": [0.1, 1 / 3, 0.5, 1 / 15],
        }
    )
    one = dataclasses.replace(run, layers=table)
    assert title_of_chart(expert_heat_maps.experts_by_layer(one)) == (
        "Half of a language's 300 experts sit in 1 of 4 layers: block 2"
    )
    spread = table.assign(experts=[90, 100, 80, 30], share=[0.3, 1 / 3, 4 / 15, 0.1])
    two = dataclasses.replace(run, layers=spread)
    assert title_of_chart(expert_heat_maps.experts_by_layer(two)) == (
        "Half of a language's 300 experts sit in 2 of 4 layers: blocks 0 and 1"
    )


def test_the_heat_map_draws_each_language_layer_and_k(
    run: Results, specs: dict[str, dict[str, Any]]
) -> None:
    rows = rows_of(specs["experts_by_layer"])
    assert len(rows) == len(run.layers)
    cell = rows[
        (rows["concept"] == "German (deu_Latn)") & (rows["layer"] == 17) & (rows["top_k"] == 50)
    ]
    wanted = run.layers.query("concept == 'deu_Latn' and layer == 17 and top_k == 50")
    assert cell["experts"].tolist() == wanted["experts"].tolist()


def test_score_curves_show_both_splits(run: Results, specs: dict[str, dict[str, Any]]) -> None:
    rows = rows_of(specs["score_curves"])
    first = rows[(rows["concept"] == "Japanese (jpn_Jpan)") & (rows["rank"] == 1)]
    wanted = run.curve.query("concept == 'jpn_Jpan' and rank == 1").iloc[0]
    by_split = first.set_index("split")["value"]
    assert by_split["split the experts were found on"] == pytest.approx(wanted["find_score"])
    assert by_split["held-out split"] == pytest.approx(wanted["judge_score"])


def test_the_score_title_is_of_the_held_out_split(run: Results) -> None:
    curve = run.curve.copy()
    best = curve["rank"] == 1
    curve.loc[best, "find_score"] = 1.0
    curve.loc[best, "judge_score"] = np.linspace(0.61, 0.72, int(best.sum()))
    moved = dataclasses.replace(run, curve=curve)
    assert title_of_chart(score_curves.score_curves(moved)) == (
        "The best neuron of each language reaches AUROC 0.61 to 0.72 on held-out sentences"
    )


def test_overlap_leaves_a_language_with_itself_out(
    run: Results, specs: dict[str, dict[str, Any]]
) -> None:
    rows = rows_of(specs["expert_overlap"])
    assert len(rows) == 3 * 7 * 6
    assert (rows["concept"] != rows["other"]).all()
    none = dataclasses.replace(run, overlap=run.overlap.assign(shared=0, share=0.0))
    assert title_of_chart(expert_heat_maps.expert_overlap(none)) == (
        "No two languages share any of their 300 experts"
    )
    pair = changed(
        none,
        "overlap",
        {"concept": "deu_Latn", "other": "fra_Latn", "top_k": 300},
        shared=12,
        share=0.04,
    )
    assert title_of_chart(expert_heat_maps.expert_overlap(pair)) == (
        "Of 300 experts, two languages share at most 12 (4%): German and French"
    )


def test_the_layer_axis_runs_from_the_first_block_to_the_final_norm(
    specs: dict[str, dict[str, Any]],
) -> None:
    x = next(e["x"] for e in encodings(specs["by_layer"]) if "sort" in e.get("x", {}))
    assert x["sort"] == [*map(str, range(18)), "final"]
    assert x["axis"]["values"][-1] == "final"


def test_the_effect_of_k_is_read_at_the_last_layer(specs: dict[str, dict[str, Any]]) -> None:
    rows = rows_of(specs["effect_of_k"])
    assert set(rows["layer"]) == {"final"}
    assert set(rows["top_k"]) == {50, 300, 1500}
    assert set(rows["measure"]) == {"top-1", "pair distance", "gap"}


def test_the_effect_of_k_claims_only_what_the_advantage_supports(run: Results) -> None:
    top_1 = {k: v for k, v in OVER_ALL.items() if k != "top_k"}
    none = changed(run, "retrieval", top_1, advantage_low=-0.1, advantage_high=0.1)
    some = changed(
        none, "retrieval", {**top_1, "target": "spa_Latn", "top_k": 50}, advantage_low=0.01
    )
    assert title_of_chart(condition_curves.effect_of_k(some)) == (
        "Experts retrieve better than random neurons at no k for German and Japanese; "
        "k = 50 for Spanish"
    )


def test_the_picture_has_at_most_2000_points_of_the_same_sentences(run: Results) -> None:
    table = embedding_map.embedding_map_table(run)
    assert 1_000 < len(table) <= 2_000
    panels = table.groupby(["target", "condition", "language"])["id"].agg(set)
    assert len(panels) == 3 * 3 * 7
    assert all(ids == panels.iloc[0] for ids in panels)
    assert table.equals(embedding_map.embedding_map_table(results()))


def test_the_picture_has_one_pair_of_axes_a_target(specs: dict[str, dict[str, Any]]) -> None:
    rows = specs["embedding_map"]["vconcat"]
    assert len(rows) == len(TARGETS)
    for row in rows:
        assert "column" in row["facet"]
        assert "scale" not in row.get("resolve", {})


def test_the_share_between_languages_is_eta_squared_in_two_dimensions() -> None:
    rng = np.random.default_rng(1)
    points = pd.DataFrame(
        {
            "target": "deu_Latn",
            "top_k": 300,
            "condition": "before",
            "language": ["a"] * 5 + ["b"] * 9 + ["c"] * 2,
            "x": rng.normal(0, 2, 16),
            "y": rng.normal(3, 1, 16),
        }
    )
    within = total = 0.0
    for _, row in points.iterrows():
        own = points[points["language"] == row["language"]]
        within += (row["x"] - own["x"].mean()) ** 2 + (row["y"] - own["y"].mean()) ** 2
        total += (row["x"] - points["x"].mean()) ** 2 + (row["y"] - points["y"].mean()) ** 2
    share = embedding_map.between_share(points)
    assert share["share"].tolist() == pytest.approx([1 - within / total])
    assert embedding_map.between_share(points.assign(x=1.0, y=1.0))["share"].tolist() == [0.0]


def test_many_languages_and_layers_stay_within_what_altair_draws() -> None:
    run = results(
        languages=MANY,
        targets=MANY[30:33],
        top_ks=(100, 500),
        layers=("0", "final"),
        sentences=20,
    )
    # The user's own settings: 5,000 rows at most, or MaxRowsError.
    for name, chart in charts(run).items():
        spec = chart.to_dict()
        assert max(len(rows) for rows in spec["datasets"].values()) <= 5_000, name
    for table in (
        expert_heat_maps.experts_by_layer_table(run),
        score_curves.score_curves_table(run),
    ):
        assert table["concept"].nunique() == 30
        assert set(MANY[30:33]) <= set(table["concept"])
    assert set(MANY[30:33]) <= set(retrieval_heat_map.retrieval_matrix_table(run)["query"])
    captions = {figure.name: figure.caption for figure in exhibits(run)}
    assert "Shown: 34 of 40 languages, 2 of 3 targets" in captions["retrieval_matrix"]
    for name in ("experts_by_layer", "score_curves", "expert_overlap"):
        assert "Shown: 30 of 40 languages" in captions[name]


def test_what_was_not_run_is_not_drawn() -> None:
    bare = results(
        languages=LANGUAGES[:2],
        targets=("deu_Latn",),
        top_ks=(300,),
        layers=("final",),
        n_controls=0,
    )
    drawn = charts(bare)
    assert "by_layer" not in drawn
    assert "effect_of_k" not in drawn
    with theme.themed():
        rows = rows_of(drawn["retrieval_before_after"].to_dict())
        assert set(rows["condition"]) == {"Before", "Experts"}
        assert set(rows_of(drawn["retrieval_matrix"].to_dict())["condition"]) == {"Experts"}
    nothing = dataclasses.replace(
        bare,
        layers=bare.layers[:0],
        curve=bare.curve[:0],
        overlap=bare.overlap[:0],
        projection=bare.projection[:0],
    )
    assert list(charts(nothing)) == [
        "distance_before_after",
        "gap_before_after",
        "retrieval_before_after",
        "retrieval_matrix",
        "from_targets",
    ]


def test_the_users_own_theme_is_left_alone() -> None:
    before = alt.theme.active
    own = alt.Chart(pd.DataFrame({"a": [1]})).mark_point().encode(x="a:Q")
    untouched = own.to_dict()
    with theme.themed():
        assert alt.theme.active == "steer_plugin"
        assert own.to_dict() != untouched
    assert alt.theme.active == before
    assert own.to_dict() == untouched


def test_the_headline_is_the_middle_k_whatever_the_outcome(run: Results) -> None:
    assert run.headline() == dict.fromkeys(TARGETS, 300)
    best_elsewhere = changed(run, "retrieval", {**OVER_ALL, "top_k": 1500}, post=0.99)
    assert best_elsewhere.headline() == dict.fromkeys(TARGETS, 300)
    assert results(top_ks=(50, 1500), layers=("final",)).headline() == dict.fromkeys(TARGETS, 50)


def test_a_table_without_its_columns_is_refused_by_name(run: Results) -> None:
    with pytest.raises(AnalysisError, match=r"'overlap' lacks shared.*concept, other, top_k"):
        dataclasses.replace(run, overlap=run.overlap.drop(columns="shared"))


def test_results_without_retrieval_are_refused(run: Results) -> None:
    with pytest.raises(AnalysisError, match="'retrieval' is empty"):
        dataclasses.replace(run, retrieval=run.retrieval[:0])


def test_a_target_that_was_not_measured_at_the_last_layer_is_refused(run: Results) -> None:
    table = run.retrieval
    cut = table[~((table["target"] == "spa_Latn") & (table["layer"] == "final"))]
    with pytest.raises(AnalysisError, match="layer final for spa_Latn"):
        dataclasses.replace(run, retrieval=cut)
