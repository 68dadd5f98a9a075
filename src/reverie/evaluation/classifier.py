"""A small classifier of a labelled data set: an extractor of features that knows the pictures, and a reader of labels.

Trained once for each data set, by reverie itself, and kept in the cache beside the packs. It is a ruler, not a result:
a plain convolutional network, always of the same size, options and seed, so that two figures measured by it compare.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from reverie.data.dataset import Dataset
from reverie.data.pack import cache_folder
from reverie.data.pictures import to_tensor
from reverie.engine.phase import Facts
from reverie.engine.randomness import DataOrder, derive
from reverie.errors import ReverieError
from reverie.files import replacing, savable
from reverie.tasks.pictures import Pictures, some

VERSION = 1  # of all that is fixed here; another one makes other features
SEED = 0
FEATURES = 128
WIDTHS = (32, 64, 128)  # channels while the picture is above, at and below a quarter of its size
SIDE = 32  # pixels; the first layer brings larger pictures near it
BATCH, RATE = 128, 2e-3
SEEN, EPOCHS = 200_000, 40  # pictures seen in training; of small sets each at most so many times
TESTED = 10_000  # held-out pictures that the accuracy is taken on


class Classifier(nn.Module):
    """Pictures to `FEATURES` non-negative features (`forward`), and those to a logit for each class (``head``)."""

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        stride = max(1, min(facts.height, facts.width) // SIDE)
        stem = nn.Conv2d(facts.channels, WIDTHS[0], 2 * stride + 1, stride, stride, bias=False)
        side = min(facts.height, facts.width) // stride
        layers: list[nn.Module] = [stem, nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()]
        channels = WIDTHS[0]
        for level in range(1, max(2, round(math.log2(max(side, 2) / 4)) + 1)):
            width = WIDTHS[min(level, len(WIDTHS) - 1)]
            layers += [nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        layers += [nn.Conv2d(channels, FEATURES, 3, padding=1, bias=False), nn.BatchNorm2d(FEATURES), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(FEATURES, len(facts.classes))

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1] -> (N, FEATURES)."""
        maps: Tensor = self.body(images.contiguous(memory_format=torch.channels_last))
        return maps.mean((2, 3))


def classifier(dataset: Pictures, device: torch.device | str = "cpu", cache: Path | None = None) -> Classifier:
    """The classifier of ``dataset``, trained on its pictures and labels or taken from the cache; in eval mode.

    The cache's key is the data's fingerprint and `VERSION`; a file that is damaged is made anew. Equal seeds give equal
    weights on one machine. Raises ReverieError where the data has no two classes.
    """
    if dataset.labels is None or len(dataset.facts.classes) < 2:
        raise ReverieError("A classifier needs class labels, and this data has none; take --features pixels.")
    key = hashlib.blake2b(f"{fingerprint(dataset)} {VERSION} {SEEN} {EPOCHS}".encode(), digest_size=16).hexdigest()
    path = (cache or cache_folder()) / f"{key}.classifier.safetensors"
    network = _restored(dataset.facts, path)
    if network is None:
        network = _fresh(dataset.facts).to(device)
        _train(network, dataset)
        with replacing(path) as temporary:
            save_file(savable(network.state_dict()), temporary)
    return network.to(device).eval().requires_grad_(False)


def accuracy(network: Classifier, dataset: Pictures) -> float | None:
    """Share of up to `TESTED` pictures of ``dataset`` that get their own label; None where it has no labels."""
    if dataset.labels is None or len(dataset) == 0:
        return None
    indices, device = some(dataset, TESTED, SEED), next(network.parameters()).device
    right = 0
    for start in range(0, len(indices), BATCH):
        part = indices[start : start + BATCH]
        with torch.no_grad():
            found = network.head(network(to_tensor(dataset.batch(part)).to(device))).argmax(1)
        right += int((found.cpu() == torch.from_numpy(dataset.labels[part])).sum())
    return right / len(indices)


def fingerprint(dataset: Pictures) -> str:
    """Changes with the pictures and their labels."""
    if isinstance(dataset, Dataset):
        return dataset.fingerprint
    content = hashlib.blake2b(digest_size=16)
    for start in range(0, len(dataset), 1024):
        content.update(dataset.batch(np.arange(start, min(start + 1024, len(dataset)))).tobytes())
    labels = None if dataset.labels is None else dataset.labels.tolist()
    content.update(repr((dataset.facts, labels)).encode())
    return content.hexdigest()


def _fresh(facts: Facts) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(SEED, "classifier"))
        network = Classifier(facts)
        nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
        return network


def _restored(facts: Facts, path: Path) -> Classifier | None:
    """From the cache; None where the file is not there, damaged, or of another shape."""
    network = _fresh(facts)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError, ValueError):
        return None
    return network


def _train(network: Classifier, dataset: Pictures) -> None:
    """Adam under one cycle of the learning rate: a rise over a fifth of the steps, then down to zero."""
    assert dataset.labels is not None
    device, labels = next(network.parameters()).device, torch.from_numpy(dataset.labels)
    order = DataOrder(derive(SEED, "classifier"), len(dataset))
    batch = min(BATCH, len(dataset))
    steps = math.ceil(min(SEEN, EPOCHS * len(dataset)) / batch)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2, fused=True)
    network.train().requires_grad_(True)
    for step in range(steps):
        done = step / steps
        for group in optimizer.param_groups:
            group["lr"] = RATE * min((step + 1) / (0.2 * steps + 1), (1 - done) / 0.8)
        indices = order.take(step * batch, batch)
        images = to_tensor(dataset.batch(indices)).to(device)
        logits = network.head(network(images))
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits, labels[torch.from_numpy(indices)].to(device)).backward()
        optimizer.step()
