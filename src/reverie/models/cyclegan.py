"""CycleGAN: Zhu et al. (2017), "Unpaired image-to-image translation using cycle-consistent adversarial networks".

Two sides without pairs: pictures a of one kind and b of another. A generator for each direction, G: A -> B and
F: B -> A, and a discriminator for each side. That a translation there and back must arrive where it started keeps the
generators from making just any picture of the other side. One step is two phases:

    generators      minimise  objective.generator(D_B(G(a))) + objective.generator(D_A(F(b)))
                              + lambda (|F(G(a)) - a| + |G(F(b)) - b|) + lambda identity (|G(b) - b| + |F(a) - a|)
    discriminators  minimise  objective.discriminator(D_B(b), D_B(G(a))) + objective.discriminator(D_A(a), D_A(F(b)))

with least squares as the objective, and the discriminators' fakes half from a pool of past ones (networks/pool.py).
What differs: the objective is half of the paper's (losses/adversarial.py), and so is lambda; the identity part is left
out where the sides differ in their channels; the small preset ``cyclegan`` learns 64 to 128 pixels on a CPU by shallow
U-Nets; ``cyclegan-256`` is the paper's. Pictures are drawn by averaged weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from reverie.capabilities import Translates, needed_sides
from reverie.config import setting
from reverie.engine.model import Batch, Defaults, ImageSpec, Logs, Model, OptimizerSpec, Phase
from reverie.engine.randomness import Draw
from reverie.losses.adversarial import OBJECTIVES
from reverie.models.custom import fitting
from reverie.models.pix2pix import TranslatorConfig, fitting_translator
from reverie.networks.patchgan import PatchDiscriminator
from reverie.networks.pool import Pool
from reverie.networks.translators import translator


@dataclass(frozen=True)
class CycleGANConfig(TranslatorConfig):
    objective: str = "lsgan"
    norm: str = "instance"
    cycle: float = setting(
        5.0,
        "lambda, the weight of there and back; the paper's 10, for lsgan is half of its objective here",
        low=0,
        high=1e9,
    )
    identity: float = setting(
        0.5, "weight of leaving alone what is of the other side already, times lambda", low=0, high=1e9
    )
    pool: int = setting(50, "past fakes kept of each side", low=1, high=10_000)


class CycleGAN(Model, Translates):
    """Unpaired translation, both ways.

    Networks of one's own are pix2pix's: ``ab`` and ``ba`` are called with pictures (N, a, H, W), or (N, b, H, W), and a
    Draw or None, give pictures of the other side in (-1, 1), and have ``grain`` and ``dropout``; ``discriminator_a``
    and ``discriminator_b`` turn pictures of their side into logits, (N,) or (N, ...). The settings of the network that
    is given then do nothing. Other losses: override `generator_loss` and `discriminator_loss`.
    """

    old_names: ClassVar[dict[str, str]] = {"tell_apart": "discriminator_loss", "paint": "generator_loss"}
    Config = CycleGANConfig
    config: CycleGANConfig
    taxonomy = "implicit"
    paper = "Zhu et al. 2017"
    defaults = Defaults(batch_size=4, lr_schedule="late-linear", ema=0.999)
    directions = ("ab", "ba")
    learns_pairs = False

    def __init__(
        self,
        config: CycleGANConfig | None = None,
        image_spec: ImageSpec | None = None,
        *,
        ab: nn.Module | None = None,
        ba: nn.Module | None = None,
        discriminator_a: nn.Module | None = None,
        discriminator_b: nn.Module | None = None,
    ) -> None:
        super().__init__(config, image_spec)
        a, b = needed_sides(self.image_spec, "cyclegan")
        self.objective = OBJECTIVES[self.config.objective]
        self.ab = self._translator(ab, "ab", a, b)
        self.ba = self._translator(ba, "ba", b, a)
        self.discriminator_a = self._discriminator(discriminator_a, "discriminator_a", a)
        self.discriminator_b = self._discriminator(discriminator_b, "discriminator_b", b)
        size, depth = self.image_spec.shape[1:], self.image_spec.depth
        self.pool_a, self.pool_b = (Pool(self.config.pool, (channels, *size), depth) for channels in (a, b))

    def _translator(self, given: nn.Module | None, name: str, before: int, after: int) -> nn.Module:
        config, size = self.config, (self.image_spec.height, self.image_spec.width)
        if given is not None:
            return fitting_translator(given, name, (before, *size), (after, *size))
        return translator(
            config.network,
            before,
            after,
            size,
            width=config.width,
            depth=config.depth,
            blocks=config.blocks,
            kind=config.norm,
        )

    def _discriminator(self, given: nn.Module | None, name: str, channels: int) -> nn.Module:
        config, size = self.config, (self.image_spec.height, self.image_spec.width)
        if given is not None:
            return fitting(given, name, lambda d, zeros: d(zeros(channels, *size)), ...)
        return PatchDiscriminator(channels, config.width_d, config.patches)

    def optimizers(self) -> dict[str, OptimizerSpec]:
        return self.config.optimizers(("ab", "ba"), ("discriminator_a", "discriminator_b"))

    def phases(self) -> list[Phase]:
        return [Phase("generators", "g", self.generator_loss), Phase("discriminators", "d", self.discriminator_loss)]

    def generator_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        """The generators' turn."""
        config = self.config
        a, b = batch.images.split(self.image_spec.sides, 1)
        same = config.identity > 0 and a.shape == b.shape
        # One call of each network for both of its inputs: a picture does not depend on the others in its batch.
        to_b, to_a = self.ab(torch.cat([a, b]) if same else a), self.ba(torch.cat([b, a]) if same else b)
        fake_b, fake_a = to_b[: len(a)], to_a[: len(b)]
        carry["fakes"] = fake_a.detach(), fake_b.detach()
        adversarial = self._adversarial_loss(self.discriminator_b(fake_b)) + self._adversarial_loss(
            self.discriminator_a(fake_a)
        )
        back = (self.ba(fake_b) - a).abs().mean() + (self.ab(fake_a) - b).abs().mean()
        loss, logs = adversarial + config.cycle * back, {"loss_g": adversarial, "cycle": back}
        if same:
            kept = (to_b[len(a) :] - b).abs().mean() + (to_a[len(b) :] - a).abs().mean()
            loss, logs = loss + config.cycle * config.identity * kept, logs | {"identity": kept}
        return loss, {name: value.detach() for name, value in logs.items()}

    def discriminator_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        """The discriminators' turn."""
        a, b = batch.images.split(self.image_spec.sides, 1)
        fake_a, fake_b = carry["fakes"]
        loss = torch.zeros((), device=a.device)
        logs: Logs = {}
        sides = {
            "a": (self.discriminator_a, a, self.pool_a.exchange(fake_a, batch.draw)),
            "b": (self.discriminator_b, b, self.pool_b.exchange(fake_b, batch.draw)),
        }
        for side, (discriminator, real, fake) in sides.items():
            d_real, d_fake = discriminator(torch.cat([real, fake])).chunk(2)
            part = self.objective.discriminator(d_real, d_fake).mean()
            loss = loss + part
            logs |= {f"loss_d_{side}": part, f"d_real_{side}": d_real.mean(), f"d_fake_{side}": d_fake.mean()}
        return loss, {name: value.detach() for name, value in logs.items()}

    def _adversarial_loss(self, d_fake: Tensor) -> Tensor:
        return self.objective.generator(d_fake, torch.zeros_like(d_fake)).mean()

    # Capabilities

    def translator(self, direction: str) -> nn.Module:
        return self.ab if direction == "ab" else self.ba

    def translate(self, images: Tensor, direction: str = "ab", draw: Draw | None = None) -> Tensor:
        picture: Tensor = self.translator(direction)(images, draw)
        return picture
