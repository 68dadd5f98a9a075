"""Every model by name: where its class is, what the name presets, what it is. Importing this does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from reverie.errors import ReverieError, nearest

if TYPE_CHECKING:
    from reverie.engine.phase import Model


@dataclass(frozen=True)
class Entry:
    """One model of the registry."""

    where: str  # "module:Class" within reverie.models
    summary: str  # one line
    paper: str
    preset: dict[str, Any] = field(default_factory=dict)  # the values of the class's Config that the name stands for


# What the papers' translators of 256 pixels have in common.
PAPER: dict[str, Any] = {"width": 64, "width_d": 64, "norm": "instance", "lr": 2e-4, "lr_d": 2e-4}

MODELS: dict[str, Entry] = {
    "ae": Entry("autoencoder:Autoencoder", "Autoencoder", "Hinton & Salakhutdinov 2006"),
    "dae": Entry("autoencoder:Autoencoder", "Denoising autoencoder", "Vincent et al. 2010", {"corruption": "gaussian"}),
    "rae": Entry(
        "autoencoder:Autoencoder",
        "Regularised autoencoder with a smooth decoder",
        "Ghosh et al. 2020",
        {"code": 1.0, "penalty": "gradient", "smoothness": 0.1},
    ),
    "vae": Entry("vae:VAE", "Variational autoencoder", "Kingma & Welling 2014"),
    "beta-vae": Entry("vae:VAE", "VAE with a heavier KL", "Higgins et al. 2017", {"beta": 4.0}),
    "beta-tcvae": Entry(
        "vae:VAE", "VAE with a heavier total correlation", "Chen et al. 2018", {"bound": "tc", "beta": 6.0}
    ),
    "infovae": Entry(
        "vae:VAE", "VAE whose codes together match the prior (MMD)", "Zhao et al. 2019", {"bound": "mmd", "mmd": 1000.0}
    ),
    "iwae": Entry(
        "vae:VAE", "VAE with the importance-weighted bound", "Burda et al. 2016", {"bound": "iwae", "samples": 5}
    ),
    "cvae": Entry("vae:CVAE", "VAE conditioned on class labels", "Sohn et al. 2015"),
    "gan": Entry("gan:GAN", "Generative adversarial network, the original game", "Goodfellow et al. 2014"),
    "dcgan": Entry("dcgan:DCGAN", "GAN of strided convolutions", "Radford et al. 2016"),
    "cgan": Entry("dcgan:CGAN", "DCGAN conditioned on class labels", "Mirza & Osindero 2014"),
    "progan": Entry("progan:ProGAN", "GAN that grows with its pictures", "Karras et al. 2018"),
    "stylegan": Entry(
        "stylegan:StyleGAN", "GAN with a style for each layer", "Karras et al. 2019", {"version": 1, "path": 0.0}
    ),
    "stylegan2": Entry("stylegan:StyleGAN", "GAN whose styles modulate its weights", "Karras et al. 2020"),
    "cstylegan2": Entry("stylegan:ConditionalStyleGAN", "StyleGAN2 conditioned on class labels", "Karras et al. 2020"),
    "r3gan": Entry("r3gan:R3GAN", "The modern baseline: relativistic pairs with R1 and R2", "Huang et al. 2024"),
    "r3gan-medium": Entry(
        "r3gan:R3GAN", "R3GAN for a small GPU", "Huang et al. 2024", {"width": 48, "depth": 2, "patch": 1, "lr": 1e-3}
    ),
    "r3gan-large": Entry(
        "r3gan:R3GAN", "R3GAN for a large GPU", "Huang et al. 2024", {"width": 128, "depth": 2, "patch": 1, "lr": 2e-4}
    ),
    "cr3gan": Entry("r3gan:CR3GAN", "R3GAN conditioned on class labels", "Huang et al. 2024"),
    "vaegan": Entry("vaegan:VAEGAN", "VAE with a discriminator of patches", "Larsen et al. 2016"),
    "pix2pix": Entry("pix2pix:Pix2Pix", "Translation learned from pairs", "Isola et al. 2017"),
    "pix2pix-256": Entry(
        "pix2pix:Pix2Pix",
        "The paper's U-Net, for a GPU",
        "Isola et al. 2017",
        PAPER | {"network": "unet", "depth": 0, "blocks": 0, "dropout": 0.5},
    ),
    "cyclegan": Entry("cyclegan:CycleGAN", "Translation both ways, learned without pairs", "Zhu et al. 2017"),
    "cyclegan-256": Entry(
        "cyclegan:CycleGAN",
        "The paper's residual networks, for a GPU",
        "Zhu et al. 2017",
        PAPER | {"network": "resnet", "blocks": 9},
    ),
}


def names() -> list[str]:
    """The models' names, in the order of this file."""
    return list(MODELS)


def entry(name: str) -> Entry:
    """The line of model ``name``."""
    if name not in MODELS:
        raise ReverieError(f"There is no model '{name}'{nearest(name, MODELS)}")
    return MODELS[name]


def load_class(name: str) -> type[Model]:
    """The class of model ``name``, importing its module, and so torch, only now."""
    module, _, attribute = entry(name).where.partition(":")
    found: type[Model] = getattr(import_module(f"reverie.models.{module}"), attribute)
    return found


def able(*capabilities: type, never: tuple[type, ...] = ()) -> list[str]:
    """The models that promise all of these capabilities and none of ``never``: names that share a class by their first.

    Imports every model, and so torch.
    """
    firsts = {load_class(name): name for name in reversed(MODELS)}
    return [
        name
        for name in MODELS
        for kind in [load_class(name)]
        if firsts[kind] == name
        and all(issubclass(kind, capability) for capability in capabilities)
        and not issubclass(kind, never)
    ]


def preset(name: str) -> dict[str, Any]:
    """The values of the class's Config that the name stands for; a copy."""
    return dict(entry(name).preset)
