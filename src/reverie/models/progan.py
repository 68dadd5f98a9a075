"""ProGAN: Karras et al. (2018), "Progressive growing of GANs for improved quality, stability, and variation".

The losses of gan.py with networks that grow. It starts on pictures of at most 4 x 4, which are soon learned; then
a level twice as fine is faded into both networks, is given time to settle, and the next one follows, up to the size
of the pictures. While a level fades in, the data's pictures are faded from coarse to fine with the same weight. So
large shapes are found first, when the task is easy, and most steps of the training are cheap ones.

The paper's recipe: pixel normalisation in the generator, the deviation of a minibatch as one more feature in the
discriminator, equalised learning rates, Adam (0, 0.99), samples from averaged weights. What differs: the loss is the
non-saturating one with R1 (Mescheder et al. 2018 train the same networks so), because WGAN-GP with one critic step
collapses when each level has a few hundred steps; ``model.objective=wgan-gp model.r1=0 model.lr=0.001`` is the paper's.
The learning rate is that of narrow networks and short trainings, and falls to zero. The optimizers are not reset when a
level comes (a model cannot ask its loop for that; the new layers have fresh state anyway), the batch does not shrink
with the levels (that is for memory that small pictures do not need), any picture size, and a schedule in fractions of
the training, unless ``grow`` gives it in pictures (600,000 in the paper).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reverie.config import setting
from reverie.engine.model import Batch, Defaults, ImageSpec, Logs
from reverie.models.custom import Zeros
from reverie.models.gan import GAN, GANConfig
from reverie.networks.progan import ProGANDiscriminator, ProGANGenerator, down, up

GROWING = 0.6  # fraction of the training in which the networks grow, where ``grow`` is 0


@dataclass(frozen=True)
class ProGANConfig(GANConfig):
    latent: int = 64
    width: int = setting(16, "channels of the finest level")
    objective: str = setting("non-saturating", "the adversarial loss; wgan-gp is the paper's first choice")
    r1: float = 3.0
    penalty_every: int = setting(4, "steps between R1 penalties")
    grow: int = setting(
        0,
        "pictures for which a level fades in, and for which it then settles; 0 = 60% of training is growth",
        low=0,
        high=1e12,
    )
    lr: float = 6e-3


class ProGAN(GAN):
    """A GAN that is trained level by level.

    Networks of one's own grow too. A ``generator`` is called with latents (N, latent), the level, from 0, and alpha,
    how far that has been faded in, and gives pictures of the level's size; a ``discriminator`` is called with those,
    level and alpha, and gives logits (N,). ``generator.stages``, coarse to fine, are the steps from level to level
    (`reverie.networks.equalized.stages` makes them, finest first): level i has the outer size of ``stages[i - 1]``,
    level 0 the inner size of ``stages[0]``, and the last one the pictures' own. Other losses: as of any GAN.
    """

    Config = ProGANConfig
    config: ProGANConfig
    paper = "Karras et al. 2018"
    defaults = Defaults(batch_size=32, lr_schedule="cosine", ema=0.999)
    compares = True

    generator: Any  # a ProGANGenerator, or one's own
    level: Tensor  # the finest level in use, int64
    alpha: Tensor  # how far that level has been faded in, in [0, 1]
    progress: Tensor  # fraction of the training done, as of the last phase

    def __init__(
        self,
        config: Any = None,
        image_spec: ImageSpec | None = None,
        *,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
    ) -> None:
        super().__init__(config, image_spec, generator=generator, discriminator=discriminator)
        self.register_buffer("level", torch.zeros((), dtype=torch.int64))
        self.register_buffer("alpha", torch.ones(()))
        self.register_buffer("progress", torch.zeros(()))

    def default_generator(self) -> nn.Module:
        return ProGANGenerator(self.config.latent, self.image_spec.shape, self.config.width)

    def default_discriminator(self) -> nn.Module:
        return ProGANDiscriminator(self.image_spec.shape, self.config.width)

    def try_generator(self, network: Any, zeros: Zeros) -> Tensor:
        found: Tensor = network(zeros(self.config.latent), len(network.stages), 1.0)
        return found

    def try_discriminator(self, network: Any, zeros: Zeros) -> Tensor:
        found: Tensor = network(zeros(*self.image_spec.shape), len(self.generator.stages), 1.0)
        return found

    # Growth

    @property
    def now(self) -> tuple[int, float]:
        """Level and alpha."""
        return int(self.level), float(self.alpha)

    def discriminator_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        self.progress.fill_(batch.progress)
        loss, logs = super().discriminator_loss(batch, carry)
        return loss, logs | {"level": self.level - 1 + self.alpha if self.level else self.alpha - 1}

    def rehearse(self, progress: float) -> None:
        levels = len(self.generator.stages)
        level = levels if self.config.grow else self.reached(progress / GROWING * 2 * levels)
        self.level.fill_(level)
        self.alpha.fill_(0.5 if level else 1.0)

    def reached(self, done: float) -> int:
        """The level after ``done`` units: level 0 settles for one, every further one fades in for one and settles."""
        return min(len(self.generator.stages), int(done + 1) // 2)

    def on_progress(self, images: int) -> None:
        super().on_progress(images)
        levels = len(self.generator.stages)
        done = images / self.config.grow if self.config.grow else float(self.progress) / GROWING * 2 * levels
        level = self.reached(done)
        alpha = min(1.0, done + 1 - 2 * level) if level else 1.0
        if (level, alpha) > self.now:  # a run that is resumed for longer does not shrink
            self.level.fill_(level)
            self.alpha.fill_(alpha)

    # The parts of the losses

    def real(self, images: Tensor) -> Tensor:
        """The data at the present level, (N, C, *size): while that fades in, partly as the one before did."""
        level, alpha = self.now
        for stage in reversed(self.generator.stages[level:]):
            images = down(images, stage)
        if level and alpha < 1:
            stage = self.generator.stages[level - 1]
            images = torch.lerp(up(down(images, stage), stage), images, alpha)
        return images

    def fake(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Pictures of the present level, (N, C, *size)."""
        picture: Tensor = self.generator(z, *self.now)
        return picture

    def score(self, images: Tensor, labels: Tensor | None) -> Tensor:
        logits: Tensor = self.discriminator(images, *self.now)
        return logits

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The present level's pictures, enlarged to (N, C, H, W)."""
        images = self.fake(z, labels)
        for stage in self.generator.stages[int(self.level) :]:
            images = up(images, stage)
        return images.clamp(-1, 1)
