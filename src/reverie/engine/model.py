"""The contract between a model and the training loop."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from reverie.config import check_settings_of
from reverie.deprecated import OldName, accept_old_names
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.scale import Scale

Logs = dict[str, Tensor]

TAXONOMY = ("explicit tractable", "explicit approximate", "implicit", "not probabilistic", "unspecified")


@dataclass(frozen=True)
class ImageSpec:
    """The shape of the pictures that a model is built for, and the names of their classes (empty without labels).

    It need not be written by hand: every data set (``reverie.open_dataset(spec).image_spec``) and every run has one.

    A pair of pictures is one picture whose first channels are side A and whose last are side B. ``sides`` are the
    numbers of channels of each; it is empty for single pictures.

    ``scales`` say which values of files are black and white, one for each side. The model's input is always in [-1, 1];
    they are needed to count levels and to write pictures.
    """

    channels: int
    height: int
    width: int
    classes: tuple[str, ...] = ()
    sides: tuple[int, ...] = ()
    scales: tuple[Scale, ...] = (Scale(),)

    @property
    def depth(self) -> int:
        """Bit depth of a value: 8, 16, or 32 for floats."""
        return self.scales[0].depth

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width


@dataclass(frozen=True)
class Batch:
    """One (micro)batch, the input of a phase's loss."""

    images: Tensor  # (N, C, H, W), float32 in [-1, 1]
    labels: Tensor | None  # (N,), int64; None if the data has no labels
    draw: Draw  # source of the random numbers of the loss, each (N, ...)
    progress: float  # fraction of the planned training already done, in [0, 1)

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Phase:
    """A part of a training step: a loss, and the optimizer that steps on its gradient."""

    name: str
    optimizer: str  # which optimizer steps when the phase ends; only its networks receive gradients
    loss: Callable[
        [Batch, dict[str, Any]], tuple[Tensor, Logs]
    ]  # loss(batch, carry) -> (scalar, logs: scalars or vectors)
    every: int = 1  # lazy regularisation: run every `every` steps, with the loss times `every`
    new_batch: bool = False  # take a new batch (for the repeated critic steps of a WGAN)


def required_spec(image_spec: ImageSpec | None) -> ImageSpec:
    """The given specification. Raises ReverieError if it is None."""
    if image_spec is None:
        raise ReverieError(
            "A model needs the specification of its pictures; give it that of the data set, say "
            "VAE(image_spec=reverie.open_dataset(spec).image_spec)."
        )
    return image_spec


def half_cosine(progress: float, over: float) -> float:
    """From 0 to 1 along a half cosine during the first ``over`` of training, then 1."""
    return 0.5 * (1 - math.cos(math.pi * min(1.0, progress / over)))


@dataclass(frozen=True)
class Anneal:
    """A schedule of Adam's lr and beta2: along a half cosine in the first ``over`` of training, then constant."""

    over: float  # fraction of training, in (0, 1]
    lr: float  # final factor on the learning rate
    beta2: float  # final value of beta2

    def at(self, progress: float, beta2: float) -> tuple[float, float]:
        """(factor on the learning rate, beta2) at this fraction of training; ``beta2`` is its initial value."""
        done = half_cosine(progress, self.over)
        return 1 + done * (self.lr - 1), beta2 + done * (self.beta2 - beta2)


@dataclass(frozen=True)
class OptimizerSpec:
    """Adam (AdamW where weight_decay > 0) over the named child modules of the model."""

    modules: tuple[str, ...]
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    anneal: Anneal | None = None


@dataclass(frozen=True)
class Defaults:
    """A model's default training settings, used unless the user sets others."""

    batch_size: int = 128
    lr_schedule: str = "constant"  # constant | cosine | linear | late-linear
    warmup: float = 0.0  # fraction of training over which the learning rate rises from zero
    ema: float = 0.0  # decay per step of the exponential moving average of the weights; 0 = none
    clip: float = 0.0  # gradient norm above which gradients are scaled down; 0 = never


@runtime_checkable
class HoldsPictures(Protocol):
    """A module whose state holds training pictures, needed to resume a training but not in the saved weights."""

    def without_pictures(self) -> dict[str, Tensor]:
        """The module's ``state_dict()`` without the pictures."""


@dataclass(frozen=True)
class NoSettings:
    """The Config of a model that has no settings."""


class Model(nn.Module):
    """Base class of all models. Each subclass has a file of its own that names its paper; see docs/architecture.md.

    Constructed as ``Model(config, image_spec)``; ``config`` is an instance of the frozen dataclass ``Config``, None for
    its defaults. Raises ReverieError without ``image_spec``. Other arguments of a constructor, such as custom networks,
    have defaults. All running state (pools, running means, growth level) is kept in persistent buffers.
    """

    Config: ClassVar[type] = NoSettings
    taxonomy: ClassVar[str] = "unspecified"  # how it models the density of pictures, one of `TAXONOMY`
    paper: ClassVar[str] = ""
    defaults: ClassVar[Defaults] = Defaults()
    facts = OldName("facts", "image_spec")
    old_names: ClassVar[dict[str, str]] = {}  # of methods, see `reverie.deprecated`

    def __init_subclass__(cls, **words: Any) -> None:
        super().__init_subclass__(**words)
        accept_old_names(cls)

    def __init__(self, config: Any = None, image_spec: ImageSpec | None = None) -> None:
        super().__init__()
        self.config = self.Config() if config is None else config
        check_settings_of(self.config, "model")
        self.image_spec = required_spec(image_spec)

    @abstractmethod
    def optimizers(self) -> dict[str, OptimizerSpec]:
        """The optimizers by name, each with the child modules it owns; a parameter has at most one optimizer."""

    @abstractmethod
    def phases(self) -> list[Phase]:
        """The phases of one step, in order."""

    def on_progress(self, images: int) -> None:
        """Called after each step with the number of pictures seen; schedules and growth change buffers here."""

    def rehearse(self, progress: float) -> None:
        """Grow as at this fraction of training: called on a copy, to time steps for a budget in minutes."""

    def batch_size(self, planned: int) -> int:
        """The batch size for the next step; a growing model may shrink it with its level."""
        return planned

    @property
    def least_batch(self) -> int:
        """Smallest batch of a phase: 2 if pictures are compared, or if batch statistics are over single values."""
        return 1

    def advice(self, means: dict[str, float | list[float]], progress: float) -> str | None:
        """A warning with a remedy if the logged means show a problem, say a collapsed posterior; else None."""
        return None


accept_old_names(Model)
