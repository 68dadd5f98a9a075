"""The folder of a run: its name, who may write in it, and the run that is there already."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reverie import artifact, provenance, registry
from reverie.data.sources import MEMORY
from reverie.engine.model import Model
from reverie.errors import ReverieError
from reverie.files import reason

LOCK = ".lock"
BEST = "best"  # the folder in a run that holds the weights with the smallest Frechet distance
STATE = "state"
WRITTEN = (  # what training writes in the folder, beside config.json
    *(artifact.WEIGHTS, "README.md", "report.html", "metrics.jsonl", "quality.jsonl", "events.jsonl"),
    *(STATE, "samples", BEST, "tensorboard"),
)
BUSY = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)


def default_folders(model: str, data: str) -> Iterator[Path]:
    """runs/MODEL-DATA, and then the same with numbers from 2."""
    stem = Path(data.removeprefix(MEMORY).rstrip("/")).name.split(".")[0].replace(":", "-") or "data"
    base = Path("runs") / f"{model}-{stem}"
    yield base
    yield from (base.with_name(f"{base.name}-{number}") for number in itertools.count(2))


def newest_default(model: str, data: str) -> Path | None:
    """The last of the default folders that are there; None where there is none."""
    newest = None
    for folder in default_folders(model, data):
        if not folder.exists():
            break
        newest = folder
    return newest


class Busy(ReverieError):
    """Another process trains in the folder."""


@contextmanager
def new_default(model: str, data: str) -> Iterator[Path]:
    """The first default folder that this process can make, held as by `held`; two at once get two folders."""
    for folder in default_folders(model, data):
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(held(folder, new=True))
            except (FileExistsError, Busy):
                continue
            yield folder
            return


@contextmanager
def held(folder: Path, *, new: bool = False) -> Iterator[None]:
    """A folder, made where it is not there, in which no other process can train until the block ends.

    The lock is the system's and is given back when the process dies. A folder that was made here and holds no run at
    the end is removed. Raises ReverieError where the folder can't be made, `Busy` where another process holds it, and
    with ``new`` FileExistsError where it is there already.
    """
    made = [above for above in (folder, *folder.parents) if not _there(above)]
    fresh = not _there(folder / LOCK)
    try:
        handle = _locked(folder, new)
    except FileExistsError as error:
        if new:
            raise
        raise ReverieError(f"Cannot write {folder}: {reason(error)}.") from error
    except OSError as error:
        raise ReverieError(f"Cannot write {folder}: {reason(error)}.") from error
    try:
        yield
    finally:
        # While it is still locked: whoever opens the lock from now on finds that it is no longer the folder's.
        with contextlib.suppress(OSError):
            if not (folder / artifact.CONFIG).exists() and fresh:
                _tidy(folder, made)
        os.close(handle)


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _locked(folder: Path, new: bool) -> int:
    while True:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=not new)
        with contextlib.suppress(FileNotFoundError):  # the process that made the folder has just removed it
            handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(handle, folder)
                if os.path.samestat(os.fstat(handle), os.stat(folder / LOCK)):
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)
        new = False  # it was this process that made it


def _lock(handle: int, folder: Path) -> None:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in BUSY:
            raise Busy(
                f"Another process is training in {folder}; wait for its end, or choose another --out."
            ) from error
        # Else the file system knows no locks, and there is nothing better than to go on.


def _tidy(folder: Path, made: list[Path]) -> None:
    """Remove what `held` left in a folder without a run, and the folders it made, where nothing else is in them."""
    if made[:1] == [folder] and {child.name for child in folder.iterdir()} <= {LOCK, provenance.MARK}:
        (folder / provenance.MARK).unlink(missing_ok=True)
    (folder / LOCK).unlink()
    for above in made:
        above.rmdir()


def earlier(
    folder: Path,
    model: str | type[Model] | Model,
    settings: dict[str, dict[str, Any]],
    budget: tuple[str, ...],
    resume: bool,
) -> dict[str, Any] | None:
    """The config of the run to go on with, its budget made room for; None where a new run begins.

    ``model`` and ``settings`` are those of the call. Raises ReverieError where the call does not fit what is there.
    """
    _check_best(folder)
    begun = (folder / artifact.CONFIG).exists()
    if begun and not resume:
        raise ReverieError(f"{folder} holds a run already; add --resume to go on with it, or choose another --out.")
    if not begun and not (resume and _holds_parts(folder)):
        return None
    config = artifact.read_config(folder, brought=not isinstance(model, str))
    _check_model(folder, model, config)
    for section, values in settings.items():
        noted = config["settings"][section]
        for key in values.keys() - set(budget if section == "train" else ()):
            if not _same(values[key], noted.get(key, "")):
                raise ReverieError(f"{section}.{key} can't change on --resume; leave it out, or train a new run.")
    if settings["train"].keys() & set(budget):
        config["settings"]["train"] |= dict.fromkeys((*budget, "sample_every"))
    return config


def _check_model(folder: Path, model: str | type[Model] | Model, config: dict[str, Any]) -> None:
    """Raise ReverieError unless the model is what the run was begun with."""
    name, by_hand = config["model"], config.get("outside", False)
    if isinstance(model, str):
        names = [model]
    else:
        kind = model if isinstance(model, type) else type(model)
        names = [*registry.names_of(kind), registry.plain_name(kind)]
    if name not in names:
        raise ReverieError(f"{folder} is a run of {name}, not of {names[0]}; resume it with that.")
    if by_hand and isinstance(model, str):
        raise ReverieError(
            f"{folder} is a run of a {name} that was built by hand; build it so again, and give it in place of {name}."
        )
    if isinstance(model, Model):
        if not by_hand:
            raise ReverieError(f"{folder} is a run of the model '{name}'; resume it with that name, or its class.")
        artifact.check_settings(model, config, folder)


def _same(given: object, before: object) -> bool:
    """Whether a setting as people give it, perhaps as a word, is what config.json holds."""
    if isinstance(given, list | tuple) and isinstance(before, list):
        return len(given) == len(before) and all(map(_same, given, before))
    words = [str(one).lower() for one in (given, before)]
    if words[0] == words[1] or os.path.abspath(os.path.expanduser(str(given))) == before:  # a table's place
        return True
    try:
        return not isinstance(before, bool) and float(words[0]) == float(words[1])
    except ValueError:
        return False


def check_states(folder: Path) -> None:
    """Raise ReverieError where a run has weights and no state to go on from: it would begin anew over them."""
    if (folder / artifact.WEIGHTS).exists() and not any((folder / STATE).glob("[0-9]*.safetensors")):
        raise ReverieError(
            f"{folder} has lost its states ({folder / STATE}) and can't be gone on with; put them back, or "
            "train a new run."
        )


def check_new(folder: Path, force: bool) -> None:
    """Raise ReverieError where others' files are in the folder: a run's is left out of data, and is the run's alone."""
    for child in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not child.name.startswith(".") and child.name not in (*WRITTEN, "lost+found"):
            raise ReverieError(f"{folder} holds other files, such as {child}, and no run; choose an --out of its own.")
    # A folder that is marked as a run's and holds none: a training was killed before its first config.json.
    for name in () if force or provenance.written_in(folder).whole else WRITTEN:
        if os.path.lexists(folder / name) and not _partial(folder / name):
            raise ReverieError(
                f"{folder / name} is no part of a run and would be written over; choose another --out, or add --force."
            )


def _partial(path: Path) -> bool:
    """Whether it is what a training that was killed before its first config.json has left: states that are none."""
    return path.name == STATE and path.is_dir() and all(child.name.startswith(".") for child in path.iterdir())


def _holds_parts(folder: Path) -> bool:
    """Whether a run that has lost its config.json lies there."""
    return (folder / artifact.WEIGHTS).exists() or any((folder / STATE).glob("[0-9]*.safetensors"))


def _check_best(folder: Path) -> None:
    run = folder.parent
    if folder.name == BEST and ((run / artifact.CONFIG).exists() or (run / LOCK).exists()):
        raise ReverieError(f"{folder} belongs to the run {run}, which keeps its best weights there; choose another.")
