"""What identifies the files of a source: their bytes, and nothing else.

Two folders unpacked from one archive may agree in every name, size and time and hold other pictures. So files are known
by the digest of their bytes, and size, times and inode are only a fast path to it: a ledger in the cache says which
digest a file at this place had when it was last read. A file is read again where any of them differs, and also where it
had changed within two seconds of that reading, since clocks are coarse and a write may follow a read in one tick. What
could not be read is never remembered.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
import uuid
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

SETTLED_NS = 2 * 10**9  # a file that changed so shortly before it was read may have changed since
KEPT_BYTES = 256 * 2**20  # of files that are read to be known, kept so that decoding them need not read again
SMALL, PIECE = 2**16, 2**22  # bytes of a small file, and of a large one at a time

Stamp = tuple[int, ...]  # bytes, change of the content and of the inode (ns), inode, kind of file
STAMP = attrgetter("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino", "st_mode")
NOTHING: Stamp = (0,) * 5  # of a broken link
Listed = Sequence[tuple[str, os.stat_result | None]]  # files by name and stat, None where that failed


@dataclass
class Identity:
    """What the files of a source are."""

    key: str  # changes with the bytes of the files, and where they are `named` with their names
    digests: dict[str, str] = field(default_factory=dict)  # of the files that were read now: none on the fast path
    content: dict[str, bytes] = field(default_factory=dict)  # bytes of some of those
    surprises: list[str] = field(default_factory=list)  # names of files that changed, and their stamps did not


def identify(
    folder: Path, listed: Listed, cache: Path, *, place: str = "", named: bool = True, trust: bool = True
) -> Identity:
    """The identity of the files ``listed`` in ``folder``.

    ``place`` says which ledger they are in (default: the folder's). Without ``trust`` every file is read, whatever the
    ledger says of it.
    """
    began = time.time_ns()
    names, stamps_of = [name for name, _ in listed], [NOTHING if stats is None else STAMP(stats) for _, stats in listed]
    ledger = cache / f"{hash_of(place or str(folder.resolve()))}.ledger"
    devices = {stats.st_dev for _, stats in listed if stats is not None}
    signature = _signature(names, stamps_of, (named, sorted(devices)))
    head, known = _recorded(ledger, signature if trust else None)
    if trust and head.get("signature") == signature:
        return Identity(str(head["key"]))
    # A pipe would block for ever: only regular files are read.
    stamps = {name: stamp if stat.S_ISREG(stamp[-1]) else None for name, stamp in zip(names, stamps_of, strict=True)}
    earlier = {name: line[0] for name, line in known.items() if stamps.get(name) == tuple(line[1:])}
    found = {name: digest for name, digest in earlier.items() if trust}
    wanted = [name for name, stamp in stamps.items() if stamp is not None and name not in found]
    digests, content = _read(folder, wanted)
    found |= digests
    key = hash_of([(name if named else "", found.get(name)) for name in stamps])
    settled = {
        name: [found[name], *stamp]
        for name, stamp in stamps.items()
        if stamp is not None and name in found and max(stamp[1:3]) < began - SETTLED_NS
    }
    whole = len(settled) == sum(stamp is not None for stamp in stamps.values())
    _record(ledger, {"signature": signature if whole else "", "key": key}, settled)
    surprises = [name for name, digest in earlier.items() if found.get(name, digest) != digest]
    return Identity(key, digests, content, surprises)


def _signature(names: Sequence[str], stamps: Sequence[Stamp], more: object) -> str:
    """Changes with the names and stamps; quick, as it is what opening known data costs."""
    said = "\0".join([repr(more), *names, ""]).encode(errors="surrogatepass")
    try:
        numbers = array("q", chain.from_iterable(stamps)).tobytes()
    except OverflowError:  # an inode beyond 63 bits
        numbers = repr(stamps).encode()
    return digest_of(said + numbers).hex()


def digest_of(content: bytes) -> bytes:
    """What tells one content from another: 16 bytes."""
    return hashlib.blake2b(content, digest_size=16).digest()


def _read(folder: Path, names: Sequence[str]) -> tuple[dict[str, str], dict[str, bytes]]:
    """The digests of files, and the bytes of as many as may be kept; files that cannot be read are in neither.

    On one thread: several would wait for each other longer than for the disk, where files are small.
    """
    digests: dict[str, str] = {}
    content: dict[str, bytes] = {}
    left = KEPT_BYTES
    for name in names:
        found = _content(os.path.join(folder, name))
        if found is not None:
            digests[name], data = found
            if data is not None and len(data) <= left:
                content[name] = data
                left -= len(data)
    return digests, content


def _content(path: str) -> tuple[str, bytes | None] | None:
    """The digest of a file, and its bytes where they are few; None where it cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            digest, pieces, size = hashlib.blake2b(digest_size=16), [], 0
            while piece := os.read(handle, PIECE if size else SMALL):  # room for a piece takes longer than a small file
                digest.update(piece)
                size += len(piece)
                if size <= PIECE:
                    pieces.append(piece)
            return digest.hexdigest(), b"".join(pieces) if size <= PIECE else None
        finally:
            os.close(handle)
    except OSError:
        return None


def hash_of(what: object) -> str:
    """What tells one value of plain parts from another, by how it is written."""
    return digest_of(repr(what).encode(errors="surrogatepass")).hex()


def _recorded(ledger: Path, signature: str | None) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The first line of a ledger, and where it is not of this signature the lines of its files; empty if damaged."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError), ledger.open(encoding="utf-8") as lines:
        head: dict[str, Any] = dict(json.loads(lines.readline()))
        if head["signature"] == signature:
            return head, {}
        files: dict[str, list[Any]] = dict(json.loads(lines.readline()))
        return head, files
    return {}, {}


def _record(ledger: Path, head: dict[str, str], files: dict[str, list[Any]]) -> None:
    """Write a ledger, whole or not at all; a cache that cannot be written is told by whoever writes the pack."""
    temporary = ledger.with_name(f"{ledger.stem}.{uuid.uuid4().hex[:8]}.tmp")
    with contextlib.suppress(OSError):
        try:
            ledger.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(f"{json.dumps(head)}\n{json.dumps(files)}\n", encoding="utf-8")
            os.replace(temporary, ledger)
        finally:
            temporary.unlink(missing_ok=True)
