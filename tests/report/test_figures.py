"""Every figure: its rows are those of the tables, its words are short, and it draws in silence."""

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import pytest
import vl_convert

from steer_plugin.analyses.report.contents import charts, figures, sections
from steer_plugin.analyses.report.figure import Figure
from steer_plugin.analyses.report.first_screen import NAME, glance
from steer_plugin.analyses.report.frames import conditions
from steer_plugin.analyses.report.measures import own_measures
from steer_plugin.analyses.report.sections.alignment import alignment_section
from steer_plugin.analyses.report.sections.controls import control_rows, controls_section
from steer_plugin.analyses.report.sections.experts import experts_section
from steer_plugin.analyses.report.sections.generation import generation_section
from steer_plugin.analyses.report.sections.layers import layers_section
from steer_plugin.analyses.report.sections.methods import ahead, methods_section
from steer_plugin.analyses.report.sections.space import between_share, map_table, space_section
from steer_plugin.analyses.report.theme import DARK, LANGUAGE_COLOURS, LOOKS, PAPER, looks
from steer_plugin.analyses.run.results import Results, at_headline
from steer_plugin.analyses.statistics.figure_rows import over_pairs
from steer_plugin.errors import AnalysisError

from support.frames import LANGUAGES, changed, results
from support.frames_of_extras import controls_frame, generation_frame

LINE = 140
"""Characters of a caption that the page's column holds in a line."""

STORED = {
    *("experts_by_layer", "score_curves", "expert_overlap", "experts_against_chance"),
    *("expert_stability", "retrieval_before_after", "retrieval_matrix", "from_targets"),
    *("mixed_retrieval", "bitext_retrieval", "distance_before_after", "gap_before_after"),
    *("distance_correlations", "by_layer", "effect_of_k", "embedding_map", "embedding_map_umap"),
    *("control_shares", "control_advantages", "methods_compared", "methods_tradeoff"),
    *("generation_by_k", "generation_tradeoff", "table_1", NAME),
    "measures_by_layer",
}


@pytest.fixture(scope="module")
def drawn(run: Results) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures(run)}


def encodings(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if "encoding" in part:
            yield part["encoding"]
        for key, value in part.items():
            if key != "data":
                yield from encodings(value)
    elif isinstance(part, list):
        for value in part:
            yield from encodings(value)


def test_nothing_that_was_measured_is_without_a_figure_or_table(run: Results) -> None:
    items = [item for part in sections(run) for item in (*part.figures, *part.tables)]
    stored = {name for item in (glance(run), *items) for name in item.tables}
    assert stored == STORED
    assert [part.name for part in sections(run)] == [
        *("experts", "retrieval", "alignment", "layers", "space"),
        *("controls", "methods", "generation", "paper_tables"),
    ]


def test_every_chart_is_an_altair_chart_and_compiles_without_a_warning(
    drawn: dict[str, Figure], capfd: pytest.CaptureFixture[str]
) -> None:
    for name, figure in drawn.items():
        # Altair validates it here.
        spec = figure.chart().to_dict()
        vl_convert.vegalite_to_vega(json.dumps(spec), show_warnings=True)
        assert capfd.readouterr().err == "", name


def test_charts_are_given_by_name_for_a_notebook() -> None:
    small = results(layers=("final",), top_ks=(300,), targets=("deu_Latn",), sentences=4)
    given = charts(small)
    assert list(given) == [figure.name for figure in figures(small)]
    assert all(isinstance(chart, alt.ConcatChart) for chart in given.values())
    assert given[NAME].properties(title="mine").to_dict()["title"] == "mine"


def test_titles_have_a_line_and_captions_two(drawn: dict[str, Figure]) -> None:
    for name, figure in drawn.items():
        assert len(figure.title) <= 70, name
        assert 20 < len(figure.caption) <= 2 * LINE, (name, len(figure.caption))
        assert figure.caption.rstrip().endswith("."), name


def test_no_sentence_holds_code_in_place_of_a_figure(run: Results) -> None:
    parts = sections(run)
    items = [item for part in parts for item in part.items]
    words = [*(part.how for part in parts), *(f"{item.title} {item.caption}" for item in items)]
    assert [text for text in words if "{" in text or "}" in text] == []


def test_every_mark_that_carries_a_figure_has_a_tooltip(drawn: dict[str, Figure]) -> None:
    for name, figure in drawn.items():
        tips = [
            encoding["tooltip"] for encoding in encodings(figure.spec()) if "tooltip" in encoding
        ]
        assert tips, name
        fields = {tip["field"] for entries in tips for tip in entries}
        assert fields <= set(figure.rows), name


def test_the_page_holds_every_column_that_a_chart_shows_and_no_other(
    drawn: dict[str, Figure],
) -> None:
    for name, figure in drawn.items():
        more = dataclasses.replace(figure, rows=figure.rows.assign(unused=1))
        spec = more.spec()
        rows = spec.pop("data")["values"]
        used = columns_of({**spec, "description": "", "config": {}, "usermeta": {}})
        assert used <= set(rows[0]), name
        assert "unused" not in rows[0], name


def columns_of(spec: Any) -> set[str]:
    """Give the columns that a part of a specification asks of the chart's own rows."""
    if isinstance(spec, list):
        return set().union(*map(columns_of, spec))
    if isinstance(spec, str):
        return set(re.findall(r"datum\.(\w+)", spec)) | set(re.findall(r'datum\["(\w+)"\]', spec))
    if not isinstance(spec, dict) or "data" in spec:
        return set()
    made = {part["as"] for part in spec.get("transform", []) if "as" in part}
    own = {spec["field"]} if isinstance(spec.get("field"), str) else set()
    return (own | set().union(*map(columns_of, spec.values()))) - made


def test_every_state_of_the_selectors_shows_something(drawn: dict[str, Figure]) -> None:
    for name, figure in drawn.items():
        for state in figure.states():
            keep = np.ones(len(figure.rows), dtype=bool)
            for column, option in state.items():
                keep &= (figure.rows[column] == option).to_numpy()
            assert keep.any(), (name, state)
        assert all(set(s.options) == set(figure.rows[s.column]) for s in figure.form.selects), name


def test_one_chart_with_a_choice_stands_for_what_was_repeated(drawn: dict[str, Figure]) -> None:
    choices = {name: [s.label for s in figure.form.selects] for name, figure in drawn.items()}
    assert choices["measures_by_layer"] == ["Measure", "Target"]
    assert choices["retrieval_matrix"] == ["Steered towards", "With"]
    assert choices["embedding_map"] == ["Steered towards", "Map"]
    assert choices["experts_by_layer"] == ["k"]
    for name in ("by_layer", "effect_of_k", "generation_by_k", "from_targets"):
        assert len(choices[name]) == 1, name


def test_conditions_show_the_figures_of_the_tables_with_their_intervals(run: Results) -> None:
    figures_of = at_headline(run, over_pairs(run.retrieval, "top-1", "raw", "final"))
    rows = conditions(run, figures_of)
    for place, target in enumerate(run.targets):
        wanted = figures_of.iloc[place]
        shown = rows[rows["target"] == target].set_index("series")
        assert shown["value"].to_dict() == {
            "Before": wanted["pre"],
            "Experts": wanted["post"],
            "Random units": wanted["control"],
        }
        assert shown.loc["Experts", "low"] == wanted["pre"] + wanted["change_low"]
        assert shown.loc["Experts", "high"] == wanted["pre"] + wanted["change_high"]
        assert shown.loc["Random units", "least"] == wanted["control_min"]
        assert shown.loc["Random units", "most"] == wanted["control_max"]
        assert np.isnan(shown.loc["Before", "low"])


def test_what_was_not_run_is_not_drawn() -> None:
    alone = results(n_controls=0, layers=("final",), top_ks=(300,), sentences=12)
    assert [part.name for part in sections(alone)] == [
        *("experts", "retrieval", "alignment", "space", "paper_tables")
    ]
    for figure in figures(alone):
        text = json.dumps(figure.spec())
        assert "A random draw" not in text
        assert "NaN" not in text


def test_the_first_chart_has_before_experts_every_draw_and_centring(run: Results) -> None:
    keys = at_headline(run, over_pairs(run.retrieval, "top-1", "raw", "final"))
    kept = ["target", "top_k", "layer", "measure", "centring", "query", "candidates"]
    draws = pd.concat(
        [keys[kept].assign(draw=n, value=0.01 * n) for n in range(4)], ignore_index=True
    )
    figure = glance(dataclasses.replace(run, draws=draws))
    rows = figure.rows[figure.rows["panel"].str.startswith("Retrieval")]
    assert rows.groupby("series").size().to_dict() == {
        "Before": 3,
        "Experts": 3,
        "A random draw": 12,
        "Centring alone": 3,
    }
    single = rows[(rows["series"] == "A random draw") & (rows["lane"] == "German")]
    assert sorted(single["value"]) == [0, 0.01, 0.02, 0.03]
    centred = at_headline(run, over_pairs(run.retrieval, "top-1", "language", "final"))
    assert rows.loc[rows["series"] == "Centring alone", "value"].tolist() == centred["pre"].tolist()
    assert len(figure.form.panels) == 3
    raw = figure.rows[figure.rows["panel"].str.startswith("Raw distance")]
    assert "Centring alone" not in set(raw["series"])


def test_results_without_single_draws_show_the_ends_and_of_three_all(run: Results) -> None:
    rows = glance(run).rows
    single = rows[(rows["series"] == "A random draw") & (rows["lane"] == "German")]
    wanted = at_headline(run, over_pairs(run.retrieval, "top-1", "raw", "final")).iloc[0]
    shown = single.loc[single["panel"].str.startswith("Retrieval"), "value"]
    assert len(shown) == 3
    assert shown.mean() == pytest.approx(wanted["control"])
    assert (shown.min(), shown.max()) == (wanted["control_min"], wanted["control_max"])
    four = changed(run, "retrieval", {"measure": "top-1"}, n_controls=4)
    assert "lowest and the highest" in glance(four).caption
    assert "lowest and the highest" not in glance(run).caption


def test_a_measure_of_somebody_elses_has_a_chart_by_its_registration_alone(run: Results) -> None:
    from steer_plugin.settings.parts import MEASURES

    from support.own_parts import as_before

    base = over_pairs(run.alignment, "gap").assign(measure="norm ratio")
    own = dataclasses.replace(run, alignment=pd.concat([run.alignment, base], ignore_index=True))
    with as_before(MEASURES):
        MEASURES.register("norm-ratio", title="Ratio of norms", better="low")(lambda: None)
        parts = (*alignment_section(own).figures, *layers_section(own).figures)
        named = {figure.name: figure for figure in parts}
    figure = named["measure_norm_ratio"]
    assert figure.title == "Ratio of norms, before and after"
    assert "Left is better." in figure.caption
    assert "Ratio of norms" in named["measures_by_layer"].form.selects[0].options
    assert "mean random cosine and ratio of norms;" in named["measures_by_layer"].caption
    undirected = {figure.name: figure for figure in layers_section(own).figures}
    assert "neither known to be better: norm ratio;" in undirected["measures_by_layer"].caption
    # Without a title, and pair by pair where there is no mean.
    pairs = run.alignment[(run.alignment["measure"] == "gap") & (run.alignment["query"] != "all")]
    other = dataclasses.replace(
        run,
        alignment=pd.concat([run.alignment, pairs.assign(measure="my own")], ignore_index=True),
    )
    (figure,) = (f for f in alignment_section(other).figures if f.name == "measure_my_own")
    assert figure.title == "My own, before and after"
    assert "German, English" in set(figure.rows["lane"])


def test_a_measure_has_a_chart_of_the_rows_that_it_has_or_none(run: Results) -> None:
    rows = run.alignment[run.alignment["measure"] == "gap"]
    outward = rows[(rows["query"] == "all")].assign(query=rows["target"], candidates="others")
    for other, lanes in (
        (outward, {"German, the others", "Spanish, the others", "Japanese †, the others"}),
        (outward[outward["layer"] != "final"], None),
        (outward.assign(pre=np.nan, post=np.nan, control=np.nan), None),
    ):
        more = pd.concat([run.alignment, other.assign(measure="mine", centring="raw")])
        named = {f.name: f for f in figures(dataclasses.replace(run, alignment=more))}
        assert ("measure_mine" in named) == (lanes is not None)
        if lanes is not None:
            assert set(named["measure_mine"].rows["lane"]) == lanes
            vl_convert.vegalite_to_vega(json.dumps(named["measure_mine"].chart().to_dict()))


def test_measures_of_like_names_have_files_of_their_own(run: Results) -> None:
    rows = over_pairs(run.alignment, "gap")
    names = ("a/b", "a b", "α", "β")
    more = [run.alignment, *(rows.assign(measure=name) for name in names)]
    shown = list(own_measures(dataclasses.replace(run, alignment=pd.concat(more))))
    assert [part.measure for part in shown] == list(names)
    assert len({part.name for part in shown}) == len(names)
    assert all("/" not in part.name for part in shown)


def test_curves_of_targets_come_first_though_their_names_have_daggers(
    drawn: dict[str, Figure],
) -> None:
    options = drawn["score_curves"].form.selects[0].options
    assert options[:3] == ("German", "Spanish", "Japanese †")


def test_units_of_a_site_that_is_not_registered_here_are_still_labelled(run: Results) -> None:
    elsewhere = {**run.provenance, "site": "my.own"}
    part = experts_section(dataclasses.replace(run, provenance=elsewhere))
    (curves,) = (figure for figure in part.figures if figure.name == "score_curves")
    assert curves.rows["unit"].str.fullmatch(r"L\d+N\d+").all()


def test_a_share_is_said_of_one_control_alone(run: Results) -> None:
    table = controls_frame(controls=("random-in-layers", "bottom"))
    (shares,) = (
        figure
        for figure in controls_section(dataclasses.replace(run, controls=table)).figures
        if figure.name == "control_shares"
    )
    shown = table[(table["control"] == "random-in-layers") & table["share"].notna()]
    given = over_pairs(shown, "pair distance", "raw", "final")["share"]
    ends = f"{given.min():.0%} to {given.max():.0%} of the experts' change"
    assert ends in shares.caption


def test_controls_stand_in_a_fixed_order_and_a_new_word_last(run: Results) -> None:
    table = controls_frame()
    strange = table[table["control"] == "bottom"].assign(control="mine")
    mixed = pd.concat([strange, table[::-1]], ignore_index=True)
    rows = control_rows(dataclasses.replace(run, controls=mixed))
    order = list(dict.fromkeys(rows.loc[rows["measure"] == "top-1", "control"]))
    assert order[0] == "random-in-layers"
    assert order[-2:] == ["centring", "mine"]
    assert set(rows["layer"]) == {"final"}
    assert set(rows["centring"]) == {"raw"}


def test_a_method_is_ahead_by_the_difference_or_by_intervals_that_are_apart() -> None:
    rows = pd.DataFrame(
        {
            "advantage": [0.1, 0.1, np.nan, np.nan],
            "advantage_low": [0.01, -0.1, np.nan, np.nan],
            "change_low": [0.1, 0.1, 0.2, 0.0],
            "control_change_high": [0.5, 0.0, 0.1, 0.1],
        }
    )
    assert ahead(rows).tolist() == [True, False, True, False]


def test_an_infinite_perplexity_is_left_out_and_said_to_be(run: Results) -> None:
    methods = run.methods.copy()
    place = (methods["axis"] == "perplexity") & (methods["method"] == "aura")
    methods.loc[place, ["change", "change_high"]] = np.inf
    part = methods_section(dataclasses.replace(run, methods=methods))
    named = {figure.name: figure for figure in part.figures}
    assert "Infinite perplexity is not drawn." in named["methods_compared"].caption
    assert "AurA" not in set(named["methods_tradeoff"].rows["series"])
    assert "Infinity" not in json.dumps(named["methods_compared"].spec())


def test_a_recommended_k_has_a_ring_and_a_refusal_its_reason(run: Results) -> None:
    chosen = {"deu_Latn": 300}
    some = dataclasses.replace(run, generation=generation_frame(recommended=chosen))
    part = generation_section(some)
    ringed = part.figures[0].rows.query("ringed")
    assert set(ringed["target"]) == {"German"}
    assert set(ringed["k"]) == {"300"}
    assert "No k for Spanish and Japanese: no k on the front costs at most 1.2" in part.how
    none = dataclasses.replace(run, generation=generation_frame(recommended={}))
    part = generation_section(none)
    assert "No k is recommended" in part.figures[0].caption


def test_the_map_has_at_most_2000_points_of_the_same_sentences() -> None:
    many = results(layers=("final",), top_ks=(300,), sentences=150)
    table = map_table(many)
    assert len(table) <= 2000
    ids = table.groupby(["target", "condition", "language"])["id"].agg(tuple)
    assert ids.nunique() == 1


def test_hovering_over_the_map_shows_the_sentence_where_it_was_kept(run: Results) -> None:
    texts = dataclasses.replace(run, projection=run.projection.assign(text="Guten Tag."))
    (figure,) = space_section(texts).figures
    assert list(figure.form.tooltip) == ["sentence", "id", "language"]
    assert set(figure.rows["text"]) == {"Guten Tag."}


def test_the_share_between_languages_is_eta_squared_in_two_dimensions() -> None:
    points = pd.DataFrame({"x": [0.0, 0, 2, 2], "y": [0.0, 2, 0, 2], "language": list("aabb")})
    table = points.assign(target="t", top_k=1, condition="before")
    assert between_share(table)["share"].tolist() == [0.5]


def test_many_languages_and_layers_stay_small() -> None:
    codes = [f"x{chr(97 + i // 26)}{chr(97 + i % 26)}_Latn" for i in range(40)]
    many = results(
        languages=codes, targets=codes[:3], top_ks=(300,), layers=("final",), sentences=4
    )
    named = {figure.name: figure for figure in figures(many)}
    assert named["retrieval_matrix"].rows["x"].nunique() == 34
    assert "Shown: 34 of 40 languages" in named["retrieval_matrix"].caption
    assert named["experts_by_layer"].rows["y"].nunique() == 30
    assert len(named["score_curves"].tables["score_curves"]) <= 2500


def contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_words_and_marks_stand_out_in_the_light_and_in_the_dark() -> None:
    for colour in ("#1f2328", "#57606a"):
        assert contrast(colour, PAPER) >= 4.5
        assert contrast(DARK[colour], DARK[PAPER]) >= 4.5
    for look in LOOKS.values():
        assert contrast(look.colour, PAPER) >= 4.5
        assert contrast(DARK[look.colour], DARK[PAPER]) >= 4.5
    for colour in LANGUAGE_COLOURS:
        assert min(contrast(colour, PAPER), 3) == 3


def test_languages_have_no_colour_of_a_condition_and_no_look_twice() -> None:
    names = [str(number) for number in range(54)]
    chosen = looks(names)
    assert len({(look.colour, look.shape) for look in chosen.values()}) == 54
    first = {look.colour for look in looks(names[:4]).values()}
    assert not first & {LOOKS["Experts"].colour, LOOKS["Before"].colour}
    assert list(looks(["x", "Experts", "Before"])) == ["Before", "Experts", "x"]


def test_the_headline_is_the_middle_k_whatever_the_outcome() -> None:
    assert results(layers=("final",), sentences=12).headline() == {
        "deu_Latn": 300,
        "spa_Latn": 300,
        "jpn_Jpan": 300,
    }


def test_a_table_without_its_columns_is_refused_by_name(run: Results) -> None:
    with pytest.raises(AnalysisError, match="the table 'curve' lacks judge_score"):
        dataclasses.replace(run, curve=run.curve.drop(columns="judge_score"))
    with pytest.raises(AnalysisError, match="'retrieval' is empty, so there is nothing to report"):
        dataclasses.replace(run, retrieval=run.retrieval[:0])
    last = (run.retrieval["target"] == "spa_Latn") & (run.retrieval["layer"] == "final")
    with pytest.raises(AnalysisError, match="layer final for spa_Latn"):
        dataclasses.replace(run, retrieval=run.retrieval[~last])


def test_names_of_languages_are_short_and_say_who_was_not_seen(drawn: dict[str, Figure]) -> None:
    matrix = drawn["retrieval_matrix"]
    assert set(matrix.rows["x"]) == {
        *("English", "German", "French", "Spanish", "Japanese †", "Russian †", "Chinese")
    }
    assert matrix.caption.endswith("† not seen in pre-training.")
    assert len(LANGUAGES) == 7
