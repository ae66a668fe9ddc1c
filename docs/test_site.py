"""The site that `make docs` has built: its notebooks have run, and its links lead somewhere."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import steer_plugin

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))


class Page(HTMLParser):
    """What a page links to, and what of it can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.images: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        self.links += [given["href"]] if tag in ("a", "link") and "href" in given else []
        self.images += [given["src"]] if tag == "img" and "src" in given else []


@pytest.fixture(scope="module")
def site() -> Path:
    folder = ROOT / "docs" / "_build" / "html"
    assert (folder / "index.html").exists(), "run: make docs"
    return folder


def test_every_link_inside_leads_to_a_page_and_a_place_in_it(site: Path) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html")}
    assert len(pages) > 30
    dead = []
    for path, page in pages.items():
        for link in [*page.links, *page.images]:
            if urlsplit(link).scheme:
                continue
            file, place = urlsplit(link).path, urlsplit(link).fragment
            target = (path.parent / unquote(file)).resolve() if file else path
            known = pages[target].places if target in pages else {""}
            if not target.exists() or (target in pages and place and unquote(place) not in known):
                dead.append((path.name, link))

    assert dead == []


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_has_run_and_shows_its_pictures(tutorial: Path, site: Path) -> None:
    page = Page(site / "tutorials" / f"{tutorial.stem}.html")

    charts = tutorial.read_text(encoding="utf-8").count("alt.Chart(")
    pictures = [image for image in page.images if re.search(r"_images/\w{32,}", image)]
    assert len(pictures) >= 1
    assert len(pictures) <= charts


def test_every_public_name_has_a_place_in_the_reference(site: Path) -> None:
    places = set().union(*(Page(path).places for path in (site / "reference").rglob("*.html")))
    ends = {place.rpartition(".")[2] for place in places}

    assert [name for name in steer_plugin.__all__ if name not in ends] == []
