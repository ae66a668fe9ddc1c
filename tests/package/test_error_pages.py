"""Errors name a page where they advise more than they say, and the page is there."""

import re
from pathlib import Path
from typing import get_args

import pytest

from steer_plugin.errors import CorpusError, Page, SteerError

ROOT = Path(__file__).parents[2]
ROOMS = ("steer_plugin", "adapters", "analyses")
PAGES = get_args(Page)


def sources() -> dict[Path, str]:
    return {
        path: path.read_text(encoding="utf-8")
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
    }


def test_a_message_ends_with_the_page_that_says_more() -> None:
    error = CorpusError("x is no folder; give one", page="data")

    assert isinstance(error, SteerError)
    assert str(error) == "x is no folder; give one; see docs/data.md"
    assert str(CorpusError("x is no folder")) == "x is no folder"


@pytest.mark.parametrize("page", PAGES)
def test_every_page_that_errors_name_is_there_and_some_error_names_it(page: str) -> None:
    assert (ROOT / "docs" / f"{page}.md").is_file()
    assert [path for path, text in sources().items() if f'page="{page}"' in text]


def test_pages_that_the_code_names_otherwise_are_there() -> None:
    pattern = re.compile(r"(?<!/)\bdocs/([\w/-]+)\.md")
    named = {name for text in sources().values() for name in pattern.findall(text)}

    assert {"data", "own-parts", "statistics"} <= named
    assert {name for name in named if not (ROOT / "docs" / f"{name}.md").is_file()} == set()
