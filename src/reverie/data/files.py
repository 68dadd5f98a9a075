"""Picture files in a folder, a zip or a tar: what is there, the split and class of each file, and its bytes."""

from __future__ import annotations

import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from reverie.data.decode import Half
from reverie.errors import ReverieError

PICTURES = frozenset(
    (
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".tga", ".ico", ".pcx", ".qoi", ".sgi", ".dds"),
        *(".heic", ".heif", ".dcm", ".npy"),  # what needs a plugin is listed as unreadable rather than passed over
    )
)
ARRAY = ".npy"
SPLITS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2, "testing": 2}
MEMBER_LIMIT = 512 * 2**20  # bytes of one file; an archive can declare far more than anybody means


@dataclass(frozen=True)
class Entry:
    """One file that should be a picture. ``split`` is 0, 1, 2 for train, validation, test, or -1 where nothing says."""

    name: str
    read: Callable[[], bytes]
    split: int = -1
    label: str | None = None
    half: Half = ""
    page: int = 0  # of the pictures in the file


@dataclass
class Files:
    """What a folder or an archive holds."""

    entries: list[Entry] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)  # files that are no pictures, by extension
    classes: list[str] = field(default_factory=list)  # in this order where given, else sorted

    def consider(self, name: str, size: int, read: Callable[[], bytes]) -> None:
        """Add one regular file; hidden ones are passed over."""
        name = "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", ".", ".."))
        suffix = os.path.splitext(name)[1].lower()
        if _hidden(name):
            return
        if suffix not in PICTURES:
            self.other[suffix or "without extension"] += 1
        elif size > MEMBER_LIMIT:
            self.unreadable.append(
                (name, f"{size / 2**20:.0f} MiB are more than the limit of {MEMBER_LIMIT // 2**20} MiB")
            )
        else:
            self.entries.append(Entry(name, read))

    def arrange(self) -> None:
        """Give each entry its split and class, from the folders it lies in.

        Arrays are pictures where there are no others: beside pictures they are what somebody made of them.
        """
        if {entry.name.lower().endswith(ARRAY) for entry in self.entries} == {True, False}:
            arrays = [entry for entry in self.entries if entry.name.lower().endswith(ARRAY)]
            self.other[ARRAY] += len(arrays)
            self.entries = [entry for entry in self.entries if entry not in arrays]
        splits, labels = arrange([entry.name for entry in self.entries])
        self.entries = [
            Entry(entry.name, entry.read, split, label)
            for entry, split, label in zip(self.entries, splits, labels, strict=True)
        ]


def arrange(names: Sequence[str]) -> tuple[list[int], list[str | None]]:
    """Splits and class names of files from their paths.

    Folders that wrap everything say nothing and are passed over. Then, if every file lies in a folder called train,
    val(idation) or test, those are the splits; then, if every file lies in a folder, the first one is its class. A
    single class is no class.
    """
    paths = [name.split("/") for name in names]
    splits = [-1] * len(paths)
    paths = _unwrapped(paths)
    if paths and all(len(path) > 1 and path[0].lower() in SPLITS for path in paths):
        splits = [SPLITS[path[0].lower()] for path in paths]
        paths = [path[1:] for path in paths]
    if all(len(path) > 1 for path in paths) and len({path[0] for path in paths}) > 1:
        return splits, [path[0] for path in paths]
    return splits, [None] * len(paths)


@dataclass(frozen=True)
class Place:
    """Where a file lies in a source that has a folder for each side of pairs."""

    side: str  # the side's folder; "" where the file lies in none
    split: int  # as in `Entry`
    key: str  # the path without the side and the extension: what two partners have in common


def places(names: Sequence[str]) -> list[Place]:
    """The side, split and key of files from their paths; any number of folders may come out as sides.

    Folders that wrap everything are passed over, as in `arrange`. The folder of a side may lie above those of splits
    (A/train), below them (train/A), or be one with them (trainA).
    """
    paths = _unwrapped([name.split("/") for name in names])
    tops = {path[0].lower() for path in paths}
    if all(top in SPLITS for top in tops):
        paths = [[path[1], path[0].lower(), *path[2:]] if len(path) > 2 else ["", *path] for path in paths]
    elif all(top[-1:] in ("a", "b") and top[:-1] in SPLITS for top in tops):
        paths = [[path[0][-1].upper(), path[0][:-1].lower(), *path[1:]] for path in paths]
    else:
        paths = [path if len(path) > 1 else ["", *path] for path in paths]
    divided = all(len(path) > 2 and path[1].lower() in SPLITS for path in paths)
    return [
        Place(path[0], SPLITS[path[1].lower()] if divided else -1, os.path.splitext("/".join(path[1:]))[0])
        for path in paths
    ]


def _unwrapped(paths: list[list[str]]) -> list[list[str]]:
    while paths and all(len(path) > 1 for path in paths) and len({path[0] for path in paths}) == 1:
        paths = [path[1:] for path in paths]
    return paths


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def walk(folder: Path) -> Iterator[tuple[str, os.stat_result | None]]:
    """Every file below ``folder`` as (name relative to it, its stat; None for a broken link), sorted.

    Links are followed. A folder that contains itself through a link is entered once.
    """
    entered: set[tuple[int, int]] = set()

    def inside(directory: str, prefix: str) -> Iterator[tuple[str, os.stat_result | None]]:
        own = os.stat(directory)
        if (own.st_dev, own.st_ino) in entered:
            return
        entered.add((own.st_dev, own.st_ino))
        with os.scandir(directory) as found:
            children = sorted(found, key=lambda child: child.name)
        for child in children:
            if _hidden(child.name):
                continue
            try:
                facts = child.stat()
            except OSError:
                yield prefix + child.name, None
                continue
            if stat.S_ISDIR(facts.st_mode):
                yield from inside(child.path, f"{prefix}{child.name}/")
            else:
                yield prefix + child.name, facts

    try:
        yield from inside(str(folder), "")
    except OSError as why:
        raise ReverieError(f"Cannot read the folder {folder}: {why.strerror}; check its permissions.") from why


def files_in_folder(folder: Path, found: Sequence[tuple[str, os.stat_result | None]]) -> Files:
    """The files that `walk` found."""
    files = Files()
    for name, facts in found:
        if facts is not None and stat.S_ISREG(facts.st_mode):
            files.consider(name, facts.st_size, (folder / name).read_bytes)
        elif os.path.splitext(name)[1].lower() in PICTURES:  # a pipe would block for ever
            files.unreadable.append((name, "a broken link" if facts is None else "not a regular file"))
    files.arrange()
    return files


@contextmanager
def files_in_zip(path: Path) -> Iterator[Files]:
    """Nothing is ever extracted: names are names, whatever they say."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as why:
        raise ReverieError(f"{path} is no readable zip file ({why}); it may be incomplete: fetch it again.") from why
    with archive:
        files = Files()
        for member in archive.infolist():
            if not member.is_dir():
                files.consider(member.filename, member.file_size, partial(archive.read, member))
        files.entries.sort(key=lambda entry: entry.name)
        files.arrange()
        yield files


def is_tar(path: Path) -> bool:
    """Whether the file begins as a tar does, compressed or not."""
    try:
        return tarfile.is_tarfile(path)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):  # broken in the compression
        return False


@contextmanager
def files_in_tar(path: Path) -> Iterator[Files]:
    """In the archive's own order, since a compressed tar can only be read forwards at speed."""
    with ExitStack() as stack:
        files = Files()
        try:
            archive = stack.enter_context(tarfile.open(path))
            for member in archive:
                if member.isreg():
                    files.consider(member.name, member.size, partial(_read_member, archive, member))
        except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as why:
            raise ReverieError(f"{path} is no readable tar file; it may be incomplete: fetch it again.") from why
        files.arrange()
        yield files


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return b"" if stream is None else stream.read()
