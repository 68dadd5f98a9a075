"""Mean and variance of a whole picture for a network that is run on tiles of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import torch
from torch import Tensor

from reverie.networks.norm import InstanceNorm, Moments
from reverie.tasks.translate_tiles import Tile


class _Enough(Exception):
    """Stops a forward pass as soon as it has the statistics that it is for."""


class SharedMoments:
    """Mean and variance of the whole picture at each call of an `InstanceNorm`, in the order of the calls.

    Each pass measures one more call, since a layer's input is only final once all calls before it are. (Measuring all
    layers at once, and again with the result, normalises each layer by statistics of inputs that it does not have:
    errors multiply from layer to layer, and two such passes are far worse than none.)
    """

    def __init__(self, norms: Sequence[InstanceNorm]) -> None:
        self.norms = norms
        self.known: list[Moments] = []

    @contextmanager
    def used(self, other: Callable[[Tensor], Moments]) -> Iterator[None]:
        """For one tile, the layers use the measured moments, and at later calls ``other`` of their input."""
        before = [norm.moments for norm in self.norms]
        calls = iter(self.known)
        try:
            for norm in self.norms:
                norm.moments = lambda _, x: next(calls, None) or other(x)
            yield
        finally:
            for norm, asked in zip(self.norms, before, strict=True):
                norm.moments = asked

    def learn(self, tiles: Sequence[Tile], through: Callable[[Tile], Tensor]) -> bool:
        """One pass over all tiles up to the first call that is not measured yet; False where all are measured."""
        sums: list[Tensor] = []

        def see(tile: Tile, x: Tensor) -> Moments:
            core = tile.core(x)
            mean, variance = moments_of(core)
            found = torch.stack([torch.ones_like(mean), mean, variance]).cpu().double()
            found[2] += found[1].square()
            sums.append(found * core[0, 0].numel())
            raise _Enough

        for tile in tiles:
            with suppress(_Enough), self.used(partial(see, tile)):
                through(tile)
            if not sums:
                return False
        count, first, second = torch.stack(sums).sum(0)
        mean, gain = first / count, self.norms[0].gain
        variance = (second / count - mean.square()).clamp(min=0)
        self.known.append((mean.to(gain), variance.to(gain)))
        return True


def moments_of(x: Tensor) -> Moments:
    """Mean and variance of each channel over (N, C, H, W) alone, (N, C, 1, 1) each."""
    variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    return mean, variance
