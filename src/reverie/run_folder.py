"""The folder of a run: its default name, its lock, and checks of what is already in it."""

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
    """runs/MODEL-DATA, then runs/MODEL-DATA-2, runs/MODEL-DATA-3 and so on."""
    stem = Path(data.removeprefix(MEMORY).rstrip("/")).name.split(".")[0].replace(":", "-") or "data"
    base = Path("runs") / f"{model}-{stem}"
    yield base
    yield from (base.with_name(f"{base.name}-{number}") for number in itertools.count(2))


def newest_default(model: str, data: str) -> Path | None:
    """The last of the default folders that exist; None if there is none."""
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
    """The first default folder that this process can create, locked as by `held`; two processes get two folders."""
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
    """Lock a folder against training by other processes until the block ends; created if it does not exist.

    The lock belongs to the operating system, which releases it when the process dies. A folder that was created here
    and holds no run at the end is removed. Raises ReverieError if the folder cannot be created, `Busy` if another
    process holds the lock, and with ``new`` FileExistsError if the folder exists.
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
        # Before the lock is released: a process that has just opened the file then sees in `_locked` that it is gone.
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
        with contextlib.suppress(FileNotFoundError):  # another process has just removed the folder
            handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(handle, folder)
                if os.path.samestat(os.fstat(handle), os.stat(folder / LOCK)):
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)
        new = False  # this process has created the folder


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
        # Otherwise the file system does not support locks: train without one.


def _tidy(folder: Path, made: list[Path]) -> None:
    """Remove the lock and mark that `held` left in a folder without a run, and the folders it created if empty."""
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
    """The config of the run to resume, without its budget if the call gives a new one; None if a new run starts.

    ``model``, ``settings``, ``budget`` (names of the budget settings) and ``resume`` are those of the call. Raises
    ReverieError if they do not fit the run in the folder.
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
    """Raise ReverieError unless the model is the one that the run was started with."""
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
    """Whether a given setting, perhaps as a string, equals the value in config.json."""
    if isinstance(given, list | tuple) and isinstance(before, list):
        return len(given) == len(before) and all(map(_same, given, before))
    words = [str(one).lower() for one in (given, before)]
    if words[0] == words[1] or os.path.abspath(os.path.expanduser(str(given))) == before:  # the path of a table
        return True
    try:
        return not isinstance(before, bool) and float(words[0]) == float(words[1])
    except ValueError:
        return False


def check_states(folder: Path) -> None:
    """Raise ReverieError if a run has weights but no training state: resuming would restart and overwrite them."""
    if (folder / artifact.WEIGHTS).exists() and not any((folder / STATE).glob("[0-9]*.safetensors")):
        raise ReverieError(
            f"{folder} has lost its states ({folder / STATE}) and can't be gone on with; put them back, or "
            "train a new run."
        )


def check_new(folder: Path, force: bool) -> None:
    """Raise ReverieError if the folder of a new run holds other files.

    A run's folder holds nothing else, since data sets leave it out as a whole. With ``force`` a file that has the name
    of one that training writes may be overwritten; any other file is still refused.
    """
    for child in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not child.name.startswith(".") and child.name not in (*WRITTEN, "lost+found"):
            raise ReverieError(f"{folder} holds other files, such as {child}, and no run; choose an --out of its own.")
    # A folder that is marked as a run but holds none: training was killed before it wrote config.json.
    for name in () if force or provenance.written_in(folder).whole else WRITTEN:
        if os.path.lexists(folder / name) and not _partial(folder / name):
            raise ReverieError(
                f"{folder / name} is no part of a run and would be written over; choose another --out, or add --force."
            )


def _partial(path: Path) -> bool:
    """Whether it is a state folder with only hidden files, left by a training killed before it wrote config.json."""
    return path.name == STATE and path.is_dir() and all(child.name.startswith(".") for child in path.iterdir())


def _holds_parts(folder: Path) -> bool:
    """Whether the folder holds a run whose config.json is missing."""
    return (folder / artifact.WEIGHTS).exists() or any((folder / STATE).glob("[0-9]*.safetensors"))


def _check_best(folder: Path) -> None:
    run = folder.parent
    if folder.name == BEST and ((run / artifact.CONFIG).exists() or (run / LOCK).exists()):
        raise ReverieError(f"{folder} belongs to the run {run}, which keeps its best weights there; choose another.")
