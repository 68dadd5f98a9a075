"""Maps of the latent space: what a grid of it decodes to, where pictures lie, and how much of it is empty."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from reverie.capabilities import Samples
from reverie.config import check_range
from reverie.data.image_io import coloured, to_tensor, to_uint8
from reverie.engine.randomness import derive
from reverie.errors import ReverieError, nearest
from reverie.inference.codes import Codes, decode, latents, rows_of
from reverie.inference.embed import Embedding
from reverie.inference.labels import Labels, labels_in_turn
from reverie.inference.latent_map import latent_map
from reverie.inference.pictures import Data, pictures_of

DRAWN = 2**16  # latents for the mean and deviation of a prior; the mean is then known to 0.4% of the deviation
MOST_COMPARED = 10_000  # codes that gaps are measured among
FEWEST_COMPARED = 200  # with fewer, a 99th percentile is meaningless
RARE = 0.01  # share of held-out codes that may lie farther from their nearest code than what counts as a gap
WHITE = 255

Where = Literal["gaussian", "segments"]


def manifold(
    model: object,
    side: int = 20,
    embedding: Embedding | None = None,
    labels: Labels | None = None,
    batch: int = 256,
) -> Tensor:
    """A plane of the latent space, decoded on a grid of ``side`` columns: (side^2, C, H, W) in [-1, 1], row by row.

    The first coordinate grows to the right, the second upwards, as on `latent_map`. Positions are Gaussian quantiles,
    mean + deviation Phi^-1((i + 1/2) / side), so that all cells have the same mass under a Gaussian (Kingma and Welling
    2014, figure 4). Without ``embedding`` the latent must have two dimensions, and mean and deviation are those of the
    model's prior. With it they are those of the codes, and the plane is that of `latent_map`: the latent itself where
    it has two dimensions, else the plane through the mean along the first two principal components.

    A conditional model decodes the one class ``labels`` (default: its first). Raises ReverieError for a model without a
    decoder, and for a latent without such a plane.
    """
    if not isinstance(model, Samples):
        raise ReverieError(f"{type(model).__name__} has no latent manifold: it has no prior and decoder.")
    check_range("The number of pictures along a side", side, low=1)
    if labels is not None and len(labels) != 1:
        raise ReverieError(f"A manifold has one class, not {len(labels)}.")
    number = labels_in_turn(model, labels, 1)
    if embedding is None:
        label = 0 if number is None else int(number)
        size = latents(model, 1, label=label).numel()
        if size != 2:
            raise ReverieError(
                f"The latent of {type(model).__name__} has {size} dimension{'s' * (size > 1)}, not 2; a plane of it "
                "needs the embedding of some pictures."
            )
        mean, directions = _plane(latents(model, DRAWN, label=label).flatten(1).double().cpu().numpy())
    else:
        mean, directions = _plane(rows_of(embedding))
    quantiles = torch.special.ndtri((torch.arange(side, dtype=torch.float64) + 0.5) / side).numpy()
    up, right = np.meshgrid(quantiles[::-1], quantiles, indexing="ij")
    codes = mean + np.stack([right, up], -1).reshape(-1, 2) @ directions
    return decode(model, codes, None if number is None else number.expand(side * side), batch)


def thumbnails(embedding: Embedding, dataset: Data, side: int = 24, size: int = 32) -> Image.Image:
    """Pictures placed by their codes on `latent_map`: an RGB picture of side x side cells of ``size`` pixels.

    The map, with one scale for both axes, is divided into cells. Each shows the picture whose code is nearest to its
    middle, so that pictures do not overlap, or is white. Pictures keep their aspect ratio. ``dataset`` holds the
    pictures of ``embedding``, in the same order; only those shown are read.
    """
    dataset = pictures_of(None, dataset)
    if len(dataset) != len(embedding.codes):
        raise ReverieError(f"The embedding is of {len(embedding.codes)} pictures, and there are {len(dataset)}.")
    check_range("The number of cells along a side", side, low=1)
    check_range("The number of pixels along a cell", size, low=1)
    cells, chosen = _binned(latent_map(rows_of(embedding).astype(np.float32)), side)
    canvas = Image.new("RGB", (side * size, side * size), (WHITE,) * 3)
    for (column, row), index in zip(cells.tolist(), chosen, strict=True):
        pixels = to_uint8(coloured(to_tensor(dataset.batch(np.array([index])))))[0]
        picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        scale = size / max(picture.size)
        width, height = (max(1, round(scale * length)) for length in picture.size)
        small = picture.resize((width, height), Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST)
        canvas.paste(small, (column * size + (size - width) // 2, row * size + (size - height) // 2))
    return canvas


def gaps(codes: Codes, where: Where = "gaussian", seed: int = 0, points: int = 10_000) -> float:
    """The share of the space that codes should fill, but do not: from 0 (no gaps) to 1.

    Of ``points`` random points, the share that is farther from its nearest code than 99% of held-out codes are.
    ``gaussian`` samples the points from the Gaussian with the mean and covariance of the codes: 0.01 is expected of
    Gaussian codes of any dimension; holes, separate clusters and curved sheets give more. ``segments`` samples them
    uniformly on segments between random pairs of codes, as `interpolate` decodes them: 0.01 or less for a convex cloud
    (near 0 in many dimensions, as segments run through its inside); for clusters far apart, the part of the paths
    between them that is near no code.

    For an embedding of Gaussians one latent is sampled from each, so that the aggregate posterior is measured. At most
    `MOST_COMPARED` codes are used, sampled by ``seed``: distances are to one half of them; the other half is held out,
    and the pairs are of that half, so that the ends of a segment are no nearer than any new code. The share is
    invariant to translation, rotation and scaling, but not to the number of codes: compare equally many. Raises
    ReverieError for fewer than `FEWEST_COMPARED` codes.
    """
    if where not in ("gaussian", "segments"):
        raise ReverieError(f"Gaps cannot be looked for by '{where}'{nearest(where, ('gaussian', 'segments'))}")
    rows = rows_of(codes)
    if len(rows) < FEWEST_COMPARED:
        raise ReverieError(f"Gaps are measured among at least {FEWEST_COMPARED} codes, and there are {len(rows)}.")
    check_range("The number of points", points, low=1)
    random = np.random.default_rng(derive(seed, "gaps"))
    if isinstance(codes, Embedding) and codes.logvar is not None:
        rows = rows + np.exp(0.5 * codes.logvar.astype(np.float64)) * random.standard_normal(rows.shape)
    rows = random.permutation(rows)[:MOST_COMPARED]
    rows = rows - rows.mean(0)  # distances lose fewer digits near the origin
    known, held_out = np.array_split(rows, 2)
    if where == "gaussian":
        variances, axes = np.linalg.eigh(rows.T @ rows / len(rows))
        drawn = random.standard_normal((points, len(axes))) * np.sqrt(variances.clip(0)) @ axes.T
    else:
        first = random.integers(len(held_out), size=points)
        second = (first + random.integers(1, len(held_out), size=points)) % len(held_out)  # different from first
        drawn = held_out[first] + random.uniform(size=(points, 1)) * (held_out[second] - held_out[first])
    far = np.quantile(_to_nearest(held_out, known), 1 - RARE)
    return float((_to_nearest(drawn, known) > far).mean())


def _plane(codes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean (d,) of codes and the two directions (2, d) of `latent_map`, as long as the deviation along them."""
    size = codes.shape[1]
    if size < 2:
        raise ReverieError("A latent of one dimension has no plane; traverse it instead.")
    mean = codes.mean(0)
    if size == 2:
        return mean, np.diag(codes.std(0))
    # The map is a projection of the codes on principal components: its directions are proportional to places.T @ codes.
    places = latent_map(codes.astype(np.float32)).astype(np.float64)
    directions = places.T @ (codes - mean)  # variance times direction
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    unit = np.divide(directions, lengths, out=np.zeros_like(directions), where=lengths > 0)
    return mean, unit * places.std(0)[:, None]


def _binned(places: NDArray[np.float32], side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The non-empty cells (n, 2), column and row, of places (N, 2), and for each the place nearest to its middle (n,).

    Rows count downwards, while the second coordinate grows upwards.
    """
    low, high = places.min(0).astype(np.float64), places.max(0).astype(np.float64)
    extent = float((high - low).max()) or 1.0
    scaled = ((places - (low + high) / 2) / extent + 0.5) * [1, -1] + [0, 1]  # one scale for both, in [0, 1]
    cells = np.clip((scaled * side).astype(np.int64), 0, side - 1)
    off = np.square(scaled * side - cells - 0.5).sum(1)
    order = np.lexsort((off, cells[:, 0], cells[:, 1]))  # by cell, nearest to the middle first
    _, first = np.unique(cells[order] @ [1, side], return_index=True)
    return cells[order[first]], order[first]


def _to_nearest(points: NDArray[np.float64], codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distance (M,) from each of points (M, d) to the nearest of codes (N, d), computed in blocks."""
    from sklearn.metrics import pairwise_distances_argmin_min

    return np.asarray(pairwise_distances_argmin_min(points, codes)[1])
