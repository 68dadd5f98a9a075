"""Generative adversarial networks: Goodfellow et al. (2014), "Generative adversarial nets".

Two networks are trained against each other. The discriminator D learns to tell pictures x of the data from pictures
G(z) of the generator, z ~ N(0, I); the generator learns to be mistaken for the data. One step is two phases:

    discriminator   minimise  objective.discriminator(D(x), D(G(z))) + penalties      moves D
    generator       minimise  objective.generator(D(G(z)), D(x'))                     moves G

``objective`` names the losses (losses/adversarial.py): ``minimax`` is the paper's eq. 1 to the letter,
``non-saturating`` what its section 3 trains in practice and the default here. What differs from the paper: leaky ReLU
in place of maxout, Adam in place of SGD with momentum, averaged weights to sample from, and, where asked for, what the
following decade found: R1 and R2 penalties (``r1``, ``r2``; every step, or every ``penalty_every`` steps as a phase of
their own), the gradient penalty of WGAN-GP, several discriminator steps for each of the generator (``critics``), and
augmentation of everything that D sees (``augment``; with ``ada`` > 0 its probability follows the discriminator's
overfitting).

This file trains every GAN of reverie; the others bring networks and defaults of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from reverie.capabilities import Conditions, Discriminates, Samples
from reverie.config import check_settings_of, setting
from reverie.engine.distributed import total
from reverie.engine.model import Batch, Defaults, ImageSpec, Logs, Model, OptimizerSpec, Phase
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError, nearest
from reverie.losses.adversarial import OBJECTIVES
from reverie.losses.penalties import squared_gradient, unit_gradient
from reverie.models.custom import Zeros, fitting
from reverie.networks.augmentation import POLICIES, Adaptive, Augmentation
from reverie.networks.mlp import dense

HIDDEN = 3  # hidden layers of the mlp
UNITS = 16  # units of a hidden layer of the mlp per unit of width
DRIFT = 1e-3  # WGAN-GP: weight of D(x)^2, which keeps the critic's level from wandering (Karras et al. 2018)
LOGISTIC = ("minimax", "non-saturating")  # games whose logits are log odds
SMOOTHING = 1e-8


@dataclass(frozen=True)
class GANConfig:
    """Settings that every GAN shares."""

    latent: int = setting(64, "size of z", low=1, high=1e6)
    width: int = setting(16, "channels of the finest stage; an mlp has 16 units a unit of width", low=1, high=1e6)
    objective: str = setting("non-saturating", "the adversarial loss", choices=OBJECTIVES)
    r1: float = setting(0.0, "gamma of the penalty on the gradient at real pictures", low=0, high=1e9)
    r2: float = setting(0.0, "gamma of the penalty on the gradient at generated pictures", low=0, high=1e9)
    penalty_every: int = setting(
        1, "steps between R1 and R2 penalties; above 1 they are a phase of their own", low=1, high=1e6
    )
    gp: float = setting(10.0, "weight of the gradient penalty of wgan-gp", low=0, high=1e9)
    critics: int = setting(
        1, "discriminator steps, each with fresh pictures, for one of the generator", low=1, high=1e6
    )
    augment: str = setting("", "of translation, colour, cutout, flip, geometry, with commas: what D sees is augmented")
    augment_p: float = setting(1.0, "probability of each augmentation; where ada is on, of the start", low=0, high=1)
    ada: float = setting(
        0.0,
        "keep the mean of sign(D(x)) at this by adapting the probability, say 0.6; 0 = do not adapt",
        low=0,
        high=0.99,
    )
    lr: float = setting(2e-4, "Adam's learning rate, of both networks", low=0)
    beta1: float = setting(0.0, "Adam's beta1", low=0, high=0.9999)
    beta2: float = setting(0.99, "Adam's beta2", low=0, high=0.9999)

    def __post_init__(self) -> None:
        check_settings_of(self, "model")
        for name in filter(None, self.augment.split(",")):
            if name not in POLICIES:
                raise ReverieError(f"model.augment cannot contain '{name}'{nearest(name, POLICIES)}")


class MLPGenerator(nn.Sequential):
    """Latents (N, latent) -> pictures (N, C, H, W) in (-1, 1)."""

    def __init__(self, latent: int, shape: tuple[int, int, int], units: int) -> None:
        layers = dense([latent, *[units] * HIDDEN, math.prod(shape)], leaky)
        super().__init__(*layers, nn.Tanh(), nn.Unflatten(1, shape))


class MLPDiscriminator(nn.Sequential):
    """Pictures (N, C, H, W) -> logits (N,)."""

    def __init__(self, shape: tuple[int, int, int], units: int) -> None:
        super().__init__(nn.Flatten(), *dense([math.prod(shape), *[units] * HIDDEN, 1], leaky), nn.Flatten(0))


def leaky() -> nn.Module:
    """Leaky ReLU with slope 0.2, every GAN's activation since Radford et al. (2016)."""
    return nn.LeakyReLU(0.2)


class GAN(Model, Samples, Discriminates):
    """A GAN, by default of multilayer perceptrons as in the paper.

    A ``generator`` of one's own turns latents (N, latent) into pictures (N, C, H, W), best in [-1, 1], as samples are
    clamped to that; a ``discriminator`` turns pictures into logits (N,). Both are called with labels (N,), int64, as a
    second argument where the model is conditional. The settings of the network that is given (width and the like)
    then do nothing. Other losses: override `discriminator_loss` and `generator_loss`.
    """

    old_names: ClassVar[dict[str, str]] = {
        "tell_apart": "discriminator_loss",
        "fool": "generator_loss",
        "judge": "discriminate",
        "told": "conditioning_classes",
    }
    Config = GANConfig
    config: GANConfig
    taxonomy = "implicit"
    paper = "Goodfellow et al. 2014"
    defaults = Defaults(batch_size=64, ema=0.999)
    compares = False  # whether the discriminator sees how the pictures of a batch differ

    def __init__(
        self,
        config: Any = None,
        image_spec: ImageSpec | None = None,
        *,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
    ) -> None:
        super().__init__(config, image_spec)
        config = self.config
        self.objective = OBJECTIVES[config.objective]
        self.generator = (
            self.default_generator()
            if generator is None
            else fitting(generator, "generator", self.try_generator, *self.image_spec.shape)
        )
        self.discriminator = (
            self.default_discriminator()
            if discriminator is None
            else fitting(discriminator, "discriminator", self.try_discriminator)
        )
        self.augmentation = Augmentation(config.augment)
        self.adaptive = Adaptive(config.augment_p, config.ada) if config.ada else None

    def default_generator(self) -> nn.Module:
        """The family's generator; it may give any range, `decode` clamps."""
        return MLPGenerator(self.config.latent, self.image_spec.shape, UNITS * self.config.width)

    def default_discriminator(self) -> nn.Module:
        """The family's discriminator."""
        return MLPDiscriminator(self.image_spec.shape, UNITS * self.config.width)

    @property
    def conditioning_classes(self) -> int:
        """How many classes both networks are given: 0 unless the model is conditional."""
        return len(self.classes) if isinstance(self, Conditions) else 0

    def try_generator(self, network: Any, zeros: Zeros) -> Tensor:
        """What a generator that was given makes of one latent; see `fitting`."""
        found: Tensor = network(zeros(self.config.latent), *self._try_label(zeros))
        return found

    def try_discriminator(self, network: Any, zeros: Zeros) -> Tensor:
        """What a discriminator that was given says of one picture; see `fitting`."""
        found: Tensor = network(zeros(*self.image_spec.shape), *self._try_label(zeros))
        return found

    def _try_label(self, zeros: Zeros) -> list[Tensor]:
        return [zeros().long()] if self.conditioning_classes else []

    # Losses

    def optimizers(self) -> dict[str, OptimizerSpec]:
        config = self.config
        both: dict[str, Any] = {"lr": config.lr, "betas": (config.beta1, config.beta2)}
        return {"d": OptimizerSpec(("discriminator",), **both), "g": OptimizerSpec(("generator",), **both)}

    def phases(self) -> list[Phase]:
        turns = [
            Phase(f"discriminator{i or ''}", "d", self.discriminator_loss, new_batch=i > 0)
            for i in range(self.config.critics)
        ]
        if self.penalised and self.config.penalty_every > 1:
            turns.append(Phase("penalty", "d", self.penalty, every=self.config.penalty_every))
        # A relativistic generator is compared with pictures that the discriminator has not just been trained on.
        return [*turns, Phase("generator", "g", self.generator_loss, new_batch=self.objective.pairs)]

    @property
    def penalised(self) -> bool:
        """Whether there is a gradient penalty, R1 or R2."""
        return self.config.r1 > 0 or self.config.r2 > 0

    def strength(self, progress: float) -> float:
        """The factor on R1 and R2 at this fraction of training."""
        return 1.0

    def discriminator_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        """The loss of the discriminator's phase."""
        config, labels, draw = self.config, self.given(batch), batch.draw
        real = self.real(batch.images).detach()
        with torch.no_grad():
            fake = self.generate(draw, labels)
        now = self.penalised and config.penalty_every == 1
        real.requires_grad_(now and config.r1 > 0)
        fake.requires_grad_(now and config.r2 > 0)
        d_real, d_fake = self.discriminate(real, labels, draw), self.discriminate(fake, labels, draw)
        if self.adaptive:
            self.adaptive.observe(d_real.detach())
        loss = self.objective.discriminator(d_real, d_fake).mean()
        logs = {"loss_d": loss.detach(), "d_real": d_real.detach().mean(), "d_fake": d_fake.detach().mean()}
        logs["told_apart"] = (d_real > d_fake).float().mean()
        if len(real) > 1:  # a picture alone differs from nothing
            logs["diversity"] = fake.detach().std(0).mean() / real.detach().std(0).mean().clamp_min(SMOOTHING)
        if now:
            penalty, parts = self.gradients(d_real, real, d_fake, fake, batch.progress)
            loss, logs = loss + penalty, logs | parts
        if config.objective == "wgan-gp":
            between = torch.lerp(fake, real, draw.uniform(1, 1, 1).to(real)).requires_grad_()
            steepness = unit_gradient(self.discriminate(between, labels, draw), between).mean()
            loss = loss + config.gp * steepness + DRIFT * d_real.square().mean()
            logs["gp"] = steepness.detach()
        return loss, logs

    def penalty(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        """R1 and R2 alone, as a lazy phase (Karras et al. 2020, section 3.1)."""
        labels, draw = self.given(batch), batch.draw
        real, d_real = self.real(batch.images).detach(), None
        fake, d_fake = None, None
        if self.config.r1 > 0:
            d_real = self.discriminate(real.requires_grad_(), labels, draw)
        if self.config.r2 > 0:
            with torch.no_grad():
                fake = self.generate(draw, labels)
            d_fake = self.discriminate(fake.requires_grad_(), labels, draw)
        return self.gradients(d_real, real, d_fake, fake, batch.progress)

    def gradients(
        self, d_real: Tensor | None, real: Tensor | None, d_fake: Tensor | None, fake: Tensor | None, progress: float
    ) -> tuple[Tensor, Logs]:
        """gamma / 2 times the squared gradients that the settings ask for, and each for the log."""
        logs: Logs = {}
        loss = torch.zeros((), device=next(self.parameters()).device)
        sides = {"r1": (self.config.r1, d_real, real), "r2": (self.config.r2, d_fake, fake)}
        for name, (gamma, logits, images) in sides.items():
            if gamma > 0 and logits is not None and images is not None:
                square = squared_gradient(logits, images).mean()
                logs[name] = square.detach()
                loss = loss + 0.5 * gamma * self.strength(progress) * square
        return loss, logs

    def generator_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        """The loss of the generator's phase."""
        labels, draw = self.given(batch), batch.draw
        d_fake = self.discriminate(self.generate(draw, labels), labels, draw)
        d_real = torch.zeros_like(d_fake)
        if self.objective.pairs:
            with torch.no_grad():
                d_real = self.discriminate(self.real(batch.images), labels, draw)
        loss = self.objective.generator(d_fake, d_real).mean()
        return loss, {"loss_g": loss.detach()}

    def on_progress(self, images: int) -> None:
        if self.adaptive:
            self.adaptive.adjust(images, total)

    # The parts of the losses

    def given(self, batch: Batch) -> Tensor | None:
        """The labels that both networks are given: None unless the model is conditional."""
        return batch.labels if isinstance(self, Conditions) else None

    def real(self, images: Tensor) -> Tensor:
        """Pictures of the data as the discriminator is shown them."""
        return images

    def generate(self, draw: Draw, labels: Tensor | None) -> Tensor:
        """One picture for each sample of the batch, (N, C, H, W)."""
        fake: Tensor = self.fake(self.draw_latent(draw, labels), labels)
        return fake

    def fake(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """G(z), or G(z, y)."""
        picture: Tensor = self.generator(z) if labels is None else self.generator(z, labels)
        return picture

    def discriminate(self, images: Tensor, labels: Tensor | None, draw: Draw) -> Tensor:
        """D of the augmented pictures: logits (N,), differentiable in the pictures as they were before."""
        if self.config.augment:
            p = self.adaptive.p if self.adaptive else self.config.augment_p
            images = self.augmentation(images, draw, p)
        return self.score(images, labels)

    def score(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """D(x), or D(x, y): logits (N,)."""
        logits: Tensor = self.discriminator(images) if labels is None else self.discriminator(images, labels)
        return logits

    # Capabilities

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.normal(self.config.latent)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.fake(z, labels).clamp(-1, 1)

    def realness(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        if not self.compares:
            return self.score(self.real(images), labels)
        each = [None] * len(images) if labels is None else labels.split(1)
        scores = [self.score(self.real(one), label) for one, label in zip(images.split(1), each, strict=True)]
        return torch.cat([images.new_empty(0), *scores])

    def advice(self, means: dict[str, float | list[float]], progress: float) -> str | None:
        diversity, real, fake = (means.get(key) for key in ("diversity", "d_real", "d_fake"))
        if progress < 0.02 or not isinstance(diversity, float):
            return None
        if diversity < 0.2:
            return (
                f"The generator has collapsed: its pictures differ {diversity:.2f} times as much as the data's. Train "
                "again with a stronger penalty (--set model.r1=1) or model.objective=relativistic."
            )
        if self.config.objective in LOGISTIC and isinstance(real, float) and isinstance(fake, float):
            sure = 1 / (1 + math.exp(min(50, -real))) - 1 / (1 + math.exp(min(50, -fake)))
            if sure > 0.98:
                return (
                    "The discriminator wins: it is sure of nearly every picture, and the generator learns little. "
                    "Set model.r1=1 or more, or augment (--set model.augment=translation,cutout)."
                )
        return None
