"""Denoising by a model against a median filter, non-local means and a Gaussian, at several levels of noise.

python benchmarks/denoising.py --run RUN --data mnist.npz --name mnist [--pictures 500] [--levels 0.1 0.3 0.5]
    [--seed 0] [--picture docs/denoising-NAME.png] [--threads 2]

Gaussian noise on held-out pictures, its standard deviation given for pixels in [0, 1]; noisy pixels are not cut to the
range. The filters know the level of the noise, and their own settings are the best of those tried on these pictures, in
their favour. scikit-image has them; it is not among reverie's dependencies. The picture, at 0.3: pictures, noisy, the
model's, median, non-local means. Leaves benchmarks/results/denoising_NAME.json.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import alike, parsed, parser_for
from numpy.typing import NDArray
from results import save
from scipy.ndimage import gaussian_filter, median_filter
from skimage.restoration import denoise_nl_means
from torch import Tensor

import reverie
from reverie.data.image_io import to_tensor
from reverie.inference.pictures import sample_indices
from reverie.metrics.images import psnr, ssim
from reverie.tasks.denoise import add_noise, restore
from reverie.tasks.reconstruct import grid_rows

SHOWN = 0.3

Pixels = NDArray[np.float32]  # (H, W, C) in [0, 1], noise beyond


def filters(sigma: float) -> dict[str, list[Callable[[Pixels], Any]]]:
    """For each filter what it may be set to."""
    return {
        "median": [lambda x, side=side: median_filter(x, (side, side, 1)) for side in (3, 5, 7)],
        "non-local means": [
            lambda x, h=h, size=size: denoise_nl_means(
                x, patch_size=size, patch_distance=7, h=h * sigma, sigma=sigma, fast_mode=True, channel_axis=-1
            )
            for h in (0.4, 0.6, 0.8, 1.0)
            for size in (3, 5)
        ],
        "Gaussian": [lambda x, width=width: gaussian_filter(x, (width, width, 0)) for width in (0.5, 0.8, 1.1, 1.5)],
    }


def main() -> None:
    parser = parser_for(__doc__, "run", "data", "name")
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--levels", type=float, nargs="+", default=[0.1, 0.3, 0.5])
    parser.add_argument("--picture", type=Path)
    given = parsed(parser)
    run = reverie.load(given.run)
    test = alike(run, given.data).split("test")
    images = to_tensor(test.batch(sample_indices(test, given.pictures, given.seed)))
    figures: dict[str, Any] = {}
    for level in given.levels:
        damage = add_noise(images, level, given.seed)
        ways: dict[str, Tensor] = {"noisy": damage.damaged, run.name: restore(run.model, damage, seed=given.seed)}
        unit = ((damage.damaged + 1) / 2).permute(0, 2, 3, 1).numpy()
        for name, settings in filters(level).items():
            tried = []
            for setting in settings:
                done = np.stack([np.clip(setting(picture), 0, 1).reshape(picture.shape) for picture in unit])
                tried.append(torch.from_numpy(done).float().permute(0, 3, 1, 2) * 2 - 1)
            ways[name] = max(tried, key=lambda pictures: float(psnr(pictures, images).mean()))
        figures[f"{level:g}"] = {
            name: {"psnr": float(psnr(part, images).mean()), "ssim": float(ssim(part, images).mean())}
            for name, part in ways.items()
        }
        if level == SHOWN:
            rows = [images, damage.damaged.clamp(-1, 1), *(ways[k] for k in (run.name, "median", "non-local means"))]
            picture = given.picture or Path(f"docs/denoising-{given.name}.png")
            reverie.save_grid(grid_rows([row[:12] for row in rows], 12), picture, 12)
    figures |= {"settings": run.config["settings"], "pictures": len(images)}
    save(f"denoising_{given.name}", figures, seed=given.seed, data=Path(given.data).name)


if __name__ == "__main__":
    main()
