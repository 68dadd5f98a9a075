"""A VAE of one's own on an array: trained, killed, resumed to the bit, put to use, loaded by another process."""

import os
import subprocess
import sys

from sklearn.datasets import load_digits
from torch import cat, equal, nn

import reverie


@reverie.register_model("own-vae")
class OwnVAE(reverie.VAE):
    def __init__(self, config, image_spec):
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 99), nn.SiLU(), nn.Linear(99, 2 * config.latent))
        decoder = nn.Sequential(nn.Linear(config.latent, 99), nn.SiLU(), nn.Linear(99, 64), nn.Unflatten(1, (1, 8, 8)))
        super().__init__(config, image_spec, encoder=encoder, decoder=decoder)

    def loss(self, batch, carry):
        bound, logs = super().loss(batch, carry)
        return bound + 1e-3 * sum(weights.square().sum() for weights in self.decoder.parameters()), logs


class Killer:
    def on_step(self, trainer):
        if trainer.step == 150 and "die" in sys.argv:
            os.kill(os.getpid(), 9)


if __name__ == "__main__":
    data, settings = load_digits().images.astype("float32") / 16, {"train": {"steps": 200, "checkpoint_every": 50}}
    words = {"data": data, "settings": settings, "callbacks": [Killer()], "resume": True, "quiet": True}
    whole = reverie.train("own-vae", out="killed" if "die" in sys.argv else "whole", **words).model
    print("killed by signal", -subprocess.run([sys.executable, __file__, "die"]).returncode)
    run = reverie.train("own-vae", out="killed", **words)
    print("the same bits:", all(map(equal, whole.state_dict().values(), run.model.state_dict().values())))
    print(run.evaluate(limit=100)["likelihood"]["iw_bound"], "nats;", run.score().odd.mean(), "called odd")
    reverie.save_grid(cat([run.traverse().pictures, run.interpolate(data)]), "traversal-and-path.png", 9)
    subprocess.run([sys.executable, "-m", "reverie", "--import", "own_vae", "sample", "killed"], check=True)
