"""The data a run was trained on: where it was, where it is now, and whether it has changed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reverie.data import Dataset
from reverie.data.sources import BUILT_IN_PREFIX, MEMORY, is_built_in, is_path
from reverie.errors import ReverieError
from reverie.files import replacing

LISTING = Path("state") / "pictures.json"  # names and digests of a run's data, and which are in the training split
NAMED = 3  # files of each kind that a message names


def place_of(spec: str) -> str | None:
    """The absolute path of a spec; None if it is not a path."""
    return os.path.abspath(os.path.expanduser(spec)) if is_path(spec) else None


def same_place(a: str, b: str) -> bool:
    """Whether two specs name the same data, such as a relative and an absolute path."""
    if MEMORY in (a[: len(MEMORY)], b[: len(MEMORY)]):  # the specs of different arrays may be equal
        return False
    if not (is_path(a) and is_path(b)):
        return a.removeprefix(BUILT_IN_PREFIX) == b.removeprefix(BUILT_IN_PREFIX)
    try:
        return os.path.samefile(os.path.expanduser(a), os.path.expanduser(b))
    except OSError:  # one of them does not exist
        return False


def find_own(data: Mapping[str, Any]) -> str | None:
    """The spec of a run's own data in this working directory; None if it is gone. ``data`` is that of config.json."""
    spec, place = str(data["spec"]), data.get("place")
    if spec.startswith(MEMORY):
        return None
    if is_built_in(spec) and _exists(spec):  # a file or folder here has the name of the built-in data
        return BUILT_IN_PREFIX + spec
    if not is_path(spec) or (_exists(spec) and (place is None or same_place(spec, place))):
        return spec
    return str(place) if place is not None and _exists(place) else spec if _exists(spec) else None


def own(run: object, data: Mapping[str, Any], remedy: str) -> str:
    """As `find_own`; raises ReverieError with the ``remedy`` if the data is gone."""
    found = find_own(data)
    if found is None and str(data["spec"]).startswith(MEMORY):
        what = remedy if remedy.startswith(("give", "say")) else "do this in Python, where that data is at hand"
        raise ReverieError(f"{run} was trained on data in memory ('{data['spec']}'); {what}.")
    if found is None:
        at = f" (at {data['place']})" if data.get("place") not in (None, data["spec"]) else ""
        raise ReverieError(f"{run} was trained on '{data['spec']}'{at}, which is not there; {remedy}.")
    return found


def _exists(spec: str) -> bool:
    return os.path.exists(os.path.expanduser(spec))


def holds(folder: Path, spec: str) -> bool:
    """Whether a data spec is the path of the folder, or of something inside it."""
    place = place_of(spec)
    return place is not None and Path(folder).resolve() in (Path(place).resolve(), *Path(place).resolve().parents)


def inside(path: Path, spec: str) -> bool:
    """Whether a path is the folder that a data spec names, or is inside it."""
    place = place_of(spec)
    return (
        place is not None
        and os.path.isdir(place)
        and Path(place).resolve() in (path.resolve(), *path.resolve().parents)
    )


def write_listing(run: Path, pictures: Dataset) -> None:
    """Record names and digests of a run's data, to say later what has changed and what was in the training split."""
    digests = list(pictures.digests)
    learned = set(pictures.split("train").digests)
    listing = {"names": list(pictures.names), "digests": digests, "learned": [int(d in learned) for d in digests]}
    if pictures.spec.startswith(MEMORY) and not pictures.streamed:  # not available when the run is loaded again
        from reverie.inference.pictures import pixel_digests_of

        listing["looks"] = [look.hex() for look in pixel_digests_of(pictures.split("train"))]
    with replacing(run / LISTING) as temporary:
        temporary.write_text(json.dumps(listing))


def learned_digests(run: Path) -> frozenset[str]:
    """The digests of the pictures that a run was trained on; empty if they were not recorded."""
    try:
        noted = json.loads((run / LISTING).read_text())
        return frozenset(digest for digest, is_so in zip(noted["digests"], noted["learned"], strict=True) if is_so)
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def learned_looks(run: Path) -> frozenset[bytes]:
    """The `pixel_digests_of` the pictures that a run was trained on; empty if they were not recorded."""
    try:
        return frozenset(bytes.fromhex(look) for look in json.loads((run / LISTING).read_text())["looks"])
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def changes(run: Path, pictures: Dataset) -> str:
    """How the data set differs from the recorded one, in words; "" if nothing was recorded."""
    try:
        noted = json.loads((run / LISTING).read_text())
        before = dict(zip(noted["names"], noted["digests"], strict=True))
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    now = dict(zip(pictures.names, pictures.digests, strict=True))
    kinds = {
        "added": [name for name in now if name not in before],
        "removed": [name for name in before if name not in now],
        "changed": [name for name in now if before.get(name, now[name]) != now[name]],
    }
    told = [f"{len(names):,} {kind} ({_some(names)})" for kind, names in kinds.items() if names]
    return ", ".join(told) or "the same pictures, in other classes, splits, sizes or under other names"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
