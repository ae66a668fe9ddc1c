import dataclasses
import json
import re
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from steer_plugin.analyses.report.contents import exhibits
from steer_plugin.analyses.report.output_folder import export_charts, write_report
from steer_plugin.analyses.report.words.chart_titles import (
    distance_title,
    gap_title,
    retrieval_title,
)
from steer_plugin.analyses.report.words.control_titles import centring_sentence, share_sentence
from steer_plugin.analyses.report.words.phrases import number
from steer_plugin.analyses.report.words.summary import finding, top_1
from steer_plugin.analyses.run.results import Results
from steer_plugin.errors import ArtifactError

from support.frames import TARGETS, changed, results
from support.frames_of_extras import controls_frame

AT_LAST = {"layer": "final", "centring": "raw", "query": "all", "candidates": "all", "top_k": 300}
TOP_1 = {**AT_LAST, "measure": "top-1"}
DISTANCE = {**AT_LAST, "measure": "pair distance"}
GAP = {**AT_LAST, "measure": "gap"}
LIMIT = 600.0
OFFLINE = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


@pytest.fixture(scope="module")
def run() -> Results:
    return results()


@pytest.fixture(scope="module")
def small() -> Results:
    """As the run, but at its last layer and headline k alone."""
    return results(layers=("final",), top_ks=(300,), sentences=20)


@pytest.fixture(scope="module")
def small_report(small: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(small, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def report(run: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(run, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in programs:
        pytest.fail(
            "the report is tested in a real browser: install Debian's packages chromium and "
            "chromium-driver"
        )
    binary, driver = (str(program) for program in programs)
    options = ChromeOptions()
    options.binary_location = binary
    for flag in OFFLINE:
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = Chrome(options=options, service=Service(driver))
    yield browser
    browser.quit()


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def open_page(browser: Chrome, page: Path, width: int = 1200) -> None:
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.get(page.as_uri())
    WebDriverWait(browser, LIMIT).until(
        lambda b: b.execute_script("return document.body.dataset.drawn === 'yes'")
    )


def requests(browser: Chrome) -> list[str]:
    """Every address that the page asked for."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [params["request"]["url"] for params in sent]


def marks(browser: Chrome, name: str, kind: str) -> int:
    """How many marks of a kind a chart has outside of its axes, legends and headers."""
    return int(
        browser.execute_script(
            """
            const own = ".role-mark.mark-" + arguments[1];
            const shapes = ":scope > path, :scope > text, :scope > line";
            const groups = document.querySelectorAll("#" + arguments[0] + "-chart svg g" + own);
            return [...groups].reduce(
                (n, g) => n + g.querySelectorAll(shapes).length, 0);
            """,
            name,
            kind,
        )
    )


def test_every_chart_is_drawn_with_the_network_off(
    run: Results, report: Path, chromium: Chrome
) -> None:
    open_page(chromium, report)
    assert chromium.get_log("browser") == []
    drawn = exhibits(run)
    assert len(drawn) == 11
    for figure in drawn:
        picture = chromium.find_element(By.CSS_SELECTOR, f"#{figure.name}-chart svg")
        assert picture.size["width"] > 300, figure.name
        assert picture.size["height"] > 100, figure.name
    tables = {figure.name: figure.table for figure in drawn}
    for name in ("distance_before_after", "gap_before_after", "retrieval_before_after"):
        assert marks(chromium, name, "symbol") == 3 * len(tables[name]), name
        assert marks(chromium, name, "text") == 3 * len(tables[name]), name
    for name in ("by_layer", "effect_of_k"):
        assert marks(chromium, name, "symbol") == 3 * len(tables[name]), name
    assert marks(chromium, "experts_by_layer", "rect") == len(tables["experts_by_layer"])
    assert marks(chromium, "expert_overlap", "rect") == len(tables["expert_overlap"])
    assert marks(chromium, "retrieval_matrix", "rect") == 2 * len(tables["retrieval_matrix"])
    assert marks(chromium, "embedding_map", "symbol") == len(tables["embedding_map"])
    assert marks(chromium, "score_curves", "line") == 2 * run.curve["concept"].nunique()


def test_no_request_leaves_the_page(report: Path, chromium: Chrome) -> None:
    open_page(chromium, report)
    asked = requests(chromium)
    assert report.as_uri() in asked
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))] == []


def test_the_page_names_no_file_or_host_but_its_tables(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    text = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    links = re.findall(r'(?:src|href)="([^"]*)"', text)
    other = [link for link in links if not link.startswith(("#", "tables/", "data:,"))]
    assert other == []
    for link in links:
        if link.startswith("tables/"):
            assert (report.parent / link).is_file(), link


@pytest.mark.parametrize("width", [400, 1100])
def test_the_page_is_no_wider_than_its_window(report: Path, chromium: Chrome, width: int) -> None:
    open_page(chromium, report, width)
    content, window = chromium.execute_script(
        "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
    )
    assert window <= width
    assert content == window


def test_every_chart_fits_into_a_page_of_1100_pixels(report: Path, chromium: Chrome) -> None:
    open_page(chromium, report, 1100)
    for box in chromium.find_elements(By.CSS_SELECTOR, "figure .scroll"):
        wide, room = chromium.execute_script(
            "return [arguments[0].scrollWidth, arguments[0].clientWidth]", box
        )
        assert wide <= room


def test_a_chart_is_saved_with_its_title(report: Path, chromium: Chrome, tmp_path: Path) -> None:
    open_page(chromium, report)
    chromium.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    buttons = "#gap_before_after .files button"
    svg, png = (tmp_path / f"gap_before_after.{kind}" for kind in ("svg", "png"))
    for button in chromium.find_elements(By.CSS_SELECTOR, buttons):
        chromium.execute_script("arguments[0].click()", button)
    deadline = time.monotonic() + LIMIT
    while not (svg.exists() and png.exists()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "The gap between translations and other sentences" in svg.read_text(encoding="utf-8")


def test_text_that_looks_like_html_is_shown_as_it_is(
    small: Results, chromium: Chrome, tmp_path: Path
) -> None:
    trap = "</script><script>document.title = 'broken'</script><!--"
    points = small.projection.assign(id=trap)
    page = write_report(
        dataclasses.replace(
            small, provenance={**small.provenance, "model": f"<i>{trap}"}, projection=points
        ),
        tmp_path,
    )
    open_page(chromium, page)
    assert chromium.title == f"Language experts in <i>{trap}"
    assert trap in chromium.find_element(By.ID, "finding").text
    assert chromium.get_log("browser") == []


def test_the_page_says_the_finding_and_the_provenance(
    run: Results, small: Results, report: Path, chromium: Chrome, tmp_path: Path
) -> None:
    controls = controls_frame()
    controlled = dataclasses.replace(small, controls=controls)
    open_page(chromium, write_report(controlled, tmp_path))
    said = finding(controlled)
    shift, centred = share_sentence(controls, "constant-shift"), centring_sentence(controls)
    assert chromium.find_element(By.ID, "finding").text == f"{said} {shift}. {centred}."
    assert "taking each language's mean off" not in said

    open_page(chromium, report)
    assert chromium.find_element(By.ID, "finding").text == finding(run)
    shown = chromium.find_element(By.ID, "provenance").text
    for name, value in run.provenance.items():
        assert name.replace("_", " ") in shown
        assert value in shown


def test_every_caption_says_what_the_reader_must_know(run: Results) -> None:
    captions = {figure.name: figure.caption for figure in exhibits(run)}
    for name in ("distance_before_after", "gap_before_after", "retrieval_before_after"):
        for words in ("150 held-out sentences", "k = 300", "95% interval", "mean of 3 seeds"):
            assert words in captions[name], name


@pytest.mark.parametrize(
    ("draws", "groups", "note"),
    [
        (0, None, "95% interval, over sentences. Distances"),
        (2, None, "95% interval, over sentences. Distances"),
        (3, None, "over sentences; beside random neurons for one more draw, from 3 draws"),
        (8, "10", "over 10 groups of sentences; beside random neurons for one more draw, from 8"),
    ],
)
def test_the_page_says_what_its_intervals_are_over(
    draws: int, groups: str | None, note: str, tmp_path: Path
) -> None:
    run = results(n_controls=draws, layers=("final",), top_ks=(300,), sentences=20)
    if groups is not None:
        run = dataclasses.replace(run, provenance={**run.provenance, "judge_groups": groups})

    page = write_report(run, tmp_path).read_text(encoding="utf-8")

    assert note in page
    captions = {figure.name: figure.caption for figure in exhibits(run)}
    over = f"over {groups} groups of sentences" if groups else "over sentences"
    assert f"({over}, not corrected" in captions["retrieval_before_after"]


def test_the_tables_hold_what_was_measured_and_what_was_drawn(run: Results, report: Path) -> None:
    folder = report.parent / "tables"
    for name, table in run.tables().items():
        pd.testing.assert_frame_equal(pd.read_parquet(folder / f"{name}.parquet"), table)
    for figure in exhibits(run):
        stored = pd.read_parquet(folder / f"{figure.name}.parquet")
        pd.testing.assert_frame_equal(stored, figure.table.reset_index(drop=True))
    # And Table 1.
    assert len(list(folder.iterdir())) == len(run.tables()) + len(exhibits(run)) + 1


def test_the_report_carries_its_data_whatever_the_user_set_for_altair(
    small: Results, small_report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with alt.data_transformers.enable("json"), alt.theme.enable("dark"):
        page = write_report(small, tmp_path / "report")
    assert page.read_bytes() == small_report.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_a_report_that_cannot_be_written_leaves_the_one_before(
    small: Results, small_report: Path, tmp_path: Path
) -> None:
    shutil.copytree(small_report.parent, tmp_path, dirs_exist_ok=True)
    page = tmp_path / small_report.name
    before = contents(tmp_path)
    other = dataclasses.replace(small, projection=small.projection.assign(id="other"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    # The file system refuses to let any file grow beyond 64 kB, as a full disk would.
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    try:
        with pytest.raises(ArtifactError, match=re.escape(str(page))) as error:
            write_report(other, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert "\n" not in str(error.value)
    assert contents(tmp_path) == before


def test_charts_are_exported_as_pictures(small: Results, tmp_path: Path) -> None:
    names = [exhibit.name for exhibit in exhibits(small)]
    pngs = export_charts(small, tmp_path, "png")
    svgs = export_charts(small, tmp_path, "svg")
    assert [path.name for path in pngs] == [f"{name}.png" for name in names]
    assert [path.name for path in svgs] == [f"{name}.svg" for name in names]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pngs)
    by_name = {path.stem: path.read_text(encoding="utf-8") for path in svgs}
    assert "German (deu_Latn)" in by_name["retrieval_before_after"]
    assert "Experts lift top-1 retrieval" in by_name["retrieval_before_after"]


def with_intervals(base: Results, table: str, where: dict[str, Any], **ends: Any) -> Results:
    """Set intervals by the name of the difference: change=(low, high)."""
    values = {
        f"{name}_{end}": value
        for name, pair in ends.items()
        for end, value in zip(("low", "high"), pair, strict=True)
    }
    return changed(base, table, where, **values)


def test_the_finding_gives_each_target_before_after_control_and_interval(run: Results) -> None:
    one = changed(
        run,
        "retrieval",
        {**TOP_1, "target": "deu_Latn"},
        pre=0.047,
        post=0.415,
        control=0.071,
        change_low=0.34,
        change_high=0.39,
        advantage=0.344,
        advantage_low=0.31,
        advantage_high=0.37,
    )
    assert (
        "With the top 300 German experts steered it rose from 0.05 to 0.41 (+0.34 to +0.39); "
        "3 draws of random neurons gave 0.07 on average, and none changed it as much, up or down: "
        "the experts are ahead of one more draw by 0.34 (+0.31 to +0.37)."
    ) in finding(one)
    for name in ("German", "Spanish", "Japanese"):
        assert f"With the top 300 {name} experts steered" in finding(one)


def test_the_finding_says_where_experts_do_no_better_than_random_neurons(run: Results) -> None:
    where = {**TOP_1, "target": "deu_Latn"}
    level = with_intervals(run, "retrieval", where, advantage=(-0.01, 0.02))
    assert "the experts are not reliably ahead of one more draw (−0.01 to +0.02)" in finding(level)
    worse = with_intervals(run, "retrieval", where, advantage=(-0.2, -0.1))
    assert "the experts did worse than one more draw would (−0.20 to −0.10)" in finding(worse)
    assert "the experts did worse" not in finding(run)


def test_the_finding_claims_no_change_that_its_interval_does_not_support(run: Results) -> None:
    where = {**TOP_1, "target": "deu_Latn"}
    flat = with_intervals(run, "retrieval", where, change=(-0.01, 0.5))
    assert "With the top 300 German experts steered it did not change reliably" in finding(flat)
    lost = with_intervals(run, "retrieval", where, change=(-0.5, -0.01))
    assert "With the top 300 German experts steered it fell from" in finding(lost)


def test_without_a_control_nothing_is_put_down_to_the_experts() -> None:
    alone = results(n_controls=0, layers=("final",))
    assert finding(alone).count("no random control was run") == len(TARGETS)
    assert "random neurons" not in finding(alone)
    assert "no random control was run" in retrieval_title(top_1(alone))


def test_the_finding_says_when_raw_distance_falls_for_random_neurons_too(run: Results) -> None:
    too = with_intervals(
        run, "alignment", DISTANCE, change=(-0.7, -0.6), control_change=(-0.5, -0.4)
    )
    assert "but it fell with random neurons too, to" in finding(too)
    assert "by itself no sign of alignment" in finding(too)
    alone = with_intervals(run, "alignment", DISTANCE, control_change=(-0.1, 0.1))
    assert "and did not reliably with random neurons" in finding(alone)
    assert "no sign of alignment" not in finding(alone)
    still = with_intervals(run, "alignment", DISTANCE, change=(-0.1, 0.1))
    assert "Raw distance between languages did not fall reliably: from 0.77 to" in finding(still)


def test_the_finding_says_when_distance_falls_while_the_gap_does_not_improve(run: Results) -> None:
    flat = with_intervals(run, "alignment", GAP, change=(-0.01, 0.01))
    assert "While distance fell, the gap" in finding(flat)
    assert "did not improve reliably" in finding(flat)
    wider = with_intervals(run, "alignment", GAP, change=(0.01, 0.02))
    assert "did not improve" not in finding(wider)
    assert "widened from 0.026" in finding(wider)


def test_the_finding_gives_the_centred_distance_beside_the_raw_one(run: Results) -> None:
    centred = changed(run, "alignment", {**DISTANCE, "centring": "global"}, pre=0.9, post=0.81)
    assert (
        "With the common mean removed, distance went from 0.90 to 0.81 (German), 0.81 (Spanish) "
        "and 0.81 (Japanese)."
    ) in finding(centred)


def test_the_finding_says_that_one_layer_gains_what_another_loses(run: Results) -> None:
    assert (
        "One layer gains what another loses: German +0.36 after the final norm, −0.07"
        in finding(run)
    )
    assert (
        "; these are the largest of 19 layers, each by an interval that is not corrected for their "
        "number." in finding(run)
    )
    no_loss = {"measure": "top-1", "centring": "raw", "query": "all", "candidates": "all"}
    up = with_intervals(run, "retrieval", no_loss, change=(0.01, 0.1))
    assert "One layer gains" not in finding(up)


def test_the_finding_names_centring_without_steering_as_the_baseline(run: Results) -> None:
    centred = changed(run, "retrieval", {**TOP_1, "centring": "language"}, pre=0.562)
    assert (
        "Without steering, taking each language's mean off its embeddings gives 0.56; the best "
        "target with experts, German, gives 0.41; no interval is made of that difference."
    ) in finding(centred)


def test_the_finding_reports_the_headline_k_and_not_the_best(run: Results) -> None:
    better = changed(run, "retrieval", {**TOP_1, "top_k": 1500}, post=0.999)
    assert finding(better) == finding(run)


def test_titles_count_targets_by_their_intervals(run: Results) -> None:
    rows = top_1(run)
    assert retrieval_title(rows) == (
        "Experts lift top-1 retrieval beyond random neurons for 2 of 3 targets: German 0.05 to "
        "0.41 and Spanish 0.05 to 0.19"
    )
    none = rows.assign(advantage_low=-0.1, advantage_high=0.1)
    assert retrieval_title(none) == (
        "Experts retrieve not reliably better than random neurons for any of 3 targets"
    )
    harmed = rows.assign(change_low=-0.2, advantage_low=0.1)
    assert "but not reliably better than the model unsteered" in retrieval_title(harmed)


def test_the_distance_title_sets_random_neurons_beside_experts(run: Results) -> None:
    rows = run.alignment
    for key, value in DISTANCE.items():
        rows = rows[rows[key] == value]
    fell = rows.assign(change_high=-0.1)
    assert distance_title(fell.assign(control_change_high=-0.1)) == (
        "Raw distance falls with experts for all 3 targets, and with random neurons for all 3 "
        "targets"
    )
    assert distance_title(fell.assign(control_change_high=0.1)).endswith(
        "and not reliably with random neurons"
    )
    assert distance_title(rows.assign(change_high=0.1)).startswith("Experts do not bring")


def test_the_gap_title_sets_the_centred_gap_beside_the_raw_one(run: Results) -> None:
    rows = run.alignment
    for key, value in GAP.items():
        rows = rows[rows[key] == value]
    wider = rows.assign(change_low=0.1, change_high=0.2, advantage_low=0.1)
    narrower = rows.assign(change_low=-0.2, change_high=-0.1)
    assert gap_title(narrower, wider) == (
        "The gap between translations and other sentences shrinks for all 3 targets; with each "
        "language's mean removed it widens for all 3 targets, beyond random neurons"
    )
    assert gap_title(wider.assign(advantage_low=-0.1), wider[:0]).endswith(
        "widens for all 3 targets, not reliably more than with random neurons"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.047, "0.05"), (0.415, "0.41"), (-0.003, "−0.003"), (0.0, "0.00"), (-0.0001, "0.00")],
)
def test_a_figure_gets_a_decimal_more_before_it_is_rounded_to_nothing(
    value: float, shown: str
) -> None:
    assert number(value) == shown


def test_the_best_layers_are_said_to_be_compared_without_an_interval(run: Results) -> None:
    where = {"measure": "top-1", "centring": "raw", "query": "all", "candidates": "all"}
    low = changed(run, "retrieval", where, post=0.01)
    assert (
        "no layer reads higher with experts; these are the best of several figures, without an "
        "interval."
    ) in finding(low)
