"""Rooms import what the table in docs/architecture.md allows them, and never in a circle."""

from __future__ import annotations

import re
from pathlib import Path

from test_modules import imported, parsed

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "reverie"
OPEN = {"__init__", "__main__"}  # the package itself, which imports lazily whatever is asked of it


def table() -> dict[str, list[str]]:
    """Each room, in the order of the table, and what it may import."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)` \|.*\| ([^|]*) \|$", text, re.MULTILINE)
    return {room: re.findall(r"`(\w+)`", allowed) for room, allowed in rows}


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_of(file: Path) -> set[str]:
    """The rooms that a module imports, wherever it does, but for what only types need."""
    return {name.split(".")[1] for name in imported(parsed(file)) if name.startswith("reverie.")}


def test_rooms_import_what_the_table_allows() -> None:
    allowed = table()
    rooms = {room_of(file) for file in PACKAGE.rglob("*.py")} - OPEN
    assert rooms == set(allowed)
    assert len(rooms) > 20
    seen: dict[str, set[str]] = {room: set() for room in rooms}
    for file in PACKAGE.rglob("*.py"):
        room = room_of(file)
        if room in OPEN:
            continue
        for other in rooms_of(file) - {room}:
            assert other in allowed[room], f"{file.relative_to(ROOT)} imports {other}"
            seen[room].add(other)
    for room, names in allowed.items():
        assert set(names) == seen[room], f"the row of {room} allows what nothing needs"


def test_arrows_point_up_the_table() -> None:
    order = list(table())
    for room, names in table().items():
        for name in names:
            assert order.index(name) < order.index(room), f"{room} imports {name}, which stands below it"
