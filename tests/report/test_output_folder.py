"""What lies beside the page: tables as they are, charts and tables for papers, whole or not."""

import dataclasses
import re
import resource
import shutil
from pathlib import Path

import altair as alt
import pandas as pd
import pytest

from steer_plugin.analyses.report.contents import figures, sections
from steer_plugin.analyses.report.output_folder import export_charts, export_tables, write_report
from steer_plugin.analyses.report.readable import latex, readable
from steer_plugin.analyses.run.results import Results
from steer_plugin.errors import ArtifactError

from support.frames import results
from support.frames_of_paper import paper_results


@pytest.fixture(scope="module")
def small() -> Results:
    return results(layers=("final",), top_ks=(300,), sentences=6, targets=("deu_Latn", "spa_Latn"))


@pytest.fixture(scope="module")
def small_report(small: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(small, tmp_path_factory.mktemp("small"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_tables_hold_what_was_measured_and_what_was_drawn(
    small: Results, small_report: Path
) -> None:
    folder = small_report.parent / "tables"
    wanted = small.tables()
    for item in (*figures(small), *(t for part in sections(small) for t in part.tables)):
        wanted |= dict(item.tables)
    assert {path.stem for path in folder.iterdir()} == set(wanted)
    for name, table in wanted.items():
        pd.testing.assert_frame_equal(
            pd.read_parquet(folder / f"{name}.parquet"), table.reset_index(drop=True)
        )


def test_the_page_is_the_same_whatever_the_user_set_for_altair(
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


def test_charts_are_written_for_a_papers_column_once_a_state(
    small: Results, tmp_path: Path
) -> None:
    svgs = export_charts(small, tmp_path, "svg")
    names = {path.stem for path in svgs}
    assert {"at_a_glance", "from_targets-German", "from_targets-Spanish"} <= names
    assert len(names) == sum(len(list(figure.states())) for figure in figures(small))
    for path in svgs:
        text = path.read_text(encoding="utf-8")
        width = float(re.findall(r'<svg[^>]* width="([\d.]+)"', text)[0])
        assert width <= 366, path.stem
    spanish = (tmp_path / "from_targets-Spanish.svg").read_text(encoding="utf-8")
    assert "In which languages are the target" in spanish
    assert ">Spanish<" in spanish


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_charts_are_pictures_of_the_kind_that_was_asked_for(
    tmp_path: Path, kind: str, start: bytes
) -> None:
    one = results(
        layers=("final",),
        top_ks=(300,),
        sentences=4,
        targets=("deu_Latn",),
        languages=("eng_Latn", "deu_Latn"),
    )
    paths = export_charts(one, tmp_path, kind)  # type: ignore[arg-type]
    assert len(paths) > 5
    assert all(path.suffix == f".{kind}" and path.read_bytes().startswith(start) for path in paths)


def test_tables_are_written_as_csv_with_the_ends_of_intervals(
    small: Results, tmp_path: Path
) -> None:
    paths = export_tables(small, tmp_path, "csv")
    assert {"at_a_glance", "table_1", "retrieval_before_after"} <= {path.stem for path in paths}
    (figure,) = [f for f in figures(small) if f.name == "gap_before_after"]
    stored = pd.read_csv(tmp_path / "gap_before_after.csv")
    wanted = figure.tables["gap_before_after"]
    assert list(stored.columns) == list(wanted.columns)
    assert stored["change_low"].tolist() == pytest.approx(wanted["change_low"].tolist())


def test_tables_are_written_as_latex_with_intervals_and_nothing_unescaped(
    tmp_path: Path,
) -> None:
    run = paper_results(layers=("final",), top_ks=(300,), sentences=4, methods=("pca",))
    paths = export_tables(run, tmp_path, "latex")
    for path in paths:
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        assert lines[0].startswith("% ")
        assert lines[1].startswith("\\begin{tabular}{l")
        columns = lines[1].count("r}") and lines[1].split("{l")[1].count("r") + 1
        for line in lines[3:4] + lines[5:-2]:
            assert line.count(" & ") == columns - 1, path.stem
            assert not re.search(r"(?<!\\)[%#_&](?! )", line), line
    shown = (tmp_path / "table_3.tex").read_text(encoding="utf-8")
    assert re.search(r"\$-\$0\.\d{3} \(\$-\$0\.\d{3} to ", shown)
    assert "Japanese \\dag{}" in shown


def test_a_table_to_read_leaves_out_what_all_rows_share_and_hides_no_column(
    small: Results,
) -> None:
    rows = small.retrieval[small.retrieval["query"] == "all"]
    table = readable(small, rows)
    assert "k" not in table
    assert "Layer" not in table
    assert list(table["Target"].unique()) == ["German", "Spanish"]
    assert table["Experts − before"].str.contains(" to ").all()
    assert readable(small, rows[:0]).empty
    odd = pd.DataFrame({"model": ["a_b", "c%d"], "n": [6.0, 7.0]})
    assert "a\\_b & 6" in latex(small, odd, "T")
    assert "c\\%d & 7" in latex(small, odd, "T")


def test_intervals_of_two_hosts_and_paper_tables_have_columns_of_their_own() -> None:
    run = paper_results(layers=("final",), top_ks=(300,), sentences=4, methods=("pca",))
    (paper,) = [part for part in sections(run) if part.name == "paper_tables"]
    names = [table.name for table in paper.tables]
    assert names == [
        *("table_1", "table_2", "table_3"),
        *("independent_sets", "experts_beyond_chance", "choice_stability"),
    ]
    two = readable(run, paper.tables[1].rows)
    assert {"Over", "n", "r", "Correlation"} <= set(two.columns)
    sets = readable(run, paper.tables[3].rows)
    assert next(iter(sets.columns)) == "Set"
    assert set(sets["Set"]) == {"Tatoeba", "BUCC-18"}
