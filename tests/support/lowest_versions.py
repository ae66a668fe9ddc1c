"""Print pip's constraints for the lowest version of each dependency that pyproject.toml allows.

`python lowest_versions.py pyproject.toml constraints.txt`: what the tests themselves need is as in
the constraints; torch is left out, since its older builds are gigabytes.
"""

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
tools = {
    re.split(r"[\[>=]", requirement)[0].lower()
    for name in ("test", "dev", "docs")
    for requirement in extras.pop(name)
}
for requirement in {
    *project["dependencies"],
    *(name for group in extras.values() for name in group),
}:
    name, bound = re.fullmatch(r"([\w-]+)(?:>=|==)([\w.]+).*", requirement).groups()
    if name != "torch":
        print(f"{name}=={bound}")
for pin in Path(sys.argv[2]).read_text(encoding="utf-8").splitlines():
    if pin.split("==")[0].lower() in tools:
        print(pin)
