"""Load training batches by sample number, optionally ahead of time in worker threads."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from reverie.data import Dataset
from reverie.data.augment import augment
from reverie.data.image_io import scaled, to_tensor
from reverie.engine.randomness import DataOrder, Draw

RESIDENT_BYTES = 4 << 30  # data up to this size is kept on a CUDA device as a whole

Pictures = tuple[Tensor, Tensor | None]


class BatchLoader:
    """Augmented training pictures in shuffled order: one rank's part of each batch.

    The result of ``take`` depends only on its arguments and the seed: workers only compute the next batches earlier.
    """

    def __init__(
        self, dataset: Dataset, seed: int, device: torch.device, workers: int = 0, rank: int = 0, ranks: int = 1
    ) -> None:
        self.dataset, self.seed, self.device, self.rank, self.ranks = dataset, seed, device, rank, ranks
        self.order = DataOrder(seed, len(dataset))
        self.labels = None if dataset.labels is None else torch.from_numpy(dataset.labels)
        self.workers = workers
        self._pool = ThreadPoolExecutor(workers) if workers else None
        self._ahead: dict[tuple[int, int], Future[Pictures]] = {}
        self._resident: Tensor | None = None
        size = len(dataset) * int(np.prod(dataset.image_spec.shape)) * dataset.image_spec.depth // 8
        if device.type == "cuda" and size <= RESIDENT_BYTES and not dataset.streamed:
            self._resident = torch.from_numpy(dataset.batch(np.arange(len(dataset)))).to(device)

    def take(self, start: int, total: int) -> Pictures:
        """This rank's part of the samples ``start .. start + total`` since training began.

        Pictures (total / ranks, C, H, W) in [-1, 1], and their labels (total / ranks,) or None, on the device.
        """
        if self._pool is None:
            return self._fetch(start, total)
        ready = self._ahead.pop((start, total), None)
        coming = [(start + k * total, total) for k in range(1, self.workers + 1)]
        self._ahead = {key: self._ahead.get(key) or self._pool.submit(self._fetch, *key) for key in coming}
        return ready.result() if ready is not None else self._fetch(start, total)

    def close(self) -> None:
        """Stop the workers."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _fetch(self, start: int, total: int) -> Pictures:
        count = total // self.ranks
        first = count * self.rank
        indices = self.order.take(start + first, count)
        if self._resident is not None:
            images = scaled(_rows(self._resident, torch.from_numpy(indices).to(self.device)))
        else:
            images = to_tensor(self.dataset.batch(indices)).to(self.device, non_blocking=True)
        # Keyed by the sample's number since training began: the augmentation differs in each epoch.
        draw = Draw(self.seed, "augment", start, first=first, count=count, total=total, device=self.device)
        images = augment(images, self.dataset.options, draw)
        return images, None if self.labels is None else self.labels[torch.from_numpy(indices)].to(self.device)


def _rows(pictures: Tensor, rows: Tensor) -> Tensor:
    """``pictures[rows]``; older torch indexes 16 bits only where they have a sign."""
    if pictures.dtype == torch.uint16:
        return pictures.view(torch.int16)[rows].view(torch.uint16)
    return pictures[rows]
