"""Image restoration with a model as the prior: denoising, inpainting and super-resolution.

Noise is removed in one pass by a denoising autoencoder, which was trained for it, or by a VAE, whose reconstruction
leaves out what it cannot explain. Any model that samples restores by projection (project.py): it finds a picture of the
model that agrees with what is observed. Holes are filled (inpainting) and pixels added (super-resolution) only in this
way, as in Bora et al. (2017), "Compressed sensing using generative models".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from reverie.capabilities import Reconstructs
from reverie.config import check_range
from reverie.data.formats import deep_values, is_deep
from reverie.data.full_resolution import to_bytes
from reverie.engine.randomness import DrawEach
from reverie.errors import ReverieError, nearest
from reverie.inference.labels import Labels
from reverie.inference.pictures import Data, check_shape, images_of
from reverie.tasks.project import Observe, Progress, project
from reverie.tasks.reconstruct import check_reconstructs, rebuilt

How = Literal["auto", "reconstruct", "project"]


@dataclass(frozen=True)
class Damage:
    """Damaged pictures (N, C, H, W), and how they are observed."""

    damaged: Tensor  # (N, C, H, W) in [-1, 1], for display; noise may exceed the range
    observe: Observe | None  # from a picture to what is observed of it; None: all of it
    sigma: float  # standard deviation of the noise on what is observed

    @property
    def seen(self) -> Tensor:
        """What is observed of the damaged pictures, for `project`."""
        return self.damaged if self.observe is None else self.observe(self.damaged)


def _tensor(images: Data) -> Tensor:
    """Pictures (N, C, H, W); a tensor of floats may reach beyond [-1, 1], as noise does."""
    return images if isinstance(images, Tensor) and images.is_floating_point() else images_of(None, images)


def add_noise(images: Data, sigma: float, seed: int = 0) -> Damage:
    """Pictures with Gaussian noise of standard deviation ``sigma`` on the scale of pixels in [0, 1], as in papers.

    Pixels here are in [-1, 1], so the noise added is twice that. The noise of picture i is a function of (seed, i).
    """
    images = _tensor(images)
    noise = DrawEach(seed, "noise", samples=range(len(images)), device=images.device).normal(*images.shape[1:])
    return already_noisy(images + 2 * sigma * noise, sigma)


def already_noisy(images: Data, sigma: float) -> Damage:
    """Pictures that already have noise of standard deviation ``sigma``, on the scale of pixels in [0, 1]."""
    check_range("The noise", sigma, above=0, high=10)
    return Damage(_tensor(images), None, 2 * sigma)


def mask(images: Data, hole: Tensor) -> Damage:
    """Pictures without the pixels where ``hole`` (H, W) is True; those are displayed as grey."""
    images = _tensor(images)
    if hole.dtype != torch.bool:
        raise ReverieError(f"A hole says True or False of each pixel, not {str(hole.dtype).partition('.')[2]}.")
    if hole.shape != images.shape[2:]:
        raise ReverieError(f"A hole for pictures of {tuple(images.shape[2:])} is as large, not {tuple(hole.shape)}.")
    if bool(hole.all()):
        raise ReverieError("The hole covers the whole picture, so there is nothing to go by.")
    kept = ~hole
    return Damage(
        images.masked_fill(hole.to(images.device), 0.0), lambda pictures: pictures[:, :, kept.to(pictures.device)], 0.1
    )


def read_mask(path: Path) -> Tensor:
    """A hole (H, W) from a picture file: True where it is lighter than middle grey."""
    try:
        with Image.open(path) as opened:
            # Pillow would cut values of 16 bits off at 255.
            grey = to_bytes(deep_values(opened)) if is_deep(opened) else np.asarray(opened.convert("L"))
            return torch.from_numpy(grey > 127)
    except Exception as error:  # Pillow's plugins raise nearly every type there is on files that are broken
        raise ReverieError(f"{path} can't be read as a picture.") from error


def centre_mask(height: int, width: int) -> Tensor:
    """A hole (H, W) of half the height and half the width, in the middle."""
    hole = torch.zeros(height, width, dtype=torch.bool)
    hole[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    return hole


def downsample(images: Data, factor: int) -> Damage:
    """Pictures observed as means of ``factor`` x ``factor`` blocks; pixels beyond the last whole block are ignored."""
    images = _tensor(images)
    height, width = images.shape[2:]
    if min(height, width) < 2:
        raise ReverieError(f"Pictures of {height} x {width} pixels have nothing to be downsampled.")
    check_range(f"The factor for pictures of {height} x {width} pixels", factor, low=2, high=min(height, width))

    def observe(pictures: Tensor) -> Tensor:
        return F.avg_pool2d(pictures, factor)

    shown = F.interpolate(observe(images), scale_factor=factor, mode="nearest")
    rest = (0, width - shown.shape[3], 0, height - shown.shape[2])
    return Damage(F.pad(shown, rest, mode="replicate"), observe, 0.1)


def restore(
    model: object,
    damage: Damage,
    labels: Labels | None = None,
    *,
    how: How = "auto",
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """Restored pictures (N, C, H, W) in [-1, 1], on the CPU.

    "auto" reconstructs noisy pictures where the model has an encoder, and projects everything else. In a projection
    ``sigma`` of the damage weighs the observed pixels against the prior: the larger, the less they count.
    """
    if how not in ("auto", "reconstruct", "project"):
        raise ReverieError(f"Pictures cannot be restored by '{how}'{nearest(how, ('reconstruct', 'project'))}")
    if how == "auto":
        how = "reconstruct" if isinstance(model, Reconstructs) and damage.observe is None else "project"
    if how == "reconstruct":
        if damage.observe is not None:
            raise ReverieError("An encoder needs whole pictures; holes and coarse pictures are restored by 'project'.")
        return rebuilt(check_reconstructs(model), damage.damaged, labels).clamp(-1, 1)
    if damage.observe is None:
        check_shape(model, damage.damaged.shape[1:])
    observe = damage.observe or (lambda pictures: pictures)  # noise exceeds the range of pictures
    found = project(model, damage.seen, labels, sigma=damage.sigma, observe=observe, seed=seed, progress=progress)
    return found.pictures
