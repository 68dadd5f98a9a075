"""Autoencoders without a distribution over codes: plain, denoising, and regularised.

- ``ae``: squared error through a bottleneck (Hinton & Salakhutdinov 2006).
- ``dae``: the input is corrupted, the target is not (Vincent et al. 2010); noise, erased or salt-and-pepper pixels.
- ``rae``: Ghosh et al. (2020), "From variational to deterministic autoencoders", eq. 8: + ``code`` / 2 |z|^2 and a
  smooth decoder, by its weights' L2 norm or by a gradient penalty: the squared norm of the whole Jacobian, estimated
  along one random direction (Hutchinson 1990).

None is a density; to draw pictures, a Gaussian mixture is fitted to the codes after training (``mixture``).
Errors are summed over pixels and averaged over the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reverie.capabilities import Code, Reconstructs
from reverie.config import check_settings_of, setting
from reverie.engine.model import Batch, Defaults, ImageSpec, Logs, Model, OptimizerSpec, Phase
from reverie.engine.randomness import Draw
from reverie.losses.reconstruction import squared_error
from reverie.models.custom import fitting
from reverie.networks import coders
from reverie.networks.mixture import Mixture

CORRUPTIONS = ("none", "gaussian", "mask", "salt-pepper")
PENALTIES = ("none", "weights", "gradient")


@dataclass(frozen=True)
class AutoencoderConfig:
    """Settings of an autoencoder; see the module's docstring."""

    latent: int = setting(32, "numbers that code a picture", low=1, high=65536)
    network: str = setting("conv", "what encoder and decoder are made of", choices=coders.NETWORKS)
    width: int = setting(32, "channels of the finest stage", low=1, high=65536)
    depth: int = setting(1, "layers (mlp, conv) or residual blocks (resnet) a stage", low=0, high=32)
    corruption: str = setting("none", "noise of the input only", choices=CORRUPTIONS)
    level: float = setting(0.3, "the noise's standard deviation, or the fraction of pixels hit", low=0, high=1e3)
    code: float = setting(0.0, "weight of |z|^2 / 2", low=0, high=1e9)
    penalty: str = setting("none", "what keeps the decoder smooth: its small weights, or gradients", choices=PENALTIES)
    smoothness: float = setting(0.0, "weight of that penalty", low=0, high=1e9)
    lr: float = setting(1e-3, "learning rate", low=1e-12, high=1e3)

    def __post_init__(self) -> None:
        check_settings_of(self, "model")


class Autoencoder(Model, Reconstructs):
    """z = encoder(x), trained so that decoder(z) is near x.

    An ``encoder`` of one's own turns pictures (N, C, H, W) in [-1, 1] into codes (N, latent), a ``decoder`` turns codes
    into pictures (N, C, H, W), unbounded; the settings of the network that is given (network, width, depth) then do
    nothing. Another loss: override `loss`.
    """

    Config = AutoencoderConfig
    taxonomy = "not probabilistic"
    paper = "Hinton & Salakhutdinov 2006"
    defaults = Defaults(batch_size=128, lr_schedule="cosine", warmup=0.02, ema=0.999)

    config: AutoencoderConfig

    def __init__(
        self,
        config: AutoencoderConfig | None = None,
        image_spec: ImageSpec | None = None,
        *,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__(config, image_spec)
        config, shape = self.config, self.image_spec.shape
        built, latent = (config.width, config.depth), config.latent
        self.encoder = (
            coders.encoder(config.network, shape, latent, *built)
            if encoder is None
            else fitting(encoder, "encoder", lambda e, zeros: e(zeros(*shape)), latent)
        )
        self.decoder = (
            coders.decoder(config.network, latent, shape, *built)
            if decoder is None
            else fitting(decoder, "decoder", lambda d, zeros: d(zeros(latent)), *shape)
        )
        self.mixture = Mixture(config.latent)

    def optimizers(self) -> dict[str, OptimizerSpec]:
        return {"main": OptimizerSpec(("encoder", "decoder"), lr=self.config.lr)}

    def phases(self) -> list[Phase]:
        return [Phase("reconstruction", "main", self.loss)]

    def loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        """Squared error summed over pixels, plus the regularisers, mean over the batch."""
        config = self.config
        z = self.encoder(corrupt(batch.images, config.corruption, config.level, batch.draw))
        outputs = self.decoder(z)
        recon = squared_error(outputs, batch.images).mean()
        logs = {"recon": recon, "code": z.square().sum(1).mean()}
        loss = recon + 0.5 * config.code * logs["code"]
        if config.penalty != "none":
            if config.penalty == "weights":
                logs["penalty"] = torch.stack([w.square().sum() for w in self.decoder.parameters()]).sum()
            else:
                direction = batch.draw.normal(*outputs.shape[1:])
                (slope,) = torch.autograd.grad((outputs * direction).sum(), z, create_graph=True)
                logs["penalty"] = slope.square().sum(1).mean()
            loss = loss + config.smoothness * logs["penalty"]
        return loss, {"loss": loss.detach()} | {name: value.detach() for name, value in logs.items()}

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        return Code(self.encoder(images))

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return self.mixture.sample(draw.uniform(), draw.normal(self.config.latent))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        outputs: Tensor = self.decoder(z)
        return outputs.clamp(-1, 1)


def corrupt(images: Tensor, kind: str, level: float, draw: Draw) -> Tensor:
    """Pictures with noise added, or a fraction ``level`` of their pixels (all channels at once) grey or extreme."""
    _, _, height, width = images.shape
    match kind:
        case "gaussian":
            return images + level * draw.normal(*images.shape[1:])
        case "mask":
            return torch.where(draw.uniform(1, height, width) < level, 0.0, images)
        case "salt-pepper":
            dice = draw.uniform(1, height, width)
            return torch.where(dice < level, torch.where(dice < level / 2, -1.0, 1.0), images)
        case _:
            return images
