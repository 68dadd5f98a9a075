"""Decode a source once, into a pack."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np

from reverie.data import pack
from reverie.data.arrange import natural
from reverie.data.arrays import Arrays
from reverie.data.decode import Picture, decode, fitted, look
from reverie.data.files import FileEntry, Files
from reverie.data.fingerprint import digest_of
from reverie.data.formats import Unreadable
from reverie.data.options import DataOptions
from reverie.data.splits import spread
from reverie.data.target_format import CHANNEL_WORDS, PictureInfo, TargetFormat, choose_target, spans_of
from reverie.errors import ReverieError
from reverie.scale import PLAIN, Scale

Progress = Callable[[int, int], None]  # progress(done, total); a file counts twice: header, then decoding
T = TypeVar("T")

CHUNK = 256  # pictures of an array at a time
PORTION, PORTION_BYTES = 128, 2**20  # files in a task of a thread: at most so many, or about so many bytes


class Kept(NamedTuple):
    """A picture that was decoded and written."""

    entry: FileEntry
    digest: bytes  # of its file, and the part of it that it is (half, page)
    pixels: bytes  # digest of the stored pixels
    seen: PictureInfo
    stored: int  # bytes in the pack


def build_files(
    what: str,
    files: Files,
    options: DataOptions,
    writer: pack.PackWriter,
    progress: Progress | None,
    scale: Scale | None = None,
) -> dict[str, Any]:
    """Write the pixels of every readable file; returns the index. Raises ReverieError if nothing is readable.

    ``scale`` is that of a run, for pictures that are to be read as its own were.
    """
    entries = spread(files.entries, [entry.name for entry in files.entries], options.limit)
    if not entries:
        raise ReverieError(_nothing(what, files))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of unusual files; damaged ones are listed as unreadable
        found, failed = _look(entries, progress)
        if not found:
            raise ReverieError(_nothing(what, files, failed))
        found = spread(found, [entry.name for entry, _ in found], options.limit)  # files may hold several pictures
        target = choose_target([seen for _, seen in found], options, scale)
        while True:
            raw = len(found) * math.prod(target.shape) <= pack.RAW_LIMIT
            kept, broken = _decode([entry for entry, _ in found], target, raw, writer, progress)
            failed += broken
            if not kept:
                raise ReverieError(_nothing(what, files, failed))
            again = choose_target([one.seen for one in kept], options, scale)
            if again == target:
                break
            # The choice included files whose pixels could not be decoded, or the range of the values was unknown.
            target, found = again, [(one.entry, one.seen) for one in kept]
            writer.restart()
    names = [one.entry.name for one in kept]
    labels, classes = _classes([one.entry.label for one in kept], files.classes, files.least)
    seen_all = [one.seen for one in kept]
    sizes = [(seen.height, seen.width) for seen in seen_all]
    splits, digests = [one.entry.split for one in kept], [one.digest for one in kept]
    return {
        **_index(target, names, splits, digests, [one.pixels for one in kept], labels, classes),
        "offsets": None if raw else np.cumsum([0, *(one.stored for one in kept)]).tolist(),
        "sizes": sizes if len(set(sizes)) > 1 else None,
        "factors": {key: [_of(values, name) for name in names] for key, values in files.factors.items()},
        "unreadable": sorted(files.unreadable + failed),
        "failed": sorted(name for name, _ in failed),
        "notes": [*files.notes, *_vanished(entries, [one.entry for one in kept])],
        "found": {
            "read as": files.said,
            "sizes": _histogram(f"{seen.height}x{seen.width}" for seen in seen_all),
            "modes": _histogram(seen.mode for seen in seen_all),
            "bits": _histogram(str(seen.bits) for seen in seen_all),
            "not pictures": dict(files.other.most_common()),
            "notes": _notes(seen_all, target.scale),
        },
    }


def readable(files: Files, names: Collection[str], target: TargetFormat) -> bool:
    """Whether any of the pictures with these names, which could not be read before, can be read now."""
    whole = {*names, *(name.rpartition("#")[0] for name in names)}
    found, _ = _look([entry for entry in files.entries if entry.name in whole], None)
    again = [entry for entry, _ in found if entry.name in names]
    return any(
        not isinstance(result, Unreadable)
        for _, result in _parallel(lambda data, entry: decode(data, target, entry.half, entry.page), again)
    )


def build_arrays(
    arrays: Arrays, target: TargetFormat, writer: pack.PackWriter | None, progress: Progress | None
) -> dict[str, Any]:
    """Write the pixels of every picture, if there is a writer; returns the index."""
    count = len(arrays.splits)
    digests, pixels = [], []
    for start in range(0, count, CHUNK):
        group = np.arange(start, min(start + CHUNK, count))
        digests += [digest_of(arrays.content(i)) for i in group.tolist()]
        if arrays.streamed:
            pixels = digests  # the pixels are unknown
        else:
            chunk = fitted(arrays.take(group), target)
            pixels += [digest_of(picture.tobytes()) for picture in chunk]
            if writer is not None:
                writer.write(np.ascontiguousarray(chunk).data)
        if progress is not None:
            progress(len(digests), count)
    labels = None if arrays.labels is None else arrays.labels.tolist()
    channels, height, width = arrays.shape
    seen = PictureInfo("", channels, height, width, 8, arrays.kind, arrays.span)
    index = _index(target, arrays.names, arrays.splits.tolist(), digests, pixels, labels, arrays.classes)
    if arrays.streamed:
        index["content"] = f"{pack.STREAMED} {count} of {'x'.join(map(str, target.shape))}"
    return {
        **index,
        "offsets": None,
        "sizes": None,
        "factors": {},
        "unreadable": [],
        "failed": [],
        "notes": [],
        "found": {
            "read as": arrays.said or (f"{len(arrays.classes)} classes from labels" if labels else "no classes"),
            "sizes": {f"{height}x{width}": count},
            "modes": {CHANNEL_WORDS.get(channels, f"{channels} channels"): count},
            "bits": {arrays.depth: count},
            "not pictures": {},
            "notes": _notes([seen], target.scale),
        },
    }


def _notes(seen: Sequence[PictureInfo], scale: Scale) -> list[str]:
    """Notes for the user on how values were read."""
    notes = []
    span = spans_of(seen).get(scale.kind)
    if not scale.full:
        held = "" if span is None else f"values from {span[0]:g} to {span[1]:g}: "
        notes.append(f"{held}{scale.low:g} is black and {scale.high:g} white; data.range sets others")
    notes += [f"pictures {remark} ({n})" for remark, n in Counter(one.remark for one in seen).items() if remark]
    lost = sum(one.bits > 8 and one.kind == "byte" for one in seen)
    if lost:
        notes.append(f"pictures of more than 8 bits that are read at 8, as nothing here reads them deeper: {lost}")
    return notes


def _read(entry: FileEntry) -> Picture | Unreadable:
    try:
        return entry.read()
    except Exception as why:  # zip members fail in many ways: encrypted, unknown method, bad checksum, truncated ...
        return Unreadable(f"cannot be read: {getattr(why, 'strerror', None) or why or type(why).__name__}")


def _parallel(
    work: Callable[[Picture, FileEntry], T], entries: Sequence[FileEntry]
) -> Iterator[tuple[FileEntry, T | Unreadable]]:
    """(entry, result of ``work`` on its bytes) for each entry, in order; ``work`` runs on several threads.

    Files are read on this thread, since a tar can only be read sequentially.
    """

    def attempt(portion: list[tuple[FileEntry, Picture | Unreadable]]) -> list[tuple[FileEntry, T | Unreadable]]:
        results: list[tuple[FileEntry, T | Unreadable]] = []
        for entry, data in portion:
            try:
                results.append((entry, data if isinstance(data, Unreadable) else work(data, entry)))
            except Unreadable as why:
                results.append((entry, why))
        return results

    workers = min(16, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[list[tuple[FileEntry, T | Unreadable]]]] = deque()
        for portion in _portions(entries):
            waiting.append(pool.submit(attempt, portion))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _portions(entries: Sequence[FileEntry]) -> Iterator[list[tuple[FileEntry, Picture | Unreadable]]]:
    """Entries with their bytes, in portions large enough that the overhead of a thread's task is small."""
    portion: list[tuple[FileEntry, Picture | Unreadable]] = []
    size = 0
    before: FileEntry | None = None
    for entry in entries:
        if before is None or entry.read is not before.read:  # a file with several pages is read once
            data, before = _read(entry), entry
        portion.append((entry, data))
        size += len(data) if isinstance(data, bytes) else 0
        if len(portion) == PORTION or size > PORTION_BYTES:
            yield portion
            portion, size = [], 0
    yield portion


def _look(
    entries: Sequence[FileEntry], progress: Progress | None
) -> tuple[list[tuple[FileEntry, PictureInfo]], list[tuple[str, str]]]:
    found, failed = [], []
    for done, (entry, seen) in enumerate(_parallel(lambda data, entry: look(data, entry.half), entries), 1):
        if progress is not None:
            progress(done, 2 * len(entries))
        if isinstance(seen, Unreadable):
            failed.append((entry.name, str(seen)))
        else:
            found += [(each, seen) for each in _pages(entry, seen)]
    return found, failed


def _pages(entry: FileEntry, seen: PictureInfo) -> list[FileEntry]:
    """An entry for each picture in a file: NAME#0, NAME#1 and so on if there are several."""
    if seen.pages == (entry.page,):
        return [entry]
    if len(seen.pages) == 1:
        return [replace(entry, page=seen.pages[0])]
    return [replace(entry, name=f"{entry.name}#{i}", page=page) for i, page in enumerate(seen.pages)]


def _decode(
    entries: Sequence[FileEntry], target: TargetFormat, raw: bool, writer: pack.PackWriter, progress: Progress | None
) -> tuple[list[Kept], list[tuple[str, str]]]:
    """Write each picture; returns those written, and the names and reasons of those that failed."""

    def work(data: Picture, entry: FileEntry) -> tuple[Kept, bytes]:
        if not isinstance(data, bytes):  # a picture in memory has a digest of its pixels
            digest = bytes.fromhex(entry.digest)
        else:
            digest = digest_of_pages(data) if entry.page else digest_of(data)
        if entry.digest and entry.digest != digest.hex():  # the source's key was computed from other bytes
            raise Unreadable("changed while it was read; look again")
        picture, seen = decode(data, target, entry.half, entry.page)
        part = entry.half + (str(entry.page) if entry.page else "")
        if entry.page:
            digest = digest_of(digest + part.encode())
        elif part:
            digest = digest_of((data if isinstance(data, bytes) else digest) + part.encode())
        pixels = picture.tobytes()
        stored = pixels if raw else bytes(pack.packed(picture, data, target, whole=not part))
        return Kept(entry, digest, digest_of(pixels), seen, len(stored)), stored

    digest_of_pages = lru_cache(1)(digest_of)  # a file with many pictures is hashed once, not for each of them
    kept, failed = [], []
    for done, (entry, result) in enumerate(_parallel(work, entries), 1):
        if isinstance(result, Unreadable):
            failed.append((entry.name, str(result)))
        else:
            kept.append(result[0])
            writer.write(result[1])
        if progress is not None:
            progress(len(entries) + done, 2 * len(entries))
    return kept, failed


def _index(
    target: TargetFormat,
    names: Sequence[str],
    splits: Sequence[int],
    digests: Sequence[bytes],
    pixels: Sequence[bytes],
    labels: Sequence[int] | None,
    classes: Sequence[str],
) -> dict[str, Any]:
    first: dict[bytes, int] = {}
    said = repr((target, list(splits), labels, list(classes)))
    said = said.replace("TargetFormat(", "Plan(", 1)  # the class's old name: fingerprints must not change
    content = hashlib.blake2b(said.encode(), digest_size=16)
    content.update(b"".join(digests))
    if target.scale != PLAIN:  # pictures of plain 8 bits keep the fingerprint from before scales existed
        content.update(repr(target.scale).encode())
    return {
        "shape": target.shape,
        "fit": target.fit,
        "scale": asdict(target.scale),
        "names": names,
        "splits": splits,
        "draws": [int.from_bytes(digest[:4], "little") for digest in digests],
        "digests": [digest[:8].hex() for digest in digests],
        "twins": [[i, first[one]] for i, one in enumerate(pixels) if first.setdefault(one, i) != i],
        "labels": labels,
        "classes": classes if labels is not None else [],
        "content": content.hexdigest(),
    }


def _classes(names: Sequence[str | None], order: Sequence[str], least: int) -> tuple[list[int] | None, list[str]]:
    there = {name for name in names if name is not None}
    classes = [name for name in order if name in there] or natural(there)
    if len(classes) < least:
        return None, []
    numbers: dict[str | None, int] = {name: i for i, name in enumerate(classes)}
    return [numbers[name] for name in names], classes


def _of(values: Mapping[str, float], name: str) -> float:
    """An attribute of a picture; for a page, that of its file."""
    return values[name] if name in values else values[name.rpartition("#")[0]]


def _vanished(entries: Sequence[FileEntry], kept: Sequence[FileEntry]) -> list[str]:
    """Notes on classes of which no picture can be read."""
    gone = {entry.label for entry in entries} - {entry.label for entry in kept}
    return [f"no picture of the class {name} can be read" for name in natural([name for name in gone if name])]


def _histogram(values: Iterable[str]) -> dict[str, int]:
    counts = Counter(values).most_common()
    rest = sum(count for _, count in counts[20:])
    return dict(counts[:20]) | ({"other": rest} if rest else {})


def _nothing(what: str, files: Files, failed: Sequence[tuple[str, str]] = ()) -> str:
    if failed or files.unreadable:
        name, why = [*failed, *files.unreadable][0]
        count = len(failed) + len(files.unreadable)
        return f"None of the {count} picture files in {what} can be read; the first is {name} ({why})."
    if files.other:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in files.other.most_common(5))
        return f"There are no pictures in {what}, only other files ({kinds}); give a folder with .png or .jpg files."
    return f"There are no pictures in {what}; give a folder with .png or .jpg files."
