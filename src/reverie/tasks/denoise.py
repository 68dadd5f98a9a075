"""Pictures restored by what a model knows of them: without their noise, their holes, or their coarseness.

A denoising autoencoder has learned to remove noise, and a VAE's reconstruction leaves out what it cannot explain: one
pass. Any model that draws restores by projection (project.py): the picture which it can draw, and which agrees with
what is seen. Only so are holes filled (inpainting) and pixels added (super-resolution), as in Bora et al. (2017),
"Compressed sensing using generative models".
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
    """What was done to pictures (N, C, H, W), and what of them is still seen."""

    damaged: Tensor  # (N, C, H, W) in [-1, 1], to look at; float, beyond the range where noise is
    observe: Observe | None  # what is seen of a picture; None: all of it
    sigma: float  # of the noise on what is seen

    @property
    def seen(self) -> Tensor:
        """What is seen of the damaged pictures, for `project`."""
        return self.damaged if self.observe is None else self.observe(self.damaged)


def _tensor(images: Data) -> Tensor:
    """Pictures (N, C, H, W); a tensor of floats may reach beyond [-1, 1], as noise does."""
    return images if isinstance(images, Tensor) and images.is_floating_point() else images_of(None, images)


def add_noise(images: Data, sigma: float, seed: int = 0) -> Damage:
    """Pictures with Gaussian noise of a standard deviation ``sigma`` where they span 0 to 1, as papers count it.

    Pictures here span -1 to 1, so the noise on them is twice as much. Noise of picture i is a function of (seed, i).
    """
    images = _tensor(images)
    noise = DrawEach(seed, "noise", samples=range(len(images)), device=images.device).normal(*images.shape[1:])
    return already_noisy(images + 2 * sigma * noise, sigma)


def already_noisy(images: Data, sigma: float) -> Damage:
    """Pictures that have noise of a standard deviation ``sigma`` already, pixels being 0 to 1."""
    check_range("The noise", sigma, above=0, high=10)
    return Damage(_tensor(images), None, 2 * sigma)


def mask(images: Data, hole: Tensor) -> Damage:
    """Pictures without the pixels where ``hole`` (H, W) is True; they are grey to look at."""
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
    """Pictures of which only the means of blocks of ``factor`` x ``factor`` pixels are seen (the rim may be cut)."""
    images = _tensor(images)
    height, width = images.shape[2:]
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
    """The pictures (N, C, H, W) in [-1, 1] behind the damaged ones, on the CPU.

    "auto" reconstructs what is noisy where the model has an encoder, and projects everything else. ``sigma`` of the
    damage is then how much the observed pixels are trusted against the prior.
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
    observe = damage.observe or (lambda pictures: pictures)  # noise leads beyond the range of whole pictures
    found = project(model, damage.seen, labels, sigma=damage.sigma, observe=observe, seed=seed, progress=progress)
    return found.pictures
