"""The first code that a reader sees runs as it stands, on a model small enough for a test."""

import os
import re
from pathlib import Path

import pytest

from support import command_line, saved_models
from support.ndif_server import NDIFServer

README = Path(__file__).parents[2] / "README.md"
DOCS = README.parent / "docs"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
HUB_ID = "google/gemma-3-270m"


@pytest.fixture(scope="module")
def byte_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a tiny Llama that reads bytes, so that it can read the bundled corpus."""
    return saved_models.save_byte_model(tmp_path_factory.mktemp("byte-llama"))


def python_blocks() -> list[str]:
    """List what is no cell of a notebook, in an order in which what one saves is there to load."""
    pages = (README, DOCS / "tutorials" / "nnsight.md", DOCS / "index.md", DOCS / "how-to/plans.md")
    texts = [page.read_text(encoding="utf-8") for page in pages]
    return [block for text in texts for block in BLOCK.findall(text)]


# Each block in a namespace of its own, as if it were alone.
END = "<end of a block>"  # no single byte, since the model may write any
RUN = f"""
import runpy, sys
for block in sys.argv[1:]:
    runpy.run_path(block)
    print(end={END!r})
"""


def test_readme_python_runs_block_after_block(
    byte_model: Path, tmp_path: Path, ndif: NDIFServer
) -> None:
    settings = {"NDIF_HOST": ndif.url, "NDIF_API_KEY": ndif.key, "HF_HUB_OFFLINE": "1"}
    blocks = python_blocks()
    assert sum(HUB_ID in block for block in blocks) == 4
    scripts = [f"block{number}.py" for number in range(len(blocks))]
    for script, block in zip(scripts, blocks, strict=True):
        # About ten lines each is what a reader has patience for.
        assert len(block.strip().splitlines()) <= 12
        text = block.replace(HUB_ID, str(byte_model))
        (tmp_path / script).write_text(text, encoding="utf-8")

    done = command_line.run(*scripts, code=RUN, cwd=tmp_path, env={**os.environ, **settings})

    assert done.code == 0, done.err
    *printed, rest = done.out.split(END)
    assert (len(printed), rest) == (5, "")
    assert "The weather today" in printed[0]
    assert "torch.Size([1, 18, 16])" in printed[1]
    assert "top-1" in printed[2]
    assert "Traffic(requests=" in printed[2]
    assert "The weather today" in printed[3]
    assert "set L1N3=3.1, L2N7=0.5" in printed[4]
    assert (tmp_path / "experts" / "config.json").is_file()


def test_readme_points_at_files_that_are_there() -> None:
    targets = re.findall(r"\]\((?!http)([^)]+)\)", README.read_text(encoding="utf-8"))
    assert "docs/steering.png" in targets
    assert [target for target in targets if not (README.parent / target).is_file()] == []


def test_every_dependency_is_named_and_explained() -> None:
    text = (DOCS / "install.md").read_text(encoding="utf-8")
    project = (README.parent / "pyproject.toml").read_text(encoding="utf-8")
    named = re.findall(r'^    "([a-z0-9-]+)(?:\[|>=|==)', project, re.MULTILINE)
    assert {"torch", "altair", "gguf", "sphinx"} <= set(named)
    unnamed = {name for name in named if name not in text}
    assert unnamed == {"pandas-stubs", "scipy-stubs", "types-tqdm"}  # for mypy alone


def test_what_is_reported_on_is_what_a_run_that_is_shown_has_written() -> None:
    text = (DOCS / "how-to" / "command-line.md").read_text(encoding="utf-8")
    files = re.findall(r"^steer-plugin run (\S+)\.toml +#", text, re.MULTILINE)
    written = {f"out/{name}" for name in files}
    reported = re.findall(r"^steer-plugin report (\S+) --png", text, re.MULTILINE)
    assert len(reported) == 1
    assert set(reported) <= written
