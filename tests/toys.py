"""Toy models that use everything the contract between models and the loop offers; each is trained in milliseconds.

They stand for what real families need: an alternating game with repeated critic batches and a hand-over between
phases, a pool of past fakes, a running mean in a lazy phase, batch normalisation, dropout, growth, and a VAE/GAN.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reverie.engine.model import Batch, ImageSpec, Logs, Model, OptimizerSpec, Phase
from reverie.engine.randomness import DataOrder

SIDE = 8


@dataclass(frozen=True)
class ToyConfig:
    width: int = 8


def mlp(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


class Toy(Model):
    Config = ToyConfig
    taxonomy = "implicit"
    paper = "none"

    def __init__(self, config: Any = None, image_spec: ImageSpec | None = None) -> None:
        super().__init__(config or ToyConfig(), image_spec or ImageSpec(1, SIDE, SIDE))
        self.size = self.image_spec.channels * self.image_spec.height * self.image_spec.width
        self.build()

    def build(self) -> None:
        self.generator, self.discriminator = mlp(4, 8, self.size), mlp(self.size, 8, 1)

    def optimizers(self) -> dict[str, OptimizerSpec]:
        return {"d": OptimizerSpec(("discriminator",), lr=1e-2), "g": OptimizerSpec(("generator",), lr=1e-2)}

    def phases(self) -> list[Phase]:
        return [
            Phase("critic1", "d", self.critic),
            Phase("critic2", "d", self.critic, new_batch=True),
            Phase("generator", "g", self.generator_loss),
        ]

    def critic(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        fake = self.generator(batch.draw.normal(4))
        carry["fake"] = fake.detach()
        loss = F.softplus(-self.discriminator(batch.images.flatten(1))).mean()
        loss = loss + F.softplus(self.discriminator(fake)).mean()
        return loss, {"d": loss.detach()}

    def generator_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        fake = self.generator(batch.draw.normal(4))
        loss = F.softplus(-self.discriminator(fake)).mean()
        return loss, {"g": loss.detach(), "handed_over": carry["fake"].square().mean()}


class Alternating(Toy):
    """Two optimizers that alternate, the critic twice with fresh data, and detached fakes handed over."""


class Pool(Toy):
    """The critic sees a pool of past fakes, kept in a buffer."""

    pool: Tensor

    def build(self) -> None:
        super().build()
        self.register_buffer("pool", torch.zeros(6, self.size))

    def critic(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        with torch.no_grad():
            fake = self.generator(batch.draw.normal(4))
            slots = batch.draw.integers(len(self.pool), 1).squeeze(1)
            old = self.pool[slots].clone()
            self.pool[slots] = fake
        carry["fake"] = fake
        loss = F.softplus(-self.discriminator(batch.images.flatten(1))).mean()
        loss = loss + F.softplus(self.discriminator(old)).mean()
        return loss, {"d": loss.detach()}


class Lazy(Toy):
    """A penalty every third step, against a running mean kept in a buffer (like the path length's)."""

    mean: Tensor

    def build(self) -> None:
        super().build()
        self.register_buffer("mean", torch.zeros(()))

    def phases(self) -> list[Phase]:
        return [*super().phases(), Phase("path", "g", self.path, every=3)]

    def path(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        length = self.generator(batch.draw.normal(4)).square().mean()
        self.mean.lerp_(length.detach(), 0.3)
        return (length - self.mean).square(), {"length": length.detach()}


class Normed(Toy):
    """Batch normalisation in the generator."""

    def build(self) -> None:
        super().build()
        # No bias before the normalisation: its gradient is zero but for rounding, which Adam would blow up.
        self.generator = nn.Sequential(
            nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, self.size)
        )


class Dropping(Toy):
    """Dropout, which draws its numbers itself."""

    def build(self) -> None:
        super().build()
        self.generator = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.Linear(16, self.size))


class Growing(Toy):
    """Grows from 4 to 8 pixels: level and fade in buffers, a smaller batch on the higher level."""

    level: Tensor
    fade: Tensor

    def build(self) -> None:
        self.generator = nn.ModuleList([mlp(4, 8, 16), mlp(4, 8, 64)])
        self.discriminator = mlp(64, 8, 1)
        self.register_buffer("level", torch.zeros((), dtype=torch.int64))
        self.register_buffer("fade", torch.zeros(()))

    def on_progress(self, images: int) -> None:
        self.level.fill_(int(images >= 60))
        self.fade.fill_(min(1.0, max(0.0, (images - 60) / 60)))

    def batch_size(self, planned: int) -> int:
        return planned if int(self.level) == 0 else planned // 2

    def pictures(self, z: Tensor) -> Tensor:
        low = F.interpolate(self.generator[0](z).view(-1, 1, 4, 4), size=SIDE)
        if int(self.level) == 0:
            return low.flatten(1)
        high = self.generator[1](z).view(-1, 1, SIDE, SIDE)
        return torch.lerp(low, high, self.fade).flatten(1)

    def critic(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        fake = self.pictures(batch.draw.normal(4)).detach()
        carry["fake"] = fake
        loss = F.softplus(-self.discriminator(batch.images.flatten(1))).mean()
        loss = loss + F.softplus(self.discriminator(fake)).mean()
        return loss, {"d": loss.detach(), "level": self.level.float()}

    def generator_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        loss = F.softplus(-self.discriminator(self.pictures(batch.draw.normal(4)))).mean()
        return loss, {"g": loss.detach()}


class ThreeWay(Toy):
    """Encoder, decoder and discriminator with an optimizer each; the decoder's gradient mixes two losses by a formula.

    Decoder: d/dtheta [mse + gamma * softplus(-D(decoder(z)))]; encoder: d/dphi [mse + kl]; each its own terms only.
    """

    gamma = 0.25

    def build(self) -> None:
        self.encoder, self.decoder = mlp(self.size, 8, 4), mlp(4, 8, self.size)
        self.discriminator = mlp(self.size, 8, 1)

    def optimizers(self) -> dict[str, OptimizerSpec]:
        return {name: OptimizerSpec((name,), lr=1e-2) for name in ("encoder", "decoder", "discriminator")}

    def phases(self) -> list[Phase]:
        return [
            Phase("encoder", "encoder", self.encode_loss),
            Phase("decoder", "decoder", self.decode_loss),
            Phase("discriminator", "discriminator", self.critic),
        ]

    def encode_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        mean = self.encoder(batch.images.flatten(1))
        z = mean + 0.1 * batch.draw.normal(4)
        carry["z"] = z.detach()
        loss = F.mse_loss(self.decoder(z), batch.images.flatten(1)) + 0.5 * mean.square().sum(1).mean()
        return loss, {"e": loss.detach()}

    def decode_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        out = self.decoder(carry["z"])
        fooled = F.softplus(-self.discriminator(out)).mean()
        loss = F.mse_loss(out, batch.images.flatten(1)) + self.gamma * fooled
        carry["out"] = out.detach()
        return loss, {"g": loss.detach()}

    def critic(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        loss = F.softplus(-self.discriminator(batch.images.flatten(1))).mean()
        loss = loss + F.softplus(self.discriminator(carry["out"])).mean()
        return loss, {"d": loss.detach()}


TOYS: dict[str, type[Toy]] = {
    kind.__name__.lower(): kind for kind in (Alternating, Pool, Lazy, Normed, Dropping, Growing, ThreeWay)
}


class Pictures:
    """A source of random pictures in memory, for `Loop`; labels count up."""

    def __init__(self, image_spec: ImageSpec, count: int = 50, seed: int = 0, rank: int = 0, ranks: int = 1) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.images = torch.rand(count, *image_spec.shape, generator=generator) * 2 - 1
        self.labels = torch.arange(count) % max(1, len(image_spec.classes)) if image_spec.classes else None
        self.order, self.rank, self.ranks = DataOrder(seed, count), rank, ranks

    def take(self, start: int, total: int) -> tuple[Tensor, Tensor | None]:
        count = total // self.ranks
        where = torch.from_numpy(self.order.take(start + count * self.rank, count))
        return self.images[where], None if self.labels is None else self.labels[where]
