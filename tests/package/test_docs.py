"""What docs/architecture.md says of the rooms is so."""

import re
from pathlib import Path

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
