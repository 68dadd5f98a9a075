"""A pool of past generated pictures, so that the discriminator keeps seeing earlier ones."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn


class Uniform(Protocol):
    """Random numbers for a part of a batch, and its position: see `reverie.engine.randomness.Draw`."""

    first: int  # index in the batch of the part's first picture
    total: int  # size of the whole batch

    def uniform(self, *shape: int) -> Tensor:
        """U[0, 1), (N, *shape)."""

    def integers(self, high: int, *shape: int) -> Tensor:
        """Uniform in [0, high), (N, *shape)."""


class Pool(nn.Module):
    """Shrivastava et al. (2017), section 2.3: half of the pictures shown are from earlier steps.

    Each index of the batch has its own slots: a picture can only be exchanged with earlier pictures of the same index.
    So a part of a batch, a microbatch or a rank's, needs only its own slots, and two ranks give the same pictures as
    one. Pictures are stored as uint8, or as float32 where the data has more than 8 bits. Where the batch is larger than
    the pool, its last indices have no slots, and their pictures pass unchanged.
    """

    pictures: Tensor
    used: Tensor

    def __init__(self, slots: int, shape: tuple[int, int, int], depth: int = 8) -> None:
        super().__init__()
        kind = torch.uint8 if depth == 8 else torch.float32
        self.register_buffer("pictures", torch.zeros(slots, *shape, dtype=kind))
        self.register_buffer("used", torch.zeros(slots, dtype=torch.bool))

    def without_pictures(self) -> dict[str, Tensor]:
        """The state before training, without any pictures: what is saved with a run's weights."""
        return {key: torch.zeros_like(value) for key, value in self.state_dict().items()}

    @torch.no_grad()
    def exchange(self, images: Tensor, draw: Uniform) -> Tensor:
        """Pictures (N, C, H, W) in [-1, 1] -> as many; with probability one half an old one is returned and replaced.

        Until the slots of an index are full, its new picture is returned and stored.
        """
        held = max(1, len(self.used) // draw.total)  # slots per index
        coins, picks = draw.uniform(), draw.integers(held)
        mine = slice(max(0, min(len(images), len(self.used) - draw.first)))  # those with slots
        new, coins, picks = images[mine], coins[mine], picks[mine]
        place = torch.arange(draw.first, draw.first + len(new), device=images.device)
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
        # Each picture has its own slot, so all can be written at once; a mask would read its size back to the host.
        written = old | ~full
        stored = (((new + 1) * 127.5).round().clamp(0, 255) if shallow else new).to(self.pictures.dtype)
        self.pictures[slot] = torch.where(written[:, None, None, None], stored, self.pictures[slot])
        self.used[slot] |= written
        return shown
