"""How well held-out pictures are projected onto a model's latents, against plain gradient descent from random starts.

python benchmarks/projection.py --run RUN --data mnist.npz --name mnist [--pictures 32] [--steps 400] [--seed 0]
    [--picture docs/projection-NAME.png] [--threads 2]

`project` decodes a picture, with a gradient, so many times: all its starts together. The other way has the same number
of them: 50 starts from the prior, each with a fiftieth of the steps of gradient descent on the squared error, and the
best of them; its rate is the best of `RATES`, chosen in its favour on these same pictures. Then `project` again as far
as 50 starts of Adam at equal cost, the nearest of the draws alone, and the regression alone. The picture: held-out
pictures, `project`, gradient descent. Leaves benchmarks/results/projection_NAME.json.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from measured import alike, parsed, parser_for
from results import save
from torch import Tensor

import reverie
from reverie.capabilities import Samples
from reverie.data.image_io import to_tensor
from reverie.inference.latent_space import latent_space
from reverie.inference.pictures import sample_indices
from reverie.metrics.images import psnr
from reverie.tasks.project import project
from reverie.tasks.reconstruct import grid_rows

RESTARTS, RATES = 50, (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # of the gradient of the mean squared error, times pixels
STARTS = 4


def descent(model: Samples, images: Tensor, budget: int, rate: float, adam: bool, seed: int) -> Tensor:
    """The best pictures of `RESTARTS` starts in z, with ``budget`` decodings of each picture in all."""
    space, best = latent_space(model, "z"), torch.full((len(images),), torch.inf)
    found = images.clone()
    for number in range(RESTARTS):
        first = number * len(images)
        z = space.draw(seed + 1, range(first, first + len(images))).requires_grad_()
        optimizer = torch.optim.Adam([z], lr=rate) if adam else torch.optim.SGD([z], lr=rate)
        for _ in range(budget // RESTARTS):
            error = (space.decode(z) - images).square().flatten(1).sum(1)
            (z.grad,) = torch.autograd.grad(error.sum(), z)
            optimizer.step()
        with torch.no_grad():
            pictures = space.decode(z)
            error = (pictures - images).square().flatten(1).sum(1)
        better = error < best
        best, found[better] = torch.where(better, error, best), pictures[better]
    return found


def main() -> None:
    parser = parser_for(__doc__, "run", "data", "name")
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--picture", type=Path)
    given = parsed(parser)
    run = reverie.load(given.run)
    test = alike(run, given.data).split("test")
    images = to_tensor(test.batch(sample_indices(test, given.pictures, given.seed)))
    rounds = STARTS.bit_length()
    budget = rounds * STARTS * given.steps // (2**rounds - 1)
    ways: dict[str, Tensor] = {}
    seconds: dict[str, float] = {}

    def timed(name: str, pictures: Tensor, began: float) -> None:
        ways[name], seconds[name] = pictures, time.perf_counter() - began

    began = time.perf_counter()
    timed("project", project(run.model, images, steps=given.steps, starts=STARTS, seed=given.seed).pictures, began)
    began = time.perf_counter()
    timed("project, 1 step of 1 start", project(run.model, images, steps=1, starts=1, seed=given.seed).pictures, began)
    for name, adam, rates in (("gradient descent", False, RATES), ("adam", True, (0.03, 0.1, 0.3))):
        kept: dict[float, Tensor] = {}
        for rate in rates:
            began = time.perf_counter()
            kept[rate] = descent(run.model, images, budget, rate, adam, given.seed)
            last = time.perf_counter() - began
        best = max(kept, key=lambda rate: float(psnr(kept[rate], images).mean()))
        ways[f"{name}, {RESTARTS} starts, rate {best:g}"] = kept[best]
        seconds[f"{name}, {RESTARTS} starts, rate {best:g}"] = last
    shown = [ways["project"], *(v for k, v in ways.items() if k.startswith("gradient"))]
    picture = given.picture or Path(f"docs/projection-{given.name}.png")
    reverie.save_grid(grid_rows([part[:12] for part in (images, *shown)], 12), picture, 12)
    figures = {
        "model": run.name,
        "settings": run.config["settings"],
        "decodings_of_each_picture": budget,
        "psnr": {name: float(psnr(pictures, images).mean()) for name, pictures in ways.items()},
        "worst_psnr": {name: float(psnr(pictures, images).min()) for name, pictures in ways.items()},
        "seconds_a_picture": {name: value / len(images) for name, value in seconds.items()},
        "pictures": len(images),
    }
    save(f"projection_{given.name}", figures, seed=given.seed, data=Path(given.data).name)


if __name__ == "__main__":
    main()
