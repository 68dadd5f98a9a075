"""Ways to compress pictures and to decompress them: quantised codes, principal components, image files."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from reverie.capabilities import Reconstructs
from reverie.data.decode import Pixels
from reverie.data.image_io import to_tensor, to_uint8
from reverie.engine.randomness import derive
from reverie.inference.codes import decode, latents
from reverie.inference.labels import classes_of
from reverie.inference.pictures import Pictures, Read, sample_indices

MOST_NUMBERS = 2**26  # values of the pictures that principal components are fitted on: 256 MB
CODED = ", entropy coded"

Coder = Callable[[Read], tuple[Tensor, dict[str, NDArray[np.float64]]]]
"""From n pictures to the decompressed pictures, (n, C, H, W) in [-1, 1] on the CPU, and the bytes of each picture,
(n,), by the name of the curve."""


class Cells:
    """A uniform quantiser: 2^bits equal cells for each dimension of a code, over the range of training codes (N, d)."""

    def __init__(self, codes: NDArray[np.float64], bits: int) -> None:
        self.count = 2**bits
        self.bits = bits
        self.low = codes.min(0)
        self.width = (codes.max(0) - self.low) / self.count  # zero for a constant dimension
        # Half a count is added to each cell, so that empty cells have a price too (Krichevsky, Trofimov 1981).
        counts = np.full((codes.shape[1], self.count), 0.5)
        cells = self.of(codes)
        for dimension, row in enumerate(counts):
            row += np.bincount(cells[:, dimension], minlength=self.count)
        self.price = -np.log2(counts / counts.sum(1, keepdims=True))  # (d, 2^bits), in bits
        self.price[self.width == 0] = 0  # a constant dimension need not be stored

    def of(self, codes: NDArray[np.float64]) -> NDArray[np.int64]:
        """The cell of each number of codes (n, d); outside the range, the first or last cell."""
        width = np.where(self.width > 0, self.width, 1)
        return np.asarray(np.floor((codes - self.low) / width).clip(0, self.count - 1), np.int64)

    def middles(self, cells: NDArray[np.int64]) -> NDArray[np.float64]:
        """The middle of each cell (n, d): inside the range, at most half a cell away from the number."""
        return np.asarray(self.low + (cells + 0.5) * self.width)

    def entropy(self, cells: NDArray[np.int64]) -> NDArray[np.float64]:
        """The bits (n,) that an ideal entropy coder with the frequencies of the training codes needs for (n, d)."""
        return np.asarray(self.price[np.arange(cells.shape[1]), cells].sum(1))


class NetworkCode:
    """Encoding and decoding by a model."""

    def __init__(self, model: Reconstructs) -> None:
        self.model = model
        self.size = latents(model, 1).numel()
        self.label_bytes = math.log2(len(classes_of(model)) or 1) / 8  # of the class, which the decoder needs

    @torch.no_grad()
    def encode(self, part: Read) -> NDArray[np.float64]:
        """(n, d); a Gaussian code is its mean."""
        codes = self.model.encode(part.images, part.labels).mean.flatten(1).double().cpu().numpy()
        return np.asarray(codes)

    def decode(self, codes: NDArray[np.float64], part: Read) -> Tensor:
        """(n, C, H, W) in [-1, 1], conditioned on the classes of ``part``."""
        return decode(self.model, codes, part.labels, len(codes))


class LinearCode:
    """Encoding and decoding by principal components."""

    label_bytes = 0.0

    def __init__(self, dataset: Pictures, rows: NDArray[np.int64], size: int, seed: int, batch: int) -> None:
        from sklearn.decomposition import PCA
        from threadpoolctl import threadpool_limits

        self.shape = dataset.image_spec.shape
        rows = rows[sample_indices(rows, max(1, MOST_NUMBERS // math.prod(self.shape)), seed)]
        known = np.empty((len(rows), math.prod(self.shape)), np.float32)
        for start in range(0, len(rows), batch):
            part = slice(start, start + batch)
            known[part] = to_tensor(dataset.batch(rows[part])).flatten(1).numpy()
        self.size = min(size, *known.shape)
        # Exact where that is quick, randomised (Halko et al. 2011) for large pictures. One thread: reproducible sums.
        with threadpool_limits(1):
            self.pca = PCA(self.size, random_state=derive(seed, "pca") % 2**32).fit(known)
            self.known = np.asarray(self.pca.transform(known), np.float64)  # (n, size), codes of the training pictures

    def encode(self, part: Read) -> NDArray[np.float64]:
        """(n, d), the largest component first."""
        return np.asarray(self.pca.transform(part.images.flatten(1).float().cpu().numpy()), np.float64)

    def decode(self, codes: NDArray[np.float64], part: Read) -> Tensor:
        """(n, C, H, W) in [-1, 1]."""
        pixels = self.pca.inverse_transform(codes.astype(np.float32)).astype(np.float32)
        return torch.from_numpy(pixels).view(-1, *self.shape).clamp(-1, 1)


def code_coder(name: str, transform: NetworkCode | LinearCode, cells: Cells | None) -> Coder:
    """A coder by codes quantised to ``cells``; None: stored as float32."""

    def code(part: Read) -> tuple[Tensor, dict[str, NDArray[np.float64]]]:
        codes = transform.encode(part)
        if cells is None:
            sizes = {name: np.full(len(codes), 4 * transform.size + transform.label_bytes)}
            return transform.decode(codes, part), sizes
        found = cells.of(codes)
        fixed = np.full(len(codes), transform.size * cells.bits / 8 + transform.label_bytes)
        sizes = {name: fixed, name + CODED: cells.entropy(found) / 8 + transform.label_bytes}
        return transform.decode(cells.middles(found), part), sizes

    return code


# By format, Pillow's mode for each number of channels. WebP has no grey mode: grey is stored as RGB.
FORMATS: Mapping[str, Mapping[int, str]] = {
    "JPEG": {1: "L", 3: "RGB"},
    "WebP": {1: "L", 3: "RGB", 4: "RGBA"},
    "PNG": {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"},
}


def file_coder(kind: str, quality: int | None) -> Coder:
    """A coder by whole files as Pillow writes them, as small as it can; ``quality`` None: lossless."""

    def code(part: Read) -> tuple[Tensor, dict[str, NDArray[np.float64]]]:
        outputs, sizes = [], []
        for pixels in to_uint8(part.images):
            data = _written(pixels, kind, quality)
            sizes.append(float(len(data)))
            with Image.open(io.BytesIO(data)) as image:
                array = np.asarray(image.convert(FORMATS[kind][len(pixels)]))
            outputs.append(array.reshape(*pixels.shape[1:], len(pixels)).transpose(2, 0, 1))
        return to_tensor(np.stack(outputs)), {kind: np.array(sizes)}

    return code


def _written(pixels: Pixels, kind: str, quality: int | None) -> bytes:
    """The file of a picture (C, H, W)."""
    array = np.ascontiguousarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    stream = io.BytesIO()
    options: dict[str, object] = {"optimize": True} if quality is None else {"quality": quality, "optimize": True}
    if kind == "WebP":
        options = {"quality": quality, "method": 6, "exact": True}  # keeps the colour of transparent pixels
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()
