"""reverie: generative image models from a folder of pictures.

>>> import reverie
>>> run = reverie.train("vae", "digits", "runs/first", settings={"train": {"steps": 200}})
>>> pictures = run.sample(16)                         # (16, C, H, W) in [-1, 1]
>>> figures = run.evaluate()                          # on held-out pictures
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from reverie.deprecated import FUNCTIONS, warn
from reverie.errors import ReverieError

if TYPE_CHECKING:
    __version__: str
    from reverie.config import setting
    from reverie.data import DataOptions, Dataset, open_dataset
    from reverie.data.image_io import save_animation, save_grid, to_tensor, to_uint8
    from reverie.engine.model import Batch, Defaults, ImageSpec, Model, OptimizerSpec, Phase
    from reverie.engine.plan import Plan
    from reverie.evaluation import evaluate
    from reverie.inference.embed import embed
    from reverie.inference.sample import sample
    from reverie.models.autoencoder import Autoencoder
    from reverie.models.cyclegan import CycleGAN
    from reverie.models.dcgan import CGAN, DCGAN
    from reverie.models.gan import GAN
    from reverie.models.pix2pix import Pix2Pix
    from reverie.models.progan import ProGAN
    from reverie.models.r3gan import R3GAN
    from reverie.models.stylegan import StyleGAN
    from reverie.models.vae import CVAE, VAE
    from reverie.models.vaegan import VAEGAN
    from reverie.registry import register_model
    from reverie.reporting.anomaly import overlay
    from reverie.run import Run, load
    from reverie.tasks.anomaly import aupr, auroc, detector
    from reverie.tasks.arithmetic import arithmetic
    from reverie.tasks.attributes import attribute
    from reverie.tasks.classify import calibrate, classify
    from reverie.tasks.cluster import cluster
    from reverie.tasks.compress import compress
    from reverie.tasks.condition import condition
    from reverie.tasks.denoise import add_noise, downsample, mask, restore
    from reverie.tasks.directions import directions, effects, principal, sensitive
    from reverie.tasks.fit_mixture import fit_mixture
    from reverie.tasks.heat_map import heat_map
    from reverie.tasks.interpolate import interpolate
    from reverie.tasks.maps import gaps, manifold, thumbnails
    from reverie.tasks.mix import mix
    from reverie.tasks.neighbours import neighbours
    from reverie.tasks.project import latents_of, project
    from reverie.tasks.reconstruct import reconstruct
    from reverie.tasks.transfer import load_classifier, transfer
    from reverie.tasks.translate import translate
    from reverie.tasks.traverse import traverse, traverse_drawn
    from reverie.training import Trainer, train


_WHERE = {
    "Run": "run", "load": "run",
    "setting": "config",
    "DataOptions": "data", "Dataset": "data", "open_dataset": "data",
    "save_animation": "data.image_io", "save_grid": "data.image_io",
    "to_tensor": "data.image_io", "to_uint8": "data.image_io",
    "Batch": "engine.model", "Defaults": "engine.model", "ImageSpec": "engine.model", "Model": "engine.model",
    "OptimizerSpec": "engine.model", "Phase": "engine.model",
    "Autoencoder": "models.autoencoder", "CVAE": "models.vae", "VAE": "models.vae", "VAEGAN": "models.vaegan",
    "CGAN": "models.dcgan", "DCGAN": "models.dcgan", "GAN": "models.gan", "ProGAN": "models.progan",
    "R3GAN": "models.r3gan", "StyleGAN": "models.stylegan",
    "CycleGAN": "models.cyclegan", "Pix2Pix": "models.pix2pix",
    "evaluate": "evaluation",
    "register_model": "registry",
    "aupr": "tasks.anomaly", "auroc": "tasks.anomaly", "detector": "tasks.anomaly",
    "heat_map": "tasks.heat_map", "overlay": "reporting.anomaly",
    "calibrate": "tasks.classify", "classify": "tasks.classify", "condition": "tasks.condition",
    "load_classifier": "tasks.transfer", "transfer": "tasks.transfer",
    "embed": "inference.embed", "interpolate": "tasks.interpolate", "mix": "tasks.mix",
    "neighbours": "tasks.neighbours",
    "reconstruct": "tasks.reconstruct", "sample": "inference.sample", "translate": "tasks.translate",
    "traverse": "tasks.traverse",
    "traverse_drawn": "tasks.traverse",
    "arithmetic": "tasks.arithmetic", "attribute": "tasks.attributes",
    "cluster": "tasks.cluster",
    "compress": "tasks.compress",
    "downsample": "tasks.denoise", "mask": "tasks.denoise", "add_noise": "tasks.denoise", "restore": "tasks.denoise",
    "directions": "tasks.directions", "effects": "tasks.directions",
    "principal": "tasks.directions", "sensitive": "tasks.directions",
    "fit_mixture": "tasks.fit_mixture",
    "gaps": "tasks.maps", "manifold": "tasks.maps", "thumbnails": "tasks.maps",
    "latents_of": "tasks.project", "project": "tasks.project",
    "Plan": "engine.plan", "Trainer": "training", "train": "training",
}  # fmt: skip

__all__ = [
    "CGAN",
    "CVAE",
    "DCGAN",
    "GAN",
    "R3GAN",
    "VAE",
    "VAEGAN",
    "Autoencoder",
    "Batch",
    "CycleGAN",
    "DataOptions",
    "Dataset",
    "Defaults",
    "ImageSpec",
    "Model",
    "OptimizerSpec",
    "Phase",
    "Pix2Pix",
    "Plan",
    "ProGAN",
    "ReverieError",
    "Run",
    "StyleGAN",
    "Trainer",
    "add_noise",
    "arithmetic",
    "attribute",
    "aupr",
    "auroc",
    "calibrate",
    "classify",
    "cluster",
    "compress",
    "condition",
    "detector",
    "directions",
    "downsample",
    "effects",
    "embed",
    "evaluate",
    "fit_mixture",
    "gaps",
    "heat_map",
    "interpolate",
    "latents_of",
    "load",
    "load_classifier",
    "manifold",
    "mask",
    "mix",
    "neighbours",
    "open_dataset",
    "overlay",
    "principal",
    "project",
    "reconstruct",
    "register_model",
    "restore",
    "sample",
    "save_animation",
    "save_grid",
    "sensitive",
    "setting",
    "thumbnails",
    "to_tensor",
    "to_uint8",
    "train",
    "transfer",
    "translate",
    "traverse",
    "traverse_drawn",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: importing torch takes a second."""
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version  # a twentieth of a second

        try:
            return version("reverie")
        except PackageNotFoundError:  # a source tree that was not installed
            return "0+unknown"
    if name in FUNCTIONS:
        warn(f"reverie.{name}", f"reverie.{FUNCTIONS[name]}")
        name = FUNCTIONS[name]
    if name in _WHERE:
        return getattr(import_module(f"reverie.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'reverie' has no attribute '{name}'")
