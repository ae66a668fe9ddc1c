"""The wheel holds what the tree holds, no more and no less, and pyproject.toml names all of it."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Where each folder lies in the wheel. The last two are linked into the first.
HOMES = {
    "steer_plugin": "steer_plugin",
    "adapters": "steer_plugin/adapters",
    "analyses": "steer_plugin/analyses",
}
LINKS = ("adapters", "analyses")


def tree() -> set[str]:
    """Name every file of the package as the wheel should."""
    return {
        f"{home}/{path.relative_to(ROOT / folder)}"
        for folder, home in HOMES.items()
        for path in (ROOT / folder).rglob("*")  # follows no link
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build from the files alone, so that neither a build of before nor a cache is packed."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, source)
    for folder in HOMES:
        shutil.copytree(
            ROOT / folder,
            source / folder,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
        )
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", built, source],
        check=True,
        capture_output=True,
    )
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_every_file_of_the_tree_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    with wheel:
        names = wheel.namelist()

    shipped = [name for name in names if ".dist-info/" not in name]
    assert len(shipped) == len(set(shipped))
    assert set(shipped) == tree()
    licences = {name.rsplit("/", 1)[1] for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", "LICENSE-CC0.txt"}


def test_pyproject_names_every_folder_of_code_and_where_it_lies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    setuptools = project["tool"]["setuptools"]

    packages = {
        name.removesuffix("/__init__.py").replace("/", ".")
        for name in tree()
        if name.endswith("/__init__.py")
    }
    assert len(packages) > 20
    assert sorted(setuptools["packages"]) == sorted(packages)
    for folder, home in HOMES.items():
        assert setuptools["package-dir"][home.replace("/", ".")] == folder


@pytest.mark.parametrize("name", LINKS)
def test_the_folders_at_the_root_are_linked_into_the_package(name: str) -> None:
    link = ROOT / "steer_plugin" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name
