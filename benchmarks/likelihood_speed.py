"""How much the likelihood evaluator costs beyond the decoder: decoder evaluations a second, it against bare calls.

    python benchmarks/likelihood_speed.py [--model vae] [--samples 500] [--pictures 16]

One thread, and processor time, so that neighbours on the machine hardly matter. Prints JSON. ``ratio`` is the
evaluator's best rate over the decoder's, each called on as many latents; ``median_ratio`` that of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from numpy.typing import NDArray
from results import save

from reverie.artifact import build_model
from reverie.capabilities import Bounds
from reverie.engine.model import ImageSpec
from reverie.evaluation.likelihood import CHUNK, likelihood


class Noise:
    """MNIST-sized pictures of noise; speed does not depend on what they show."""

    labels = None
    image_spec = ImageSpec(1, 28, 28)

    def __init__(self, count: int) -> None:
        self.pixels = np.random.default_rng(0).integers(0, 256, (count, *self.image_spec.shape), np.uint8)
        self.names = [str(i) for i in range(count)]

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pixels[indices]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="vae")
    parser.add_argument("--likelihood", default="bernoulli")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chunk", type=int, default=CHUNK)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = (
        build_model(arguments.model, {"likelihood": arguments.likelihood}, Noise.image_spec)
        .eval()
        .requires_grad_(False)
    )
    assert isinstance(model, Bounds)
    data = Noise(arguments.pictures)
    evaluations = arguments.samples * arguments.pictures
    latents = torch.randn(arguments.chunk, model.mixture.means.shape[1])
    evaluator, decoder = [], []
    for _ in range(arguments.rounds):  # in turn, so that a busy machine slows both
        began = time.process_time()
        likelihood(model, data, arguments.samples, chunk=arguments.chunk)
        evaluator.append(evaluations / (time.process_time() - began))
        began = time.process_time()
        for first in range(0, evaluations, arguments.chunk):
            model.decode(latents[: min(arguments.chunk, evaluations - first)])
        decoder.append(evaluations / (time.process_time() - began))
    figures = {
        "model": arguments.model,
        "likelihood": arguments.likelihood,
        "samples": arguments.samples,
        "pictures": arguments.pictures,
        "chunk": arguments.chunk,
        "threads": 1,
        "evaluator_per_second": round(max(evaluator), 1),
        "decoder_per_second": round(max(decoder), 1),
        "ratio": round(max(evaluator) / max(decoder), 3),
        "median_ratio": round(statistics.median(e / d for e, d in zip(evaluator, decoder, strict=True)), 3),
    }
    save("likelihood_speed", figures, seed=0, data="noise, 28 x 28")


if __name__ == "__main__":
    main()
