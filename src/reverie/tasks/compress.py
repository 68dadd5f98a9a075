"""Pictures kept as few bytes: an autoencoder's code, a code of principal components, and JPEG, WebP and PNG.

A code of d numbers is rounded to one of 2^b equal cells of the range that each number has on training pictures: d b / 8
bytes a picture. *Entropy coded* is what the same cells need as an arithmetic coder writes them that knows how often
each was met on the training pictures: minus the mean log2 of those frequencies, each number on its own. It is counted,
not written; a coder comes within two bits a picture of it (Witten et al. 1987). Decoders are not counted, on any side:
a network, principal components, the tables of a code, the program that reads JPEG. JPEG, WebP and PNG are counted as
whole files, whose headers weigh much in small pictures: some 300 bytes of JPEG, 100 to 200 in grey.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, features
from torch import Tensor

from reverie.capabilities import Reconstructs
from reverie.config import check_range
from reverie.data.decode import Pixels
from reverie.data.pictures import to_tensor, to_uint8
from reverie.engine.randomness import derive
from reverie.errors import ReverieError
from reverie.inference.codes import decode, latents, rows_of
from reverie.inference.embed import embed
from reverie.inference.labels import Labels, classes_of, labels_for
from reverie.inference.pictures import Data, Pictures, Read, device_of, pictures_of, read, sample_indices
from reverie.inference.unsupported import unsupported
from reverie.metrics.images import mse, psnr
from reverie.reporting.charts import PALETTE

BITS = (2, 3, 4, 5, 6, 8)  # of a number; float32 is the last setting
QUALITIES = (1, 5, 10, 25, 50, 75, 90)  # of JPEG and WebP
MOST_KNOWN = 10_000  # training pictures that ranges, frequencies and principal components come from
MOST_NUMBERS = 2**26  # of the pictures that principal components are fitted on: 256 MB
LOSSLESS = 99.0  # dB; what `psnr` says of equal pictures is 100
CODED = ", entropy coded"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 420, 60, 190, 40, 50  # of the chart, and its margins

Coder = Callable[[Read], tuple[Tensor, dict[str, NDArray[np.float64]]]]
"""From n pictures to the pictures that come back, (n, C, H, W) in [-1, 1] on the CPU, and by the name of each curve
what that took in bytes, (n,)."""


@dataclass(frozen=True)
class Point:
    """One setting of one way to keep pictures."""

    name: str  # of the curve
    setting: str
    bytes: float  # a picture, mean
    psnr: float  # dB, mean over pictures, peak 1, at most 100
    mse: float  # mean over pictures, pixels in [0, 1]


@dataclass(frozen=True)
class Comparison:
    """Pictures and what comes back of them, for a grid of as many columns as pictures."""

    pictures: Tensor  # (rows * N, C, H, W) in [-1, 1], row by row, the originals first
    names: list[str]  # (rows,): what each row is, with its mean bytes a picture


@dataclass(frozen=True)
class Compression:
    """What `compress` found."""

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
        """``images`` (N, C, H, W) in [-1, 1] above what comes back of them.

        First by the model at ``bits`` a number (32: float32), then by PCA at the same, then by JPEG and WebP at the
        quality whose mean bytes over the test pictures are nearest to the model's, where they take such pictures. A
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
        """An SVG: PSNR over mean bytes a picture, on a logarithmic axis. Curves without loss are not drawn."""
        curves = {name: self.curve(name) for name in dict.fromkeys(point.name for point in self.points)}
        drawn = {name: curve for name, curve in curves.items() if min(p.psnr for p in curve) < LOSSLESS}
        return _chart(title, drawn)


def compress(
    model: object, training: Data, test: Data, count: int = 1000, seed: int = 0, batch: int = 256
) -> Compression:
    """How well ``count`` test pictures (all, where there are no more) come back from how many bytes.

    The curves: the model at `BITS` a number and at float32, PCA with as many components quantised in the same way, both
    also entropy coded, and JPEG and WebP at `QUALITIES` and PNG where they take pictures of these channels. Ranges,
    frequencies and components come from at most `MOST_KNOWN` training pictures (components from as many of them as
    `MOST_NUMBERS` allows), drawn by ``seed``, as the test pictures are. A Gaussian code is its mean. A conditional
    model has to be told the class, which is counted as log2 of the number of classes.

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
    linear = _Linear(training, chosen, size, seed, batch)
    transforms: list[tuple[str, _Network | _Linear, NDArray[np.float64]]] = [
        (name, _Network(model), rows_of(embed(model, training, batch, chosen))),
        ("PCA", linear, linear.known),
    ]
    coders: dict[tuple[str, str], Coder] = {}
    for curve, transform, known in transforms:
        for bits in (*BITS, 32):
            coders[curve, _setting(bits)] = _coder(curve, transform, None if bits == 32 else Cells(known, bits))
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
                coders[kind, "lossless" if quality is None else f"quality {quality}"] = _file(kind, quality)
    measured = sample_indices(test, count, seed)
    points = _measure(model, test, measured, coders, batch)
    return Compression(model, name, size, len(measured), points, notes, coders)


class Cells:
    """Equal cells, 2^bits for each number of a code, over the range that training codes (N, d) have."""

    def __init__(self, codes: NDArray[np.float64], bits: int) -> None:
        self.count = 2**bits
        self.bits = bits
        self.low = codes.min(0)
        self.width = (codes.max(0) - self.low) / self.count  # zero for a number that never changes
        # Half an occurrence on top: a cell that no training code fell in has a price too (Krichevsky, Trofimov 1981).
        counts = np.full((codes.shape[1], self.count), 0.5)
        cells = self.of(codes)
        for dimension, row in enumerate(counts):
            row += np.bincount(cells[:, dimension], minlength=self.count)
        self.price = -np.log2(counts / counts.sum(1, keepdims=True))  # (d, 2^bits), in bits
        self.price[self.width == 0] = 0  # a number that never changes need not be written

    def of(self, codes: NDArray[np.float64]) -> NDArray[np.int64]:
        """The cell of each number of codes (n, d); outside the range the first or last."""
        width = np.where(self.width > 0, self.width, 1)
        return np.asarray(np.floor((codes - self.low) / width).clip(0, self.count - 1), np.int64)

    def middles(self, cells: NDArray[np.int64]) -> NDArray[np.float64]:
        """What is put in the place of each number (n, d): at most half a cell away from it, inside the range."""
        return np.asarray(self.low + (cells + 0.5) * self.width)

    def entropy(self, cells: NDArray[np.int64]) -> NDArray[np.float64]:
        """The bits that an ideal coder with the frequencies of the training codes writes for each of (n, d): (n,)."""
        return np.asarray(self.price[np.arange(cells.shape[1]), cells].sum(1))


class _Network:
    """The codes of a model, and the pictures of codes."""

    def __init__(self, model: Reconstructs) -> None:
        self.model = model
        self.size = latents(model, 1).numel()
        self.told = math.log2(len(classes_of(model)) or 1) / 8  # bytes for the class that the decoder is told

    @torch.no_grad()
    def encode(self, part: Read) -> NDArray[np.float64]:
        codes = self.model.encode(part.images, part.labels).mean.flatten(1).double().cpu().numpy()
        return np.asarray(codes)

    def decode(self, codes: NDArray[np.float64], part: Read) -> Tensor:
        return decode(self.model, codes, part.labels, len(codes))


class _Linear:
    """The codes of principal components, and the pictures of codes."""

    told = 0.0

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
        # Exact where that is quick, randomised (Halko et al. 2011) for large pictures. On one thread, for the same sum.
        with threadpool_limits(1):
            self.pca = PCA(self.size, random_state=derive(seed, "pca") % 2**32).fit(known)
            self.known = np.asarray(self.pca.transform(known), np.float64)  # (n, size), codes of the training pictures

    def encode(self, part: Read) -> NDArray[np.float64]:
        return np.asarray(self.pca.transform(part.images.flatten(1).float().cpu().numpy()), np.float64)

    def decode(self, codes: NDArray[np.float64], part: Read) -> Tensor:
        pixels = self.pca.inverse_transform(codes.astype(np.float32)).astype(np.float32)
        return torch.from_numpy(pixels).view(-1, *self.shape).clamp(-1, 1)


def _coder(name: str, transform: _Network | _Linear, cells: Cells | None) -> Coder:
    """Codes rounded to ``cells``; None: as float32."""

    def code(part: Read) -> tuple[Tensor, dict[str, NDArray[np.float64]]]:
        codes = transform.encode(part)
        if cells is None:
            sizes = {name: np.full(len(codes), 4 * transform.size + transform.told)}
            return transform.decode(codes, part), sizes
        found = cells.of(codes)
        fixed = np.full(len(codes), transform.size * cells.bits / 8 + transform.told)
        sizes = {name: fixed, name + CODED: cells.entropy(found) / 8 + transform.told}
        return transform.decode(cells.middles(found), part), sizes

    return code


# By format, the mode that Pillow has for so many channels. WebP knows no grey: it is stored as equal colours.
FORMATS: Mapping[str, Mapping[int, str]] = {
    "JPEG": {1: "L", 3: "RGB"},
    "WebP": {1: "L", 3: "RGB", 4: "RGBA"},
    "PNG": {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"},
}


def _file(kind: str, quality: int | None) -> Coder:
    """Whole files as Pillow writes them, as small as it can; ``quality`` None: without loss."""

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
        options = {"quality": quality, "method": 6, "exact": True}  # the colour of what is transparent is kept too
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


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


def _chart(title: str, curves: Mapping[str, list[Point]]) -> str:
    points = [point for curve in curves.values() for point in curve]
    left, right = (math.log10(max(f(p.bytes for p in points), 0.01)) for f in (min, max))
    low, high = math.floor(min(p.psnr for p in points)), math.ceil(max(p.psnr for p in points))

    def x(size: float) -> float:
        share = (math.log10(max(size, 0.01)) - left) / (right - left or 1)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(quality: float) -> float:
        return HEIGHT - BOTTOM - (quality - low) / (high - low or 1) * (HEIGHT - TOP - BOTTOM)

    def text(across: float, down: float, words: str, anchor: str, colour: str = "#333") -> str:
        return f'<text x="{across:.1f}" y="{down:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'

    parts = [text(WIDTH / 2, 22, title, "middle"), text(10, TOP - 12, "PSNR, dB", "start")]
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "bytes a picture", "middle"))
    sizes = [m * 10.0**k for k in range(math.floor(left), math.ceil(right) + 1) for m in (1, 2, 5)]
    for size in sizes:
        if left <= math.log10(size) <= right:
            parts.append(f'<path d="M{x(size):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#eee"/>')
            parts.append(text(x(size), HEIGHT - BOTTOM + 18, f"{size:g}", "middle"))
    for quality in np.unique(np.linspace(low, high, 5).round()).tolist():
        parts.append(f'<path d="M{LEFT} {y(quality):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(text(LEFT - 6, y(quality) + 4, f"{quality:g}", "end"))
    for number, (name, curve) in enumerate(curves.items()):
        colour, dashed = PALETTE[number % len(PALETTE)], ' stroke-dasharray="5 4"' if name.endswith(CODED) else ""
        places = " ".join(f"{x(p.bytes):.1f},{y(p.psnr):.1f}" for p in curve)
        parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"{dashed}/>')
        for p in curve:
            reading = f"{name}, {p.setting}: {p.bytes:.4g} bytes, {p.psnr:.2f} dB"
            dot = f'<circle cx="{x(p.bytes):.1f}" cy="{y(p.psnr):.1f}" r="3" fill="{colour}">'
            parts.append(f"{dot}<title>{escape(reading)}</title></circle>")
        # Names stand in a column of their own: the ends of the curves lie close together.
        parts.append(text(WIDTH - RIGHT + 14, TOP + 12 + 20 * number, name, "start", colour))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
    return f'{head} font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>{"".join(parts)}</svg>\n'
