"""List and read the picture files in a folder, a zip or a tar, without those that reverie wrote."""

from __future__ import annotations

import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path

from reverie.data.decode import Half, Picture
from reverie.data.fingerprint import hash_of
from reverie.errors import ReverieError
from reverie.provenance import MARK, Written, written_in

PICTURES = frozenset(
    (
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".tga", ".ico", ".pcx", ".qoi", ".sgi", ".dds"),
        *(".heic", ".heif", ".dcm", ".npy"),  # files that need a missing plugin are listed as unreadable
    )
)
ARRAY = ".npy"
TABLES = frozenset((".csv", ".json"))  # may say classes and splits; see `reverie.data.tables`
MEMBER_LIMIT = 512 * 2**20  # bytes of one file; an archive can declare any size
MACOS = "__MACOSX"  # metadata that macOS adds to archives
RUN = ("config.json", "model.safetensors")  # identify a run that has no mark


@dataclass(frozen=True)
class FileEntry:
    """One file that should be a picture. ``split`` is 0, 1, 2 for train, validation, test, or -1 if unknown."""

    name: str
    read: Callable[[], Picture]
    split: int = -1
    label: str | None = None
    half: Half = ""
    page: int = 0  # number of the picture in the file
    digest: str = ""  # of the bytes, or of a picture in memory; "" for a file in an archive


@dataclass
class Files:
    """The picture files and tables of a folder or an archive."""

    entries: list[FileEntry] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)  # files that are not pictures, by extension
    classes: list[str] = field(default_factory=list)  # their order; sorted if empty
    least: int = 2  # fewer classes than this are dropped
    tables: dict[str, Callable[[], bytes]] = field(default_factory=dict)  # the files that may say classes and splits
    factors: dict[str, dict[str, float]] = field(default_factory=dict)  # attribute -> its value for each file by name
    said: str = ""  # a description of how the files were read
    notes: list[str] = field(default_factory=list)  # further notes for the user

    def consider(self, name: str, size: int, read: Callable[[], bytes], digest: str = "") -> None:
        """Add one regular file; hidden ones are ignored."""
        name = "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", ".", ".."))
        suffix = os.path.splitext(name)[1].lower()
        if _hidden(name):
            return
        if suffix not in PICTURES:
            self.other[suffix or "without extension"] += 1
            if suffix in TABLES and size <= MEMBER_LIMIT:
                self.tables[name] = read
        elif size > MEMBER_LIMIT:
            self.unreadable.append(
                (name, f"{size / 2**20:.0f} MiB are more than the limit of {MEMBER_LIMIT // 2**20} MiB")
            )
        else:
            self.entries.append(FileEntry(name, read, digest=digest))

    def key(self) -> str:
        """A digest of the files' contents, classes and splits; the digests of all entries must be known."""
        return hash_of((self.classes, [(each.name, each.digest, each.label, each.split) for each in self.entries]))

    def leave_out_runs(self, names: Sequence[str]) -> None:
        """Remove the files of runs from an archive with these ``names``: samples of a run are results, not data."""
        there = set(names)
        ends = [name[: -len(RUN[0])] for name in names if name.rpartition("/")[2] == RUN[0]]
        runs = tuple(end for end in ends if end + RUN[1] in there)
        if runs:
            kept = [entry for entry in self.entries if not entry.name.startswith(runs)]
            self.notes.append(left_out(len(runs), len(self.entries) - len(kept)))
            self.entries = kept

    def leave_out_arrays(self) -> None:
        """Remove .npy files if there are pictures of other formats: they are then derived data."""
        pictures = [entry for entry in self.entries if not entry.name.lower().endswith(ARRAY)]
        if pictures and len(pictures) < len(self.entries):
            self.other[ARRAY] += len(self.entries) - len(pictures)
            self.entries = pictures


def left_out(runs: int, files: int) -> str:
    """A note on files of reverie that are left out."""
    some = [f"{n} {what}{'s' * (n != 1)}" for n, what in ((runs, "run"), (files, "picture")) if n]
    return f"{' and '.join(some)} that reverie wrote left out"


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == MACOS for part in name.split("/"))


@dataclass
class Walked:
    """The files below a folder."""

    files: list[tuple[str, os.stat_result | None]] = field(default_factory=list)  # name; stat, None for a broken link
    written: list[tuple[str, os.stat_result | None]] = field(default_factory=list)  # results of reverie, left out
    runs: list[str] = field(default_factory=list)  # folders that are runs, left out
    empty: list[str] = field(default_factory=list)  # folders without any file

    @property
    def notes(self) -> list[str]:
        """Notes for the user."""
        notes = []
        pictures = sum(os.path.splitext(name)[1].lower() in PICTURES for name, _ in self.written)
        if self.runs or pictures:
            notes.append(left_out(len(self.runs), pictures))
        notes += [f"the folder {name} is empty" for name in self.empty[:5]]
        if len(self.empty) > 5:
            notes.append(f"{len(self.empty) - 5} more folders are empty")
        return notes


def walk(folder: Path) -> Walked:
    """Every file below ``folder``, by its path relative to it, sorted.

    Hidden files are ignored, and files that reverie wrote are left out: runs, and unchanged files that a mark lists. If
    there are no other pictures, the latter are taken. Links are followed, except to a folder that contains them. Raises
    ReverieError for a folder that is a run itself.
    """
    found = Walked()

    def inside(directory: str, prefix: str, above: frozenset[tuple[int, int]]) -> None:
        own = os.stat(directory)
        if (own.st_dev, own.st_ino) in above:
            return
        above |= {(own.st_dev, own.st_ino)}
        with os.scandir(directory) as scanned:
            children = sorted(scanned, key=attrgetter("name"))
        names = {child.name for child in children}
        mark = written_in(directory) if MARK in names else Written()
        if mark.whole or names.issuperset(RUN):
            found.runs.append(prefix.rstrip("/"))
            return
        if not names and prefix:
            found.empty.append(prefix.rstrip("/"))
        written, add = mark.files, found.files.append  # hoisted out of the loop: there may be millions of children
        for child in children:
            name = child.name
            if name[0] == "." or name == MACOS:
                continue
            try:
                stats = child.stat()
            except OSError:
                add((prefix + name, None))
                continue
            if stat.S_ISDIR(stats.st_mode):
                inside(child.path, f"{prefix}{name}/", above)
            elif written and name in written and mark.knows(Path(child.path)):
                found.written.append((prefix + name, stats))
            else:
                add((prefix + name, stats))

    try:
        inside(str(folder), "", frozenset())
    except OSError as why:
        raise ReverieError(f"Cannot read the folder {why.filename}: {why.strerror}; check its permissions.") from why
    if found.runs == [""]:
        raise ReverieError(f"{folder} is a run of reverie and no data; give the folder of the pictures.")
    if found.written and not any(os.path.splitext(name)[1].lower() in PICTURES for name, _ in found.files):
        found.files, found.written = sorted([*found.files, *found.written], key=lambda file: file[0]), []
    return found


def files_in_folder(
    folder: Path, found: Sequence[tuple[str, os.stat_result | None]], known: Mapping[str, tuple[str, bytes | None]]
) -> Files:
    """The files that `walk` found. ``known`` has the digests of some, with their bytes if they are in memory."""
    files = Files()
    for name, stats in found:
        if stats is not None and stat.S_ISREG(stats.st_mode):
            digest, content = known.get(name, ("", None))
            read = (folder / name).read_bytes if content is None else partial(bytes, content)
            files.consider(name, stats.st_size, read, digest)
        elif os.path.splitext(name)[1].lower() in PICTURES:  # a pipe would block for ever
            files.unreadable.append((name, "a broken link" if stats is None else "not a regular file"))
    files.leave_out_arrays()
    return files


@contextmanager
def files_in_zip(path: Path) -> Iterator[Files]:
    """The files of a zip. Nothing is extracted to disk, so that member names are harmless."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as why:
        raise ReverieError(f"{path} is no readable zip file ({why}); it may be incomplete: fetch it again.") from why
    with archive:
        files = Files()
        for member in archive.infolist():
            if not member.is_dir():
                files.consider(member.filename, member.file_size, partial(archive.read, member))
        files.leave_out_runs(archive.namelist())
        files.leave_out_arrays()
        files.entries.sort(key=lambda entry: entry.name)
        yield files


def is_tar(path: Path) -> bool:
    """Whether the file starts as a tar does, compressed or not."""
    try:
        return tarfile.is_tarfile(path)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):  # damaged compression
        return False


@contextmanager
def files_in_tar(path: Path) -> Iterator[Files]:
    """The files of a tar, in its own order: a compressed tar is fast only if read sequentially."""
    with ExitStack() as stack:
        files, names = Files(), []
        try:
            archive = stack.enter_context(tarfile.open(path))
            for member in archive:
                names.append(member.name)
                if member.isreg():
                    files.consider(member.name, member.size, partial(_read_member, archive, member))
        except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as why:
            raise ReverieError(f"{path} is no readable tar file; it may be incomplete: fetch it again.") from why
        files.leave_out_runs(names)
        files.leave_out_arrays()
        yield files


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return b"" if stream is None else stream.read()
