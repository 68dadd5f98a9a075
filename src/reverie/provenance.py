"""A record of the files that reverie wrote, kept in a file ``.reverie`` (a mark) in each folder.

It lets `reverie.data.files` leave results out of data sets. This module only records and reads: the refusal to
overwrite other files is in `reverie.output_guard` (results of commands) and `reverie.run_folder` (training).

A mark has one line of JSON for each file that reverie wrote in the folder (name, size in bytes, digest), or one that
claims the whole folder, as for a run. Lines are only appended, each by a single write, so that two processes may do it
at once. The last line for a name counts; a truncated line is ignored.

A file that a command writes is recorded with the command and its run (`Work`), so that `output_guard` can keep a folder
of results to one command on one run and remove the results of an earlier call.
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
LARGEST = 2**30  # bytes; a larger mark is ignored
PARENTS = 4  # folders above a file that are searched for a mark of a whole folder


class Maker(NamedTuple):
    """The command that wrote a file."""

    by: str  # the command; "" if called from Python
    of: str  # digest of the run's path: `output_guard.run_digest`
    up: int  # levels up to the folder of results that the file belongs to (0: its own folder); -1 for a single file


@dataclass
class Written:
    """The content of a folder's mark."""

    whole: str = ""  # the kind of a folder that is marked as a whole ("run"); "" if the mark lists single files
    files: dict[str, tuple[int, str]] = field(default_factory=dict)  # name -> size in bytes and digest, as written
    makers: dict[str, Maker] = field(default_factory=dict)  # name -> the command that wrote it
    before: dict[str, tuple[int, str]] = field(default_factory=dict)  # as ``files``, from the line before the last

    def knows(self, path: Path) -> bool:
        """Whether a file of this folder is unchanged since reverie wrote it.

        The line before the last counts too: a process killed between the mark and the rename leaves the older file.
        """
        noted = {self.files.get(path.name), self.before.get(path.name)} - {None}
        try:
            size = path.stat().st_size if noted and path.is_file() else -1
            return any(one and one[0] == size for one in noted) and (size, _digest(path)) in noted
        except OSError:
            return False


@dataclass
class Work:
    """The command that is running, and the older results to remove before its first file is written."""

    by: str
    of: str
    folder: Path | None = None  # the folder of results; None for single files
    stale: list[Path] = field(default_factory=list)

    def begin(self) -> None:
        """Remove the older results. Raises OSError."""
        while self.stale:
            self.stale.pop().unlink(missing_ok=True)

    def maker(self, path: Path) -> Maker:
        """The `Maker` to record for a file."""
        inside = self.folder is not None and self.folder in path.parents
        up = len(path.relative_to(self.folder).parts) - 1 if inside and self.folder else -1
        return Maker(self.by, self.of, up)


WORK: ContextVar[Work | None] = ContextVar("WORK", default=None)  # the running command


def written_in(folder: Path | str) -> Written:
    """The mark of a folder; an empty `Written` if there is none or it cannot be read."""
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
    """Record that reverie writes ``path``; ``content`` is the temporary file that will be renamed to it.

    In a folder that is marked as a whole, only files written by commands are recorded. Raises OSError.
    """
    work = WORK.get()
    if work is None and in_marked_folder(path):
        return
    line: dict[str, Any] = {"file": path.name, "bytes": content.stat().st_size, "digest": _digest(content)}
    if work is not None:
        work.begin()
        maker = work.maker(path)
        if maker.up > 0 and work.folder:  # so that the folder has a mark if only its subfolders have files
            (work.folder / MARK).touch()
        line |= maker._asdict()
    _add(path.parent, line)


def mark_folder(folder: Path, what: str) -> None:
    """Mark a whole folder as written by reverie; ``what`` is its kind ("run"). Raises OSError."""
    if written_in(folder).whole != what:
        _add(folder, {"whole": what})


def is_ours(path: Path) -> bool:
    """Whether reverie wrote a file and it is unchanged, or it lies in a folder that is marked as a whole."""
    return in_marked_folder(path) or written_in(path.parent).knows(path)


def in_marked_folder(path: Path) -> bool:
    """Whether one of the `PARENTS` folders above a file is marked as a whole."""
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
