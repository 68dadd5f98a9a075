"""Encode PNG files: small ones by Pillow, and 16-bit colour, which Pillow does not write."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels: grey, grey with alpha, RGB, RGBA (W3C PNG, section 11.2.1)


def png(picture: Image.Image) -> bytes:
    """The bytes of a PNG at Pillow's best compression."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def png16(array: NDArray[Any], profile: bytes | None = None) -> bytes:
    """The bytes of a 16-bit PNG from uint16 (C, H, W), C from 1 to 4, with an optional ICC profile."""
    channels, height, width = array.shape
    rows = array.transpose(1, 2, 0).astype(">u2").reshape(height, -1).view(np.uint8).astype(np.int16)
    # Filter 1: each byte minus that of the pixel to its left, modulo 256, which compresses better.
    step = 2 * channels
    rows[:, step:] -= rows[:, :-step].copy()
    filtered = np.concatenate([np.ones((height, 1), np.uint8), rows.astype(np.uint8)], 1)
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, 0)
    colours = b"" if profile is None else _chunk(b"iCCP", b"ICC\0\0" + zlib.compress(profile))
    pixels = zlib.compress(filtered.tobytes(), 6)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + colours + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
