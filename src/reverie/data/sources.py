"""Resolve a data spec to a source: a built-in set, a folder, an archive, arrays or a data set of the Hub."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

from reverie.data import arrays, idx
from reverie.data.files import PICTURES, TABLES, Files, files_in_folder, files_in_tar, files_in_zip, is_tar, walk
from reverie.data.fingerprint import identify
from reverie.data.options import ARRAY_LAYOUTS, DataOptions, parse_size
from reverie.errors import ReverieError, nearest

BUILT_IN = ("digits", "faces")
MEMORY = "memory:"  # prefix of the spec of data in memory, which cannot be opened again
BUILT_IN_PREFIX = "builtin:"  # selects a built-in set if a folder has its name
FACES_SIZE = "64"


@dataclass(frozen=True)
class Source:
    """A source of pictures: a key that changes with them, and a function that reads them if there is no pack yet."""

    key: object
    read: Callable[[], AbstractContextManager[Files | arrays.Arrays]]
    notes: Sequence[str] = ()  # notes for the user each time it is opened
    in_memory: bool = False  # arrays that are used in place, with a key from their content
    streamed: bool = False  # pictures are read again each time


def is_faces(spec: str) -> bool:
    """Whether a spec is that of the built-in faces."""
    name = spec.removeprefix(BUILT_IN_PREFIX)
    return name == "faces" or name.startswith("faces:")


def is_built_in(spec: str) -> bool:
    """Whether a spec is that of a built-in set; a folder may have the same name."""
    return spec.removeprefix(BUILT_IN_PREFIX) == "digits" or is_faces(spec)


def is_path(spec: str) -> bool:
    """Whether a spec is a path."""
    named = is_built_in(spec) or spec.startswith((BUILT_IN_PREFIX, "hf:", MEMORY))
    return not named and bool(spec.strip()) and "\0" not in spec


def find(spec: str, options: DataOptions, cache: Path, trust: bool = True) -> Source:
    """The source for a spec. Raises ReverieError if there is none, or if the spec is ambiguous.

    Without ``trust`` every file is read again, even if its digest is known.
    """
    if spec.startswith(MEMORY):
        raise ReverieError(f"'{spec}' names data in memory, which can't be opened by its name; give the data itself.")
    if is_built_in(spec):
        if options.layout in ARRAY_LAYOUTS:
            raise ReverieError(f"data.layout={options.layout} is of arrays, and {spec} is built-in data; leave it out.")
        if os.path.lexists(spec):
            raise ReverieError(
                f"'{spec}' is both built-in data and a {'folder' if os.path.isdir(spec) else 'file'} here; say "
                f"{BUILT_IN_PREFIX}{spec} or ./{spec}."
            )
        if is_faces(spec):
            return _faces(spec.removeprefix(BUILT_IN_PREFIX), options)
        return Source("digits", lambda: nullcontext(arrays.from_digits()))
    if spec.startswith(BUILT_IN_PREFIX):
        name = spec.removeprefix(BUILT_IN_PREFIX)
        raise ReverieError(f"There is no built-in data called '{name}'{nearest(name, BUILT_IN)}")
    if spec.startswith("hf:"):
        from reverie.data import hub

        loaded = hub.load(spec)
        return Source(hub.key(spec, loaded, cache), lambda: nullcontext(hub.files(loaded)))
    if not spec.strip():
        raise ReverieError("The name of the data is empty; give a folder, an archive, or digits or faces.")
    path = Path(spec)
    try:
        path = path.expanduser()
        exists = path.exists()
    except (OSError, ValueError, RuntimeError):  # a name too long or with a zero byte, the home of an unknown user
        exists = False
    if not exists:
        raise ReverieError(_unknown(spec, path))
    try:
        return _at(path, options, cache, trust)
    except OSError as why:
        raise ReverieError(f"Cannot read {spec} ({why.strerror}); check its permissions.") from why


def _at(path: Path, options: DataOptions, cache: Path, trust: bool) -> Source:
    if path.is_dir():
        return _folder(path, cache, trust)
    if not path.is_file():
        raise ReverieError(f"{path} is neither a file nor a folder.")

    def known(*files: Path) -> object:
        """A key that changes with the bytes of these files, all in one folder."""
        listed = [(file.name, file.stat()) for file in files]
        place = str(path.resolve())
        return path.suffix, identify(path.parent, listed, cache, place=place, named=False, trust=trust).key

    suffix = path.suffix.lower()
    if suffix in (".npz", ".npy"):
        return Source(known(path), lambda: nullcontext(arrays.from_npz(path, options.layout)))
    if suffix in PICTURES:
        listed = [(path.name, path.stat())]
        return Source((path.name, known(path)), lambda: nullcontext(files_in_folder(path.parent, listed, {})))
    if suffix == ".zip" or zipfile.is_zipfile(path):
        return Source(known(path), lambda: files_in_zip(path))
    if idx.is_idx(path):
        return Source(known(*idx.idx_files(path)), lambda: nullcontext(idx.from_idx(path, options.layout)))
    if ".tar" in path.suffixes or suffix in (".tgz", ".tbz", ".tbz2", ".txz") or is_tar(path):
        return Source(known(path), lambda: files_in_tar(path))
    raise ReverieError(
        f"{path} is of no known kind; give a folder of pictures, a .zip or .tar of one, an .npz, or an idx .gz file."
    )


def _folder(path: Path, cache: Path, trust: bool) -> Source:
    """A folder; its key changes with the bytes of pictures and tables, and with the names of other files."""
    walked = walk(path)
    wanted = PICTURES | TABLES
    known = [name[name.rfind(".") :].lower() in wanted for name, _ in walked.files]
    rest = [name for (name, _), is_known in zip(walked.files, known, strict=True) if not is_known]
    files = list(compress(walked.files, known)) if rest else walked.files
    found = identify(path, files, cache, trust=trust)
    notes = [*walked.notes]
    if found.surprises:
        some = ", ".join(found.surprises[:3])
        notes.append(f"{len(found.surprises)} files have changed though their times have not, such as {some}")
    read = {name: (digest, found.content.get(name)) for name, digest in found.digests.items()}
    return Source((found.key, rest), lambda: nullcontext(files_in_folder(path, walked.files, read)), notes)


def _faces(spec: str, options: DataOptions) -> Source:
    from reverie.data import faces

    size = options.size if options.size != "auto" else spec.partition(":")[2] or FACES_SIZE
    height, width = parse_size(size, "Faces of size ")
    drawing = b"".join(file.read_bytes() for file in sorted(Path(faces.__file__).parent.glob("*.py")))
    code = hashlib.blake2b(drawing).hexdigest()  # so that the pack is made again when the drawing changes
    return Source(
        ("faces", code, options.count, height, width),
        lambda: nullcontext(arrays.from_faces(options.count, height, width)),
    )


def _unknown(spec: str, path: Path) -> str:
    shown = spec if len(spec) <= 200 else spec[:200] + "..."
    if os.sep not in spec and not path.suffix:
        hint = nearest(spec, [*BUILT_IN, *_beside(path)])
        known = "; give a path, hf:owner/name, digits or faces."
        return f"There is no folder or data called '{shown}'{hint if 'did you mean' in hint else known}"
    hint = nearest(path.name, _beside(path))
    where = "" if path.parent.is_dir() else f", nor its folder {path.parent}"
    return f"There is no {shown}{where}{hint if 'did you mean' in hint else '; check the path.'}"


def _beside(path: Path) -> list[str]:
    try:
        return [child.name for child in path.parent.iterdir() if not child.name.startswith(".")][:1000]
    except (OSError, ValueError):
        return []
