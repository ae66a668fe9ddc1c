"""The page in a real browser: what is seen first, what opens, what is chosen, what is said."""

import dataclasses
import itertools
import re
import time
from pathlib import Path

import pandas as pd
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from steer_plugin.analyses.report.contents import figures, sections
from steer_plugin.analyses.report.output_folder import write_report
from steer_plugin.analyses.report.verdicts import answers, verdict
from steer_plugin.analyses.run.results import Results
from steer_plugin.analyses.statistics.figure_rows import over_pairs

from support.browser import LIMIT, chromium, console, emulate_scheme, open_page, requests
from support.frames import results

__all__ = ["chromium"]


@pytest.fixture(scope="module")
def page(run: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(run, tmp_path_factory.mktemp("page"))


def fits(browser: Chrome) -> bool:
    content, window = browser.execute_script(
        "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
    )
    return bool(content <= window)


def settled(browser: Chrome, script: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not browser.execute_script(f"return {script}"):
        assert time.monotonic() < deadline, script
        time.sleep(0.05)


def test_the_first_screen_has_run_verdict_chart_and_answers(
    run: Results, page: Path, chromium: Chrome
) -> None:
    open_page(chromium, page, width=1280, height=800)
    assert chromium.find_element(By.ID, "verdict").text == verdict(run)
    shown = chromium.find_elements(By.CSS_SELECTOR, "#answers li")
    for row, answer in zip(shown, answers(run), strict=True):
        assert row.text.startswith(answer.question)
        assert answer.figures in row.text
        assert all(kind in row.text for kind, _ in answer.badges)
    bottoms = [
        chromium.execute_script(
            "return document.querySelector(arguments[0]).getBoundingClientRect().bottom", place
        )
        for place in (".run", "#verdict", "#at_a_glance-chart svg", "#answers")
    ]
    assert bottoms == sorted(bottoms)
    assert bottoms[-1] <= 800
    assert chromium.execute_script(
        "const line = document.querySelector('.run'); return line.clientHeight < 30"
    )


def test_every_section_opens_every_selector_works_and_the_console_stays_silent(
    run: Results, page: Path, chromium: Chrome
) -> None:
    open_page(chromium, page)
    for section in chromium.find_elements(By.CSS_SELECTOR, "details.section"):
        assert not section.get_attribute("open")
        section.find_element(By.TAG_NAME, "summary").click()
        assert section.get_attribute("open")
    drawn = figures(run)
    for figure in drawn:
        size = chromium.find_element(By.CSS_SELECTOR, f"#{figure.name}-chart svg").size
        assert min(size["width"] - 170, size["height"]) > 80, figure.name
        for place, select in enumerate(figure.form.selects):
            # Each time anew: Vega may have replaced it.
            found = chromium.find_elements(By.CSS_SELECTOR, f"#{figure.name}-chart select")
            control = Select(found[place])
            # Asked for one by one, a chart's options take a second.
            texts = "return [...arguments[0].options].map(option => option.text)"
            assert chromium.execute_script(texts, found[place]) == list(select.options)
            control.select_by_visible_text(select.options[-1])
    assert console(chromium) == []
    assert fits(chromium)
    assert {section.name for section in sections(run)} <= {
        element.get_attribute("id")
        for element in chromium.find_elements(By.CSS_SELECTOR, "details.section")
    }


def test_what_is_chosen_is_in_the_address_and_comes_back_from_it(
    page: Path, chromium: Chrome
) -> None:
    open_page(chromium, page, anchor="by_layer")
    assert chromium.execute_script("return document.getElementById('layers').open")
    control = chromium.find_element(By.CSS_SELECTOR, "#by_layer-chart select")
    Select(control).select_by_visible_text("Spanish")
    settled(chromium, "location.hash.includes('Spanish')")
    anchor = chromium.execute_script("return location.hash.slice(1)")

    open_page(chromium, page, anchor=anchor)
    control = chromium.find_element(By.CSS_SELECTOR, "#by_layer-chart select")
    assert Select(control).first_selected_option.text == "Spanish"
    assert chromium.execute_script("return document.getElementById('layers').open")
    chromium.find_element(By.CSS_SELECTOR, "nav a[href='#experts']").click()
    assert chromium.execute_script("return document.getElementById('experts').open")


def test_any_option_comes_back_from_an_address_and_any_address_is_drawn(
    chromium: Chrome, tmp_path: Path
) -> None:
    base = results(layers=("12", "final"), top_ks=(300,), sentences=4)
    option = "A+b & c? 100%"
    rows = over_pairs(base.alignment, "gap").assign(measure=option)
    odd = dataclasses.replace(base, alignment=pd.concat([base.alignment, rows]))
    path = write_report(odd, tmp_path)
    for anchor in ("100%", "nothing?%"):
        open_page(chromium, path, anchor=anchor)
        assert console(chromium) == []
    control = "#measures_by_layer-chart select"
    open_page(chromium, path, anchor="measures_by_layer")
    Select(chromium.find_element(By.CSS_SELECTOR, control)).select_by_visible_text(option)
    settled(chromium, "location.hash.includes('datum_measured')")
    chosen = chromium.execute_script("return location.hash.slice(1)")
    open_page(chromium, path, anchor=chosen)
    shown = f"document.querySelector('{control}').value"
    assert chromium.execute_script(f"return {shown}") == option
    # Another address on the same page: what it chooses is drawn, and what it does not is as first.
    chromium.execute_script("location.hash = '#by_layer?by_layer.datum_lane=Spanish'")
    settled(chromium, "document.querySelector('#by_layer-chart select').value === 'Spanish'")
    settled(chromium, f"{shown} !== {option!r}")
    assert console(chromium) == []


def test_a_click_into_the_legend_and_a_choice_keep_one_language(
    page: Path, chromium: Chrome
) -> None:
    open_page(chromium, page, anchor="embedding_map")
    pale = (
        "[...document.querySelectorAll('#embedding_map-chart .mark-symbol.role-mark path')]"
        ".filter(mark => mark.getAttribute('opacity') < 0.1).length"
    )
    points = chromium.execute_script(
        "return document.querySelectorAll("
        "'#embedding_map-chart .mark-symbol.role-mark path').length"
    )
    assert chromium.execute_script(f"return {pale}") == 0
    control = chromium.find_elements(By.CSS_SELECTOR, "#embedding_map-chart select")[-1]
    Select(control).select_by_visible_text("German")
    settled(chromium, f"{pale} === {points * 6 // 7}")
    Select(control).select_by_visible_text("all")
    settled(chromium, f"{pale} === 0")
    label = chromium.find_element(By.CSS_SELECTOR, "#embedding_map-chart .role-legend-label text")
    label.click()
    settled(chromium, f"{pale} === {points * 6 // 7}")
    # Drawn anew for another width, it keeps what was clicked.
    width = "document.querySelector('#embedding_map-chart svg').getBoundingClientRect().width"
    wide = chromium.execute_script(f"return {width}")
    chromium.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 480, "height": 800, "deviceScaleFactor": 1, "mobile": False},
    )
    settled(chromium, f"{width} < {wide}")
    settled(chromium, f"{pale} === {points * 6 // 7}")
    assert console(chromium) == []


@pytest.mark.parametrize("width", [360, 400, 800, 1280])
def test_the_page_fits_its_window_in_the_light_and_in_the_dark(
    page: Path, chromium: Chrome, width: int
) -> None:
    open_page(chromium, page, width=width, anchor="retrieval_matrix")
    for dark in (False, True):
        emulate_scheme(chromium, dark=dark)
        assert fits(chromium)
        for name in ("at_a_glance", "retrieval_matrix", "retrieval_before_after"):
            wide, room = chromium.execute_script(
                "const box = document.getElementById(arguments[0] + '-chart');"
                "return [box.scrollWidth, box.clientWidth]",
                name,
            )
            assert wide <= room, name
        shown = chromium.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert shown == ("rgb(21, 27, 35)" if dark else "rgb(255, 255, 255)")
        fill = chromium.execute_script(
            "const text = document.querySelector('#at_a_glance-chart .role-axis-label text');"
            "return getComputedStyle(text).fill"
        )
        assert fill == ("rgb(230, 237, 243)" if dark else "rgb(31, 35, 40)")


def test_no_request_leaves_the_page(page: Path, chromium: Chrome) -> None:
    open_page(chromium, page)
    asked = requests(chromium)
    assert page.as_uri() in asked
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))] == []
    assert page.stat().st_size <= 2_000_000


def test_the_page_names_no_file_or_host_but_its_tables(page: Path) -> None:
    text = re.sub(r"<script.*?</script>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert [link for link in links if not link.startswith(("#", "tables/", "data:,"))] == []
    for link in links:
        if link.startswith("tables/"):
            assert (page.parent / link).is_file(), link
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in text, link


def test_it_can_be_read_without_seeing_and_without_a_mouse(
    run: Results, page: Path, chromium: Chrome
) -> None:
    open_page(chromium, page)
    for part in chromium.find_elements(By.CSS_SELECTOR, "details"):
        chromium.execute_script("arguments[0].open = true", part)
    for figure in figures(run):
        element = chromium.find_element(By.ID, figure.name)
        title = chromium.find_element(By.ID, str(element.get_attribute("aria-labelledby")))
        assert title.text == figure.title
        picture = element.find_element(By.CSS_SELECTOR, "[role=graphics-document]")
        assert figure.caption in str(picture.get_attribute("aria-label"))
        for cell in (".behind tbody tr", ".behind th[scope=col]"):
            assert chromium.execute_script(
                "return arguments[0].querySelector(arguments[1]) !== null", element, cell
            ), figure.name
    unnamed = chromium.execute_script(
        "return [...document.querySelectorAll('select')].filter(s => !s.labels.length).length"
    )
    assert unnamed == 0
    levels = [
        int(heading.tag_name[1]) for heading in chromium.find_elements(By.CSS_SELECTOR, "h1,h2,h3")
    ]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))


def test_it_prints_with_every_section_open(page: Path, chromium: Chrome) -> None:
    open_page(chromium, page, dark=True)
    closed = "document.querySelectorAll('details.section:not([open])').length"
    assert chromium.execute_script(f"return {closed}") > 0
    chromium.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert chromium.execute_script(f"return {closed}") == 0
    chromium.execute_script("dispatchEvent(new Event('afterprint'))")
    assert chromium.execute_script(f"return {closed}") > 0


def test_a_chart_is_saved_with_its_title_in_its_light_colours(
    page: Path, chromium: Chrome, tmp_path: Path
) -> None:
    open_page(chromium, page, anchor="gap_before_after", dark=True)
    chromium.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    svg, png = (tmp_path / f"gap_before_after.{kind}" for kind in ("svg", "png"))
    for button in chromium.find_elements(By.CSS_SELECTOR, "#gap_before_after .files button"):
        chromium.execute_script("arguments[0].click()", button)
    deadline = time.monotonic() + LIMIT
    while not (svg.exists() and png.exists()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert png.read_bytes().startswith(b"\x89PNG")
    text = svg.read_text(encoding="utf-8")
    assert "Do translations come nearer than other sentences?" in text
    assert "var(--" not in text


def test_text_that_looks_like_html_is_shown_as_it_is(chromium: Chrome, tmp_path: Path) -> None:
    trap = "</script><script>document.title = 'broken'</script><!--{{ 1 + 1 }}"
    small = results(layers=("final",), top_ks=(300,), sentences=6)
    told = {**small.provenance, "model": f"<i>{trap}", "score": trap}
    points = small.projection.assign(id=trap)
    trapped = dataclasses.replace(small, provenance=told, projection=points)
    open_page(chromium, write_report(trapped, tmp_path))
    assert chromium.title == f"Language experts in <i>{trap}"
    assert trap in chromium.find_element(By.TAG_NAME, "h1").text
    assert console(chromium) == []


def test_a_table_behind_a_chart_has_each_column_in_which_its_rows_differ(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name, column in (("score_curves", "Language"), ("measures_by_layer", "Centring")):
        figure = text.partition(f'<figure id="{name}"')[2].partition("</figure>")[0]
        assert f'<th scope="col">{column}</th>' in figure, name


def test_the_page_gives_the_whole_provenance(run: Results, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name, value in run.provenance.items():
        assert f">{name.replace('_', ' ')}</th><td>{value}</td>" in text, name
