"""Images/s of `train` against a bare loop of the same network on pictures in memory, in one process.

python benchmarks/train_speed.py --mnist PATH [--cifar PATH] [--seconds 30] [--rounds 3]

Each round runs the bare loop, `train` without and `train` with averaged weights, one after the other; the ratios of a
round are of runs next to each other in time. `train` does all it does by default: pack, shuffle, stateless draws,
logging, sample pictures, states. Prints and saves JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
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


def bare(spec: str, settings: dict[str, Any], steps: int, batch: int) -> float:
    """Images/s of the loop anybody would write: Gaussian VAE with the optimal sigma, Adam, data as one float tensor."""
    data = open_dataset(spec, DataOptions()).split("train")
    images = torch.from_numpy(data.batch(np.arange(len(data)))).float() / 127.5 - 1
    model = build_model("vae", settings, data.facts)
    if any(isinstance(m, torch.nn.Conv2d) for m in model.modules()):
        model = model.to(memory_format=torch.channels_last)
    encoder, decoder = model.get_submodule("encoder"), model.get_submodule("decoder")
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=True)
    size, start = images[0].numel(), 0.0
    for step in range(steps):
        if step == WARM:
            start = time.perf_counter()
        x = images[torch.randint(len(images), (batch,))]
        mean, logvar = encoder(x).chunk(2, 1)
        out = decoder(mean + torch.exp(0.5 * logvar) * torch.randn_like(mean))
        error = (out - x).square()
        log_sigma = 0.5 * error.mean().log()
        recon = (0.5 * error * torch.exp(-2 * log_sigma)).flatten(1).sum(1).mean() + size * log_sigma
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean()
        loss = recon + min(1.0, step / (0.3 * steps)) * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return (steps - WARM) * batch / (time.perf_counter() - start)


def reveries(spec: str, settings: dict[str, Any], steps: int, batch: int, ema: float) -> float:
    """Images/s between two steps of `train`, everything between them included."""
    stamps: list[float] = []
    advance = Loop.advance

    def stamped(self: Loop) -> None:
        stamps.append(time.perf_counter())
        advance(self)

    Loop.advance = stamped
    try:
        with tempfile.TemporaryDirectory() as folder:
            chosen = {"train": {"steps": steps, "batch_size": batch, "ema": ema}, "model": settings}
            train("vae", spec, Path(folder) / "run", settings=chosen, quiet=True, device="cpu")
    finally:
        Loop.advance = advance
    return (len(stamps) - 1 - WARM) * batch / (stamps[-1] - stamps[WARM])


WARM = 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mnist", required=True)
    parser.add_argument("--cifar")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    cases = [("conv VAE, MNIST", given.mnist, {"network": "conv"}), ("small MLP VAE, MNIST", given.mnist, MLP)]
    if given.cifar:
        cases.append(("conv VAE, CIFAR-10 at 32 px", given.cifar, {"network": "conv"}))
    rows = []
    for name, spec, settings in cases:
        rate = bare(spec, settings, 110, 128)
        steps = max(200, int(given.seconds * rate / 128))
        rounds = []
        for _ in range(given.rounds):
            plain = bare(spec, settings, steps, 128)
            rounds.append((plain, *(reveries(spec, settings, steps, 128, ema) for ema in (0.0, 0.999))))
        row = {
            "case": name,
            "steps": steps,
            "bare_images_per_second": round(statistics.median(r[0] for r in rounds)),
            "train_to_bare": round(statistics.median(r[1] / r[0] for r in rounds), 3),
            "train_with_ema_to_bare": round(statistics.median(r[2] / r[0] for r in rounds), 3),
            "all_rounds": [[round(v) for v in r] for r in rounds],
        }
        print(json.dumps(row), file=sys.stderr, flush=True)
        rows.append(row)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    save("train_speed", {"rows": rows, "peak_memory_mib": round(peak)}, seed=0)


MLP = {"network": "mlp", "width": 32, "latent": 16}

if __name__ == "__main__":
    main()
