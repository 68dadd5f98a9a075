"""The latent spaces of a model, as tasks use them: sampling latents and decoding them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reverie.capabilities import Samples, Styles
from reverie.engine.randomness import DrawEach
from reverie.errors import ReverieError
from reverie.inference.pictures import device_of
from reverie.inference.unsupported import unsupported

Name = Literal["z", "w"]

BATCH = 256  # pictures decoded at a time


@dataclass(frozen=True)
class LatentSpace:
    """Latents ``z`` of any model that samples, (N, ...), or styles ``w``, (N, layers, size); see `latent_space`.

    Labels (N,) are on the model's device, given if and only if the model takes labels. Styles already depend on the
    class: labels are ignored when they are decoded.
    """

    model: Samples
    name: Name

    def draw(self, seed: int, samples: Sequence[int], labels: Tensor | None = None) -> Tensor:
        """The latents of the pictures with the numbers ``samples`` of `sample` with this seed."""
        z = self.model.draw_latent(DrawEach(seed, "sample", samples=samples, device=device_of(self.model)), labels)
        # A copy: styles are one row expanded to all layers, which could not be changed separately.
        return self.model.map(z, labels).clone() if self.name == "w" and isinstance(self.model, Styles) else z

    def decode(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Pictures (N, C, H, W) in [-1, 1], each from its latent alone; differentiable."""
        if self.name == "w" and isinstance(self.model, Styles):
            return self.model.synthesise(latents)
        return self.model.decode(latents, labels)

    @torch.no_grad()
    def pictures(self, latents: Tensor, labels: Tensor | None = None, batch: int | None = None) -> Tensor:
        """`decode` on the CPU, ``batch`` (None: `BATCH`) at a time; latents and labels may lie on any device."""
        device, parts, batch = device_of(self.model), [], batch or BATCH
        for start in range(0, len(latents), batch):
            part = slice(start, start + batch)
            given = None if labels is None else labels[part].to(device)
            parts.append(self.decode(latents[part].to(device), given).float().cpu())
        return torch.cat(parts)


def latent_space(model: object, name: Name | None = None, doing: str = "do this") -> LatentSpace:
    """The latent space of a model; by default its styles where it has them, else its latents.

    Raises ReverieError, naming the task ``doing``, for a model that cannot sample, and for a space it does not have.
    """
    if not isinstance(model, Samples):
        raise unsupported(model, doing, "prior and decoder", Samples)
    if name not in (None, "z", "w"):
        raise ReverieError(f"There is no space '{name}'; take z or w.")
    if name == "w" and not isinstance(model, Styles):
        raise ReverieError(f"{type(model).__name__} has no space w; only style-based generators have. Take space z.")
    return LatentSpace(model, name or ("w" if isinstance(model, Styles) else "z"))
