"""Pix2Pix: Isola et al. (2017), "Image-to-image translation with conditional adversarial networks".

A generator G turns a picture a into b', as near as it can to the b that belongs to a; a discriminator of patches sees a
beside b or b' and judges whether the pair is real. The absolute error determines what is where, the discriminator
sharpness: where many b fit one a, the error alone would have the blurred mean of them. One step is two phases:

    generator       minimise  objective.generator(D(a, b')) + lambda |b - b'|      moves G
    discriminator   minimise  objective.discriminator(D(a, b), D(a, b'))           moves D

b' is computed once a step, in the first phase, and handed to the second. What differs: the small preset ``pix2pix``
(a shallow U-Net with residual blocks in its middle, whose every operation is local) learns 128 pixels on a CPU;
``pix2pix-256`` is the paper's net. No batch statistics anywhere, so a picture's translation depends on that picture
alone, while training as afterwards; batches may be larger than one; pictures are drawn by averaged weights. Dropout,
which is the paper's only noise, is on while training; later only where it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from reverie.capabilities import Translates, needed_sides
from reverie.config import check_settings_of, setting
from reverie.engine.model import Batch, Defaults, ImageSpec, Logs, Model, OptimizerSpec, Phase
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.losses.adversarial import OBJECTIVES, SIMPLE
from reverie.models.custom import fitting
from reverie.networks.norm import NORMS
from reverie.networks.patchgan import PatchDiscriminator
from reverie.networks.translators import NETWORKS, translator


@dataclass(frozen=True)
class TranslatorConfig:
    """Settings that models of two sides share."""

    network: str = setting("unet", "what the generator is", choices=NETWORKS)
    width: int = setting(24, "channels of the generator's finest stage", low=1, high=4096)
    depth: int = setting(3, "how often the unet halves; 0 = down to one pixel, the paper's", low=0, high=14)
    blocks: int = setting(4, "residual blocks in the generator's middle", low=0, high=64)
    norm: str = setting(
        "pixel",
        "normalisation, over a whole picture or over each pixel's channels, by which parts equal the whole",
        choices=NORMS,
    )
    objective: str = setting("non-saturating", "the adversarial loss", choices=SIMPLE)
    patches: int = setting(
        3, "strided layers of the discriminator: a logit sees 16, 34, 70 pixels a side with 1, 2, 3", low=1, high=8
    )
    width_d: int = setting(24, "channels of the discriminator's finest stage", low=1, high=4096)
    lr: float = setting(5e-4, "Adam's learning rate, of the generator", low=1e-12, high=1e3)
    lr_d: float = setting(5e-4, "Adam's learning rate, of the discriminator", low=1e-12, high=1e3)
    beta1: float = setting(0.5, "Adam's beta1", low=0, high=0.9999)

    def __post_init__(self) -> None:
        check_settings_of(self, "model")

    def optimizers(self, generators: tuple[str, ...], discriminators: tuple[str, ...]) -> dict[str, OptimizerSpec]:
        """Adam for both networks."""
        betas = (self.beta1, 0.999)
        return {
            "g": OptimizerSpec(generators, lr=self.lr, betas=betas),
            "d": OptimizerSpec(discriminators, lr=self.lr_d, betas=betas),
        }


@dataclass(frozen=True)
class Pix2PixConfig(TranslatorConfig):
    dropout: float = setting(
        0.0, "share of the features that is dropped in the innermost stages of the way back", low=0, high=0.95
    )
    l1: float = setting(
        100.0, "lambda, the weight of the absolute error, which is a mean over pixels in [-1, 1]", low=0, high=1e9
    )
    adversarial: float = setting(
        1.0,
        "weight of the adversarial loss; 0 is the absolute error alone, without a discriminator",
        low=0,
        high=1e9,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dropout and self.network != "unet":
            raise ReverieError(f"model.dropout is the unet's; leave it out with model.network={self.network}.")
        if not (self.l1 or self.adversarial):
            raise ReverieError("model.l1 and model.adversarial can't both be 0: there would be nothing to learn from.")


def fitting_translator(network: nn.Module, name: str, shape: tuple[int, ...], gives: tuple[int, ...]) -> nn.Module:
    """A network of one's own from pictures of one shape (C, H, W) to such of another; see `fitting`."""
    for attribute in ("grain", "dropout"):
        if not hasattr(network, attribute):
            raise ReverieError(
                f"The {name} that was given has no attribute '{attribute}'; give it grain = 1, or what its sides must "
                "be multiples of, and dropout = 0.0, or the share that it drops where it is called with a Draw."
            )
    return fitting(network, name, lambda g, zeros: g(zeros(*shape), None), *gives)


class Pix2Pix(Model, Translates):
    """Paired translation, from side A to side B.

    A ``generator`` of one's own is called with pictures (N, a, H, W) in [-1, 1] of any size, and a Draw or None, and
    gives pictures (N, b, H, W) in (-1, 1); its attribute ``grain`` is what sides are padded to multiples of (1: they
    are not), and ``dropout`` the share that a Draw drops (0: it draws nothing). A ``discriminator`` turns pairs
    (N, a + b, H, W) into logits, (N,) or (N, ...) with one for each patch. The settings of the network that is given
    then do nothing. Other losses: override `generator_loss` and `discriminator_loss`.
    """

    old_names: ClassVar[dict[str, str]] = {"tell_apart": "discriminator_loss", "paint": "generator_loss"}
    Config = Pix2PixConfig
    config: Pix2PixConfig
    taxonomy = "implicit"
    paper = "Isola et al. 2017"
    defaults = Defaults(batch_size=4, lr_schedule="late-linear", ema=0.999)
    directions = ("ab",)
    learns_pairs = True

    def __init__(
        self,
        config: Pix2PixConfig | None = None,
        image_spec: ImageSpec | None = None,
        *,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
    ) -> None:
        super().__init__(config, image_spec)
        config, image_spec = self.config, self.image_spec
        a, b = needed_sides(image_spec, "pix2pix")
        size = image_spec.height, image_spec.width
        self.objective = OBJECTIVES[config.objective]
        self.generator = (
            translator(
                config.network,
                a,
                b,
                size,
                width=config.width,
                depth=config.depth,
                blocks=config.blocks,
                kind=config.norm,
                dropout=config.dropout,
            )
            if generator is None
            else fitting_translator(generator, "generator", (a, *size), (b, *size))
        )
        self.discriminator = (
            PatchDiscriminator(a + b, config.width_d, config.patches)
            if discriminator is None
            else fitting(discriminator, "discriminator", lambda d, zeros: d(zeros(a + b, *size)), ...)
        )

    def optimizers(self) -> dict[str, OptimizerSpec]:
        return self.config.optimizers(("generator",), ("discriminator",))

    def phases(self) -> list[Phase]:
        turns = [Phase("generator", "g", self.generator_loss), Phase("discriminator", "d", self.discriminator_loss)]
        return turns if self.config.adversarial else turns[:1]

    def generator_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        """The generator's turn."""
        config = self.config
        a, b = batch.images.split(self.image_spec.sides, 1)
        fake = self.generator(a, batch.draw)
        carry["fake"] = fake.detach()
        error = (fake - b).abs().mean()
        loss, logs = config.l1 * error, {"l1": error.detach()}
        if config.adversarial:
            d_fake = self.discriminator(torch.cat([a, fake], 1))
            adversarial = self.objective.generator(d_fake, torch.zeros_like(d_fake)).mean()
            loss, logs = loss + config.adversarial * adversarial, logs | {"loss_g": adversarial.detach()}
        return loss, logs

    def discriminator_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        """The discriminator's turn."""
        a = batch.images[:, : self.image_spec.sides[0]]
        fake = torch.cat([a, carry["fake"]], 1)
        d_real, d_fake = self.discriminator(torch.cat([batch.images, fake])).chunk(2)
        loss = self.objective.discriminator(d_real, d_fake).mean()
        logs = {"loss_d": loss, "d_real": d_real.mean(), "d_fake": d_fake.mean()}
        return loss, {name: value.detach() for name, value in logs.items()}

    # Capabilities

    def translator(self, direction: str) -> nn.Module:
        return self.generator

    def translate(self, images: Tensor, direction: str = "ab", draw: Draw | None = None) -> Tensor:
        picture: Tensor = self.generator(images, draw)
        return picture
