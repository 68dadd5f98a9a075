"""StyleGAN, both versions: Karras et al. (2019), "A style-based generator architecture for GANs", and Karras et al.
(2020), "Analyzing and improving the image quality of StyleGAN" (``stylegan`` and ``stylegan2``).

The losses of gan.py with a generator in two parts: a mapping network turns z into a style w, and a synthesis network
turns a constant into a picture, each of its layers given its own copy of w, with fresh noise in every pixel. In
training most pictures are made from two latents, one for the first layers and one for the others, so that layers learn
to be independent (style mixing); w can be pulled towards its mean (truncation).

    ``version`` 1   styles set mean and deviation of each feature map (AdaIN); plain discriminator
    ``version`` 2   styles modulate the convolutions' weights; pictures of all resolutions add up; residual
                    discriminator; path length regularisation: |J^T y| is to be the same for every w (eq. 4)

R1 is a phase of its own every few steps, as is the path length, on half a batch; the learning rate and Adam's betas are
corrected for that (their appendix B). What differs: the settings are those of narrow networks that see some 100,000
pictures, not 25 million (the papers: learning rate 0.002, R1 every 16 steps with gamma by the size of the pictures,
path length weight 2; here five times the rate, which falls to zero, and more R1); the cut of a mixed pair is drawn for
each picture, not for each batch; the running means weigh all of a short training alike; they are those of the step
before, so that they do not depend on how a batch is divided; two mapping layers (the papers: 8, and 2 for small data in
the ADA paper); the first version is trained with the lazy R1 of the second; the networks' own differences are said in
networks/stylegan.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from reverie.capabilities import Conditions, Styles, needed_classes
from reverie.config import setting
from reverie.engine.distributed import total
from reverie.engine.model import Batch, Defaults, ImageSpec, Logs, OptimizerSpec, Phase
from reverie.engine.randomness import Draw
from reverie.losses.penalties import path_lengths
from reverie.models.custom import Zeros
from reverie.models.gan import GAN, GANConfig
from reverie.networks.stylegan import AdaINSynthesis, Mapping, StyleDiscriminator, StyleGenerator
from reverie.networks.stylegan2 import SkipSynthesis


@dataclass(frozen=True)
class StyleGANConfig(GANConfig):
    version: int = setting(2, "1: AdaIN, 2: modulated convolutions", low=1, high=2)
    latent: int = 64
    style: int = setting(64, "size of w", low=1, high=65536)
    width: int = setting(16, "channels of the finest grid")
    depth: int = setting(2, "layers of the mapping network", low=1, high=100)
    mixing: float = setting(0.9, "probability that a picture has two styles", low=0, high=1)
    path: float = setting(0.5, "weight of the path length penalty; 0 = none", low=0, high=1e9)
    path_every: int = setting(4, "steps between path length penalties", low=1, high=1e6)
    r1: float = setting(3.0, "gamma of the penalty on the gradient at real pictures; more for larger pictures")
    penalty_every: int = setting(4, "steps between R1 penalties")
    lr: float = setting(1e-2, "Adam's learning rate, of both networks; the mapping's is a hundredth")


class RunningMean(nn.Module):
    """The mean of vectors (size,) that phases add: exponential, over about ``horizon`` steps.

    What is added in a step is only summed up; `fold` then moves the mean, by the sum of all ranks.
    """

    mean: Tensor  # (size,)
    pending: Tensor  # (size + 1,), the sum of what was added in this step, and of how many
    steps: Tensor  # scalar; in how many steps anything was added

    def __init__(self, size: int, horizon: int) -> None:
        super().__init__()
        self.horizon = horizon
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("pending", torch.zeros(size + 1))
        self.register_buffer("steps", torch.zeros(()))

    @torch.no_grad()
    def add(self, value: Tensor) -> None:
        """Count in one vector (size,)."""
        self.pending += torch.cat([value.detach(), value.new_ones(1)])

    @torch.no_grad()
    def fold(self) -> None:
        """Move the mean; every rank must call it, once a step."""
        summed = total(self.pending)
        value, count = summed[:-1], summed[-1]
        self.steps += count > 0
        rate = (count > 0) / self.steps.clamp(1, self.horizon)
        self.mean += rate * (value / count.clamp(min=1) - self.mean)
        self.pending.zero_()


class StyleGAN(GAN, Styles):
    """A GAN with styles.

    A ``generator`` of one's own has two parts: ``generator.mapping(z, labels)`` turns latents (N, latent) into styles
    (N, style), ``labels`` being None where the model is not conditional; ``generator.synthesis(w, noise)`` turns
    styles (N, L, style) into pictures (N, C, H, W), with fresh noise from ``noise.normal(*shape)`` -> (N, *shape), or
    the same for every picture where that is None; ``generator.synthesis.count`` is L, the number of layers. A
    ``discriminator`` is that of any GAN, and so are the losses to override; beside them is `path_length_loss`.
    """

    old_names: ClassVar[dict[str, str]] = GAN.old_names | {"even_paths": "path_length_loss"}
    Config = StyleGANConfig
    config: StyleGANConfig
    paper = "Karras et al. 2019, 2020"
    defaults = Defaults(batch_size=32, lr_schedule="cosine", ema=0.999)
    compares = True

    generator: Any  # a StyleGenerator, or one's own

    def __init__(
        self,
        config: Any = None,
        image_spec: ImageSpec | None = None,
        *,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
    ) -> None:
        super().__init__(config, image_spec, generator=generator, discriminator=discriminator)
        self.layers = int(self.generator.synthesis.count)
        self.w_mean = RunningMean(self.config.style, horizon=200)
        self.path_mean = RunningMean(1, horizon=100)

    def default_generator(self) -> nn.Module:
        config, shape = self.config, self.image_spec.shape
        synthesis = (SkipSynthesis if config.version == 2 else AdaINSynthesis)(shape, config.width, config.style)
        return StyleGenerator(Mapping(config.latent, config.style, config.depth, self.conditioning_classes), synthesis)

    def default_discriminator(self) -> nn.Module:
        config = self.config
        return StyleDiscriminator(
            self.image_spec.shape, config.width, residual=config.version == 2, classes=self.conditioning_classes
        )

    def try_generator(self, network: Any, zeros: Zeros) -> Tensor:
        w = network.mapping(zeros(self.config.latent), zeros().long() if self.conditioning_classes else None)
        found: Tensor = network.synthesis(w.expand(network.synthesis.count, 1, self.config.style).transpose(0, 1), None)
        return found

    # Losses

    def optimizers(self) -> dict[str, OptimizerSpec]:
        config = self.config
        lazy = {"d": config.penalty_every if self.penalised else 1, "g": config.path_every if config.path else 1}
        return {name: _corrected(spec, lazy[name]) for name, spec in super().optimizers().items()}

    def phases(self) -> list[Phase]:
        path = [Phase("path", "g", self.path_length_loss, every=self.config.path_every)] if self.config.path else []
        return [*super().phases(), *path]

    def generator_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        found = super().generator_loss(batch, carry)
        with torch.no_grad():
            self.w_mean.add(self.generator.mapping(self.draw_latent(batch.draw), self.given(batch)).mean(0))
        return found

    def path_length_loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        """The path length penalty, on every other sample: a step in w is to change a picture the same everywhere."""
        labels, half = self.given(batch), HalfDraw(batch.draw)
        w = self.map(self.draw_latent(batch.draw)[::2], None if labels is None else labels[::2])
        images = self.generator.synthesis(w, half)
        lengths = path_lengths(images, w, half.normal(*self.image_spec.shape))
        self.path_mean.add(lengths.mean(0, keepdim=True))
        loss = self.config.path * (lengths - self.path_mean.mean).square().mean()
        return loss, {"path_length": lengths.detach().mean()}

    def on_progress(self, images: int) -> None:
        super().on_progress(images)
        self.w_mean.fold()
        self.path_mean.fold()

    def generate(self, draw: Draw, labels: Tensor | None) -> Tensor:
        """Pictures to train on: with mixed styles and fresh noise."""
        w = self.map(self.draw_latent(draw), labels)
        if self.config.mixing:
            other = self.map(self.draw_latent(draw), labels)
            cut = 1 + draw.integers(self.layers - 1)  # the first layer of the other style
            cut = torch.where(draw.uniform() < self.config.mixing, cut, self.layers)
            mine = torch.arange(self.layers, device=w.device) < cut[:, None]
            w = torch.where(mine[:, :, None], w, other)
        picture: Tensor = self.generator.synthesis(w, draw)
        return picture

    # Capabilities

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        w: Tensor = self.generator.mapping(z, labels)
        return w.unsqueeze(1).expand(-1, self.layers, -1)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return Styles.decode(self, z, labels)  # not that of `GAN`, which has no styles

    def synthesise(self, w: Tensor) -> Tensor:
        picture: Tensor = self.generator.synthesis(w)
        return picture.clamp(-1, 1)

    def truncate(self, w: Tensor, psi: float, layers: int | None = None) -> Tensor:
        nearer = torch.lerp(self.w_mean.mean.to(w), w, psi)
        return torch.cat([nearer[:, :layers], w[:, w.shape[1] if layers is None else layers :]], 1)


class HalfDraw:
    """The random numbers of every other sample."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw

    def normal(self, *shape: int) -> Tensor:
        """N(0, 1), (half of the batch, *shape)."""
        return self.draw.normal(*shape)[::2]


def _corrected(spec: OptimizerSpec, every: int) -> OptimizerSpec:
    """Adam as if a phase each ``every`` steps were not a step of its own (Karras et al. 2020, appendix B)."""
    if every == 1:
        return spec
    share = every / (every + 1)
    return replace(spec, lr=spec.lr * share, betas=(spec.betas[0] ** share, spec.betas[1] ** share))


class ConditionalStyleGAN(StyleGAN, Conditions):
    """Class-conditional StyleGAN: an embedding beside z, and a projection discriminator."""

    def __init__(
        self,
        config: Any = None,
        image_spec: ImageSpec | None = None,
        *,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
    ) -> None:
        self.classes = needed_classes(image_spec, "cstylegan2", "stylegan2")
        super().__init__(config, image_spec, generator=generator, discriminator=discriminator)

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().map(z, self.known(labels))
