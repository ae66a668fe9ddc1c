"""What docs/architecture.md says of the rooms is so, and the examples of docs/data.md run."""

import ast
import re
from pathlib import Path

import pytest

from steer_plugin import LabelledCorpus

ROOT = Path(__file__).parents[2]
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
    examples = ast.parse("\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL)))
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
