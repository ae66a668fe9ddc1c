"""What `constraints.txt` pins can be installed on every Python that pyproject.toml allows.

pip says no word about a pin that the Python at hand is too old for: it looks for another way out,
for longer than anybody waits. Debian 12 has Python 3.11.2.
"""

import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]


def lowest_python() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["requires-python"]).removeprefix(">=") + ".0"


def test_every_pinned_version_is_for_every_python_that_the_package_allows() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    of_installed = {}
    for name, version in pins.items():
        try:
            package = distribution(name)
        except PackageNotFoundError:  # of another platform
            continue
        if package.version == version:
            of_installed[f"{name}=={version}"] = package.metadata["Requires-Python"] or ""

    assert len(of_installed) > 20
    lowest = lowest_python()
    assert {
        pin: pythons
        for pin, pythons in of_installed.items()
        if not SpecifierSet(pythons).contains(lowest)
    } == {}
