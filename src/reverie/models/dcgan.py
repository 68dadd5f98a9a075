"""DCGAN: Radford et al. (2016), "Unsupervised representation learning with deep convolutional GANs", and cGAN.

The losses of gan.py with convolutional networks, with the paper's recipe: batch normalisation, and weights
N(0, 0.02). What differs: any picture size; pictures are drawn from averaged weights; a light R1 penalty by default
(Mescheder et al. 2018), every fourth step, without which long training diverges: the discriminator grows
ever more sure, and samples get worse for the rest of the run; and Adam without momentum, at a learning rate that starts
at 2e-3 and falls to zero (the paper: beta1 0.5 and a constant 2e-4; on MNIST the Frechet distance after 1,600 steps of
64 was 12.9 with beta1 0.5 and 5e-4, and is 9.8). ``model.r1=0 model.beta1=0.5 model.lr=2e-4`` with
``train.lr_schedule=constant`` is the paper.

``CGAN`` is conditioned on the class: Mirza & Osindero (2014), "Conditional generative adversarial nets". The generator
takes an embedding of the label beside z; the discriminator is by default the projection of Miyato & Koyama (2018),
which checks *whether the picture is of that class* by an inner product, or the original concatenation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from reverie.capabilities import Conditions, needed_classes
from reverie.config import setting
from reverie.engine.model import Defaults, ImageSpec
from reverie.models.gan import GAN, GANConfig
from reverie.networks.dcgan import DCGANDiscriminator, DCGANGenerator

HOW = ("projection", "concatenation")


@dataclass(frozen=True)
class DCGANConfig(GANConfig):
    latent: int = 100
    width: int = setting(32, "channels of the finest stage")
    r1: float = setting(0.5, "gamma of the penalty on the gradient at real pictures; 0 is the paper")
    penalty_every: int = setting(4, "steps between penalties")
    lr: float = 2e-3
    beta2: float = 0.999


class DCGAN(GAN):
    """A GAN of strided convolutions."""

    Config = DCGANConfig
    config: DCGANConfig
    paper = "Radford et al. 2016"
    defaults = Defaults(batch_size=64, lr_schedule="cosine", ema=0.999)

    def default_generator(self) -> nn.Module:
        return DCGANGenerator(self.config.latent, self.image_spec.shape, self.config.width, self.conditioning_classes)

    def default_discriminator(self) -> nn.Module:
        return DCGANDiscriminator(self.image_spec.shape, self.config.width)

    @property
    def least_batch(self) -> int:
        return (
            2 if self.image_spec.height * self.image_spec.width == 1 else 1
        )  # batch normalisation has nothing else to see


@dataclass(frozen=True)
class CGANConfig(DCGANConfig):
    condition: str = setting("projection", "how the class enters the discriminator", choices=HOW)


class CGAN(DCGAN, Conditions):
    """Class-conditional DCGAN; networks of one's own are called with labels too: G(z, y) and D(x, y)."""

    Config = CGANConfig
    config: CGANConfig
    paper = "Mirza & Osindero 2014"

    def __init__(
        self,
        config: Any = None,
        image_spec: ImageSpec | None = None,
        *,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
    ) -> None:
        self.classes = needed_classes(image_spec, "cgan", "dcgan")
        super().__init__(config, image_spec, generator=generator, discriminator=discriminator)

    def default_discriminator(self) -> nn.Module:
        return DCGANDiscriminator(
            self.image_spec.shape, self.config.width, self.conditioning_classes, self.config.condition
        )
