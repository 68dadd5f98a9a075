"""What reverie wrote, and where: so that results are never taken for data, and nothing else is ever overwritten.

A file ``.reverie`` in a folder has one line of JSON for each file that reverie wrote there (name, bytes and digest),
or one that says that the whole folder is reverie's, as a run is. Lines are only ever added, each by one write, so that
two processes may do it at once; of several lines for one name the last counts, and a line that is cut short counts for
nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MARK = ".reverie"
LARGEST = 2**30  # bytes of a mark that is believed
PARENTS = 4  # how far above a file the mark of a whole folder is looked for


@dataclass
class Written:
    """What the mark of a folder says."""

    whole: str = ""  # what the folder is as a whole ("run"); "" where the mark lists single files
    files: dict[str, tuple[int, str]] = field(default_factory=dict)  # name -> bytes and digest when it was written


def written_in(folder: Path | str) -> Written:
    """What reverie wrote in a folder; nothing where there is no mark or it cannot be read."""
    found = Written()
    path = os.path.join(folder, MARK)
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > LARGEST:
            return found
        with open(path, encoding="utf-8", errors="replace") as lines:
            for text in lines:
                with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
                    line: dict[str, Any] = json.loads(text)
                    if "whole" in line:
                        found.whole = str(line["whole"])
                    else:
                        found.files[str(line["file"])] = int(line["bytes"]), str(line["digest"])
    except OSError:
        return Written()
    return found


def mark_file(path: Path, content: Path) -> None:
    """Note that ``path`` is reverie's; ``content`` holds what is about to be renamed to it. Not inside a marked folder.

    Raises OSError.
    """
    if not in_marked_folder(path):
        _add(path.parent, {"file": path.name, "bytes": content.stat().st_size, "digest": _digest(content)})


def mark_folder(folder: Path, what: str) -> None:
    """Note that a folder is reverie's as a whole. Raises OSError."""
    if written_in(folder).whole != what:
        _add(folder, {"whole": what})


def is_ours(path: Path) -> bool:
    """Whether a file is as reverie left it, or lies in a folder that is reverie's as a whole."""
    if in_marked_folder(path):
        return True
    known = written_in(path.parent).files.get(path.name)
    try:
        return known is not None and path.stat().st_size == known[0] and _digest(path) == known[1]
    except OSError:
        return False


def in_marked_folder(path: Path) -> bool:
    """Whether a file lies in a folder that is reverie's as a whole, a few folders up at most."""
    above = Path(os.path.abspath(path)).parents
    return any(os.path.isfile(folder / MARK) and written_in(folder).whole for folder in above[:PARENTS])


def _add(folder: Path, line: dict[str, Any]) -> None:
    handle = os.open(folder / MARK, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(handle, (json.dumps(line) + "\n").encode())
    finally:
        os.close(handle)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
