"""The pack: one file in the cache that holds every decoded picture, ready to be mapped into memory.

Layout: the pixels (raw, of the type that the scale in the index stores, or one encoded picture after the other), a JSON
index, and a footer of 24 bytes that says how long both are. It is written under a temporary name and renamed, so a
reader never meets half a pack and builders that race each other do no harm; a file whose length disagrees with its
footer was cut short and counts as absent.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from reverie.data.decode import Picture, Pixels, decode, fitted
from reverie.data.target_format import MODES, TargetFormat
from reverie.errors import ReverieError
from reverie.scale import PLAIN, Scale

MAGIC = b"reverie\x02"
FOOTER = struct.Struct("<QII8s")  # bytes of pixels, bytes of index, checksum of the index, magic
STREAMED = "streamed"  # how the contents, and so the fingerprint, of what is not known begin
RAW_LIMIT = 8 * 2**30  # above so many bytes of pixels, encoded files are kept and decoded when asked for


def cache_folder() -> Path:
    """REVERIE_CACHE, else reverie in the XDG cache folder."""
    own = os.environ.get("REVERIE_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reverie"


class Pack:
    """An open pack. ``index`` is the JSON as it was written."""

    def __init__(self, path: Path, index: dict[str, Any], size: int) -> None:
        self.index, self.target = index, _target(index)
        self._path = path
        shape: tuple[int, ...] = (len(index["names"]), *self.target.shape)
        self._offsets: NDArray[np.int64] | None = None
        if index["offsets"] is not None:
            self._offsets = np.array(index["offsets"], np.int64)
            shape = (size,)
        kind = np.uint8 if self._offsets is not None else self.target.scale.dtype
        self._pixels: Pixels = np.memmap(path, kind, "r", shape=shape)

    def __reduce__(self) -> tuple[Callable[[Path], Pack | None], tuple[Path]]:
        """A worker of a DataLoader maps it anew."""
        return open_pack, (self._path,)

    def pixels_digest(self) -> str:
        """Of the pixels as they are stored."""
        digest = hashlib.blake2b(digest_size=16)
        flat = self._pixels.reshape(-1).view(np.uint8)
        for start in range(0, len(flat), 2**24):
            digest.update(flat[start : start + 2**24].data)
        return digest.hexdigest()

    def read(self, rows: NDArray[np.int64]) -> Pixels:
        """(n, C, H, W) as the scale stores it, a copy."""
        if self._offsets is None:
            return np.asarray(self._pixels[rows])
        out: Pixels = np.empty((len(rows), *self.target.shape), self.target.scale.dtype)
        for i, row in enumerate(rows):
            out[i] = unpacked(self._pixels[self._offsets[row] : self._offsets[row + 1]].tobytes(), self.target)
        return out


class InPlace:
    """Pictures in memory, read as those of a pack are; ``take`` gives the values of some, (n, C, H, W)."""

    def __init__(self, index: dict[str, Any], take: Callable[[NDArray[np.int64]], Pixels]) -> None:
        self.index, self.target, self._take = index, _target(index), take

    def read(self, rows: NDArray[np.int64]) -> Pixels:
        """(n, C, H, W) as the scale stores it, a copy."""
        return np.ascontiguousarray(fitted(self._take(rows), self.target))


def _target(index: dict[str, Any]) -> TargetFormat:
    channels, height, width = index["shape"]
    return TargetFormat(channels, height, width, index["fit"], Scale(**index["scale"]))


def checksums(opened: Pack) -> tuple[str, int]:
    """Of a pack's pixels and index: equal where two packs hold the same."""
    return opened.pixels_digest(), zlib.crc32(json.dumps(opened.index).encode())


def open_pack(path: Path) -> Pack | None:
    """The pack, or None where there is none or it is damaged."""
    try:
        with path.open("rb") as stream:
            length = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, length - FOOTER.size))
            size, text_size, checksum, magic = FOOTER.unpack(stream.read())
            if magic != MAGIC or size + text_size + FOOTER.size != length:
                return None
            stream.seek(size)
            text = stream.read(text_size)
        return Pack(path, json.loads(text), size) if zlib.crc32(text) == checksum else None
    except (OSError, struct.error):
        return None


class PackWriter:
    """Takes pixels in order, then the index."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        self.size += self._stream.write(data)

    def restart(self) -> None:
        """Forget what was written."""
        self._stream.seek(0)
        self._stream.truncate()
        self.size = 0

    def finish(self, index: dict[str, Any]) -> None:
        text = json.dumps(index).encode()
        self._stream.write(text)
        self._stream.write(FOOTER.pack(self.size, len(text), zlib.crc32(text), MAGIC))


def encode(picture: Pixels) -> bytes:
    """(C, H, W) without loss in few bytes: a PNG of 8 bits, C from 1 to 4, else its numbers compressed."""
    from PIL import Image

    if picture.dtype != np.uint8 or len(picture) not in MODES:
        return zlib.compress(np.ascontiguousarray(picture).data, 1)
    buffer = io.BytesIO()
    array = np.ascontiguousarray(picture.transpose(1, 2, 0))
    Image.fromarray(array[:, :, 0] if len(picture) == 1 else array).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def packed(picture: Pixels, data: Picture, target: TargetFormat, whole: bool) -> bytes:
    """What is kept of a picture where raw pixels are too many: see `unpacked`.

    ``data`` is the file it was made of, and ``whole`` whether it is all that is in there.
    """
    encoded = encode(picture)
    if isinstance(data, bytes) and whole and target.scale == PLAIN and target.channels in MODES:
        return min(data, encoded, key=len)
    return encoded


def unpacked(data: bytes, target: TargetFormat) -> Pixels:
    """(C, H, W) as the target stores it."""
    if target.scale.depth != 8 or target.channels not in MODES:
        return np.frombuffer(zlib.decompress(data), target.scale.dtype).reshape(target.shape)
    return decode(data, replace(target, scale=PLAIN))[0]


@contextmanager
def writing(path: Path) -> Iterator[PackWriter]:
    """A writer whose pack appears under ``path`` when the block ends well, and leaves nothing behind when it does not.

    Only what the writer itself does raises OSError here; it becomes one sentence.
    """
    temporary = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        with temporary.open("xb") as stream:
            yield PackWriter(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as why:
        raise ReverieError(
            f"Cannot write the cache {path.parent} ({why.strerror}); make room, or set REVERIE_CACHE to another folder."
        ) from why
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what killed builders left; what is younger than a day may still be growing."""
    for left in folder.glob("*.tmp"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > 86400:
                left.unlink()
