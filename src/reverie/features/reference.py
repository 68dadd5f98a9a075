"""Reference networks, with which figures are measured: trained once for each data set, and cached.

A reference network always has the same size, options and seed, so that figures measured with it are comparable.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from reverie.data.dataset import Dataset
from reverie.data.pack import cache_folder
from reverie.engine.randomness import DataOrder, derive, seeded
from reverie.files import encodable, replacing, savable
from reverie.inference.fit_network import fit
from reverie.inference.pictures import Pictures

SEED = 0
BATCH, RATE = 128, 2e-3

N = TypeVar("N", bound=nn.Module)


def reference_network(
    name: str,
    dataset: Pictures,
    build: Callable[[], N],
    loss: Callable[[N, NDArray[np.int64]], Tensor],
    *,
    version: int,
    seen: int,
    epochs: int,
    device: torch.device | str = "cpu",
    cache: Path | None = None,
) -> N:
    """The network that ``build`` makes, trained on ``dataset`` or taken from the cache; in eval mode.

    It sees ``seen`` pictures in training, each at most ``epochs`` times; ``loss`` takes the indices of a batch. The
    cache key is the data's fingerprint and these numbers; a damaged file is replaced. Equal seeds give equal
    weights on one machine.
    """
    key = f"{fingerprint(dataset)} {version} {seen} {epochs}"
    digest = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    path = (cache or cache_folder()) / f"{digest}.{name}.safetensors"
    network = _fresh(name, build)
    try:
        with encodable(path) as named:
            network.load_state_dict(load_file(named))
    except (OSError, SafetensorError, RuntimeError, ValueError):  # not there, damaged, or of another shape
        network = _fresh(name, build).to(device).train()
        batch = min(BATCH, len(dataset))
        steps = math.ceil(min(seen, epochs * len(dataset)) / batch)
        order = DataOrder(derive(SEED, name), len(dataset))
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2, fused=True)
        fit(optimizer, lambda rows: loss(network, rows), order, steps=steps, batch=batch)
        with replacing(path, noted=False) as temporary, encodable(temporary) as named:
            save_file(savable(network.state_dict()), named)
    return network.to(device).eval().requires_grad_(False)


def fingerprint(dataset: Pictures) -> str:
    """A digest of the pictures and their labels."""
    if isinstance(dataset, Dataset) and not dataset.streamed:
        return dataset.fingerprint
    content = hashlib.blake2b(digest_size=16)
    for start in range(0, len(dataset), 1024):
        content.update(dataset.batch(np.arange(start, min(start + 1024, len(dataset)))).tobytes())
    labels = None if dataset.labels is None else dataset.labels.tolist()
    # `ImageSpec` under its old name, so that old caches stay valid.
    described = repr((dataset.image_spec, labels)).replace("ImageSpec(", "Facts(", 1)
    content.update(described.encode())
    return content.hexdigest()


def _fresh(name: str, build: Callable[[], N]) -> N:
    with seeded(derive(SEED, name)):
        network = build()
        nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
        return network
