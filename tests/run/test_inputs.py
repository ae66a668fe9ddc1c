"""What a run reads: that sentences are grouped as its file says, and that none finds and judges."""

from pathlib import Path

from steer_plugin.analyses.run.inputs import read_corpus, read_data
from steer_plugin.analyses.run.settings import RunSettings
from steer_plugin.cli.options import CorpusOptions


def settings(**changes: object) -> RunSettings:
    return RunSettings(model="demo", targets=("deu_Latn",), top_k=(1,), **changes)  # type: ignore[arg-type]


def save_topics(path: Path, topics: int = 4, each: int = 3) -> Path:
    rows = [(f"{topic}-{n}", f"of {topic}") for topic in range(topics) for n in range(each)]
    lines = [f"{key}\t{topic}\tOne {key}.\tEins {key}." for key, topic in rows]
    path.write_text("\n".join(["id\ttopic\teng_Latn\tdeu_Latn", *lines]) + "\n", "utf-8")
    return path


def test_a_run_file_and_the_command_line_name_the_groups(tmp_path: Path) -> None:
    corpus = str(save_topics(tmp_path / "x.tsv"))
    data = read_data(settings(corpus=corpus, group="topic"))
    sides = [{key.partition("-")[0] for key in half.ids} for half in (data.find, data.judge)]
    assert [len(data.find), len(data.judge), *map(len, sides)] == [6, 6, 2, 2]
    assert not sides[0] & sides[1]
    find, judge = CorpusOptions(corpus, (), None, "topic").read().split()
    assert (find, judge) == (data.find, data.judge)
    assert read_data(settings(corpus=corpus)).judge.groups is None


def test_everyday_has_its_topics_unless_another_column_is_named() -> None:
    assert len(set(read_corpus("everyday").groups or ())) == 20
    assert len(set(read_corpus("everyday", group="id").groups or ())) == 400
