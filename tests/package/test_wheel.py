"""The wheel holds what the tree holds, no more and no less."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOMES = {
    "steer_plugin": "steer_plugin",
    "steer_plugin/data": "steer_plugin/data",
    "steer_plugin/adapters": "adapters",
    "steer_plugin/analyses": "analyses",
}


def test_wheel_holds_every_file_of_the_tree_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = {name.rsplit("/", 1)[1] for name in archive.namelist() if "/licenses/" in name}
    tree = {
        f"{package}/{path.name}"
        for package, folder in HOMES.items()
        for path in (ROOT / folder).iterdir()
        if path.is_file()
    }
    assert shipped == tree
    assert licences == {"LICENSE", "LICENSE-CC0.txt"}
