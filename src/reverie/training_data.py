"""The data a run was trained on: where it was, where it is now, and whether its pictures are still the same."""

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

LISTING = Path("state") / "pictures.json"  # names and digests of a run's data, and which of them it learns from
NAMED = 3  # files that a sentence names of each kind


def place_of(spec: str) -> str | None:
    """The absolute path of a spec; None where it means no place on disk."""
    return os.path.abspath(os.path.expanduser(spec)) if is_path(spec) else None


def same_place(a: str, b: str) -> bool:
    """Whether two specs name the same data, however they are written."""
    if MEMORY in (a[: len(MEMORY)], b[: len(MEMORY)]):  # any two arrays are called the same
        return False
    if not (is_path(a) and is_path(b)):
        return a.removeprefix(BUILT_IN_PREFIX) == b.removeprefix(BUILT_IN_PREFIX)
    try:
        return os.path.samefile(os.path.expanduser(a), os.path.expanduser(b))
    except OSError:  # one of them is not there
        return False


def find_own(data: Mapping[str, Any]) -> str | None:
    """The spec under which a run's own data is found from here; None where it is gone. ``data`` as in config.json."""
    spec, place = str(data["spec"]), data.get("place")
    if spec.startswith(MEMORY):
        return None
    if is_built_in(spec) and _exists(spec):  # something else has the same name here
        return BUILT_IN_PREFIX + spec
    if not is_path(spec) or (_exists(spec) and (place is None or same_place(spec, place))):
        return spec
    return str(place) if place is not None and _exists(place) else spec if _exists(spec) else None


def own(run: object, data: Mapping[str, Any], remedy: str) -> str:
    """As `find_own`; where the data is gone, a sentence that says so and what to do."""
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
    """Whether the place of a data spec is, or lies in, a folder."""
    place = place_of(spec)
    return place is not None and Path(folder).resolve() in (Path(place).resolve(), *Path(place).resolve().parents)


def inside(path: Path, spec: str) -> bool:
    """Whether a path is, or lies in, the folder that a data spec means."""
    place = place_of(spec)
    return (
        place is not None
        and os.path.isdir(place)
        and Path(place).resolve() in (path.resolve(), *path.resolve().parents)
    )


def write_listing(run: Path, pictures: Dataset) -> None:
    """Note the data of a run, so that it can be told later what has changed, and what it has learned from."""
    digests = list(pictures.digests)
    learned = set(pictures.split("train").digests)
    listing = {"names": list(pictures.names), "digests": digests, "learned": [int(d in learned) for d in digests]}
    if pictures.spec.startswith(MEMORY) and not pictures.streamed:  # when the run is loaded again, they will be gone
        from reverie.inference.pictures import pixel_digests_of

        listing["looks"] = [look.hex() for look in pixel_digests_of(pictures.split("train"))]
    with replacing(run / LISTING) as temporary:
        temporary.write_text(json.dumps(listing))


def learned_digests(run: Path) -> frozenset[str]:
    """The digests of the pictures that a run has learned from; none where it has not noted them."""
    try:
        noted = json.loads((run / LISTING).read_text())
        return frozenset(digest for digest, is_so in zip(noted["digests"], noted["learned"], strict=True) if is_so)
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def learned_looks(run: Path) -> frozenset[bytes]:
    """The `pixel_digests_of` pictures that a run has learned from; none where it has not noted them."""
    try:
        return frozenset(bytes.fromhex(look) for look in json.loads((run / LISTING).read_text())["looks"])
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def changes(run: Path, pictures: Dataset) -> str:
    """In words, how pictures differ from those that a run has noted; "" where nothing can be said."""
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
