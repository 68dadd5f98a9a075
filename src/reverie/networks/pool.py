"""A pool of past pictures, so that a discriminator does not forget what the generator did before."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn


class Uniform(Protocol):
    """Random numbers of a part of a batch, and where it lies there: see `reverie.engine.randomness.Draw`."""

    first: int  # the part's first place in the batch
    total: int  # places of the batch

    def uniform(self, *shape: int) -> Tensor:
        """U[0, 1), (N, *shape)."""

    def integers(self, high: int, *shape: int) -> Tensor:
        """Uniform in [0, high), (N, *shape)."""


class Pool(nn.Module):
    """Shrivastava et al. (2017), section 2.3: half of the pictures shown are from earlier steps.

    The slots are dealt out to the places in the batch: a picture can only be exchanged with those of its own place.
    So a part of a batch, be it a microbatch or a rank's, needs only its own slots, and two ranks see what one would
    have seen. Pictures are kept in eight bits, like those of the data; a batch larger than the pool leaves its last
    places without slots, whose pictures are shown as they come.
    """

    pictures: Tensor
    used: Tensor

    def __init__(self, slots: int, shape: tuple[int, int, int], depth: int = 8) -> None:
        super().__init__()
        kind = torch.uint8 if depth == 8 else torch.float32
        self.register_buffer("pictures", torch.zeros(slots, *shape, dtype=kind))
        self.register_buffer("used", torch.zeros(slots, dtype=torch.bool))

    def without_pictures(self) -> dict[str, Tensor]:
        """The state before training, which shows nothing of the data: what a run's weights hold."""
        return {key: torch.zeros_like(value) for key, value in self.state_dict().items()}

    @torch.no_grad()
    def exchange(self, images: Tensor, draw: Uniform) -> Tensor:
        """Pictures (N, C, H, W) in [-1, 1] -> as many, each new or, with probability one half, an old one it replaces.

        Until its slots are full, a place shows what is new and stores it.
        """
        place = torch.arange(draw.first, draw.first + len(images), device=images.device)
        held = max(1, len(self.used) // draw.total)  # slots of a place
        coins, picks = draw.uniform(), draw.integers(held)
        mine = place < len(self.used)
        place, coins, picks = place[mine], coins[mine], picks[mine]
        new = images[mine]
        count = torch.stack([self.used[place + k * draw.total] for k in range(held)]).sum(0)
        full = count == held
        slot = place + draw.total * torch.where(full, picks, count)
        old = full & (coins < 0.5)
        kept = self.pictures[slot].to(images.dtype)
        shallow = self.pictures.dtype == torch.uint8
        if shallow:
            kept = kept / 127.5 - 1
        shown = images.clone()
        shown[mine] = torch.where(old[:, None, None, None], kept, new)
        written = old | ~full
        stored = ((new[written] + 1) * 127.5).round().clamp(0, 255) if shallow else new[written]
        self.pictures[slot[written]] = stored.to(self.pictures.dtype)
        self.used[slot[written]] = True
        return shown
