"""Pictures in memory: arrays, tensors, and lists of PIL images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from reverie.data.arrays import Array, Arrays, from_parts, labels_of
from reverie.data.files import FileEntry, Files
from reverie.data.fingerprint import digest_of
from reverie.data.formats import damage
from reverie.errors import ReverieError

if TYPE_CHECKING:
    from PIL import Image

FEW = (1, 2, 3, 4)  # a last axis of this size is channels, not width
FEW_FIRST = (3, 4)  # a first axis of this size in a tensor may be channels, or the number of pictures


def is_array(data: object) -> bool:
    """Whether data is a NumPy array or a torch tensor."""
    return isinstance(data, np.ndarray) or is_tensor(data)


def is_tensor(data: object) -> bool:
    """Whether data is a torch tensor; torch is imported already if it is."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(data, torch.Tensor)


def is_picture(data: object) -> TypeGuard[Image.Image]:
    """Whether data is a PIL image."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(data, module.Image)


def are_pictures(data: object) -> bool:
    """Whether data is an array, a tensor, or a list of PIL images."""
    return is_array(data) or (isinstance(data, list | tuple) and len(data) > 0 and is_picture(data[0]))


def as_array(data: Any) -> Array:
    """A NumPy array or torch tensor as an array, sharing memory if possible."""
    if isinstance(data, np.ndarray):
        return np.asarray(data)
    import torch

    tensor = data.detach()
    if tensor.dtype in (torch.bfloat16, torch.float16):  # NumPy has no bfloat16
        tensor = tensor.float()
    array: NDArray[Any] = tensor.cpu().resolve_conj().resolve_neg().numpy()
    return array


def from_array(what: str, images: Any, labels: Any, layout: str, least: int = 2) -> Arrays:
    """Pictures from an array or tensor, not copied; ``labels`` are (N,) integers or names, or None.

    Labels of fewer classes than ``least`` are dropped. Raises ReverieError if the axes are ambiguous.
    """
    array = as_array(images)
    if array.ndim == 2:
        raise ReverieError(f"{what} has the shape {array.shape}, as one picture has; give several, or pictures[None].")
    if array.ndim == 3 and len(array) and array.shape[2] in FEW and layout == "auto":
        raise ReverieError(
            f"{what} has the shape {array.shape}, which may be one picture, (H, W, C), or many, (N, H, W); give "
            "pictures[None], or say data.layout=nhw."
        )
    if array.ndim == 3 and is_tensor(images) and array.shape[0] in FEW_FIRST and layout == "auto":
        raise ReverieError(
            f"{what} has the shape {array.shape}, which may be one picture, (C, H, W), or many, (N, H, W); give "
            "pictures[None], or say data.layout=nhw."
        )
    made = from_parts(what, [(-1, array, None if labels is None else _column(labels))], layout, least)
    return replace(made, in_memory=True)


def from_pictures(what: str, images: Sequence[Any], labels: Any, least: int = 2) -> Files:
    """Pictures from a list of PIL images, treated like files: of any size and mode, rotated by their EXIF orientation.

    ``labels`` and ``least`` as for `from_array`.
    """
    if odd := [type(image).__name__ for image in images if not is_picture(image)]:
        raise ReverieError(f"{what} holds PIL pictures, and also a {odd[0]}; give pictures alone.")
    names: list[str] | list[None] = [None] * len(images)
    if labels is not None:
        numbers, classes = labels_of(what, [(len(images), _column(labels))], least)
        names = names if numbers is None else [classes[number] for number in numbers]
    files = Files(said="no classes" if names[0] is None else f"{len(set(names))} classes from labels")
    for i, (image, name) in enumerate(zip(images, names, strict=True)):
        try:
            digest = _digest(image)
        except Exception as why:  # Pillow's plugins raise many types of errors on damaged files
            files.unreadable.append((str(i), damage(why)))
        else:
            files.entries.append(FileEntry(str(i), partial(_same, image), label=name, digest=digest))
    return files


def digested(files: Files) -> Files:
    """The files with the digests of their bytes."""
    found = [replace(entry, digest=_digest_of_bytes(entry)) for entry in files.entries]
    return replace(files, entries=found)


def _column(labels: Any) -> Array:
    """Labels as an array of integers or names; `labels_of` refuses any other type."""
    column = as_array(labels) if is_array(labels) else np.asarray(labels)
    if column.dtype.kind == "b":
        return column.astype(np.int64)
    if column.dtype.kind == "O":  # such as a column of a pandas table
        values = column.ravel().tolist()
        for kind, dtype in ((str, np.str_), (Integral, np.int64)):
            if values and all(isinstance(value, kind) for value in values):
                return column.astype(dtype)
    return column


def _same(image: Image.Image) -> Image.Image:
    return image


def _digest(image: Image.Image) -> str:
    """A digest of the decoded pixels, not of an encoding, which may differ between versions of a library."""
    from PIL import ImageOps

    image.load()
    upright = ImageOps.exif_transpose(image)
    palette = upright.getpalette(None) if upright.mode in ("P", "PA") else None
    clear = upright.info.get("transparency")
    head = repr((upright.mode, upright.size, palette, clear)).encode()
    return digest_of(head + upright.tobytes()).hex()


def _digest_of_bytes(entry: FileEntry) -> str:
    try:
        content = entry.read()
    except OSError:  # it will be listed as unreadable
        return ""
    return digest_of(content).hex() if isinstance(content, bytes) else ""
