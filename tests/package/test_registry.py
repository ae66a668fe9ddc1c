"""A registry knows names without importing parts, and says whose a part was and what to do."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from steer_plugin import registry as registries
from steer_plugin.errors import ScoreError
from steer_plugin.registry import Registry, with_origins
from steer_plugin.settings.parts import Score

MODULE = """
def contrast(units):
    return units


def other(units):
    return units
"""
METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n"


@pytest.fixture
def installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], None]]:
    """Give a function that puts a package with entry points of scores on the path."""
    caches = [
        getattr(registries, name)
        for name in ("_distributions", "_all_entry_points", "_entry_points")
    ]
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, lines: str) -> None:
        (tmp_path / f"{name}.py").write_text(MODULE)
        about = tmp_path / f"{name}-1.2.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(METADATA.format(name=name))
        (about / "RECORD").write_text(f"{name}.py,,\n")
        (about / "entry_points.txt").write_text(f"[steer_plugin.scores]\n{lines}\n")
        for cache in caches:
            cache.cache_clear()

    yield install
    for cache in caches:
        cache.cache_clear()
    sys.modules.pop("their_parts", None)


def scores() -> Registry[Any, Score]:
    return Registry("score", Score, ScoreError)


def test_an_entry_point_is_listed_unimported_and_loaded_when_it_is_used(
    installed: Callable[[str, str], None],
) -> None:
    installed("their_parts", "contrast = their_parts:contrast")
    registry = scores()

    assert "contrast" in registry
    assert list(registry) == ["contrast"]
    assert len(registry) == 1
    assert "their_parts" not in sys.modules

    assert registry["contrast"].function(3) == 3
    origin = registry.origin("contrast")
    assert origin is not None
    assert {key: origin[key] for key in ("module", "package", "version")} == {
        "module": "their_parts",
        "package": "their_parts",
        "version": "1.2",
    }


def test_an_entry_point_that_cannot_be_loaded_or_is_twofold_is_said_in_one_line(
    installed: Callable[[str, str], None],
) -> None:
    installed("their_parts", "contrast = their_parts:missing\ntwice = their_parts:other")
    installed("more_parts", "twice = more_parts:other")
    registry = scores()

    message = (
        "^the score 'contrast' of their_parts cannot be loaded from their_parts:missing: "
        "AttributeError: .*; mend or uninstall their_parts$"
    )
    with pytest.raises(ScoreError, match=message):
        registry["contrast"]
    with pytest.raises(ScoreError, match=r"each have a score 'twice'; uninstall one of them$"):
        registry["twice"]


def test_an_entry_point_under_a_name_that_is_taken_is_refused_and_not_shadowed(
    installed: Callable[[str, str], None],
) -> None:
    installed("their_parts", "auroc = their_parts:other\ncontrast = their_parts:contrast")
    registry = scores()
    registry.add("auroc", "steer_plugin.scores.rank_scores:AUROC")
    # A package may name what its module registers by itself.
    registry.add("contrast", "their_parts:contrast")

    with pytest.raises(
        ScoreError,
        match=r"^their_parts has a score 'auroc', which is already the score of steer_plugin.*; "
        "uninstall their_parts, or rename its own$",
    ):
        registry["auroc"]
    assert registry["contrast"].function(3) == 3


def test_a_function_is_named_in_a_line_and_its_properties_are_kept() -> None:
    registry = scores()

    @registry.register("contrast", chance=0.5, title="contrast of means")
    def contrast(units: Any) -> Any:
        return units

    assert registry["contrast"] == Score(contrast, chance=0.5, title="contrast of means")
    assert contrast(2) == 2


def test_a_name_is_one_modules_own_and_a_cell_that_runs_again_is_no_other() -> None:
    registry = scores()
    registry.add("auroc", "steer_plugin.scores.rank_scores:AUROC")
    registry.register("contrast")(lambda units: units)
    registry.register("contrast", chance=1.0)(lambda units: units)
    assert registry["contrast"].chance == 1

    taken = "'auroc' is already the score of steer_plugin.scores.rank_scores; choose another name"
    with pytest.raises(ScoreError, match=taken):
        registry.register("auroc")(lambda units: units)
    with pytest.raises(ScoreError, match="'my score' is no name for a score; take letters, dig"):
        registry.register("my score")(lambda units: units)


def test_a_name_that_is_not_there_is_refused_with_the_nearest_and_with_what_to_import() -> None:
    registry = scores()
    registry.add("auroc", "steer_plugin.scores.rank_scores:AUROC")

    message = "^'aurok' is not a score; choose one of: auroc; did you mean 'auroc'[?]$"
    with pytest.raises(ScoreError, match=message):
        registry["aurok"]
    saved = {"module": "their_parts.scores", "source": "0"}
    message = "'contrast' of their_parts.scores, which is not registered here; import their_parts"
    with pytest.raises(ScoreError, match=message):
        registry.check("contrast", saved)
    saved |= {"package": "their-parts", "version": "1.2"}
    message = (
        "^this was made with the score 'contrast' of their-parts 1.2, which is not registered "
        "here; install their-parts or import their_parts.scores$"
    )
    with pytest.raises(ScoreError, match=message):
        registry.check("contrast", saved)


def test_what_is_made_with_parts_records_those_that_are_not_ours() -> None:
    registry = scores()
    registry.add("auroc", "steer_plugin.scores.rank_scores:AUROC")
    registry.register("contrast")(lambda units: units)

    assert with_origins({"site": "x"}, score=(registry, "auroc")) == {"site": "x"}
    recorded = with_origins({"site": "x"}, score=(registry, "contrast"))["parts"]["score"]
    assert recorded["module"] == __name__
    assert len(recorded["source"]) == 16


def test_what_fails_inside_a_part_says_whose_it_is_and_ours_stays_as_it_is() -> None:
    registry = scores()
    registry.add("auroc", "steer_plugin.scores.rank_scores:AUROC")
    registry.register("contrast")(lambda units: units)

    with (
        pytest.raises(ScoreError, match=r"the score 'contrast' of .* failed: KeyError: 'a'"),
        registry.calling("contrast"),
    ):
        {}["a"]
    with pytest.raises(torch.OutOfMemoryError), registry.calling("auroc"):
        raise torch.OutOfMemoryError
