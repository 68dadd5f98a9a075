"""Read idx files, the format of MNIST, gzipped or not; labels and test files are found in the same folder."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from reverie.data.arrays import Array, Arrays, from_parts
from reverie.errors import ReverieError

TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
LIMIT = 64 * 2**30  # bytes that an idx header may declare


def from_idx(path: Path, layout: str = "auto") -> Arrays:
    """The pictures of an idx file, with its labels and the test files if they are in the same folder."""
    images = read_idx(path)
    parts = [(0 if path_of_test(path) else -1, images, _beside(path))]
    test = path_of_test(path)
    if test is not None:
        parts.append((2, read_idx(test), _beside(test)))
    return from_parts(str(path), parts, layout)


def idx_files(path: Path) -> list[Path]:
    """All files that `from_idx` reads."""
    test = path_of_test(path)
    found = [path, path_of_labels(path), test, test and path_of_labels(test)]
    return [file for file in found if file is not None]


def path_of_labels(images: Path) -> Path | None:
    """train-images-idx3-ubyte.gz -> train-labels-idx1-ubyte.gz; None if it does not exist."""
    name = re.sub(r"idx[34]", "idx1", images.name.replace("images", "labels"))
    return _existing(images.with_name(name)) if name != images.name else None


def path_of_test(images: Path) -> Path | None:
    """train-images-idx3-ubyte.gz -> t10k-images-idx3-ubyte.gz (or test-...); None if not there."""
    if "train" not in images.name:
        return None
    return _existing(*(images.with_name(images.name.replace("train", other)) for other in ("t10k", "test")))


def _packed_or_not(path: Path) -> tuple[Path, Path]:
    return path, path.with_name(path.name[:-3] if path.name.endswith(".gz") else path.name + ".gz")


def _existing(*paths: Path) -> Path | None:
    candidates = [other for path in paths for other in _packed_or_not(path)]
    return next((path for path in candidates if path.is_file()), None)


def _beside(images: Path) -> Array | None:
    labels = path_of_labels(images)
    return None if labels is None else read_idx(labels)


def is_idx(path: Path) -> bool:
    """Whether the (decompressed) file starts as an idx file of pictures or labels does."""
    try:
        with _unpacked(path) as stream:
            start = stream.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return len(start) == 4 and start[:2] == b"\0\0" and start[2] in TYPES and 1 <= start[3] <= 4


def _unpacked(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path)) if zipped else path.open("rb")


def read_idx(path: Path) -> Array:
    """The array in an idx file, gzipped or not. Raises ReverieError if it is damaged."""
    try:
        with _unpacked(path) as stream:
            start = stream.read(4)
            sizes = [int.from_bytes(stream.read(4), "big") for _ in range(start[3])]
            kind = np.dtype(TYPES[start[2]])
            wanted = math.prod(sizes) * kind.itemsize
            if wanted > LIMIT:
                raise ReverieError(f"{path} declares {wanted / 2**30:.0f} GiB of data; it is damaged: fetch it again.")
            data = _exactly(stream, wanted)
    except (OSError, EOFError, zlib.error, IndexError, KeyError) as why:
        raise ReverieError(f"{path} is no readable idx file ({why}); it may be incomplete: fetch it again.") from why
    if len(data) != wanted:
        raise ReverieError(f"{path} declares {wanted} bytes and holds {len(data)}; it is incomplete: fetch it again.")
    array: Array = np.frombuffer(data, kind).reshape(sizes)
    return array.astype(kind.newbyteorder("="), copy=False)


def _exactly(stream: IO[bytes], wanted: int) -> bytes:
    """Read up to so many bytes, in pieces: a single read would allocate all that a damaged header declares."""
    pieces, left = [], wanted
    while left and (piece := stream.read(min(left, 2**24))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
