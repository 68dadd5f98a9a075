"""How many modes a GAN finds of a set whose modes can be counted: StackedMNIST (Metz et al. 2017, section 3.3.1).

python benchmarks/stacked_mnist.py --data mnist.npz [--modes 100 | 1000] [--model r3gan] [--minutes 20] [--seeds 0 1 2]
    [--set model.width=32 ...] [--samples 25600] [--picture PNG]

A picture of 28x28 is a digit in red, one in green and, for 1000 modes, one in blue; for 100 modes blue is black
throughout. Every combination of digits, a mode, is as frequent as any other; which picture of a digit stands for it is
drawn. A network that reads digits (reverie.features.classifier on ``--data``, accuracy on its test split in the JSON)
tells the mode of each generated picture, one channel at a time. Against papers: they train on 32x32, and take digits
as frequent as MNIST has them.

- ``modes``: how many occur among the samples. One sample is enough, as in the papers.
- ``kl``: of the samples' modes to the uniform distribution, in nats; of as many samples of the data itself it would be
  about (modes - 1) / (2 samples), not zero.
- ``sure``: share of samples of which every digit is read with a probability of at least 0.9; a picture of nothing
  counts towards some mode too.

The same figures of stacks of test digits stand beside them, under ``data``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from results import save
from torch import Tensor

import reverie
from reverie.config import parse_settings
from reverie.data import Dataset
from reverie.features.classifier import Classifier, accuracy, classifier

SURE = 0.9
BATCH = 512
SHOWN = 100  # samples in the picture


def stack(digits: Dataset, modes: int, count: int, seed: int) -> NDArray[np.uint8]:
    """``count`` pictures (N, 28, 28, 3), their combinations of digits in rotation."""
    assert digits.labels is not None
    draws = np.random.default_rng(seed)
    pictures = digits.batch(np.arange(len(digits)))[:, 0]
    members = [np.flatnonzero(digits.labels == digit) for digit in range(10)]
    stacked = np.zeros((count, *pictures.shape[1:], 3), np.uint8)
    for channel in range(coloured(modes)):
        wanted = np.arange(count) % modes // 10**channel % 10
        for digit in range(10):
            where = np.flatnonzero(wanted == digit)
            stacked[where, :, :, channel] = pictures[draws.choice(members[digit], len(where))]
    return stacked


def coloured(modes: int) -> int:
    """Channels that hold a digit."""
    return {100: 2, 1000: 3}[modes]


@torch.no_grad()
def measure(images: Tensor, modes: int, reader: Classifier) -> dict[str, float | int]:
    """Figures of pictures (N, 3, 28, 28) in [-1, 1]."""
    found, sure = [], []
    for part in images.split(BATCH):
        channels = part[:, : coloured(modes)]
        chances = reader.head(reader(channels.flatten(0, 1).unsqueeze(1))).softmax(1).unflatten(0, channels.shape[:2])
        best, digit = chances.max(2)  # (N, channels)
        found.append((digit * 10 ** torch.arange(channels.shape[1])).sum(1))
        sure.append((best >= SURE).all(1))
    counts = torch.bincount(torch.cat(found), minlength=modes)
    shares = counts[counts > 0].double() / len(images)
    return {
        "modes": int((counts > 0).sum()),
        "kl": float((shares * (shares * modes).log()).sum()),
        "sure": float(torch.cat(sure).double().mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="MNIST, with its labels and a test split")
    parser.add_argument("--modes", type=int, choices=(100, 1000), default=1000)
    parser.add_argument("--model", default="r3gan")
    parser.add_argument("--minutes", type=float, default=20, help="of training, for each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", nargs="+", default=[], help="section.key=value, as reverie train takes it")
    parser.add_argument("--count", type=int, default=60_000, help="pictures to train on")
    parser.add_argument("--samples", type=int, default=25_600)
    parser.add_argument("--picture", type=Path, help="of the first seed; docs/stacked-mnist-MODES.png")
    given = parser.parse_args()
    mnist = reverie.open_dataset(given.data)
    reader = classifier(mnist.split("train"))
    test = stack(mnist.split("test"), given.modes, given.samples, seed=0)
    real = reverie.to_tensor(test.transpose(0, 3, 1, 2))
    figures: dict[str, Any] = {
        "reader_accuracy": accuracy(reader, mnist.split("test")),
        "data": measure(real, given.modes, reader),
        given.model: [],
    }
    picture = given.picture or Path(f"docs/stacked-mnist-{given.modes}.png")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REVERIE_CACHE"] = folder  # the stacks are made anew each time: not to be kept
        path = Path(folder) / f"stacked{given.modes}.npz"
        np.savez(path, x_train=stack(mnist.split("train"), given.modes, given.count, seed=0))
        for seed in given.seeds:
            settings: dict[str, dict[str, Any]] = {k: dict(v) for k, v in parse_settings(given.set).items()}
            settings["train"] |= {"seed": seed, "minutes": given.minutes}
            run = reverie.train(given.model, str(path), Path(folder) / f"run{seed}", settings=settings)
            samples = reverie.sample(run.model, given.samples, seed=seed)
            row = measure(samples, given.modes, reader) | {"settings": run.config["settings"]}
            figures[given.model].append(row)
            print({k: v for k, v in row.items() if k != "settings"}, flush=True)
            if seed == given.seeds[0]:
                reverie.save_grid(samples[:SHOWN], picture, columns=20)
    figures |= {"samples": given.samples, "count": given.count, "minutes": given.minutes, "seeds": given.seeds}
    name = f"stacked_mnist_{given.modes}_{given.model}"
    save(name, figures, seed=given.seeds[0], data=Path(given.data).name)


if __name__ == "__main__":
    main()
