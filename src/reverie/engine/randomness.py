"""Randomness is a function, not a state.

Every number a training run draws is a function of (seed, step, phase, sample index), so that a run which was killed and
resumed, or runs on two ranks instead of one, draws the same numbers without any generator state in the checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def derive(*key: int | str) -> int:
    """A 63-bit seed from a key of integers and strings; equal keys give equal seeds on every machine."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


class Draw:
    """The random numbers of one batch.

    Each call draws for the *whole* batch of ``total`` samples and returns rows ``first .. first + count``, so a shard
    (a microbatch, or a rank's part) sees exactly the numbers it would have seen in the undivided batch.
    Successive calls are independent of each other; the n-th call is a function of (key, n).
    """

    def __init__(
        self, *key: int | str, count: int, first: int = 0, total: int | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self.key = key
        self.first = first
        self.count = count
        self.total = count if total is None else total
        self.device = torch.device(device)
        self._calls = 0

    def generator(self) -> torch.Generator:
        """A generator of its own for the next call, seeded by (key, number of calls so far)."""
        self._calls += 1
        return torch.Generator(self.device).manual_seed(derive(*self.key, self._calls))

    def _mine(self, whole: Tensor) -> Tensor:
        return whole[self.first : self.first + self.count]

    def normal(self, *shape: int) -> Tensor:
        """N(0, 1), (count, *shape), float32."""
        return self._mine(torch.randn(self.total, *shape, generator=self.generator(), device=self.device))

    def uniform(self, *shape: int) -> Tensor:
        """U[0, 1), (count, *shape), float32."""
        return self._mine(torch.rand(self.total, *shape, generator=self.generator(), device=self.device))

    def integers(self, high: int, *shape: int) -> Tensor:
        """Uniform integers in [0, high), (count, *shape), int64."""
        return self._mine(torch.randint(high, (self.total, *shape), generator=self.generator(), device=self.device))


class DrawEach(Draw):
    """Random numbers that belong to each sample alone: row i is a function of (key, samples[i], call).

    Slower than `Draw`; for evaluation, where a figure must not depend on how pictures were batched.
    """

    def __init__(self, *key: int | str, samples: Sequence[int], device: torch.device | str = "cpu") -> None:
        super().__init__(*key, count=len(samples), device=device)
        self.samples = [int(s) for s in samples]

    def _rows(self) -> list[torch.Generator]:
        self._calls += 1
        return [torch.Generator().manual_seed(derive(*self.key, self._calls, s)) for s in self.samples]

    def normal(self, *shape: int) -> Tensor:
        return torch.stack([torch.randn(shape, generator=g) for g in self._rows()]).to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        return torch.stack([torch.rand(shape, generator=g) for g in self._rows()]).to(self.device)

    def integers(self, high: int, *shape: int) -> Tensor:
        return torch.stack([torch.randint(high, shape, generator=g) for g in self._rows()]).to(self.device)


class DataOrder:
    """The endless order of samples: epoch e is the permutation of (seed, e). Remembers the epochs in use only."""

    def __init__(self, seed: int, size: int) -> None:
        self.seed = seed
        self.size = size
        self._epochs: dict[int, np.ndarray] = {}

    def _epoch(self, number: int) -> np.ndarray:
        if number not in self._epochs:
            while len(self._epochs) >= 2:
                del self._epochs[min(self._epochs)]
            self._epochs[number] = np.random.default_rng(derive(self.seed, "order", number)).permutation(self.size)
        return self._epochs[number]

    def take(self, start: int, count: int) -> np.ndarray:
        """Dataset indices of the samples number ``start .. start + count`` since training began; crosses epochs."""
        parts = []
        while count > 0:
            epoch, offset = divmod(start, self.size)
            part = self._epoch(epoch)[offset : offset + count]
            parts.append(part)
            start += len(part)
            count -= len(part)
        return np.concatenate(parts) if parts else np.empty(0, np.int64)
