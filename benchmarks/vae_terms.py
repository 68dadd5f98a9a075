"""Why a VAE needs both terms of its bound: 2-D latent maps by label, and samples, of three trainings.

python benchmarks/vae_terms.py --data mnist.npz [--steps 7000] [--picture docs/vae-terms.png]

Trains ``vae`` with a latent of 2 on the reconstruction alone (beta 0), on the KL almost alone (beta 10,000), and on
both. Draws, for each, the map of test codes above samples from the prior, and saves active units and bounds as JSON.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from results import save

import reverie
from reverie.files import replacing
from reverie.inference.embed import Embedding

ARMS = {"reconstruction only": 0.0, "KL only": 1e4, "both": 1.0}
NETWORK = {"network": "mlp", "depth": 2}
SIDE, GRID, SHOWN = 280, 10, 2000
COLOURS = [
    "#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#6b6ecf",
]  # fmt: skip


def scatter(found: Embedding) -> Image.Image:
    """The codes, coloured by label, with the unit circle of the prior; the axes fit the codes and tell their range."""
    assert found.labels is not None
    reach = max(3.0, float(np.quantile(np.abs(found.codes), 0.995)) * 1.1)
    large = SIDE * 3  # drawn large and shrunk: smooth dots
    image = Image.new("RGB", (large, large), "white")
    draw = ImageDraw.Draw(image)
    for (x, y), label in zip(found.codes[:SHOWN], found.labels[:SHOWN], strict=True):
        u, v = (large / 2 * (1 + c / reach) for c in (x, -y))
        draw.ellipse((u - 5, v - 5, u + 5, v + 5), fill=COLOURS[label % len(COLOURS)])
    unit = large / 2 / reach
    draw.ellipse((large / 2 - unit, large / 2 - unit, large / 2 + unit, large / 2 + unit), outline="#333333", width=4)
    image = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    ImageDraw.Draw(image).text((6, 6), f"axes reach {reach:.1f}; circle: |z| = 1", fill="#333333")
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--picture", type=Path, default=Path("docs/vae-terms.png"))
    given = parser.parse_args()
    test = reverie.open_dataset(given.data).split("test")
    sheet = Image.new("RGB", (3 * SIDE + 40, 2 * SIDE + 60), "white")
    pen, figures = ImageDraw.Draw(sheet), {}
    for column, (arm, beta) in enumerate(ARMS.items()):
        with tempfile.TemporaryDirectory() as folder:
            settings = {
                "model": NETWORK | {"latent": 2, "beta": beta, "likelihood": "bernoulli", "warmup": 0.0},
                "train": {"steps": given.steps},
            }
            run = reverie.train("vae", given.data, Path(folder) / "run", settings=settings, quiet=True)
        found = reverie.embed(run.model, test)
        left = 10 + column * (SIDE + 10)
        pen.text((left + 6, 8), arm, fill="black", font_size=16)
        sheet.paste(scatter(found), (left, 30))
        samples = reverie.to_uint8(reverie.sample(run.model, GRID * GRID))
        tall = samples.reshape(GRID, GRID, *samples.shape[1:])[:, :, 0].transpose(0, 2, 1, 3)
        grid = Image.fromarray(tall.reshape(GRID * samples.shape[2], GRID * samples.shape[3]))
        sheet.paste(grid.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, 45 + SIDE))
        measured = reverie.evaluate(run.model, test, limit=1000, samples=50)
        kept = ("mse", "elbo", "iw_bound", "active_units", "kl")
        flat = {k: v for part in measured.values() if isinstance(part, dict) for k, v in part.items()}
        figures[arm] = {"beta": beta} | {k: flat[k] for k in kept if k in flat}
    with replacing(given.picture) as temporary:
        sheet.save(temporary, format="PNG")
    save("vae_terms", figures, seed=0, data=Path(given.data).name)


if __name__ == "__main__":
    main()
