"""All models by name: class, preset settings and summary. Importing this does not import torch.

Your own models are added by `register_model` in imported code, or by an entry point of an installed package. A model
name in a file is only looked up here; the only import it can cause is that of an installed package's entry point.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from reverie.errors import ReverieError, nearest

if TYPE_CHECKING:
    from reverie.engine.model import Model

GROUP = "reverie.models"  # group of entry points: name of the model = "module:Class"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

Kind = TypeVar("Kind", bound="type[Model]")


@dataclass(frozen=True)
class Entry:
    """One model of the registry."""

    where: str  # "module:Class"; for reverie's own models the module within reverie.models
    summary: str  # one line
    paper: str
    preset: dict[str, Any] = field(default_factory=dict)  # values for the class's Config
    kind: type[Model] | None = None  # the class of a model from outside

    @property
    def line(self) -> str:
        """The summary, with the paper where there is one."""
        return f"{self.summary} ({self.paper})" if self.paper else self.summary


# Common settings of the papers' translation models for 256 pixels.
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
    "gan": Entry("gan:GAN", "Generative adversarial network, the original", "Goodfellow et al. 2014"),
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


# The density that each class models, and its capabilities: said here too, so that listing models imports no torch.
PROMISES: dict[str, tuple[str, tuple[str, ...]]] = {
    "autoencoder:Autoencoder": ("not probabilistic", ("Samples", "Encodes", "Reconstructs")),
    "vae:VAE": ("explicit approximate", ("Samples", "Encodes", "Reconstructs", "Bounds")),
    "vae:CVAE": ("explicit approximate", ("Samples", "Encodes", "Reconstructs", "Bounds", "Conditions")),
    "gan:GAN": ("implicit", ("Samples", "Discriminates")),
    "dcgan:DCGAN": ("implicit", ("Samples", "Discriminates")),
    "dcgan:CGAN": ("implicit", ("Samples", "Discriminates", "Conditions")),
    "progan:ProGAN": ("implicit", ("Samples", "Discriminates")),
    "stylegan:StyleGAN": ("implicit", ("Samples", "Discriminates", "Styles")),
    "stylegan:ConditionalStyleGAN": ("implicit", ("Samples", "Discriminates", "Conditions", "Styles")),
    "r3gan:R3GAN": ("implicit", ("Samples", "Discriminates")),
    "r3gan:CR3GAN": ("implicit", ("Samples", "Discriminates", "Conditions")),
    "vaegan:VAEGAN": ("implicit", ("Samples", "Encodes", "Reconstructs", "Discriminates")),
    "pix2pix:Pix2Pix": ("implicit", ("Translates",)),
    "cyclegan:CycleGAN": ("implicit", ("Translates",)),
}


def register_model(
    name: str, *, summary: str = "", paper: str = "", preset: Mapping[str, Any] | None = None
) -> Callable[[Kind], Kind]:
    """A decorator that registers a class, your own `reverie.engine.model.Model`, under a name like those of reverie.

    ``summary`` is one line, by default the first of the class's docstring; ``paper`` is by default the class's;
    ``preset`` are values for its Config. A class may have several names. Raises ReverieError where the name belongs to
    another class, or the class is incomplete; the same class, defined again, replaces the old one.
    """
    if not isinstance(name, str):
        raise ReverieError('Say what the model is to be called: @reverie.register_model("name").')
    if not NAME.fullmatch(name):
        raise ReverieError(
            f"A model cannot be called '{name}'; take small letters, digits, '-' and '_', 64 at most, and a letter or "
            "digit to begin with."
        )

    def register(kind: Kind) -> Kind:
        check_model_class(kind, preset)
        before = MODELS.get(name)
        if before is not None and (before.kind is None or before.where != _where(kind)):
            raise ReverieError(
                f"The name '{name}' is that of the model {before.where}; register {kind.__name__} as another."
            )
        MODELS[name] = _entry(kind, summary, paper, preset or {})
        return kind

    return register


def check_model_class(kind: type[Model], preset: Mapping[str, Any] | None = None) -> None:
    """Raise ReverieError unless a class can be built, trained and loaded as a model; ``preset`` are settings of it."""
    from reverie.config import configure
    from reverie.engine.model import TAXONOMY, Model

    if not (isinstance(kind, type) and issubclass(kind, Model)):
        name = getattr(kind, "__name__", type(kind).__name__)
        raise ReverieError(f"{name} is no model: it must inherit from reverie.engine.model.Model.")
    name, config = kind.__name__, getattr(kind, "Config", None)
    if missing := [each for each in dir(kind) if getattr(getattr(kind, each, None), "__isabstractmethod__", False)]:
        raise ReverieError(f"{name} is no whole model: it lacks the methods {', '.join(missing)}.")
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        raise ReverieError(f"{name}.Config must be a dataclass of its settings.")
    if kind.taxonomy not in TAXONOMY:
        raise ReverieError(f"{name}.taxonomy must be one of {', '.join(TAXONOMY)}, not {kind.taxonomy!r}.")
    if needed := [f.name for f in dataclasses.fields(config) if f.default is dataclasses.MISSING]:
        raise ReverieError(f"Every setting of {name} needs a default; give {needed[0]} one.")
    try:  # settings must survive being written to config.json and read back
        configure(config, dataclasses.asdict(configure(config, preset or {}, "model")), "model")
    except NameError as error:
        raise ReverieError(f"The types of the settings of {name} cannot be told: {error}.") from error


def names() -> list[str]:
    """All names: reverie's in the order of this file, those registered since, those of installed packages."""
    return list(dict.fromkeys([*MODELS, *_installed()]))


def knows(name: str) -> bool:
    """Whether there is a model of that name."""
    return name in MODELS or name in _installed()


def entry(name: str) -> Entry:
    """The entry of model ``name``, importing it if from an installed package; ReverieError for an unknown name."""
    if name not in MODELS and (found := _installed().get(name)):
        _register_installed(name, found)
    if name not in MODELS:
        raise ReverieError(f"There is no model '{name}'{nearest(name, names())}")
    return MODELS[name]


def entry_of(name: str, kind: type[Model]) -> Entry:
    """The entry of a model ``name`` of this class: the registered one, or one made from the class."""
    return MODELS[name] if name in MODELS and load_class(name) is kind else _entry(kind)


def load_class(name: str) -> type[Model]:
    """The class of model ``name``; imports its module, and so torch."""
    line = entry(name)
    if line.kind is not None:
        return line.kind
    module, _, attribute = line.where.partition(":")
    found: type[Model] = getattr(import_module(f"reverie.models.{module}"), attribute)
    return found


def name_of(kind: type[Model]) -> str | None:
    """The first name of a class; None where it has none."""
    return next(iter(names_of(kind)), None)


def names_of(kind: type[Model]) -> list[str]:
    """All names of a class; first those without preset settings."""
    where = _where(kind)
    found = [
        name
        for name, line in MODELS.items()
        if ((line.kind is kind) if line.kind else f"reverie.models.{line.where}" == where)
    ]
    return sorted(found, key=lambda name: bool(MODELS[name].preset))


def imports(kind: type[Model]) -> str:
    """The option that a command needs for a class from outside reverie: " --import MODULE", or nothing."""
    outside = not kind.__module__.startswith(("reverie.", "__main__"))
    return f" --import {kind.__module__}" if outside else ""


def name_for(kind: type[Model]) -> str:
    """The model name in a run of this class: its first registered name, else the class's name in lower case."""
    return name_of(kind) or plain_name(kind)


def plain_name(kind: type[Model]) -> str:
    """The name of an unregistered class: the class's name in lower case."""
    return re.sub("[^a-z0-9_-]", "", kind.__name__.lower()).lstrip("_-")[:64] or "model"


def able(*capabilities: type, never: tuple[type, ...] = ()) -> list[str]:
    """The names of models with all of these capabilities and none of ``never``; for each class its first name.

    Leaves out models of installed packages that cannot be imported.
    """
    wanted, unwanted = ({each.__name__ for each in kinds} for kinds in (capabilities, never))
    first: dict[str, str] = {}
    for name in names():
        with contextlib.suppress(ReverieError):
            found = set(promises(name)[1])
            if wanted <= found and not unwanted & found:
                first.setdefault(entry(name).where, name)
    return list(first.values())


def promises(name: str) -> tuple[str, tuple[str, ...]]:
    """The density that model ``name`` models, one of `TAXONOMY`, and the names of its capabilities.

    Imports no torch, but for models of installed packages.
    """
    line = entry(name)
    if line.kind is None:
        return PROMISES[line.where]
    found = (each.__name__ for each in line.kind.__mro__ if each.__module__ == "reverie.capabilities")
    return line.kind.taxonomy, tuple(found)


def preset(name: str) -> dict[str, Any]:
    """The preset settings of model ``name``; a copy."""
    return dict(entry(name).preset)


def _where(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _entry(kind: type[Model], summary: str = "", paper: str = "", preset: Mapping[str, Any] | None = None) -> Entry:
    doc = (kind.__doc__ or "").strip() or kind.__name__
    line = " ".join((summary or doc.splitlines()[0]).split()).removesuffix(".")
    return Entry(_where(kind), line, paper or kind.paper, dict(preset or {}), kind)


def _installed() -> dict[str, EntryPoint]:
    """The entry points of installed packages by model name; those with invalid names are ignored."""
    return {point.name: point for point in entry_points(group=GROUP) if NAME.fullmatch(point.name)}


def _register_installed(name: str, point: EntryPoint) -> None:
    package = point.dist.name if point.dist else "an installed package"
    try:
        kind = point.load()
        if name not in MODELS:  # else the module has registered it itself
            register_model(name)(kind)
    except Exception as error:  # third-party code may raise anything
        line = (str(error).splitlines() or [""])[0].rstrip(".")[:200]
        why = line if isinstance(error, ReverieError) else f"{type(error).__name__}: {line}"
        raise ReverieError(
            f"The model '{name}' of {package} cannot be taken from {point.value} ({why}); repair or uninstall that "
            "package."
        ) from error
