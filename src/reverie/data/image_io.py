"""Convert between stored pixels and tensors in [-1, 1], and write pictures, grids and animations."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reverie.data.decode import Pixels
from reverie.data.png import png16
from reverie.errors import ReverieError
from reverie.files import replacing
from reverie.scale import FULL, PLAIN, Scale, in_files, quantised

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from reverie.data.dataset import Dataset

GAP = 2  # pixels between the pictures of a grid


HALVES = {8: 127.5, 16: 32767.5, 32: 0.5}  # half of the range from black to white, by bit depth


def to_tensor(pixels: Pixels) -> Tensor:
    """Stored pixels (N, C, H, W), uint8, uint16 or float32 in [0, 1] -> float32 in [-1, 1]: black -1, white 1."""
    import torch

    values = pixels.astype(np.float32)  # numpy, as torch would start several threads for a small operation
    values /= HALVES[8 * pixels.dtype.itemsize]
    values -= 1
    return torch.from_numpy(values)


def scaled(pixels: Tensor) -> Tensor:
    """`to_tensor` for pixels that are a tensor already, on their device."""
    return pixels.float() / HALVES[8 * pixels.element_size()] - 1


def to_pixels(images: Tensor, depth: int) -> Pixels:
    """The inverse of `to_tensor` for any shape: [-1, 1] (clamped) -> stored pixels of that bit depth."""
    if depth == 8:
        return to_uint8(images)
    unit = images.detach().float().nan_to_num(-1.0, 1.0, -1.0).add(1).div(2).cpu().numpy()
    return quantised(unit, depth)


def to_uint8(images: Tensor) -> Pixels:
    """`to_pixels` at 8 bits, for display; NaN becomes black."""
    scaled = images.detach().float().add(1).mul(127.5).nan_to_num(0.0).clamp(0, 255).round()
    return np.asarray(scaled.byte().cpu().numpy(), np.uint8)


def grid(pixels: Pixels, columns: int) -> Image.Image:
    """A grid of all pictures (N, C, H, W), row by row, as an 8-bit image. Channels as in `tiled`."""
    from PIL import Image

    if pixels.dtype != np.uint8:
        pixels = to_uint8(to_tensor(pixels))
    canvas = tiled(pixels, columns)
    return Image.fromarray(canvas[0] if len(canvas) == 1 else np.ascontiguousarray(canvas.transpose(1, 2, 0)))


def tiled(pixels: Pixels, columns: int) -> Pixels:
    """A grid (C, H, W) of pictures, row by row. Of 2 channels the first is shown, of more than 4 the first three."""
    count, channels, height, width = pixels.shape
    if not count:
        raise ReverieError("There are no pictures to show in a grid.")
    shown = {2: 1}.get(channels, channels if channels <= 4 else 3)
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    canvas = np.zeros((shown, rows * (height + GAP) - GAP, columns * (width + GAP) - GAP), pixels.dtype)
    for i, picture in enumerate(pixels[:, :shown]):
        top, left = i // columns * (height + GAP), i % columns * (width + GAP)
        canvas[:, top : top + height, left : left + width] = picture
    return canvas


def coloured(images: Tensor) -> Tensor:
    """(N, C, H, W) in [-1, 1] as RGB (N, 3, H, W), to show pictures of different channels in one grid.

    Grey is repeated, alpha composited over white; of more than 4 channels the first three are taken.
    """
    channels = images.shape[1]
    if channels in (2, 4):
        alpha = (images[:, -1:] + 1) / 2
        images = (images[:, :-1] + 1) * alpha - 1 + 2 * (1 - alpha)
    return images[:, :1].expand(-1, 3, -1, -1) if channels < 3 else images[:, :3]


def save_grid(
    images: Tensor | Pixels, path: Path, columns: int, scale: Scale = PLAIN, *, sync: bool = True
) -> list[str]:
    """Write a grid of (N, C, H, W), in [-1, 1] or as stored in a pack, to a PNG, atomically. Channels as in `tiled`.

    With the ``scale`` of a run of more than 8 bits the PNG has 16, and the values of the run's files if these are
    integers of 16 bits; otherwise the notes that are returned say which values it has. ``sync`` as for `replacing`.
    """
    pixels = _stored(images, scale)
    notes: list[str] = []
    with replacing(Path(path), sync=sync) as temporary:
        if scale.depth == 8:
            grid(pixels, columns).save(temporary, format="PNG")
        else:
            values, notes = in_files(_unit(pixels), 16, scale)
            temporary.write_bytes(png16(tiled(values, columns)))
    return notes


def suffix_of(scale: Scale, channels: int) -> str:
    """The suffix of a file that can hold a single picture of a run without loss of its values.

    It is .png for values that are integers from 0 to 65,535; otherwise .tif (float) for one channel, and .npy, an array
    (C, H, W), for several. `open_dataset` reads folders of all three.
    """
    if scale.depth == 8 or (scale.kind == "integer" and scale.low >= 0 and scale.high <= FULL["integer"]):
        return ".png"
    return ".tif" if channels == 1 else ".npy"


def save_picture(picture: Tensor | Pixels, path: Path, scale: Scale = PLAIN, *, sync: bool = True) -> None:
    """Write one picture (C, H, W) to a file with the suffix from `suffix_of`; arguments as for `save_grid`."""
    from PIL import Image

    if path.suffix == ".png":
        save_grid(picture[None], path, 1, scale, sync=sync)
        return
    values = scale.values(_unit(_stored(picture, scale))).astype(np.float32)
    with replacing(path, sync=sync) as temporary, temporary.open("wb") as stream:
        if path.suffix == ".tif":
            Image.fromarray(values[0]).save(stream, "TIFF")
        else:
            np.save(stream, values)


def _stored(images: Tensor | Pixels, scale: Scale) -> Pixels:
    if isinstance(images, np.ndarray):
        return images
    return to_pixels(images, scale.depth) if images.is_floating_point() else np.asarray(images.cpu().numpy(), np.uint8)


def _unit(pixels: Pixels) -> NDArray[np.float32]:
    """Stored pixels of any bit depth as [0, 1]."""
    return pixels.astype(np.float32) / np.float32(2 * HALVES[8 * pixels.dtype.itemsize])


def save_animation(images: Tensor, path: Path, rate: float = 20.0, scale: int = 1) -> None:
    """Write pictures (N, C, H, W) in [-1, 1] as an animation: a looping .gif, or an .mp4 by the program ffmpeg.

    ``rate`` is in pictures per second; each pixel becomes ``scale`` x ``scale``. The file is written atomically. Raises
    ReverieError if ffmpeg is missing or fails.
    """
    pixels = to_uint8(images).repeat(scale, 2).repeat(scale, 3)
    frames = [grid(pixels[i : i + 1], 1) for i in range(len(pixels))]
    with replacing(Path(path)) as temporary:
        if path.suffix.lower() == ".gif":
            delay = max(
                20, round(100 / rate) * 10
            )  # milliseconds; GIF counts hundredths of a second, browsers need two
            frames[0].save(
                temporary, format="GIF", save_all=True, append_images=frames[1:], duration=delay, loop=0, optimize=False
            )
        else:
            _mp4([frame.convert("RGB") for frame in frames], temporary, rate)


def _mp4(frames: list[Image.Image], path: Path, rate: float) -> None:
    width, height = frames[0].size
    words = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "-"]
    # H.264 with yuv420p needs an even width and height.
    words += ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", "-f", "mp4", str(path)]
    try:
        content = b"".join(frame.tobytes() for frame in frames)
        done = subprocess.run(["ffmpeg", "-y", "-loglevel", "error", *words], input=content, capture_output=True)
    except FileNotFoundError as error:
        raise ReverieError("An .mp4 needs the program ffmpeg, which is not installed; save a .gif instead.") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ReverieError(f"ffmpeg could not write the .mp4: {said[-1] if said else done.returncode}.")


def contact_sheet(dataset: Dataset, rows: int, columns: int) -> Image.Image:
    """A grid of up to rows x columns pictures spread over the data set; with labels, equally many of each class.

    For pairs, side A is to the left of side B, both in RGB.
    """
    sides = dataset.image_spec.sides
    across = max(1, columns // len(sides)) if sides else columns
    pixels = dataset.batch(_spread(dataset, rows * across))
    if sides:
        parts = np.split(pixels, np.cumsum(sides)[:-1], 1)
        pixels = np.stack([to_uint8(coloured(to_tensor(part))) for part in parts], 1).reshape(-1, 3, *pixels.shape[2:])
    return grid(pixels, across * max(1, len(sides)))


def _spread(dataset: Dataset, most: int) -> NDArray[np.int64]:
    """Indices of up to ``most`` pictures, evenly spaced; with labels, equally many of each class, class by class."""
    cells = min(most, len(dataset))
    if dataset.labels is None:
        return np.linspace(0, len(dataset) - 1, cells).round().astype(np.int64)
    members = [np.flatnonzero(dataset.labels == number) for number in range(len(dataset.image_spec.classes))]
    counts = [0] * len(members)
    while sum(counts) < cells:  # one more of each class that has one left
        for number, available in enumerate(members):
            counts[number] += counts[number] < len(available) and sum(counts) < cells
    picks = [
        available[np.linspace(0, len(available) - 1, count).round().astype(np.int64)]
        for available, count in zip(members, counts, strict=True)
    ]
    return np.concatenate(picks)
