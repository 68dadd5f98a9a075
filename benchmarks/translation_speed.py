"""Images/s of `train` against a bare loop of the same networks, for pix2pix and cyclegan.

python benchmarks/translation_speed.py --data facades.zip [--size 128] [--seconds 40]

Blocks of steps of the two alternate in one process (train_speed.py says how and what counts). The bare loops are what
anybody would write for that one model: pairs in memory as one float tensor, a list as the pool, fused Adam, no logs, no
averaged weights; `train` runs without averaged weights too, once, and with them. ``peak_memory_mib_with_both`` is of
the whole process, both loops and their data.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from results import save
from torch import Tensor
from train_speed import compare

from reverie import open_dataset
from reverie.artifact import build_model
from reverie.config import configure
from reverie.data import DataOptions

BATCH, SLOTS = 4, 50


def bare(name: str, spec: str, options: dict[str, Any]) -> Callable[[], None]:
    """One step of a loop for ``name``."""
    data = open_dataset(spec, configure(DataOptions, options, "data")).split("train")
    pairs = torch.from_numpy(data.batch(np.arange(len(data)))).float() / 127.5 - 1
    model: Any = build_model(name, {}, data.image_spec)
    torch.nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
    config = model.config
    adam = {"betas": (config.beta1, 0.999), "fused": True}
    players = [
        [p for module in spec.modules for p in model.get_submodule(module).parameters()]
        for spec in (model.optimizers()[side] for side in "gd")
    ]
    opt_g, opt_d = (torch.optim.Adam(p, lr=lr, **adam) for p, lr in zip(players, (config.lr, config.lr_d), strict=True))
    pools: tuple[list[Tensor], list[Tensor]] = ([], [])

    def turn(mine: int) -> None:
        for number, parameters in enumerate(players):
            for parameter in parameters:
                parameter.requires_grad_(number == mine)

    def descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def exchange(pool: list[Tensor], fakes: Tensor) -> Tensor:
        shown = []
        for fake in fakes:
            if len(pool) < SLOTS:
                pool.append(fake)
            elif random.random() < 0.5:
                slot = random.randrange(SLOTS)
                fake, pool[slot] = pool[slot], fake
            shown.append(fake)
        return torch.stack(shown)

    def paired() -> None:
        x = pairs[torch.randint(len(pairs), (BATCH,))]
        a, b = x.split(data.image_spec.sides, 1)
        turn(0)
        fake = model.generator(a)
        fooled = F.softplus(-model.discriminator(torch.cat([a, fake], 1))).mean()
        descend(fooled + config.l1 * (fake - b).abs().mean(), opt_g)
        turn(1)
        real, made = model.discriminator(torch.cat([x, torch.cat([a, fake.detach()], 1)])).chunk(2)
        descend((F.softplus(-real) + F.softplus(made)).mean(), opt_d)

    def unpaired() -> None:
        a, b = pairs[torch.randint(len(pairs), (BATCH,))].split(data.image_spec.sides, 1)
        turn(0)
        to_b, to_a = model.ab(torch.cat([a, b])), model.ba(torch.cat([b, a]))
        fake_b, fake_a = to_b[:BATCH], to_a[:BATCH]
        loss = sum(
            0.5 * (d - 1).square().mean() for d in (model.discriminator_b(fake_b), model.discriminator_a(fake_a))
        )
        loss = loss + config.cycle * ((model.ba(fake_b) - a).abs().mean() + (model.ab(fake_a) - b).abs().mean())
        kept = (to_b[BATCH:] - b).abs().mean() + (to_a[BATCH:] - a).abs().mean()
        descend(loss + config.cycle * config.identity * kept, opt_g)
        turn(1)
        loss = torch.zeros(())
        for d, x, fake, pool in (
            (model.discriminator_a, a, fake_a, pools[0]),
            (model.discriminator_b, b, fake_b, pools[1]),
        ):
            real, made = d(torch.cat([x, exchange(pool, fake.detach())])).chunk(2)
            loss = loss + 0.5 * ((real - 1).square().mean() + made.square().mean())
        descend(loss, opt_d)

    return paired if name == "pix2pix" else unpaired


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="pictures of which each is A|B side by side")
    parser.add_argument("--size", default="128")
    parser.add_argument("--seconds", type=float, default=40)
    given = parser.parse_args()
    options = {"pair": "halves", "swap": True, "size": given.size}
    rows = []
    for name in ("pix2pix", "cyclegan"):
        row: dict[str, Any] = {"model": name, "size": given.size}
        for ema in (0.0, 0.999):
            plan = {"batch_size": BATCH, "ema": ema, "sample_every": 1_000_000}
            step = bare(name, given.data, options)
            row["ema" if ema else "plain"] = compare(name, given.data, {}, plan, step, given.seconds, options)
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    save("translation_speed", {"rows": rows, "peak_memory_mib_with_both": round(peak)}, seed=0, data="facades.zip")


if __name__ == "__main__":
    main()
