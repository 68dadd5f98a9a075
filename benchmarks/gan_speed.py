"""Images/s of `train` against a bare loop of the same networks and penalties; of `sample` against the generator.

python benchmarks/gan_speed.py --data MNIST [--models dcgan r3gan ...] [--seconds 40]

Blocks of steps of the two alternate in one process (train_speed.py says how and what counts). The bare loops are what
anybody would write for that one model: pictures in memory as one float tensor, torch's own random numbers, fused Adam,
no logs, no averaged weights; `train` runs without averaged weights too, once, and with them. Penalties are taken when
the model takes them; progan is timed fully grown. Sampling is timed in turns too, 1,000 pictures each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from results import save
from torch import Tensor, nn
from train_speed import compare

from reverie import open_dataset, sample
from reverie.artifact import build_model
from reverie.capabilities import Styles
from reverie.data import DataOptions
from reverie.engine.model import ImageSpec
from reverie.engine.randomness import Draw
from reverie.inference.labels import classes_of

SAMPLED, TURNS = 1000, 7
SETTINGS: dict[str, dict[str, Any]] = {"progan": {"grow": 1}}  # grown after the first step


def built(name: str, image_spec: ImageSpec) -> tuple[Any, Callable[..., Tensor], Callable[..., Tensor]]:
    """A model, its generator and its discriminator."""
    model: Any = build_model(name, SETTINGS.get(name, {}), image_spec).to(memory_format=torch.channels_last)
    if name != "progan":
        return model, model.generator, model.discriminator
    model.on_progress(1_000_000)
    whole = {"level": int(model.level), "alpha": float(model.alpha)}
    return model, partial(model.generator, **whole), partial(model.discriminator, **whole)


def toggle(on: nn.Module, off: nn.Module) -> None:
    on.requires_grad_(True)
    off.requires_grad_(False)


def bare(name: str, spec: str, batch: int) -> Callable[[], None]:
    """One step of a loop for ``name``."""
    data = open_dataset(spec, DataOptions()).split("train")
    images = torch.from_numpy(data.batch(np.arange(len(data)))).float() / 127.5 - 1
    model, g, d = built(name, data.image_spec)
    config, networks = model.config, (model.generator, model.discriminator)
    adam = {"lr": config.lr, "betas": (config.beta1, config.beta2), "fused": True}
    opt_g, opt_d = (torch.optim.Adam(network.parameters(), **adam) for network in networks)
    classes = torch.from_numpy(data.labels) if classes_of(model) else None
    styled = isinstance(model, Styles)
    mean = torch.zeros(())
    done = 0

    def real() -> tuple[Tensor, tuple[Tensor, ...]]:
        rows = torch.randint(len(images), (batch,))
        return images[rows], () if classes is None else (classes[rows],)

    def fake(labels: tuple[Tensor, ...]) -> Tensor:
        z = torch.randn(batch, config.latent)
        if not styled:
            return g(z, *labels)
        w = model.map(z)
        if config.mixing:
            cut = torch.where(torch.rand(batch) < config.mixing, torch.randint(1, model.layers, (batch,)), model.layers)
            mine = torch.arange(model.layers) < cut[:, None]
            w = torch.where(mine[:, :, None], w, model.map(torch.randn(batch, config.latent)))
        return model.generator.synthesis(w, Draw(0, done, count=batch))

    def slope(logits: Tensor, x: Tensor) -> Tensor:
        return torch.autograd.grad(logits.sum(), x, create_graph=True)[0].square().sum((1, 2, 3)).mean()

    def descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def step() -> None:
        nonlocal done, mean
        paired, every = config.objective == "relativistic", config.penalty_every
        toggle(*networks[::-1])
        x, labels = real()
        with torch.no_grad():
            y = fake(labels)
        now = config.r1 > 0 and every == 1
        x.requires_grad_(now)
        y.requires_grad_(now and config.r2 > 0)
        a, b = d(x, *labels), d(y, *labels)
        loss = F.softplus(b - a).mean() if paired else (F.softplus(-a) + F.softplus(b)).mean()
        if now:
            loss = loss + config.r1 / 2 * slope(a, x) + (config.r2 / 2 * slope(b, y) if config.r2 else 0)
        descend(loss, opt_d)
        if config.r1 > 0 and every > 1 and done % every == 0:
            x = x.detach().requires_grad_()
            descend(every * config.r1 / 2 * slope(d(x, *labels), x), opt_d)
        toggle(*networks)
        if paired:
            x, labels = real()
            with torch.no_grad():
                a = d(x, *labels)
            loss = F.softplus(a - d(fake(labels), *labels)).mean()
        else:
            loss = F.softplus(-d(fake(labels), *labels)).mean()
        descend(loss, opt_g)
        if styled and config.path and done % config.path_every == 0:
            w = model.map(torch.randn(batch // 2, config.latent))
            y = model.generator.synthesis(w, Draw(0, done, count=batch // 2))
            noise = torch.randn_like(y) / (y.shape[2] * y.shape[3]) ** 0.5
            (j,) = torch.autograd.grad((y * noise).sum(), w, create_graph=True)
            lengths = j.square().sum(2).mean(1).sqrt()
            mean = mean + 0.01 * (lengths.detach().mean() - mean)
            descend(config.path_every * config.path * (lengths - mean).square().mean(), opt_g)
        done += 1

    return step


def sampling(name: str, spec: str) -> dict[str, float]:
    """`sample` against the generator alone, both in batches of 256."""
    image_spec = open_dataset(spec, DataOptions()).split("train").image_spec
    model, g, _ = built(name, image_spec)
    model.eval()
    classes, styled = classes_of(model), isinstance(model, Styles)
    ours, theirs = [], []
    for turn in range(TURNS):
        start = time.perf_counter()
        sample(model, SAMPLED, seed=turn)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        with torch.no_grad():
            for first in range(0, SAMPLED, 256):
                count = min(256, SAMPLED - first)
                labels = (torch.arange(count) % len(classes),) if classes else ()
                z = torch.randn(count, model.config.latent)
                (model.generator.synthesis(model.map(z)) if styled else g(z, *labels)).clamp(-1, 1)
        theirs.append(time.perf_counter() - start)
    return {
        "sample_images_per_second": round(SAMPLED / statistics.median(ours)),
        "sampling_ratio": round(statistics.median(b / a for a, b in zip(ours[1:], theirs[1:], strict=True)), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    known = ["gan", "dcgan", "cgan", "r3gan", "cr3gan", "progan", "stylegan", "stylegan2"]
    parser.add_argument("--models", nargs="+", choices=known, default=known)
    parser.add_argument("--seconds", type=float, default=40)
    given = parser.parse_args()
    rows = []
    for name in given.models:
        row: dict[str, Any] = {"model": name}
        for ema in (0.0, 0.999):
            batch = 32 if name.endswith("r3gan") else 64
            plan = {"batch_size": batch, "ema": ema, "sample_every": 1_000_000}
            found = compare(
                name, given.data, SETTINGS.get(name, {}), plan, bare(name, given.data, batch), given.seconds
            )
            row["ema" if ema else "plain"] = found
        rows.append(row | sampling(name, given.data))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    save("gan_speed", {"rows": rows}, seed=0)


if __name__ == "__main__":
    main()
