"""The rooms are as docs/architecture.md says, and every example of the docs runs somewhere."""

import ast
import re
from pathlib import Path

import datasets
import numpy as np
import pytest

from steer_plugin import LabelledCorpus

from support import saved_models

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
# Where other tests run the blocks of a page: of this room, and with SAELens.
RUN_ELSEWHERE = {
    "own-parts.md",
    "index.md",
    "how-to/plans.md",
    "tutorials/nnsight.md",
    "tutorials/other-analyses.md",
}
ROW = re.compile(r"^\| `([\w/]+)/` \| [^|]+ \| ([^|]*)\|$", re.MULTILINE)


def test_the_table_of_rooms_names_every_room_and_every_file_in_it() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {
        str(init.parent.relative_to(ROOT)): init.parent
        for part in ("steer_plugin", "adapters", "analyses")
        for init in (ROOT / part).rglob("__init__.py")
        if not any(parent.is_symlink() for parent in init.parents)
    }
    del rooms["steer_plugin"]

    told = {room: set(files.split()) for room, files in ROW.findall(text)}

    assert told == {
        room: {path.stem for path in folder.glob("*.py")} - {"__init__"}
        for room, folder in rooms.items()
    }


def test_every_example_of_labelled_texts_is_read_as_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", text.partition("## Labelled texts\n")[2], flags=re.MULTILINE)[0]
    examples = ast.parse("\n".join(BLOCK.findall(section)))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    corpora = []
    for line in examples.body:
        # A corpus that is only shown is a value of a line of its own.
        if isinstance(line, ast.Expr):
            value = eval(ast.unparse(line), names)  # noqa: S307
            corpora += [value] if isinstance(value, LabelledCorpus) else []
        else:
            exec(ast.unparse(line), names)  # noqa: S102

    assert len(corpora) == section.count("LabelledCorpus.read(") == 13
    for corpus in corpora:
        assert set(corpus.concepts) in ({"good", "bad"}, {"good", "background"})
        assert corpus.sentences["good"] in (("Great fun.",), ("Great fun.", "I laughed."))
        (other,) = set(corpus.concepts) - {"good"}
        assert corpus.sentences[other] == ("A bore.",)


def test_every_other_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [
        block
        for page in sorted(DOCS.rglob("*.md"))
        if str(page.relative_to(DOCS)) not in RUN_ELSEWHERE
        for block in BLOCK.findall(page.read_text(encoding="utf-8"))
        if "LabelledCorpus.read" not in block and block.count("\n") > 1
    ]
    rows = np.random.default_rng(0).normal(size=(20, 8))
    given = {
        "dataset": datasets.Dataset.from_dict({"sentence1": ["eins"], "sentence2": ["one"]}),
        "embeddings": {"deu_Latn": rows, "eng_Latn": rows},
    }
    articles = datasets.Dataset.from_dict({"text": ["one", "two"]}).to_iterable_dataset()
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: articles)
    monkeypatch.chdir(tmp_path)
    model = str(saved_models.save_byte_model(tmp_path / "model"))

    for block in blocks:
        exec(block.replace('load_adapter("demo")', f"load_adapter({model!r})"), dict(given))  # noqa: S102

    assert len(blocks) == 4
    assert len((tmp_path / "wikipedia.jsonl").read_text(encoding="utf-8").splitlines()) == 10


def test_whoever_reads_the_list_of_pages_alone_finds_every_page() -> None:
    pages = {
        f"docs/{path.relative_to(DOCS)}"
        for path in DOCS.rglob("*.md")
        if "_build" not in path.parts and path.parent != DOCS / "reference"
    }
    # The site's own start page, and two files that it includes.
    pages -= {"docs/index.md", "docs/changelog.md", "docs/contributing.md"}
    for name in ("llms.txt", "README.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        linked = set(re.findall(r"\]\((?!http)([^)]+)\)", text))
        assert pages <= linked
        assert [target for target in linked if not (ROOT / target).is_file()] == []
