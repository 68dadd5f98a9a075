"""A model of somebody's own module, as small as one can be: its encoder and decoder, and its own loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

import reverie
from reverie.engine.model import Batch, ImageSpec, Logs
from reverie.models.vae import VAE, VAEConfig


@dataclass(frozen=True)
class OutsideConfig(VAEConfig):
    latent: int = 3
    units: int = reverie.setting(12, "units of the hidden layers", low=1)
    sharpness: float = reverie.setting(0.5, "weight of the absolute error", low=0)
    sigma: float = 0.5


@reverie.register_model("outside", preset={"units": 8})
class Outside(VAE):
    """A VAE that also pays for absolute errors."""

    Config = OutsideConfig
    config: OutsideConfig
    paper = "nobody 2026"

    def __init__(self, config: OutsideConfig | None = None, image_spec: ImageSpec | None = None) -> None:
        config = config or OutsideConfig()
        shape = image_spec.shape if image_spec else (1, 1, 1)
        pixels, units, latent = math.prod(shape), config.units, config.latent
        super().__init__(
            config,
            image_spec,
            encoder=nn.Sequential(nn.Flatten(), nn.Linear(pixels, units), nn.Tanh(), nn.Linear(units, 2 * latent)),
            decoder=nn.Sequential(
                nn.Linear(latent, units), nn.Tanh(), nn.Linear(units, pixels), nn.Unflatten(1, shape)
            ),
        )

    def loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        loss, logs = super().loss(batch, carry)
        rough = (self.decode(self.encode(batch.images).mean) - batch.images).abs().flatten(1).sum(1).mean()
        return loss + self.config.sharpness * rough, logs | {"rough": rough.detach()}
