"""The same tour (see own_vae.py) on other data and another model; the words say which: torch, huggingface, labels.

python your_data.py torch           # a data set that draws its pictures when they are asked for
python your_data.py huggingface     # a data set of the library `datasets`, made here
python your_data.py labels          # a GAN that is told the class, on an array with labels
"""

import subprocess
import sys

import datasets
import numpy as np
import torch
from own_vae import Killer, OwnVAE
from PIL import Image
from sklearn.datasets import load_digits

import reverie


class Discs(torch.utils.data.Dataset):
    """Soft discs of any place and size, drawn when they are asked for."""

    def __len__(self):
        return 800

    def __getitem__(self, number):
        x, y, size = np.random.default_rng(number).uniform((2, 2, 1), (6, 6, 3))
        rows, columns = np.mgrid[:8, :8]
        distance = np.hypot(rows - y, columns - x)
        return torch.from_numpy(np.clip(size - distance, 0, 1)[None].astype("float32"))


def pictures(kind):
    """The model and the data."""
    if kind == "torch":
        return "own-vae", Discs()
    digits = load_digits()
    bytes_ = (digits.images * 15).astype(np.uint8)
    if kind == "labels":
        return "cgan", (bytes_, digits.target)
    made = datasets.Dataset.from_dict(
        {"image": [Image.fromarray(picture) for picture in bytes_[:500]], "label": digits.target[:500]},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(10)}),
    )
    return OwnVAE, made  # a class will do as well as its name


if __name__ == "__main__":
    kind = sys.argv[1]
    model, data = pictures(kind)
    settings = {"train": {"steps": 200, "checkpoint_every": 50}}
    words = {"settings": settings, "callbacks": [Killer()], "resume": True, "quiet": True}
    whole = reverie.train(model, data, f"{kind}-killed" if "die" in sys.argv else f"{kind}-whole", **words).model
    print("killed by signal", -subprocess.run([sys.executable, __file__, kind, "die"]).returncode)
    run = reverie.train(model, data, f"{kind}-killed", **words)
    print("the same bits:", all(map(torch.equal, whole.state_dict().values(), run.model.state_dict().values())))
    print(run.evaluate(limit=100)["protocol"], run.score().odd.mean(), "called odd")
    reverie.save_grid(torch.cat([run.traverse().pictures, run.interpolate()]), f"{kind}.png", 9)
    subprocess.run([sys.executable, "-m", "reverie", "--import", "own_vae", "sample", run.path], check=True)
