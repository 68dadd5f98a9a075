"""Compression of pictures: by an autoencoder's code, by principal components, and by JPEG, WebP and PNG.

Each of the d numbers of a code is quantised to 2^b equal cells over its range on training pictures: d b / 8 bytes a
picture. *Entropy coded* is the size of the same cells under an ideal arithmetic coder with the frequencies of the cells
on training pictures: minus the sum of log2 of those, each dimension on its own. It is computed, not written; a real
coder comes within two bits a picture of it (Witten et al. 1987). Decoders are not counted for any method: neither
networks, principal components and frequency tables nor the program that reads JPEG. JPEG, WebP and PNG are counted as
whole files, whose headers matter for small pictures: some 300 bytes of JPEG, 100 to 200 in grey.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import features
from torch import Tensor

from reverie.capabilities import Reconstructs
from reverie.config import check_range
from reverie.errors import ReverieError
from reverie.inference.codes import latents, rows_of
from reverie.inference.embed import embed
from reverie.inference.labels import Labels, labels_for
from reverie.inference.pictures import Data, Pictures, Read, device_of, pictures_of, read, sample_indices
from reverie.inference.unsupported import unsupported
from reverie.metrics.images import mse, psnr
from reverie.reporting.charts import Spot, lines
from reverie.tasks.codecs import CODED, FORMATS, Cells, Coder, LinearCode, NetworkCode, code_coder, file_coder

BITS = (2, 3, 4, 5, 6, 8)  # per number of a code; float32 is measured too
QUALITIES = (1, 5, 10, 25, 50, 75, 90)  # of JPEG and WebP
MOST_KNOWN = 10_000  # training pictures that ranges, frequencies and principal components come from
LEAST = 0.01  # bytes; fewer are plotted as this
LOSSLESS = 99.0  # dB; `psnr` of equal pictures is 100


@dataclass(frozen=True)
class Point:
    """One setting of one compression method."""

    name: str  # of the curve
    setting: str
    bytes: float  # per picture, mean
    psnr: float  # dB, mean over pictures, peak 1, at most 100
    mse: float  # mean over pictures, pixels in [0, 1]


@dataclass(frozen=True)
class Comparison:
    """Pictures and their decompressed versions, for a grid with a column for each picture."""

    pictures: Tensor  # (rows * N, C, H, W) in [-1, 1], row by row, the originals first
    names: list[str]  # (rows,): each row's method, with its mean bytes per picture


@dataclass(frozen=True)
class Compression:
    """The result of `compress`."""

    model: Reconstructs
    name: str  # of the model's curve
    latent: int  # numbers in its code
    pictures: int  # measured
    points: list[Point]
    notes: list[str]  # sentences: what was left out, and why
    coders: Mapping[tuple[str, str], Coder]  # by curve and setting

    def curve(self, name: str) -> list[Point]:
        """The points of one name."""
        return [point for point in self.points if point.name == name]

    def picture(self, images: Tensor, bits: int = 4, labels: Labels | None = None) -> Comparison:
        """``images`` (N, C, H, W) in [-1, 1] above their decompressed versions.

        First by the model at ``bits`` a number (32: float32), then by PCA at the same, then by JPEG and WebP (where
        they support such pictures) at the quality whose mean bytes over the test pictures are nearest to the model's. A
        conditional model needs the class of each picture, by name or number.
        """
        setting = _setting(bits)
        if (self.name, setting) not in self.coders:
            raise ReverieError(f"{bits} bits were not measured; take one of {', '.join(map(str, (*BITS, 32)))}.")
        numbers = labels_for(self.model, labels, len(images))
        device = device_of(self.model)
        given = Read(np.arange(len(images)), images.to(device), None if numbers is None else numbers.to(device))
        (mine,) = (point for point in self.curve(self.name) if point.setting == setting)
        chosen = [(self.name, setting), ("PCA", setting)]
        for name in ("JPEG", "WebP"):
            if curve := self.curve(name):
                near = min(curve, key=lambda point: abs(point.bytes - mine.bytes))
                chosen.append((name, near.setting))
        rows, names = [images.float().cpu()], ["original"]
        for name, what in chosen:
            output, sizes = self.coders[name, what](given)
            rows.append(output)
            names.append(f"{name}, {what}: {sizes[name].mean():.4g} bytes")
        return Comparison(torch.cat(rows), names)

    def chart(self, title: str = "Quality against bytes") -> str:
        """An SVG: PSNR over mean bytes per picture, on a logarithmic axis. Lossless curves are not drawn."""
        curves = {name: self.curve(name) for name in dict.fromkeys(point.name for point in self.points)}
        drawn = {name: [_spot(point) for point in curve] for name, curve in curves.items() if _loses(curve)}
        dashed = [name for name in drawn if name.endswith(CODED)]
        return lines(title, "bytes a picture", "PSNR, dB", drawn, dashed=dashed, logarithmic=True)


def compress(
    model: object, training: Data, test: Data, count: int = 1000, seed: int = 0, batch: int = 256
) -> Compression:
    """Quality against bytes per picture, measured on ``count`` test pictures (all, where there are no more).

    The curves: the model at `BITS` a number and at float32, PCA with as many components quantised in the same way, both
    also entropy coded, and JPEG and WebP at `QUALITIES` and PNG where they support that number of channels. Ranges,
    frequencies and components come from at most `MOST_KNOWN` training pictures (components from as many of them as
    `MOST_NUMBERS` allows), sampled by ``seed``, as the test pictures are. A Gaussian code is its mean. A conditional
    model needs the class, which is counted as log2 of the number of classes.

    Raises ReverieError for a model that cannot reconstruct, and for sets without pictures or of different shapes.
    """
    if not isinstance(model, Reconstructs):
        raise unsupported(model, "compress pictures", "encoder with a decoder", Reconstructs)
    training, test = pictures_of(model, training), pictures_of(model, test)
    if training.image_spec.shape != test.image_spec.shape:
        raise ReverieError("Training and test pictures must have the same size and channels.")
    check_range("The number of pictures", count, low=1)
    if min(len(training), len(test)) == 0:
        raise ReverieError("Compression needs at least one training picture and one test picture.")
    name, size = type(model).__name__, latents(model, 1).numel()
    chosen = sample_indices(training, MOST_KNOWN, seed)
    linear = LinearCode(training, chosen, size, seed, batch)
    transforms: list[tuple[str, NetworkCode | LinearCode, NDArray[np.float64]]] = [
        (name, NetworkCode(model), rows_of(embed(model, training, batch, chosen))),
        ("PCA", linear, linear.known),
    ]
    coders: dict[tuple[str, str], Coder] = {}
    for curve, transform, known in transforms:
        for bits in (*BITS, 32):
            coders[curve, _setting(bits)] = code_coder(curve, transform, None if bits == 32 else Cells(known, bits))
    notes = []
    if linear.size < size:
        notes.append(f"PCA has {linear.size} components and not {size}: the pictures have no more directions.")
    depth = test.image_spec.depth
    if depth > 8:
        what = "floats" if depth == 32 else f"of {depth} bits"
        notes.append(f"JPEG, WebP and PNG are left out: they are measured at 8 bits, and the pictures are {what}.")
    for kind in ("JPEG", "WebP", "PNG") if depth == 8 else ():
        modes = FORMATS[kind]
        if test.image_spec.channels not in modes:
            plural = "channels" if test.image_spec.channels > 1 else "channel"
            notes.append(f"{kind} is left out: it takes no pictures of {test.image_spec.channels} {plural}.")
        elif kind == "WebP" and not features.check("webp"):
            notes.append("WebP is left out: this Pillow was built without it.")
        else:
            for quality in QUALITIES if kind != "PNG" else (None,):
                coders[kind, "lossless" if quality is None else f"quality {quality}"] = file_coder(kind, quality)
    measured = sample_indices(test, count, seed)
    points = _measure(model, test, measured, coders, batch)
    return Compression(model, name, size, len(measured), points, notes, coders)


def _measure(
    model: object, test: Pictures, rows: NDArray[np.int64], coders: Mapping[tuple[str, str], Coder], batch: int
) -> list[Point]:
    """The points of every coder, curve by curve; one batch of pictures in memory at a time."""
    sums: dict[tuple[str, str], NDArray[np.float64]] = {}
    for part in read(model, test, batch, rows):
        images = part.images.cpu()
        for (_, setting), code in coders.items():
            output, sizes = code(part)
            errors = float(psnr(output, images).double().sum()), float(mse(output, images).double().sum())
            for name, each in sizes.items():
                so_far = sums.setdefault((name, setting), np.zeros(3))
                so_far += [each.sum(), *errors]
    points = [Point(*key, *(total / len(rows)).tolist()) for key, total in sums.items()]
    order = list(dict.fromkeys(point.name for point in points))
    return sorted(points, key=lambda point: order.index(point.name))


def _setting(bits: int) -> str:
    return "float32" if bits == 32 else f"{bits} bits"


def _loses(curve: list[Point]) -> bool:
    return min(point.psnr for point in curve) < LOSSLESS


def _spot(point: Point) -> Spot:
    reading = f"{point.setting}, {point.bytes:.4g} bytes, {point.psnr:.2f} dB"
    return Spot(max(point.bytes, LEAST), point.psnr, reading)
