"""R3GAN: Huang et al. (2024), "The GAN is dead; long live the GAN! A modern GAN baseline".

Adversarial training with the one loss that provably converges locally and does not drop modes: each generated picture
is compared with a real one (relativistic pairing), and the discriminator pays for its gradient at both (R1 and R2, at
every step: the lazy kind fails, by the paper's own account). That is all the stability it needs: no normalisation, no
minibatch statistics, no equalised learning rate, no output activation.

    L_D = softplus(-(D(x) - D(G(z)))) + gamma/2 (||grad_x D(x)||^2 + ||grad D(G(z))||^2)
    L_G = softplus(-(D(G(z)) - D(x')))          x' another real batch

Learning rate and gamma go from a bold start to careful values along a half cosine over the first ``burn_in`` of
training (the paper's appendix; there a number of images, here by default all of it, since trainings are short). What
differs: sizes that are no power of two; presets small enough for a CPU (``r3gan``: 16 channels, the learning rate and
gamma that so narrow networks take, and finest blocks that see 2 x 2 pixels as one; ``r3gan-medium`` and
``r3gan-large`` are wider and see every pixel); tanh at the generator's end, since a small one spends thousands of steps
on drawing flat black and white by a linear layer (on MNIST the Frechet distance after 1,800 steps of 32 was 38 without
and 3.5 with it); Adam's beta2 is 0.99 from the start (``beta2``; the paper begins at 0.9); the averaged weights' decay
ramps up from zero by the loop's own rule; no augmentation by default (the paper: probability 0.55 on CIFAR-10, for long
runs).

``CR3GAN`` is conditioned on the class: an embedding beside z, quieter than z at the start, and a projection
discriminator. Its logit has a part without label too, which the paper's has not: with the projection alone, and a label
as loud as z, MNIST came out with few kinds of each digit (recall 0.39 after 2,400 steps of 32, and 0.52 so).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from reverie.capabilities import Conditions, needed_classes
from reverie.config import setting
from reverie.engine.model import Anneal, Defaults, ImageSpec, OptimizerSpec, half_cosine
from reverie.models.gan import GAN, GANConfig
from reverie.networks.r3gan import R3GANDiscriminator, R3GANGenerator

EMBEDDING = 64  # numbers for a label


@dataclass(frozen=True)
class R3GANConfig(GANConfig):
    latent: int = 64
    width: int = setting(16, "channels of the finest stage")
    depth: int = setting(1, "residual blocks a stage", low=0, high=100)
    patch: int = setting(
        2,
        "pixels a side of what the finest blocks see as one: 1, the paper's, or 2, a third of the cost",
        low=1,
        high=2,
    )
    bounded: bool = setting(True, "tanh at the generator's end; false is the paper's")
    objective: str = setting("relativistic", "the adversarial loss; relativistic is the paper's")
    r1: float = setting(5.0, "gamma at real pictures, at the start")
    r2: float = setting(5.0, "gamma at generated pictures, at the start")
    calm: float = setting(0.2, "the factor that gamma reaches", low=0, high=1)
    burn_in: float = setting(
        1.0, "fraction of training over which learning rate, gamma and beta2 settle", low=0.001, high=1
    )
    lr: float = setting(3e-3, "Adam's learning rate, at the start")
    lr_end: float = setting(0.1, "the factor that the learning rate reaches", low=0, high=1)
    beta2: float = setting(0.99, "Adam's beta2, at the start")
    beta2_end: float = setting(0.99, "Adam's beta2, after burn-in", low=0, high=0.9999)


class R3GAN(GAN):
    """The relativistic loss with R1 and R2 between residual networks."""

    Config = R3GANConfig
    config: R3GANConfig
    paper = "Huang et al. 2024"
    defaults = Defaults(batch_size=32, ema=0.999)

    def default_generator(self) -> nn.Module:
        config, shape = self.config, self.image_spec.shape
        return R3GANGenerator(
            config.latent,
            shape,
            config.width,
            config.depth,
            config.patch,
            config.bounded,
            self.conditioning_classes,
            EMBEDDING,
        )

    def default_discriminator(self) -> nn.Module:
        config = self.config
        return R3GANDiscriminator(
            self.image_spec.shape, config.width, config.depth, config.patch, self.conditioning_classes, EMBEDDING
        )

    def optimizers(self) -> dict[str, OptimizerSpec]:
        config = self.config
        settle = Anneal(config.burn_in, config.lr_end, config.beta2_end)
        return {name: replace(spec, anneal=settle) for name, spec in super().optimizers().items()}

    def strength(self, progress: float) -> float:
        return 1 + half_cosine(progress, self.config.burn_in) * (self.config.calm - 1)


class CR3GAN(R3GAN, Conditions):
    """Class-conditional R3GAN; networks of one's own are called with labels too: G(z, y) and D(x, y)."""

    def __init__(
        self,
        config: Any = None,
        image_spec: ImageSpec | None = None,
        *,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
    ) -> None:
        self.classes = needed_classes(image_spec, "cr3gan", "r3gan")
        super().__init__(config, image_spec, generator=generator, discriminator=discriminator)
