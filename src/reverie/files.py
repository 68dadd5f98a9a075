"""Atomic writes, and checks of whether files can be read or written."""

from __future__ import annotations

import contextlib
import csv
import errno
import os
import stat
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from reverie import provenance
from reverie.errors import ReverieError

if TYPE_CHECKING:
    from torch import Tensor

_TEMPORARY = ".partial"


class Unwritten(ReverieError):
    """A file could not be written. ``full``: because the disk is full, so that writing other files would fail too."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(f"Cannot write {path}: {reason(error)}.")
        self.full = _is_full(error)


@contextlib.contextmanager
def replacing(path: Path, *, sync: bool = True, noted: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it is synced and renamed to ``path``, otherwise it is removed.

    Before the rename the file is recorded as written by reverie (see `provenance`), unless ``noted`` is False.
    ``sync=False`` skips fsync, for thousands of small files. Raises `Unwritten` if the folder cannot be written or the
    disk is full; ``path`` is then unchanged.
    """
    # Not derived from the file's name, which may be as long as the file system allows.
    temporary = path.with_name(f".{uuid.uuid4().hex[:12]}{_TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = _usual_mode(temporary)
        yield temporary
        if sync:
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
        temporary.chmod(mode)  # some libraries create private files
        if noted:
            provenance.mark_file(path, temporary)
        os.replace(temporary, path)
        if sync:
            _sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        raise Unwritten(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _usual_mode(path: Path) -> int:
    """The permissions that the user's umask gives to a new file: read from a file that is created and removed."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)
        path.unlink()


def write_table(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a .csv in UTF-8, atomically; a character that UTF-8 cannot encode becomes '?'."""
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="replace") as file,
    ):
        table = csv.writer(file)
        table.writerow(head)
        table.writerows(rows)


@contextlib.contextmanager
def encodable(path: Path) -> Iterator[Path]:
    """Yield a path to the same file that is valid UTF-8, as safetensors needs: through a link to its folder if need be.

    Raises PermissionError if the file exists and may not be read, which safetensors does not report as such.
    """
    if path.exists():
        path.open("rb").close()
    with contextlib.ExitStack() as stack:
        if _is_unicode(path):
            yield path
        else:
            link = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reverie-"))) / "folder"
            link.symlink_to(path.parent.resolve(), target_is_directory=True)
            yield link / path.name


def _is_unicode(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def unreadable(file: Path) -> ReverieError:
    """The error for a file that the user has no permission to read."""
    return ReverieError(f"{file} may not be read: ask for the permission, or take a copy of your own.")


def is_file(path: Path) -> bool:
    """Whether the file exists. Raises ReverieError without permission to look into its folder."""
    try:
        return path.is_file()
    except PermissionError as error:  # of the folder
        raise unreadable(path) from error
    except OSError:  # a name too long
        return False


def savable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies on the CPU: safetensors refuses channels_last tensors and tensors that share memory."""
    return {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}


def check_folder(folder: Path) -> None:
    """Raise ReverieError if the folder cannot be created or written to. Creates nothing: a check before the work."""
    try:
        there = next(f for f in (folder, *folder.parents) if f.exists())
    except OSError as error:
        raise ReverieError(f"Cannot write {folder}: {reason(error)}.") from error
    if not there.is_dir():
        raise ReverieError(f"Cannot write {folder}: {reason(NotADirectoryError(errno.ENOTDIR, ''))}.")
    if not os.access(there, os.W_OK):
        raise ReverieError(f"Cannot write {folder}: {reason(PermissionError(errno.EACCES, ''))}.")


def sweep(folder: Path) -> None:
    """Remove temporary files of `replacing` that a killed process left in the folder."""
    for left in folder.glob(f".*{_TEMPORARY}"):
        with contextlib.suppress(OSError):
            left.unlink()


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def reason(error: Exception) -> str:
    """Why something could not be written, in words."""
    number = error.errno if isinstance(error, OSError) else None
    if _is_full(error):
        return "the disk is full; free some space and go on with --resume"
    if number in (errno.EACCES, errno.EROFS, errno.EPERM):
        return "no permission to write there; choose another folder"
    if number in (errno.ENOTDIR, errno.EEXIST):
        return "a file is in the way of the folder; choose another folder"
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def _is_full(error: Exception) -> bool:
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
