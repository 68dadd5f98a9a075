"""Identify the files of a source by the digests of their bytes, with a cache of these digests.

Size and times are not enough: files with equal names, sizes and times may have different contents. They only save
reading: a ledger, a file in the cache, records the digest and the stamp (size, times, inode, mode) that each file had
when it was last read. A file is read again if its stamp differs, or if it had changed within two seconds before it was
read: file times are coarse, so a later write may leave the same stamp. Files that could not be read are not recorded.
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

SETTLED_NS = 2 * 10**9  # a file changed so shortly before it was read may have changed again since
KEPT_BYTES = 256 * 2**20  # of files read for their digest, kept in memory so that decoding need not read them again
SMALL, PIECE = 2**16, 2**22  # bytes of the first and of every further read of a file

Stamp = tuple[int, ...]  # size in bytes, mtime and ctime (ns), inode, mode
STAMP = attrgetter("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino", "st_mode")
NOTHING: Stamp = (0,) * 5  # of a broken link
Listed = Sequence[tuple[str, os.stat_result | None]]  # name and stat of each file; None if stat failed


@dataclass
class Identity:
    """The identity of a source: a key for the cache, and what was read to compute it."""

    key: str  # a digest of the files' bytes, and with ``named`` of their names
    digests: dict[str, str] = field(default_factory=dict)  # of the files read now; empty if the ledger knew all
    content: dict[str, bytes] = field(default_factory=dict)  # bytes of some of these files
    surprises: list[str] = field(default_factory=list)  # files that changed although their stamps did not


def identify(
    folder: Path, listed: Listed, cache: Path, *, place: str = "", named: bool = True, trust: bool = True
) -> Identity:
    """The identity of the files ``listed`` in ``folder``.

    ``place`` selects the ledger in ``cache`` (default: by the folder's path). With ``named`` the key depends on the
    names too. Without ``trust`` every file is read, and the ledger only serves to find ``surprises``.
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
    """A digest of the names and stamps. It must be fast: it is the cost of opening unchanged data."""
    said = "\0".join([repr(more), *names, ""]).encode(errors="surrogatepass")
    try:
        numbers = array("q", chain.from_iterable(stamps)).tobytes()
    except OverflowError:  # an inode beyond 63 bits
        numbers = repr(stamps).encode()
    return digest_of(said + numbers).hex()


def digest_of(content: bytes) -> bytes:
    """The BLAKE2b digest of bytes: 16 bytes."""
    return hashlib.blake2b(content, digest_size=16).digest()


def _read(folder: Path, names: Sequence[str]) -> tuple[dict[str, str], dict[str, bytes]]:
    """The digests of files, and the bytes of up to `KEPT_BYTES` of them; unreadable files are in neither.

    On one thread: for small files, several would wait longer for each other than for the disk.
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
    """The digest of a file, and its bytes if at most `PIECE`; None if it cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            digest, pieces, size = hashlib.blake2b(digest_size=16), [], 0
            while piece := os.read(handle, PIECE if size else SMALL):  # allocating PIECE is slow for small files
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
    """A digest of the ``repr`` of a value made of plain Python types, as 32 hexadecimal digits."""
    return digest_of(repr(what).encode(errors="surrogatepass")).hex()


def _recorded(ledger: Path, signature: str | None) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The head of a ledger, and, unless it has this signature, the records of its files; both empty if damaged."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError), ledger.open(encoding="utf-8") as lines:
        head: dict[str, Any] = dict(json.loads(lines.readline()))
        if head["signature"] == signature:
            return head, {}
        files: dict[str, list[Any]] = dict(json.loads(lines.readline()))
        return head, files
    return {}, {}


def _record(ledger: Path, head: dict[str, str], files: dict[str, list[Any]]) -> None:
    """Write a ledger, atomically. Errors are ignored: writing the pack to the same cache will report them."""
    temporary = ledger.with_name(f"{ledger.stem}.{uuid.uuid4().hex[:8]}.tmp")
    with contextlib.suppress(OSError):
        try:
            ledger.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(f"{json.dumps(head)}\n{json.dumps(files)}\n", encoding="utf-8")
            os.replace(temporary, ledger)
        finally:
            temporary.unlink(missing_ok=True)
