"""Variational autoencoders: Kingma & Welling (2014), "Auto-encoding variational Bayes", and its close relatives.

One loss covers the family: the negative of a bound on log p(x), in nats per picture,

    reconstruction  -E_q[log p(x|z)]                     summed over pixels
    + beta * KL(q(z|x) || p(z))                          summed over latent dimensions

where ``beta`` rises from zero during the first ``warmup`` of training. What the relatives change:

- beta-VAE (Higgins et al. 2017): beta above one.
- beta-TCVAE (Chen et al. 2018): only the total correlation is weighted by beta; written here as KL + (beta - 1) TC, the
  same expectation as the paper's three-part sum, with the analytic KL in place of its sampled parts.
- InfoVAE (Zhao et al. 2019): adds ``mmd`` times the MMD between aggregate posterior and prior; beta = 1 - alpha.
- IWAE (Burda et al. 2016): the bound of ``samples`` importance-weighted draws, with that paper's gradient.
- CVAE (Sohn et al. 2015): encoder and decoder are conditioned on the label; the prior stays N(0, I).

Against the papers: any likelihood (Gaussian with the optimal sigma of Rybkin et al. 2021 by default), convolutional
networks without normalisation layers, KL warm-up (Sonderby et al. 2016) and free bits (Kingma et al. 2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reverie.capabilities import Bounds, Code, Conditions, needed_classes
from reverie.config import check_settings_of, setting
from reverie.engine.model import Batch, Defaults, ImageSpec, Logs, Model, OptimizerSpec, Phase
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.losses.divergence import (
    ACTIVE_KL,
    free_bits,
    gaussian_kl,
    gaussian_log_density,
    importance_bound,
    mmd,
    total_correlation,
)
from reverie.losses.reconstruction import (
    bernoulli,
    gaussian,
    logistic_mixture,
    mixture_mean,
    optimal_log_sigma,
)
from reverie.models.custom import fitting
from reverie.networks import coders
from reverie.networks.mixture import Mixture

LIKELIHOODS = ("gaussian", "bernoulli", "logistic")
BOUNDS = ("elbo", "tc", "mmd", "iwae")


@dataclass(frozen=True)
class VAEConfig:
    """Settings of a VAE; see the module's docstring."""

    latent: int = setting(32, "numbers that code a picture", low=1, high=65536)
    network: str = setting("conv", "what encoder and decoder are made of", choices=coders.NETWORKS)
    width: int = setting(32, "channels of the finest stage", low=1, high=65536)
    depth: int = setting(1, "layers (mlp, conv) or residual blocks (resnet) a stage", low=0, high=32)
    likelihood: str = setting(
        "gaussian", "p(x|z); under bernoulli pictures are binarised anew at each step", choices=LIKELIHOODS
    )
    sigma: float = setting(
        0.0, "the Gaussian's standard deviation on the [-1, 1] pixel scale; 0 = optimal", low=0, high=1e3
    )
    components: int = setting(5, "logistics in each pixel's mixture", low=1, high=1000)
    bound: str = setting(
        "elbo",
        "what is maximised; tc weighs the total correlation, mmd adds the MMD, iwae takes several draws",
        choices=BOUNDS,
    )
    beta: float = setting(1.0, "weight of the KL; of the total correlation under bound=tc", low=0, high=1e9)
    warmup: float = setting(0.3, "fraction of training over which the KL's weight rises from zero", low=0, high=1)
    free_bits: float = setting(0.0, "nats a latent dimension may hold without paying for them", low=0, high=1e6)
    samples: int = setting(1, "draws of z a picture, under bound=iwae", low=1, high=65536)
    mmd: float = setting(0.0, "weight of the MMD, under bound=mmd", low=0, high=1e9)
    lr: float = setting(1e-3, "learning rate", low=1e-12, high=1e3)

    def __post_init__(self) -> None:
        check_settings_of(self, "model")


class VAE(Model, Bounds):
    """q(z|x) a diagonal Gaussian, p(z) = N(0, I), p(x|z) by ``config.likelihood``.

    An ``encoder`` of one's own turns pictures (N, C, H, W) in [-1, 1] into mean and log variance side by side,
    (N, 2 latent); a ``decoder`` turns latents (N, latent) into the parameters of p(x|z): (N, C, H, W), unbounded, for
    the Gaussian its mean and for the Bernoulli its logits, or (N, 3 components C, H, W) for the logistic mixture. The
    settings of the network that is given (network, width, depth) then do nothing. Another loss: override `loss`;
    another likelihood alone: `log_likelihood` and `decode`.
    """

    Config = VAEConfig
    taxonomy = "explicit approximate"
    paper = "Kingma & Welling 2014"
    defaults = Defaults(batch_size=128, lr_schedule="cosine", warmup=0.02, ema=0.999, clip=0.0)

    config: VAEConfig
    log_sigma: Tensor  # scalar; the Gaussian likelihood's: fixed, or the mean optimal one of the last 100 steps or so
    steps: Tensor  # scalar; how many steps that mean has seen

    def __init__(
        self,
        config: VAEConfig | None = None,
        image_spec: ImageSpec | None = None,
        *,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        labels: int = 0,
    ) -> None:
        super().__init__(config, image_spec)
        config = self.config
        if config.likelihood == "logistic" and self.image_spec.depth == 32:
            raise ReverieError(
                "model.likelihood=logistic counts levels, and these pictures are floats, which have none; take "
                "gaussian, or data.depth=16."
            )
        channels, height, width = self.image_spec.shape
        shape_in = (channels + bool(labels), height, width)
        shape_out = (channels * (3 * config.components if config.likelihood == "logistic" else 1), height, width)
        built, latent = (config.width, config.depth), config.latent
        self.encoder = (
            coders.encoder(config.network, shape_in, 2 * latent, *built)
            if encoder is None
            else fitting(encoder, "encoder", lambda e, zeros: e(zeros(*shape_in)), 2 * latent)
        )
        self.decoder = (
            coders.decoder(config.network, latent + labels, shape_out, *built)
            if decoder is None
            else fitting(decoder, "decoder", lambda d, zeros: d(zeros(latent + labels)), *shape_out)
        )
        self.mixture = Mixture(config.latent)
        self.binarises = config.likelihood == "bernoulli"
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("log_sigma", torch.tensor(config.sigma).log() if config.sigma else torch.zeros(()))

    # Training

    def optimizers(self) -> dict[str, OptimizerSpec]:
        return {"main": OptimizerSpec(("encoder", "decoder"), lr=self.config.lr)}

    def phases(self) -> list[Phase]:
        return [Phase("bound", "main", self.loss)]

    def loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
        """The negative bound, mean over the batch, in nats."""
        config = self.config
        images, labels, draw = batch.images, batch.labels, batch.draw
        if self.binarises:
            images = binarise(images, draw)
        rise = min(1.0, batch.progress / config.warmup) if config.warmup > 0 else 1.0
        code = self.posterior(images, labels)
        mean, logvar = code.chunk(2, 1)
        samples = config.samples if config.bound == "iwae" else 1
        noise = draw.normal(samples, config.latent)
        z = mean.unsqueeze(1) + torch.exp(0.5 * logvar).unsqueeze(1) * noise  # (N, S, latent)
        outputs = self.outputs(z.flatten(0, 1), labels)
        if config.likelihood == "gaussian" and not config.sigma:
            log_sigma = optimal_log_sigma(outputs, images)
            self.steps += 1
            self.log_sigma += (log_sigma - self.log_sigma) / self.steps.clamp(max=100)
        else:
            log_sigma = self.log_sigma
        log_likelihood = self.log_likelihood(outputs, images, log_sigma).unflatten(0, (-1, samples))  # (N, S)
        kl = gaussian_kl(mean, logvar)  # (N, latent)
        logs = {
            "recon": -log_likelihood.mean(),
            "kl": kl.sum(1).mean(),
            "kl_dims": kl.mean(0),
        }
        if config.likelihood == "gaussian":
            logs["sigma"] = log_sigma.exp()
        match config.bound:
            case "iwae":
                prior = gaussian_log_density(z, torch.zeros_like(z), torch.zeros_like(z)).sum(2)
                q = gaussian_log_density(z, mean.unsqueeze(1), logvar.unsqueeze(1)).sum(2)
                loss = -importance_bound(log_likelihood + rise * config.beta * (prior - q)).mean()
            case "tc":
                tc = total_correlation(z.squeeze(1), mean, logvar, population=len(z)).mean()
                loss = logs["recon"] + rise * (self.cost(kl) + (config.beta - 1) * tc)
                logs["tc"] = tc
            case "mmd":
                distance = mmd(z.squeeze(1), draw.normal(config.latent))
                loss = logs["recon"] + rise * config.beta * self.cost(kl) + config.mmd * distance
                logs["mmd"] = distance
            case _:
                loss = logs["recon"] + rise * config.beta * self.cost(kl)
        return loss, {"loss": loss.detach()} | {name: value.detach() for name, value in logs.items()}

    @property
    def least_batch(self) -> int:
        return 2 if self.config.bound == "mmd" else 1  # an unbiased MMD compares each code with the others

    def cost(self, kl: Tensor) -> Tensor:
        """The KL as the loss counts it, with free bits where given: (N, latent) -> scalar."""
        return free_bits(kl, self.config.free_bits) if self.config.free_bits > 0 else kl.sum(1).mean()

    def advice(self, means: dict[str, float | list[float]], progress: float) -> str | None:
        dims = means.get("kl_dims")
        if progress < max(self.config.warmup, 0.1) or not isinstance(dims, list):
            return None
        active = sum(kl > ACTIVE_KL for kl in dims)
        if active >= 0.1 * len(dims):
            return None
        return (
            f"The posterior has collapsed: {active} of {len(dims)} latent dimensions carry information; "
            "lower model.beta, lengthen model.warmup, or set model.free_bits=0.1."
        )

    # The two distributions

    def posterior(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Mean and log variance of q(z|x), side by side: (N, 2 latent)."""
        code: Tensor = self.encoder(images)
        return code

    def outputs(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """The parameters of p(x|z) as the decoder gives them; labels (N,) for z (N S, latent)."""
        outputs: Tensor = self.decoder(z)
        return outputs

    def log_likelihood(self, outputs: Tensor, images: Tensor, log_sigma: Tensor) -> Tensor:
        """log p(x|z), (N S,) nats, for pictures (N, ...) in [-1, 1]; the Gaussian's density is on that scale."""
        match self.config.likelihood:
            case "bernoulli":
                return bernoulli(outputs, (images + 1) / 2)
            case "logistic":
                return logistic_mixture(outputs, images, 2**self.image_spec.depth)
            case _:
                return gaussian(outputs, images, log_sigma)

    # Capabilities

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        mean, logvar = self.posterior(images, labels).chunk(2, 1)
        return Code(mean, logvar)

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.normal(self.config.latent)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        outputs = self.outputs(z, labels)
        match self.config.likelihood:
            case "bernoulli":
                return torch.tanh(outputs / 2)  # 2 sigmoid - 1
            case "logistic":
                return mixture_mean(outputs, self.image_spec.channels)
            case _:
                return outputs.clamp(-1, 1)

    def log_weights(self, images: Tensor, samples: int, draw: Draw, labels: Tensor | None = None) -> Tensor:
        if self.binarises:
            images = binarise(images, draw)
        mean, logvar = (part.unsqueeze(1) for part in self.posterior(images, labels).chunk(2, 1))
        noise = draw.normal(samples, self.config.latent)
        z = mean + torch.exp(0.5 * logvar) * noise  # (N, S, latent)
        # log p(z) - log q(z|x), with (z - mean) / sigma = noise and the 2 pi's gone
        ratio = 0.5 * (noise.square() + logvar - z.square()).sum(2)
        outputs = self.outputs(z.flatten(0, 1), labels)
        log_likelihood = self.log_likelihood(outputs, images, self.log_sigma)
        total: Tensor = ratio + log_likelihood.unflatten(0, (-1, samples))
        return total


def binarise(images: Tensor, draw: Draw) -> Tensor:
    """Each pixel -1 or 1, 1 with probability (x + 1) / 2: the dynamic binarisation of Burda et al. (2016)."""
    return torch.where(draw.uniform(*images.shape[1:]) < (images + 1) / 2, 1.0, -1.0)


class CVAE(VAE, Conditions):
    """A class-conditional VAE: the encoder by a learned picture of each label as one more channel, the decoder one-hot.

    Networks of one's own are a VAE's, with a channel more for the encoder, (N, C + 1, H, W), and as many numbers more
    for the decoder as there are classes, (N, latent + classes).
    """

    paper = "Sohn et al. 2015"

    def __init__(
        self,
        config: VAEConfig | None = None,
        image_spec: ImageSpec | None = None,
        *,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        classes = needed_classes(image_spec, "cvae", "vae")
        super().__init__(config, image_spec, encoder=encoder, decoder=decoder, labels=len(classes))
        self.classes = classes
        self.label = nn.Embedding(len(classes), self.image_spec.height * self.image_spec.width)

    def optimizers(self) -> dict[str, OptimizerSpec]:
        return {"main": OptimizerSpec(("encoder", "decoder", "label"), lr=self.config.lr)}

    def posterior(self, images: Tensor, labels: Tensor | None) -> Tensor:
        plane = self.label(self.known(labels)).view(-1, 1, *images.shape[2:])
        return super().posterior(torch.cat([images, plane], 1), labels)

    def outputs(self, z: Tensor, labels: Tensor | None) -> Tensor:
        labels = self.known(labels)
        numbers = torch.arange(len(self.classes), device=z.device)
        one_hot = (labels[:, None] == numbers).to(z).repeat_interleave(len(z) // len(labels), 0)
        return super().outputs(torch.cat([z, one_hot], 1), labels)
