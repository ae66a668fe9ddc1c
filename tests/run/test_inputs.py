"""What a run reads: that sentences are grouped as its file says, and that none finds and judges."""

import json
import logging
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from steer_plugin.analyses.run.inputs import read_data
from steer_plugin.analyses.run.results import Results
from steer_plugin.analyses.run.settings import GenerationSettings, RunSettings
from steer_plugin.analyses.run.stages.expert_tables import tied_lines
from steer_plugin.cli.options import CorpusOptions
from steer_plugin.corpora.named_corpora import read_corpus
from steer_plugin.errors import CorpusError
from steer_plugin.experts.table import ExpertTable

from support.runs import FinishedRun


def settings(**changes: object) -> RunSettings:
    return RunSettings(**{"model": "demo", "targets": ("deu_Latn",), "top_k": (1,), **changes})  # type: ignore[arg-type]


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


def flores(folder: Path, split: str, *, start: int, rows: int = 20, more: str = "") -> Path:
    """Write sentences in German, English and French, as FLORES-200 has them."""
    home = folder / split
    home.mkdir(exist_ok=True)
    languages = {"eng_Latn": "One of", "deu_Latn": "Über", "fra_Latn": "Été"} | (
        {more: "More of"} if more else {}
    )
    for language, word in languages.items():
        lines = [f"{word} {number}.\n" for number in range(start, start + rows)]
        (home / f"{language}.{split}").write_text("".join(lines), "utf-8")
    return home


def overwrite(file: Path, line: int, text: str) -> None:
    lines = file.read_text("utf-8").split("\n")
    lines[line - 1] = text
    file.write_text("\n".join(lines), "utf-8")


@pytest.fixture
def two(tmp_path: Path) -> RunSettings:
    dev, devtest = flores(tmp_path, "dev", start=0), flores(tmp_path, "devtest", start=100)
    return settings(corpus=str(dev), judge_corpus=str(devtest))


def test_sentences_that_found_do_not_judge_and_a_line_counts_them(
    two: RunSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    devtest = tmp_path / "devtest"
    overwrite(devtest / "fra_Latn.devtest", 2, "Été 5.")
    overwrite(devtest / "deu_Latn.devtest", 7, unicodedata.normalize("NFD", "Über\u00a03.\u200b"))
    # In another language's column than it was found in.
    overwrite(devtest / "eng_Latn.devtest", 9, "Über 8.")
    with caplog.at_level(logging.WARNING):
        data = read_data(two)
    assert [record.getMessage() for record in caplog.records] == [
        "3 of 20 sentences dropped: their texts also found the experts"
    ]
    assert len(data.find) == 20
    dropped = {"2", "7", "9"}
    for corpus in (data.judge, data.held_out):
        assert corpus.ids == tuple(str(n) for n in range(1, 21) if str(n) not in dropped)


def test_too_few_sentences_that_did_not_find_are_an_error(two: RunSettings, tmp_path: Path) -> None:
    flores(tmp_path, "devtest", start=3)
    with pytest.raises(CorpusError, match="3 sentences are left to judge on, without the 17 whose"):
        read_data(two)


def test_a_language_that_one_corpus_lacks_is_on_the_other_side_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dev = flores(tmp_path, "dev", start=0, more="ita_Latn")
    devtest = flores(tmp_path, "devtest", start=100, more="rus_Cyrl")
    with caplog.at_level(logging.WARNING):
        data = read_data(settings(corpus=str(dev), judge_corpus=str(devtest)))
    both = {"deu_Latn", "eng_Latn", "fra_Latn"}
    assert set(data.find.languages) == both | {"ita_Latn"}
    assert set(data.held_out.languages) == both
    assert set(data.judge.languages) == both | {"rus_Cyrl"}
    assert [record.getMessage() for record in caplog.records] == [
        "ita_Latn finds experts and does not judge: the other corpus lacks it",
        "rus_Cyrl judges and finds no experts: the other corpus lacks it",
    ]


def save_tatoeba(folder: Path, german: list[str], english: list[str]) -> str:
    for side, lines in (("deu", german), ("eng", english)):
        (folder / f"tatoeba.deu-eng.{side}").write_text("".join(f"{t}\n" for t in lines), "utf-8")
    return str(folder)


def test_queries_whose_texts_found_are_dropped_with_their_answers(
    two: RunSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = save_tatoeba(tmp_path, ["Ja.", "Über 4.", "Nein."], ["Yes.", "About 4.", "One of  7."])
    with caplog.at_level(logging.WARNING):
        data = read_data(settings(corpus=two.corpus, judge_corpus=two.judge_corpus, tatoeba=source))
    assert [(b.queries, b.candidates, b.gold) for b in data.bitexts] == [
        (("Ja.",), ("Yes.",), (0,)),
        (("Yes.",), ("Ja.",), (0,)),
    ]
    assert caplog.records[-1].getMessage() == (
        "4 of 6 queries of tatoeba dropped: their texts also found the experts"
    )


def test_a_set_of_texts_that_found_alone_is_an_error(two: RunSettings, tmp_path: Path) -> None:
    source = save_tatoeba(tmp_path, ["Über 4."], ["About 4."])
    with pytest.raises(CorpusError, match="all 2 queries of tatoeba have texts that find experts"):
        read_data(settings(corpus=two.corpus, judge_corpus=two.judge_corpus, tatoeba=source))


def with_documents(two: RunSettings, path: Path, texts: list[str]) -> RunSettings:
    rows = [json.dumps({"language": "deu_Latn", "text": text}) + "\n" for text in texts]
    path.write_text("".join(rows), "utf-8")
    return settings(
        corpus=two.corpus,
        judge_corpus=two.judge_corpus,
        generation=GenerationSettings(documents=str(path)),
    )


def test_documents_that_quote_what_found_are_dropped(
    two: RunSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = ["Ein Text.", "Titel\nÜber 7.\nEnde", "One of 12."]
    with caplog.at_level(logging.WARNING):
        data = read_data(with_documents(two, tmp_path / "x.jsonl", texts))
    assert data.documents == {"deu_Latn": ("Ein Text.",)}
    assert [re.sub(":.*", "", record.getMessage()) for record in caplog.records] == [
        "2 of 3 documents dropped"
    ]


def test_documents_that_all_quote_what_found_are_an_error(two: RunSettings, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="all 1 documents in deu_Latn hold texts that find"):
        read_data(with_documents(two, tmp_path / "x.jsonl", ["Über 7."]))


def test_a_run_and_its_page_say_how_many_units_tie_at_k(finished_run: FinishedRun) -> None:
    out = finished_run.folder
    table = ExpertTable.load(out / "experts")
    said = "; ".join(tied_lines(table, settings(top_k=(6,)))) or "none"
    assert Results.load(out / "results").provenance["ties at k"] == said
    assert f"<td>{said}</td>" in (out / "report.html").read_text("utf-8")

    alike = replace(table, scores=np.full_like(table.scores, 0.9))
    left_out = len(table.space) - 6
    (line,) = tied_lines(alike, settings(top_k=(6, len(table.space))))
    assert line == (
        f"deu_Latn: {left_out} more units score as the last of the 6 does; lower layers and "
        "indices go first"
    )


def concept(folder: Path, name: str, texts: int, *, start: int = 0) -> str:
    folder.mkdir(exist_ok=True)
    lines = [f"{name} {number}" for number in range(start, start + texts)]
    path = folder / f"{name}.txt"
    path.write_text("\n".join(lines), "utf-8")
    return str(path)


def test_what_judges_a_concept_is_told_from_texts_of_its_own(tmp_path: Path) -> None:
    train, test = tmp_path / "train", tmp_path / "test"
    rude = settings(
        targets=("rude",), corpus=concept(train, "rude", 6), against=concept(train, "calm", 9)
    )
    judged = {"judge_corpus": concept(test, "rude", 5, start=50)}

    data = read_data(
        replace(rude, **judged, judge_against=concept(test, "calm", 4, start=50))  # type: ignore[arg-type]
    )

    sides = (data.find, data.held_out, data.judge)
    assert [side.concepts for side in sides] == [("rude", "background")] * 3
    assert [len(side) for side in sides] == [15, 9, 9]
    assert data.judge.sentences["background"] == tuple(f"calm {n}" for n in range(50, 54))
    assert read_data(rude).judge.concepts == ("rude", "background")
    alone = {"judge_against": rude.against}
    for changes in (judged, alone, {"against": None, **judged, **alone}):
        with pytest.raises(CorpusError, match=r"judge_against those of judge_corpus; give both"):
            read_data(replace(rude, **changes))  # type: ignore[arg-type]
