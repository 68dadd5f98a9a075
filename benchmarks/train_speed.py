"""Images/s of `train` against a bare loop of the same network on pictures in memory, in one process.

python benchmarks/train_speed.py --mnist PATH [--cifar PATH] [--seconds 40]

Blocks of steps of the two alternate, so that whatever else the machine does slows both. A block of `train` counts
everything until the next begins: pack, shuffle, stateless draws, logging, sample pictures, states. ``ratio`` is that of
the median blocks; ``ratio_of_sums`` has also the ten grids of sample pictures, which are ten in every run, however
short. Prints and saves JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results import save

from reverie import open_dataset
from reverie.artifact import build_model
from reverie.data import DataOptions
from reverie.engine.loop import Loop
from reverie.training import train

BATCH = 128


def bare(spec: str, settings: dict[str, Any]) -> Callable[[], None]:
    """A step of the loop anybody would write: Gaussian VAE with the optimal sigma, Adam, data as one float tensor."""
    data = open_dataset(spec, DataOptions()).split("train")
    images = torch.from_numpy(data.batch(np.arange(len(data)))).float() / 127.5 - 1
    model = build_model("vae", settings, data.image_spec)
    model = model.to(memory_format=torch.channels_last)
    encoder, decoder = model.get_submodule("encoder"), model.get_submodule("decoder")
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=True)
    size = images[0].numel()

    def step() -> None:
        x = images[torch.randint(len(images), (BATCH,))]
        mean, logvar = encoder(x).chunk(2, 1)
        out = decoder(mean + torch.exp(0.5 * logvar) * torch.randn_like(mean))
        error = (out - x).square()
        log_sigma = 0.5 * error.mean().log()
        recon = (0.5 * error * torch.exp(-2 * log_sigma)).flatten(1).sum(1).mean() + size * log_sigma
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean()
        optimizer.zero_grad(set_to_none=True)
        (recon + kl).backward()
        optimizer.step()

    return step


def compare(
    name: str,
    spec: str,
    settings: dict[str, Any],
    plan: dict[str, Any],
    step: Callable[[], None],
    seconds: float,
    data: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Alternate blocks of bare steps with blocks of what `train` does with the model ``name``."""
    batch = plan["batch_size"]
    for _ in range(20):
        step()
    start = time.perf_counter()
    for _ in range(20):
        step()
    each = (time.perf_counter() - start) / 20
    block, advance = max(1, round(0.2 / each)), Loop.advance
    total = max(block * 20, round(seconds / 2 / each))
    ours: list[float] = []
    theirs: list[float] = []
    began = [0.0]
    done = [0]

    def alternating(self: Loop) -> None:
        if done[0] % block == 0:
            if done[0]:
                ours.append((time.perf_counter() - began[0]) / block)
            start = time.perf_counter()
            for _ in range(block):
                step()
            theirs.append((time.perf_counter() - start) / block)
            began[0] = time.perf_counter()
        done[0] += 1
        advance(self)

    Loop.advance = alternating
    try:
        with tempfile.TemporaryDirectory() as folder:
            chosen = {"train": plan | {"steps": total}, "model": settings, "data": data or {}}
            train(name, spec, Path(folder) / "run", settings=chosen, quiet=True, device="cpu")
    finally:
        Loop.advance = advance
    theirs = theirs[: len(ours)]
    return {
        "steps": total,
        "bare_images_per_second": round(batch / statistics.median(theirs)),
        "train_images_per_second": round(batch / statistics.median(ours)),
        "ratio": round(statistics.median(a / b for a, b in zip(theirs, ours, strict=True)), 3),
        "ratio_of_sums": round(sum(theirs) / sum(ours), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mnist", required=True)
    parser.add_argument("--cifar")
    parser.add_argument("--seconds", type=float, default=40)
    given = parser.parse_args()
    small = {"network": "mlp", "width": 32, "latent": 16}
    cases = [("conv VAE, MNIST", given.mnist, {"network": "conv"}), ("small MLP VAE, MNIST", given.mnist, small)]
    if given.cifar:
        cases.append(("conv VAE, CIFAR-10 at 32 px", given.cifar, {"network": "conv"}))
    rows = []
    for name, spec, settings in cases:
        for ema in (0.0, 0.999):
            plan = {"batch_size": BATCH, "ema": ema}
            found = compare("vae", spec, settings, plan, bare(spec, settings), given.seconds)
            rows.append({"case": name, "ema": ema} | found)
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    save("train_speed", {"rows": rows, "peak_memory_mib_with_both": round(peak)}, seed=0)


if __name__ == "__main__":
    main()
