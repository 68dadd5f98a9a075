"""VAE/GAN: Larsen et al. (2016), "Autoencoding beyond pixels using a learned similarity metric", in the form that
latent diffusion made common (Esser et al. 2021, "Taming transformers", and Rombach et al. 2022): the bridge between
reverie's halves.

A variational autoencoder models each pixel and blurs what it is not sure of; a discriminator of patches does not
compare pixels, but penalises blur. One step is two phases:

    autoencoder     minimise  -log p(x|z) + beta KL(q(z|x) || N(0, I)) + lambda L_G(D(x'))    moves both coders
    discriminator   minimise  L_D(D(x), D(x'))    with x' = decoder(z)                        moves D

p(x|z) is a Laplace density about x' whose scale is learned, one number for all pixels: absolute errors, in nats summed
over the picture, that grow dearer as the decoder gets better. lambda is ``adversarial`` times the ratio of what the two
parts' gradients are at the decoder's last layer (Esser et al. 2021, eq. 7), at most 10,000, so that neither part drowns
the other; the discriminator plays alone during the first ``alone`` of training.

What differs: no perceptual loss (that takes the weights of a network trained on labels); a code is a vector, so that
pictures can be drawn from N(0, I) or from the mixture fitted on codes; the KL has its full weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from reverie.capabilities import Code, Discriminates, Reconstructs
from reverie.config import check_settings_of, setting
from reverie.engine.model import Batch, Defaults, ImageSpec, Logs, Model, OptimizerSpec, Phase
from reverie.engine.randomness import Draw
from reverie.losses.adversarial import OBJECTIVES, SIMPLE
from reverie.losses.divergence import gaussian_kl
from reverie.losses.reconstruction import laplace
from reverie.models.custom import fitting
from reverie.networks import coders
from reverie.networks.mixture import Mixture
from reverie.networks.patchgan import PatchDiscriminator

LARGEST = 1e4  # of lambda


@dataclass(frozen=True)
class VAEGANConfig:
    """Settings of a VAE/GAN; see the module's docstring."""

    latent: int = setting(32, "numbers that code a picture", low=1, high=65536)
    network: str = setting("conv", "what encoder and decoder are made of", choices=coders.NETWORKS)
    width: int = setting(32, "channels of the finest stage, of the discriminator too", low=1, high=65536)
    depth: int = setting(1, "layers (mlp, conv) or residual blocks (resnet) a stage", low=0, high=32)
    beta: float = setting(1.0, "weight of the KL", low=0, high=1e9)
    objective: str = setting("hinge", "the adversarial loss", choices=SIMPLE)
    adversarial: float = setting(
        0.5,
        "weight of the adversarial loss: its gradient at the decoder's last layer against the likelihood's",
        low=0,
        high=1e9,
    )
    alone: float = setting(
        0.1, "fraction of training in which the discriminator plays, but nobody listens", low=0, high=1
    )
    patches: int = setting(
        2, "strided layers of the discriminator: a logit sees 16, 34, 70 pixels a side with 1, 2, 3", low=1, high=8
    )
    lr: float = setting(1e-3, "Adam's learning rate, of the autoencoder", low=1e-12, high=1e3)
    lr_d: float = setting(2e-4, "Adam's learning rate, of the discriminator", low=1e-12, high=1e3)

    def __post_init__(self) -> None:
        check_settings_of(self, "model")


class LaplaceScale(nn.Module):
    """The learned scale of the Laplace density, on the [-1, 1] pixel scale."""

    def __init__(self) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(-1.0))


class VAEGAN(Model, Reconstructs, Discriminates):
    """A VAE whose decoder is also trained against a discriminator of patches.

    An ``encoder`` of one's own turns pictures (N, C, H, W) in [-1, 1] into mean and log variance side by side,
    (N, 2 latent); a ``decoder`` turns latents (N, latent) into pictures (N, C, H, W), unbounded, the tanh of which is
    taken; a ``discriminator`` turns pictures into logits, (N,) or (N, ...) with one for each patch. The settings of the
    network that is given (network, width, depth, patches) then do nothing. Other losses: override `autoencoder_loss`
    and `discriminator_loss`; `last_layer` where the decoder's last weights are not those it names last.
    """

    old_names: ClassVar[dict[str, str]] = {
        "tell_apart": "discriminator_loss",
        "rebuild": "autoencoder_loss",
        "paint": "decode_mean",
    }
    Config = VAEGANConfig
    config: VAEGANConfig
    taxonomy = "implicit"
    paper = "Larsen et al. 2016"
    defaults = Defaults(batch_size=64, lr_schedule="cosine", warmup=0.02, ema=0.999)

    def __init__(
        self,
        config: VAEGANConfig | None = None,
        image_spec: ImageSpec | None = None,
        *,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        discriminator: nn.Module | None = None,
    ) -> None:
        super().__init__(config, image_spec)
        config, shape = self.config, self.image_spec.shape
        self.objective = OBJECTIVES[config.objective]
        built, latent = (config.width, config.depth), config.latent
        self.encoder = (
            coders.encoder(config.network, shape, 2 * latent, *built)
            if encoder is None
            else fitting(encoder, "encoder", lambda e, zeros: e(zeros(*shape)), 2 * latent)
        )
        self.decoder = (
            coders.decoder(config.network, latent, shape, *built)
            if decoder is None
            else fitting(decoder, "decoder", lambda d, zeros: d(zeros(latent)), *shape)
        )
        self.scale = LaplaceScale()
        self.discriminator = (
            PatchDiscriminator(shape[0], config.width, config.patches)
            if discriminator is None
            else fitting(discriminator, "discriminator", lambda d, zeros: d(zeros(*shape)), ...)
        )
        self.mixture = Mixture(config.latent)

    def optimizers(self) -> dict[str, OptimizerSpec]:
        return {
            "vae": OptimizerSpec(("encoder", "decoder", "scale"), lr=self.config.lr),
            "d": OptimizerSpec(("discriminator",), lr=self.config.lr_d, betas=(0.5, 0.999)),
        }

    def phases(self) -> list[Phase]:
        return [
            Phase("autoencoder", "vae", self.autoencoder_loss),
            Phase("discriminator", "d", self.discriminator_loss),
        ]

    def autoencoder_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        """The loss of the autoencoder's phase."""
        config = self.config
        mean, logvar = self.encoder(batch.images).chunk(2, 1)
        z = mean + torch.exp(0.5 * logvar) * batch.draw.normal(config.latent)
        rebuilt = self.decode_mean(z)
        carry["rebuilt"] = rebuilt.detach()
        recon = -laplace(rebuilt, batch.images, self.scale.log).mean()
        kl = gaussian_kl(mean, logvar).sum(1).mean()
        loss = recon + config.beta * kl
        logs = {"recon": recon, "kl": kl, "scale": self.scale.log.exp()}
        if config.adversarial > 0 and batch.progress >= config.alone:
            d_fake = self.discriminator(rebuilt)
            adversarial = self.objective.generator(d_fake, torch.zeros_like(d_fake)).mean()
            weight = config.adversarial * balance(recon, adversarial, self.last_layer())
            loss = loss + weight * adversarial
            logs |= {"loss_g": adversarial, "weight_g": weight}
        return loss, {"loss": loss.detach()} | {name: value.detach() for name, value in logs.items()}

    def discriminator_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        """The loss of the discriminator's phase."""
        d_real, d_fake = self.discriminator(batch.images), self.discriminator(carry["rebuilt"])
        loss = self.objective.discriminator(d_real, d_fake).mean()
        logs = {"loss_d": loss, "d_real": d_real.mean(), "d_fake": d_fake.mean()}
        return loss, {name: value.detach() for name, value in logs.items()}

    def last_layer(self) -> Tensor:
        """The weights of the decoder's last layer."""
        return [weight for weight in self.decoder.parameters() if weight.dim() > 1][-1]

    def decode_mean(self, z: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in (-1, 1) from codes (N, latent)."""
        picture: Tensor = self.decoder(z).tanh()
        return picture

    # Capabilities

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        mean, logvar = self.encoder(images).chunk(2, 1)
        return Code(mean, logvar)

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.normal(self.config.latent)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.decode_mean(z)

    def realness(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        logits: Tensor = self.discriminator(images)
        return logits.reshape(len(images), -1).mean(1)  # over the patches

    def advice(self, means: dict[str, float | list[float]], progress: float) -> str | None:
        real, fake = means.get("d_real"), means.get("d_fake")
        if progress < 0.1 or not isinstance(real, float) or not isinstance(fake, float) or real - fake < 10:
            return None
        return (
            "The discriminator wins: its logits of data and reconstructions lie far apart, and the decoder learns "
            "little from it. Lower model.lr_d, or model.patches."
        )


def balance(recon: Tensor, adversarial: Tensor, layer: Tensor) -> Tensor:
    """||grad recon|| / ||grad adversarial|| at the weights ``layer``, at most 1e4 (Esser et al. 2021, eq. 7)."""
    pixels, patches = (torch.autograd.grad(loss, layer, retain_graph=True)[0].norm() for loss in (recon, adversarial))
    ratio: Tensor = (pixels / (patches + 1e-4)).clamp(0, LARGEST).detach()
    return ratio
