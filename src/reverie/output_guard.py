"""Checks, before a command starts, that its output overwrites neither other files nor other results."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from reverie import provenance
from reverie.errors import ReverieError
from reverie.files import Unwritten, check_folder


def claim_outputs(
    by: str,
    of: str,
    files: Iterable[Path],
    *,
    folder: Path | None = None,
    reads: Sequence[Path] = (),
    force: bool = False,
    keep: bool = False,
) -> None:
    """Allow the command ``by`` to write ``files`` for the run ``of``; files written later are recorded as its results.

    If ``folder`` is given, older results in it by the same command and run are removed when the first new one is
    written (with ``keep`` they stay: their names tell them apart). Results of other commands or runs are refused, or
    with ``force`` removed. Files that reverie did not write are never removed.

    Raises ReverieError before anything is written if a file cannot be written, if reverie did not write a file that
    exists (allowed with ``force``), or if it is among ``reads``: input files, or folders, of which the files that
    reverie wrote do not count (refused even with ``force``).
    """
    writable, noted = cache(check_folder), cache(provenance.written_in)
    for file in files:
        writable(file.parent)
        try:
            there = os.lstat(file)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:  # a name too long
            raise Unwritten(file, error) from error
        if file.is_dir():
            raise ReverieError(f"Cannot write {file}: a folder of that name is there; choose another place.")
        ours = noted(file.parent).knows(file)
        if any(_is_read(file, there, ours, source, force) for source in reads):
            raise ReverieError(f"{file} is among what is read, and stays as it is; write to another place.")
        if not ours and not force:
            raise ReverieError(
                f"{file} is there and was not written by reverie, or was changed since; write to another place, or "
                "over it with --force."
            )
    stale = [] if folder is None else _giving_way(by, run_digest(of), folder, force, keep)
    for file in stale:  # older results may be the input of this command: refuse to remove them
        if any(_same(file, source) or source.resolve() in file.resolve().parents for source in reads):
            raise ReverieError(
                f"{file} is among what is read, and would give way to new results; write to another place."
            )
    provenance.WORK.set(provenance.Work(by, run_digest(of), folder, stale))


def run_digest(run: str) -> str:
    """A short digest of a run's path, for the mark: it does not reveal the path."""
    place = run if run.startswith("hf:") else os.path.realpath(run)
    return hashlib.blake2b(os.fsencode(place), digest_size=8).hexdigest()


def _is_read(file: Path, there: os.stat_result, ours: bool, source: Path, force: bool) -> bool:
    """Whether an existing file is part of the input ``source``: in a folder, the files that are not ``ours``."""
    if not os.path.isdir(source):
        return _same(file, source)
    if ours:
        return False
    if source.resolve() in (file.parent.resolve(), *file.parent.resolve().parents):
        return True
    # Another name (a link) of a file in that folder; without force the file is refused anyway.
    return force and any(os.path.samestat(there, found) for found in _stats(source))


def _same(file: Path, other: Path) -> bool:
    try:
        return file.samefile(other)
    except OSError:  # one of them does not exist
        return False


def _stats(folder: Path) -> Iterator[os.stat_result]:
    for directory, _, names in os.walk(folder):
        for name in names:
            if os.path.exists(path := os.path.join(directory, name)):
                yield os.stat(path)


def _giving_way(by: str, of: str, folder: Path, force: bool, keep: bool) -> list[Path]:
    """The older results in a folder that are to be removed. Raises ReverieError if some must not be removed."""
    found = list(_results(folder))
    others = [path for path, maker in found if (maker.by, maker.of) != (by, of)]
    if others and not force:
        raise ReverieError(
            f"{folder} holds other results, as {others[0]}: of another run or command; choose another --out, or "
            "replace them with --force."
        )
    return others if keep else [path for path, _ in found]


def _results(folder: Path) -> Iterator[tuple[Path, provenance.Maker]]:
    """The unchanged files below a folder that were recorded as results of this folder."""
    if not (folder / provenance.MARK).exists():
        return
    for directory, below, _ in os.walk(folder):
        here = Path(directory)
        noted = provenance.written_in(here)
        if noted.whole and here != folder:
            below.clear()
            continue
        depth = len(here.relative_to(folder).parts)
        for name, maker in noted.makers.items():
            if maker.up == depth and noted.knows(here / name):
                yield here / name, maker
