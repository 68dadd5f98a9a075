"""The pack: one file in the cache with all decoded pictures of a data set, to be memory-mapped.

Layout: the pixels (raw, in the dtype of the scale in the index, or encoded pictures one after the other), a JSON index,
and a footer with the lengths of both. It is written to a temporary file and renamed, so that readers never see an
incomplete pack and two processes may build it at once. A file whose length does not match its footer is ignored.
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
STREAMED = "streamed"  # prefix of ``content`` in the index, and of the fingerprint, of streamed data
RAW_LIMIT = 8 * 2**30  # a pack with more bytes of pixels stores encoded pictures, decoded when they are read


def cache_folder() -> Path:
    """The folder REVERIE_CACHE, or ``reverie`` in the XDG cache folder."""
    own = os.environ.get("REVERIE_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reverie"


class Pack:
    """An open pack. ``index`` is its JSON index."""

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
        """Pickled as its path: a worker of a DataLoader maps the file again."""
        return open_pack, (self._path,)

    def pixels_digest(self) -> str:
        """A digest of the stored pixels."""
        digest = hashlib.blake2b(digest_size=16)
        flat = self._pixels.reshape(-1).view(np.uint8)
        for start in range(0, len(flat), 2**24):
            digest.update(flat[start : start + 2**24].data)
        return digest.hexdigest()

    def read(self, rows: NDArray[np.int64]) -> Pixels:
        """The stored pixels (n, C, H, W) of these rows, a copy."""
        if self._offsets is None:
            return np.asarray(self._pixels[rows])
        out: Pixels = np.empty((len(rows), *self.target.shape), self.target.scale.dtype)
        for i, row in enumerate(rows):
            out[i] = unpacked(self._pixels[self._offsets[row] : self._offsets[row + 1]].tobytes(), self.target)
        return out


class InPlace:
    """Pictures in memory with the interface of `Pack`; ``take`` gives the source values (n, C, H, W) of rows (n,)."""

    def __init__(self, index: dict[str, Any], take: Callable[[NDArray[np.int64]], Pixels]) -> None:
        self.index, self.target, self._take = index, _target(index), take

    def read(self, rows: NDArray[np.int64]) -> Pixels:
        """The pixels (n, C, H, W) of these rows as a pack would store them, a copy."""
        return np.ascontiguousarray(fitted(self._take(rows), self.target))


def _target(index: dict[str, Any]) -> TargetFormat:
    channels, height, width = index["shape"]
    return TargetFormat(channels, height, width, index["fit"], Scale(**index["scale"]))


def checksums(opened: Pack) -> tuple[str, int]:
    """Checksums of a pack's pixels and index: equal if two packs have equal contents."""
    return opened.pixels_digest(), zlib.crc32(json.dumps(opened.index).encode())


def open_pack(path: Path) -> Pack | None:
    """The pack in a file; None if it does not exist or is damaged."""
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
    """Writes the pixels in order, then the index."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        self.size += self._stream.write(data)

    def restart(self) -> None:
        """Discard what was written."""
        self._stream.seek(0)
        self._stream.truncate()
        self.size = 0

    def finish(self, index: dict[str, Any]) -> None:
        text = json.dumps(index).encode()
        self._stream.write(text)
        self._stream.write(FOOTER.pack(self.size, len(text), zlib.crc32(text), MAGIC))


def encode(picture: Pixels) -> bytes:
    """(C, H, W) compressed losslessly: a PNG for 8 bits and 1 to 4 channels, else zlib of its values."""
    from PIL import Image

    if picture.dtype != np.uint8 or len(picture) not in MODES:
        return zlib.compress(np.ascontiguousarray(picture).data, 1)
    buffer = io.BytesIO()
    array = np.ascontiguousarray(picture.transpose(1, 2, 0))
    Image.fromarray(array[:, :, 0] if len(picture) == 1 else array).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def packed(picture: Pixels, data: Picture, target: TargetFormat, whole: bool) -> bytes:
    """The encoded bytes of a picture, for a pack that does not store raw pixels; `unpacked` decodes them.

    ``data`` is the picture's file, which is stored itself if it is smaller and holds nothing else (``whole``).
    """
    encoded = encode(picture)
    if isinstance(data, bytes) and whole and target.scale == PLAIN and target.channels in MODES:
        return min(data, encoded, key=len)
    return encoded


def unpacked(data: bytes, target: TargetFormat) -> Pixels:
    """The stored pixels (C, H, W) from bytes of `packed`."""
    if target.scale.depth != 8 or target.channels not in MODES:
        return np.frombuffer(zlib.decompress(data), target.scale.dtype).reshape(target.shape)
    return decode(data, replace(target, scale=PLAIN))[0]


@contextmanager
def writing(path: Path) -> Iterator[PackWriter]:
    """Yield a writer whose pack is renamed to ``path`` when the block succeeds, and removed when it fails.

    An OSError in the block, which only the writer can raise, becomes a ReverieError.
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
    """Remove temporary files older than a day, left by killed processes; younger ones may be in use."""
    for left in folder.glob("*.tmp"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > 86400:
                left.unlink()
