"""Kill a training fifty times with SIGKILL, resume it each time, and compare with one that was never killed.

python benchmarks/fifty_kills.py [--model vae] [--kills 50] [--seed 0]

Kills come at random times from outside, so also within the writing of a state. Prints and saves JSON.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
from pathlib import Path

import torch
from results import save
from safetensors.torch import load_file

from reverie.engine.checkpoint import CheckpointFolder

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["reverie.training", "reverie.reporting.report", "sklearn.mixture"])


def work(model: str, out: str, resume: bool, steps: int) -> None:
    torch.set_num_threads(1)
    from reverie.training import train

    settings = {
        "train": {"steps": steps, "batch_size": 32, "checkpoint_every": 5, "log_every": 7, "workers": 2},
        "model": {"width": 8, "latent": 4},
        "data": {"shift": 1},
    }
    train(model, "digits", out, settings={} if resume else settings, resume=resume, device="cpu", quiet=True)


def identical(a: Path, b: Path) -> bool:
    left, right = (CheckpointFolder(p / "state").newest() for p in (a, b))
    assert left is not None
    assert right is not None
    pairs = [(left[0], right[0]), *[(load_file(a / n), load_file(b / n)) for n in ("model.safetensors",)]]
    same = all(x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x) for x, y in pairs)
    return same and (a / "metrics.jsonl").read_bytes() == (b / "metrics.jsonl").read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="vae")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, cut = Path(folder) / "whole", Path(folder) / "cut"
        process = PROCESSES.Process(target=work, args=(given.model, str(whole), False, given.steps))
        process.start()
        process.join()
        kills, unfinished, exact = 0, 0, True
        while kills < given.kills:
            process = PROCESSES.Process(
                target=work, args=(given.model, str(cut), (cut / "config.json").exists(), given.steps)
            )
            process.start()
            process.join(chance.uniform(0.3, 2.0))
            if not process.is_alive():
                sys.exit("the training ended before it was killed often enough; give more --steps")
            process.kill()
            process.join()
            kills += 1
            unfinished += any((cut / "state").glob(".*")) if (cut / "state").exists() else 0
        process = PROCESSES.Process(target=work, args=(given.model, str(cut), True, given.steps))
        process.start()
        process.join()
        exact = identical(whole, cut)
        figures = {"kills": kills, "kills_within_a_write": unfinished, "steps": given.steps, "bit_for_bit": exact}
    save("fifty_kills", figures, seed=given.seed, data="digits")
    sys.exit(not exact)


if __name__ == "__main__":
    main()
