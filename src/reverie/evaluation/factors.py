"""A reader of factors: what a picture shows, by a network trained once on pictures whose factors are known.

For the built-in faces, whose ground truth is theirs to give: whether an edit or a translation changed what it should,
and nothing else, can then be read off pictures that nobody drew. Like the classifier it is a ruler, always of the same
size, options and seed, and kept in the cache.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from reverie.data.dataset import Dataset
from reverie.data.faces import FACTORS
from reverie.data.pack import cache_folder
from reverie.data.pictures import to_tensor
from reverie.engine.phase import Facts
from reverie.engine.randomness import DataOrder, derive
from reverie.errors import ReverieError
from reverie.files import replacing, savable
from reverie.networks.conv import ConvEncoder
from reverie.tasks.pictures import device_of

VERSION = 1  # of all that is fixed here
SEED = 0
WIDTH, BATCH, RATE = 24, 128, 2e-3
SEEN, EPOCHS = 200_000, 40  # pictures seen in training; of small sets each at most so many times
AT_ONCE = 256


class FactorReader(nn.Module):
    """Pictures (N, C, H, W) in [-1, 1] to one number a continuous factor, and a logit a value of the others."""

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        self.sizes = [factor.values or 1 for factor in FACTORS]
        self.body = ConvEncoder(facts.shape, sum(self.sizes), WIDTH, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """For each of `FACTORS` (N, 1), the factor scaled to [-1, 1], or (N, values)."""
        heads: tuple[Tensor, ...] = self.body(images.contiguous(memory_format=torch.channels_last)).split(self.sizes, 1)
        return heads

    def read(self, images: Tensor) -> dict[str, NDArray[np.float32]]:
        """The factors of pictures (N, C, H, W): name -> (N,), in the units of the factor."""
        parts = []
        with torch.no_grad():
            for some in images.split(AT_ONCE):
                heads = self(some.to(device_of(self)))
                parts.append(torch.stack([_value(head, i) for i, head in enumerate(heads)]).cpu())
        values = torch.cat(parts, 1)
        return {factor.name: values[i].numpy() for i, factor in enumerate(FACTORS)}


def factor_reader(dataset: Dataset, device: torch.device | str = "cpu", cache: Path | None = None) -> FactorReader:
    """The reader of ``dataset``'s factors, trained on its pictures or taken from the cache; in eval mode.

    Raises ReverieError where the factors of the pictures are not known.
    """
    if dataset.factors is None:
        raise ReverieError("A reader of factors needs pictures whose factors are known: the built-in faces.")
    key = hashlib.blake2b(f"{dataset.fingerprint} {VERSION} {SEEN} {EPOCHS}".encode(), digest_size=16).hexdigest()
    path = (cache or cache_folder()) / f"{key}.factors.safetensors"
    network = _fresh(dataset.facts)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError, ValueError):  # not there, damaged, or of another shape
        network = _fresh(dataset.facts).to(device)
        _train(network, dataset)
        with replacing(path) as temporary:
            save_file(savable(network.state_dict()), temporary)
    return network.to(device).eval().requires_grad_(False)


def _value(head: Tensor, number: int) -> Tensor:
    factor = FACTORS[number]
    if factor.values:
        return head.argmax(1).float()
    return factor.low + (head[:, 0].clamp(-1, 1) + 1) / 2 * (factor.high - factor.low)


def _fresh(facts: Facts) -> FactorReader:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(SEED, "factors"))
        network = FactorReader(facts)
        nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
        return network


def _train(network: FactorReader, dataset: Dataset) -> None:
    """Adam under one cycle of the learning rate; squared error or cross-entropy, each factor alike."""
    factors = dataset.factors
    assert factors is not None
    targets = torch.from_numpy(np.stack([factors[factor.name] for factor in FACTORS], 1))
    device, order = device_of(network), DataOrder(derive(SEED, "factors"), len(dataset))
    batch = min(BATCH, len(dataset))
    steps = math.ceil(min(SEEN, EPOCHS * len(dataset)) / batch)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2, fused=True)
    network.train().requires_grad_(True)
    for step in range(steps):
        done = step / steps
        for group in optimizer.param_groups:
            group["lr"] = RATE * min((step + 1) / (0.2 * steps + 1), (1 - done) / 0.8)
        indices = order.take(step * batch, batch)
        wanted = targets[torch.from_numpy(indices)].to(device)
        heads = network(to_tensor(dataset.batch(indices)).to(device))
        loss = torch.stack([_error(head, wanted[:, i], i) for i, head in enumerate(heads)]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def _error(head: Tensor, wanted: Tensor, number: int) -> Tensor:
    factor = FACTORS[number]
    if factor.values:
        return F.cross_entropy(head, wanted.long())
    scaled = 2 * (wanted - factor.low) / (factor.high - factor.low) - 1
    return F.mse_loss(head[:, 0], scaled)
