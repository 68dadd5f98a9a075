"""What reverie wrote, and where: so that results are never taken for data, and nothing else is ever overwritten.

A file ``.reverie`` in a folder has one line of JSON for each file that reverie wrote there (name, bytes and digest),
or one that says that the whole folder is reverie's, as a run is. Lines are only ever added, each by one write, so that
two processes may do it at once; of several lines for one name the last counts, and a line that is cut short counts for
nothing.

What commands write is noted with the command and the run it is of (`Work`), so that a folder of results holds those of
one command on one run, and nothing of an earlier time looks like new.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

MARK = ".reverie"
LARGEST = 2**30  # bytes of a mark that is believed
PARENTS = 4  # how far above a file the mark of a whole folder is looked for


class Maker(NamedTuple):
    """What wrote a file."""

    by: str  # the command; "" where it was called from Python
    of: str  # stands for the run
    up: int  # the folder of results that the file belongs to: 0 its own, 1 the one above ...; -1 for a single file


@dataclass
class Written:
    """What the mark of a folder says."""

    whole: str = ""  # what the folder is as a whole ("run"); "" where the mark lists single files
    files: dict[str, tuple[int, str]] = field(default_factory=dict)  # name -> bytes and digest when it was written
    makers: dict[str, Maker] = field(default_factory=dict)  # name -> what wrote it
    before: dict[str, tuple[int, str]] = field(default_factory=dict)  # as ``files``, of the last line but one

    def knows(self, path: Path) -> bool:
        """Whether a file of this folder is as it was written. A kill may have left it as the line before says."""
        noted = {self.files.get(path.name), self.before.get(path.name)} - {None}
        try:
            size = path.stat().st_size if noted and path.is_file() else -1
            return any(one and one[0] == size for one in noted) and (size, _digest(path)) in noted
        except OSError:
            return False


@dataclass
class Work:
    """What a command writes, and the older results that give way to the first of it."""

    by: str
    of: str
    folder: Path | None = None  # of results; None for single files
    stale: list[Path] = field(default_factory=list)

    def begin(self) -> None:
        """Remove the older results. Raises OSError."""
        while self.stale:
            self.stale.pop().unlink(missing_ok=True)

    def maker(self, path: Path) -> Maker:
        """As which it writes a file."""
        inside = self.folder is not None and self.folder in path.parents
        up = len(path.relative_to(self.folder).parts) - 1 if inside and self.folder else -1
        return Maker(self.by, self.of, up)


WORK: ContextVar[Work | None] = ContextVar("WORK", default=None)  # of the command that is under way


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
                        name = str(line["file"])
                        if name in found.files:
                            found.before[name] = found.files[name]
                        found.files[name] = int(line["bytes"]), str(line["digest"])
                        by, of, up = line.get("by", ""), line.get("of", ""), line.get("up", -1)
                        found.makers[name] = Maker(str(by), str(of), int(up))
    except OSError:
        return Written()
    return found


def mark_file(path: Path, content: Path) -> None:
    """Note that ``path`` is reverie's; ``content`` holds what is about to be renamed to it.

    In a folder that is marked as a whole only what commands write is noted. Raises OSError.
    """
    work = WORK.get()
    if work is None and in_marked_folder(path):
        return
    line: dict[str, Any] = {"file": path.name, "bytes": content.stat().st_size, "digest": _digest(content)}
    if work is not None:
        work.begin()
        maker = work.maker(path)
        if maker.up > 0 and work.folder:  # so that the folder itself says that there is something below it
            (work.folder / MARK).touch()
        line |= maker._asdict()
    _add(path.parent, line)


def mark_folder(folder: Path, what: str) -> None:
    """Note that a folder is reverie's as a whole. Raises OSError."""
    if written_in(folder).whole != what:
        _add(folder, {"whole": what})


def is_ours(path: Path) -> bool:
    """Whether a file is as reverie left it, or lies in a folder that is reverie's as a whole."""
    return in_marked_folder(path) or written_in(path.parent).knows(path)


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
