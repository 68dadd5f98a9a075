"""Random numbers as a function of a key, without generator state.

Every random number of a training run is a function of (seed, step, phase, sample index). A run that was killed and
resumed, or that uses two ranks instead of one, gets the same numbers without generator state in the checkpoint.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def derive(*key: int | str) -> int:
    """A 63-bit seed from a key of integers and strings; equal keys give equal seeds on every machine."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Build layers on the CPU inside the block, with weights that depend only on the seed.

    The state of torch's CPU generator is restored afterwards; generators of other devices are not used.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        yield


class Draw:
    """The random numbers of one batch.

    Each call draws for the *whole* batch of ``total`` samples and returns rows ``first .. first + count``, so a shard
    (a microbatch, or a rank's part) gets exactly the numbers that it would have in the undivided batch.
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
        self.calls = 0  # number of calls so far; subclasses must count them too

    def generator(self) -> torch.Generator:
        """A new generator for the next call, seeded by (key, number of calls)."""
        self.calls += 1
        return torch.Generator(self.device).manual_seed(derive(*self.key, self.calls))

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
    """Random numbers that do not depend on the batch: row i is a function of (key, samples[i], call).

    For sampling and evaluation, whose results must not depend on the batch size. The numbers are hashes of their
    position (SplitMix64, Steele et al. 2014), computed for a batch as one vector operation; seeding a generator for
    each sample would take as long as a small network. Normal numbers reach up to 5.7 sigma.
    """

    def __init__(self, *key: int | str, samples: Sequence[int], device: torch.device | str = "cpu") -> None:
        super().__init__(*key, count=len(samples), device=device)
        self.samples = np.asarray([int(s) for s in samples], np.uint64)

    def bits(self, *shape: int) -> np.ndarray:
        """(count, *shape), uint64: 64 random bits for each number, from which the other methods compute theirs."""
        self.calls += 1
        key = np.uint64(derive(*self.key, self.calls))
        with np.errstate(over="ignore"):  # arithmetic modulo 2^64
            streams = _mixed(_mixed(self.samples * _STEP + key) + key)
            places = np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * _STEP
            bits: np.ndarray = _mixed(streams[:, None] + places).reshape(len(streams), *shape)
            return bits

    def normal(self, *shape: int) -> Tensor:
        bits = self.bits(*shape)
        u, v = _unit(bits >> np.uint64(40)), _unit(bits & np.uint64(0xFFFFFF))
        normal = np.sqrt(-2 * np.log1p(-u)) * np.cos(np.float32(2 * np.pi) * v)  # Box and Muller 1958
        return torch.from_numpy(normal).to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        return torch.from_numpy(_unit(self.bits(*shape) >> np.uint64(40))).to(self.device)

    def integers(self, high: int, *shape: int) -> Tensor:
        # The upper 32 bits of (32 random bits x high): no modulo, and a negligible bias for high below 2^20.
        found = (self.bits(*shape) >> np.uint64(32)) * np.uint64(high) >> np.uint64(32)
        return torch.from_numpy(found.astype(np.int64)).to(self.device)


_STEP = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's


def _mixed(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser, modulo 2^64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def _unit(bits: np.ndarray) -> np.ndarray:
    """Integers of 24 bits as float32 in [0, 1)."""
    unit: np.ndarray = bits.astype(np.float32)
    unit *= np.float32(2**-24)
    return unit


class DataOrder:
    """The infinite order of samples: epoch e is a permutation seeded by (seed, e). Caches two epochs."""

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
        """Dataset indices (count,) of samples ``start .. start + count`` since training began; may span epochs."""
        parts = []
        while count > 0:
            epoch, offset = divmod(start, self.size)
            part = self._epoch(epoch)[offset : offset + count]
            parts.append(part)
            start += len(part)
            count -= len(part)
        return np.concatenate(parts) if parts else np.empty(0, np.int64)
