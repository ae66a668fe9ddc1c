"""One experiment on two hosts: what is compared, what is refused, what is drawn and said."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert

from steer_plugin.activations.sites import UnitSpace
from steer_plugin.analyses.report.figure import Figure
from steer_plugin.analyses.report.numbers import size
from steer_plugin.analyses.report.output_folder import write_report
from steer_plugin.analyses.report.sections.hosts import agreement, hosts_section
from steer_plugin.analyses.run.results import KEYS, Results
from steer_plugin.analyses.run.two_hosts import Hosts, host_figures, same_verdicts, shared_experts
from steer_plugin.cli.main import run_command
from steer_plugin.errors import AnalysisError
from steer_plugin.experts.table import ExpertTable

from support.frames import LANGUAGES, changed, results
from support.runs import FinishedRun

ONE, OTHER = "transformer_lens 4.3.0", "nnsight 0.8.1"
SMALL = {"layers": ("6", "12", "final"), "top_ks": (50, 300), "sentences": 20}
GERMAN = {
    "target": "deu_Latn",
    "top_k": 300,
    "layer": "12",
    "measure": "top-1",
    "centring": "raw",
    "query": "all",
    "candidates": "all",
}


def recorded(run: Results, **other: str) -> Results:
    return dataclasses.replace(run, provenance={**run.provenance, "find_hash": "f00", **other})


def experts(run: Results, *, last: int = 0) -> ExpertTable:
    """Experts of a run: of 400 units each language's 100 best are the first, or `last` others."""
    scores = np.tile(np.linspace(0.9, 0.6, 400), (len(LANGUAGES), 1))
    scores[LANGUAGES.index("jpn_Jpan"), 200 : 200 + last] = 0.95
    told = run.provenance
    return ExpertTable(
        concepts=LANGUAGES,
        space=UnitSpace(told["site"], (0, 1), (200, 200)),
        score="auroc",
        scores=scores,
        chance=(0.5,) * len(LANGUAGES),
        statistics={},
        provenance={
            "model": {
                "name": told["model"],
                "revision": told["revision"],
                "host": told["host"],
                "dtype": told["dtype"],
            },
            "corpus": {"hash": told["find_hash"]},
            "site": told["site"],
            "pooling": told["pooling"],
            "score": told["score"],
        },
    )


@pytest.fixture(scope="module")
def run() -> Results:
    return recorded(results(**SMALL), host=ONE)


@pytest.fixture(scope="module")
def other(run: Results) -> Results:
    """The same figures on another host."""
    return recorded(run, host=OTHER)


@pytest.fixture(scope="module")
def apart(other: Results) -> Results:
    """On the other host one accuracy is 0.0123 higher, and every distance a little."""
    value = float(select(other.retrieval, GERMAN)["post"].iloc[0])
    moved = changed(other, "retrieval", GERMAN, post=value + 0.0123)
    return dataclasses.replace(
        moved,
        alignment=moved.alignment.assign(
            **{name: moved.alignment[name] + 3e-7 for name in ("pre", "post", "control")}
        ),
    )


def select(frame: pd.DataFrame, where: dict[str, Any]) -> pd.DataFrame:
    return frame[np.logical_and.reduce([frame[name] == value for name, value in where.items()])]


def pair(here: Results, beside: Results, *, last: int = 0) -> Hosts:
    return Hosts(here, beside, experts(here), experts(beside, last=last))


def drawn(hosts: Hosts) -> dict[str, Figure]:
    return {figure.name: figure for figure in hosts_section(hosts).figures}


# What is compared


def test_every_figure_stands_beside_the_other_hosts(run: Results, apart: Results) -> None:
    both = host_figures(run, apart)

    assert list(both.columns) == [*KEYS, "condition", "here", "beside", "difference"]
    assert len(both) == 3 * (len(run.retrieval) + len(run.alignment))
    for condition, column in (
        ("Before", "pre"),
        ("Experts", "post"),
        ("Random units", "control"),
    ):
        found = select(both, {**GERMAN, "condition": condition}).iloc[0]
        assert found["here"] == select(run.retrieval, GERMAN)[column].iloc[0]
        assert found["beside"] == select(apart.retrieval, GERMAN)[column].iloc[0]
        assert found["difference"] == pytest.approx(0.0123 if column == "post" else 0)
    assert (both["difference"] > 0).sum() == 3 * len(run.alignment) + 1


def test_a_figure_that_one_host_lacks_is_left_out_and_counted(run: Results, other: Results) -> None:
    lacking = changed(other, "retrieval", GERMAN, control=float("nan"))
    hosts = pair(run, lacking)

    assert hosts.only_one_has == 1
    assert select(hosts.figures, {**GERMAN, "condition": "Random units"}).empty
    assert "Left out are 1 figures that only one of the two has." in agreement(hosts)
    assert "Left out" not in agreement(pair(run, other))


def test_verdicts_are_the_same_where_both_intervals_lie_alike(run: Results, other: Results) -> None:
    assert same_verdicts(run, other) == (18, 18)
    turned = changed(other, "retrieval", GERMAN, advantage_low=-0.3, advantage_high=-0.2)
    assert same_verdicts(run, turned) == (17, 18)
    assert "for 17 of 18 combinations" in agreement(pair(run, turned))


def test_experts_are_counted_as_sets_among_the_best_of_each_language(run: Results) -> None:
    shared = shared_experts(experts(run), experts(run, last=7)).set_index("concept")

    assert list(shared.index) == list(LANGUAGES)
    assert shared.loc["jpn_Jpan"].tolist() == [100, 93, 0.93]
    assert (shared.drop("jpn_Jpan")["shared"] == 100).all()


def test_no_more_experts_are_compared_than_both_hosts_have(run: Results) -> None:
    table = experts(run)
    few = dataclasses.replace(table, scores=table.scores - 0.35)

    shared = shared_experts(table, few)
    n_experts = int((few.scores[0] > 0.5).sum())
    assert 0 < n_experts < 100
    assert set(shared["top_k"]) == set(shared["shared"]) == {n_experts}
    assert set(shared["share"]) == {1.0}


# What is refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "gpt2"),
        ("revision", "sha256:0"),
        ("find_hash", "beef"),
        ("split_seed", "7"),
        ("strength", "0.5"),
        ("site", "mlp.hook_pre"),
    ],
)
def test_another_experiment_is_refused_by_what_differs(
    run: Results, other: Results, name: str, value: str
) -> None:
    with pytest.raises(AnalysisError) as caught:
        pair(run, recorded(other, **{name: value}))
    mine = run.provenance.get(name, "not recorded")
    assert str(caught.value) == (
        f"the two runs are not of the same experiment: {name} is {mine} and {value}; run the same "
        "file on both hosts"
    )


def test_host_dtype_device_versions_and_the_place_of_the_corpus_may_differ_and_are_told(
    run: Results, other: Results
) -> None:
    different = {
        "dtype": "bfloat16",
        "device": "cuda:0",
        "version of torch": "1.0",
        "corpus": "/elsewhere.tsv",
    }
    here = recorded(run, device="cpu", **{"version of torch": "2.0"})
    hosts = pair(here, recorded(other, **different))

    assert hosts.names == (f"{ONE} (cpu, float32)", f"{OTHER} (cuda:0, bfloat16)")
    assert "The dtypes are not the same: float32 and bfloat16." in agreement(hosts)
    assert "dtypes" not in agreement(pair(run, other))
    recorded_rows = hosts_section(hosts).tables[0].rows.to_numpy().tolist()
    for name, value in {**different, "host": OTHER}.items():
        assert [name, here.provenance[name], value] in recorded_rows


def test_a_run_on_the_same_host_is_refused_and_one_in_another_dtype_is_not(run: Results) -> None:
    with pytest.raises(AnalysisError, match=f"both runs are on {ONE}; give a run on another host"):
        pair(run, run)
    assert pair(run, recorded(run, dtype="bfloat16")).names[1] == f"{ONE} (bfloat16)"


def test_runs_without_a_target_and_k_in_common_are_refused(run: Results) -> None:
    beside = recorded(results(**{**SMALL, "targets": ("fra_Latn",), "top_ks": (50,)}), host=OTHER)
    with pytest.raises(AnalysisError, match=r"in common: deu_Latn at k = 50.* and fra_Latn at k"):
        pair(run, beside)


def test_experts_of_another_run_are_refused(run: Results, other: Results) -> None:
    stale = experts(recorded(other, find_hash="beef"))
    with pytest.raises(AnalysisError, match=f"results of {OTHER} .* find_hash is beef, not f00"):
        Hosts(run, other, experts(run), stale)
    narrow = experts(other)
    narrow = dataclasses.replace(narrow, space=UnitSpace("mlp.hook_post", (0,), (400,)))
    with pytest.raises(AnalysisError, match="different units, concepts or scores"):
        shared_experts(experts(run), narrow)


# What is drawn and said


def test_hosts_that_agree_are_said_to_and_no_chart_of_differences_is_drawn(
    run: Results, other: Results
) -> None:
    hosts = pair(run, other)
    figures = drawn(hosts)

    assert list(figures) == ["host_overlay", "host_experts"]
    # 3 layers before steering; 3 targets, 2 values of k and 3 layers with experts and at random.
    assert figures["host_overlay"].caption.startswith("All 39 mean accuracies are equal.")
    assert figures["host_experts"].caption == (
        "Both hosts find the same 100 best experts in all 7 languages."
    )
    assert "retrieval figures are equal; all" in agreement(hosts)
    assert "Furthest apart" not in agreement(hosts)


def test_hosts_that_differ_are_said_to_by_how_much_and_where(run: Results, apart: Results) -> None:
    hosts = pair(run, apart, last=7)
    figures = drawn(hosts)

    assert "38 of 39 mean accuracies are equal; the furthest are 0.012 apart" in (
        figures["host_overlay"].caption
    )
    assert "equal, the others within 0.012; all " in agreement(hosts)
    assert "other figures are within 3.0e-7" in agreement(hosts)
    assert figures["host_experts"].caption == (
        "Both hosts find the same 100 best experts in 6 of 7 languages; fewest in Japanese: 93 of "
        "100."
    )
    here = float(select(run.retrieval, GERMAN)["post"].iloc[0])
    assert (
        "Furthest apart in retrieval is top-1 of all pairs, embeddings as they are (German, k = "
        f"300, after block 12, experts): {here:.4f} and {here + 0.0123:.4f}."
    ) in agreement(hosts)


def test_both_hosts_accuracies_are_drawn_against_each_other(run: Results, apart: Results) -> None:
    figure = drawn(pair(run, apart))["host_overlay"]

    assert len(figure.rows) == 3 * 2 * 3 * 3
    assert {(select.label, len(select.options)) for select in figure.form.selects} == {
        ("Steered towards", 6)
    }
    table = figure.tables["host_overlay"]
    assert figure.rows["x"].tolist() == table["here"].tolist()
    assert figure.rows["y"].tolist() == table["beside"].tolist()
    spec = figure.spec()["concat"][0]["layer"][-1]["encoding"]
    assert (spec["x"]["title"], spec["y"]["title"]) == (f"Top-1 on {ONE}", f"Top-1 on {OTHER}")


def test_each_layers_largest_difference_is_drawn_and_equal_figures_at_the_left_end(
    run: Results, apart: Results
) -> None:
    figure = drawn(pair(run, apart))["host_differences"]

    table = figure.tables["host_differences"]
    assert len(table) == len(figure.rows) == 6 * 3 * 3
    keys = ["measure", "condition", "layer"]
    sizes = table.set_index(keys)["size"]
    both = host_figures(run, apart)
    wanted = both["difference"].abs().groupby([both[key] for key in keys]).max()
    pd.testing.assert_series_equal(sizes.sort_index(), wanted.sort_index(), check_names=False)
    assert sizes["top-1", "Experts", "12"] == pytest.approx(0.0123)
    equal = (table["size"] == 0).to_numpy()
    assert set(figure.rows.loc[equal, "value"]) == {-8.0}
    assert figure.rows.loc[~equal, "value"].tolist() == pytest.approx(
        np.log10(table.loc[~equal, "size"]).tolist()
    )


def test_the_chart_says_how_many_experts_are_the_same(run: Results, other: Results) -> None:
    rows = drawn(pair(run, other, last=7))["host_experts"].rows.set_index("lane")

    assert rows.loc["Japanese", "text"] == "93 of 100 (93%)"
    assert rows.loc["German", "text"] == "100 of 100 (100%)"
    assert rows.loc["Japanese", "value"] == 0.93


def test_charts_compile_without_a_warning(
    run: Results, apart: Results, capfd: pytest.CaptureFixture[str]
) -> None:
    for figure in drawn(pair(run, apart)).values():
        vl_convert.vegalite_to_vega(figure.spec(), show_warnings=True)
    assert capfd.readouterr().err == ""


def test_many_targets_are_cut_to_panels_that_fit() -> None:
    codes = [f"x{chr(97 + i)}a_Latn" for i in range(14)]
    big = {"languages": codes, "targets": codes, "layers": ("final",), "sentences": 5}
    run = recorded(results(**big, top_ks=(50, 300, 1500)), host=ONE)
    overlay = drawn(pair(run, recorded(run, host=OTHER)))["host_overlay"]

    panels = overlay.tables["host_overlay"][["target", "top_k"]].drop_duplicates()
    assert panels["target"].tolist() == codes[:12]
    assert set(panels["top_k"]) == {300}


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (0, "0"),
        (0.0123, "0.012"),
        (-0.25, "0.25"),
        (1.0, "1.0"),
        (0.001, "0.0010"),
        (2.98e-7, "3.0e-7"),
    ],
)
def test_a_difference_is_printed_to_two_digits(difference: float, said: str) -> None:
    assert size(difference) == said


def test_the_section_is_the_first_of_the_report_and_its_rows_lie_beside_it(
    run: Results, apart: Results, tmp_path: Path
) -> None:
    hosts = pair(run, apart)
    page = write_report(run, tmp_path, hosts_section(hosts)).read_text(encoding="utf-8")

    assert page.index('<details class="section" id="hosts" open>') < page.index('id="experts"')
    assert '<a href="#hosts">Two hosts</a>' in page
    stored = pd.read_parquet(tmp_path / "tables" / "hosts.parquet")
    pd.testing.assert_frame_equal(stored, hosts.figures)
    for name in ("host_overlay", "host_differences", "host_experts"):
        assert f'<figure id="{name}"' in page
        assert (tmp_path / "tables" / f"{name}.parquet").is_file()


# Two real runs


@pytest.fixture(scope="module")
def on_nnsight(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of the shared run's experiment on the other host."""
    out = tmp_path_factory.mktemp("nnsight") / "out"
    assert run_command(["run", str(finished_run.file), "--out", str(out), "--host", "nnsight"]) == 0
    return out


@pytest.fixture
def refusal(capfd: pytest.CaptureFixture[str]) -> Callable[[Path, Path], str]:
    """Give the one line that a refused report ends with."""

    def refuse(folder: Path, beside: Path) -> str:
        capfd.readouterr()
        assert run_command(["report", str(folder), "--beside", str(beside)]) == 1
        told = capfd.readouterr()
        assert told.out == ""
        assert told.err.count("\n") == 1
        return told.err

    return refuse


def test_report_overlays_a_real_run_on_both_hosts(
    finished_run: FinishedRun, on_nnsight: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished_run.folder, tmp_path / "lens")
    capfd.readouterr()
    command = ["report", str(tmp_path / "lens"), "--beside", str(on_nnsight)]
    assert run_command([*command, "--svg", "--tables", "latex"]) == 0

    assert capfd.readouterr().out == f"{tmp_path / 'lens' / 'report.html'}\n"
    page = (tmp_path / "lens" / "report.html").read_text(encoding="utf-8")
    assert "All 9 mean accuracies are equal" in page
    assert "best experts in all 3 languages" in page
    figures = pd.read_parquet(tmp_path / "lens" / "tables" / "hosts.parquet")
    assert len(figures) > 100
    assert (figures["difference"] == 0).all()
    charts = {path.stem for path in (tmp_path / "lens" / "charts").glob("host_*.svg")}
    # There is nothing to show of differences where there are none.
    assert charts == {"host_overlay", "host_experts"}
    assert (tmp_path / "lens" / "latex" / "hosts_measures.tex").is_file()


def test_what_cannot_be_put_beside_a_run_is_refused_in_one_line(
    finished_run: FinishedRun,
    on_nnsight: Path,
    tmp_path: Path,
    refusal: Callable[[Path, Path], str],
) -> None:
    lens = finished_run.folder
    before = (lens / "report.html").read_bytes()
    nowhere, bare = tmp_path / "nowhere", tmp_path / "bare"
    shutil.copytree(on_nnsight / "results", bare / "results")

    assert f"{nowhere / 'results'} holds no saved results" in refusal(lens, nowhere)
    assert f"{bare / 'experts'} holds no saved experts" in refusal(lens, bare)
    assert "both runs are on transformer_lens" in refusal(lens, lens)
    assert (lens / "report.html").read_bytes() == before
