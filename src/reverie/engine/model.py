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
    """What a model must know of its pictures: their shape, and the names of their classes (empty without labels).

    It need not be written by hand: every data set has one (``reverie.open_dataset(spec).image_spec``), and every run.

    A pair of pictures is one picture whose first channels are side A and whose last are side B: ``sides`` says how many
    channels each has, and is empty where pictures are single.

    ``scales`` say what values of files became black and white, one for each side: a model sees [-1, 1] whatever they
    are, but whoever counts levels, or writes pictures, must know them.
    """

    channels: int
    height: int
    width: int
    classes: tuple[str, ...] = ()
    sides: tuple[int, ...] = ()
    scales: tuple[Scale, ...] = (Scale(),)

    @property
    def depth(self) -> int:
        """Bits of a value: 8, 16, or 32 where values are floats."""
        return self.scales[0].depth

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width


@dataclass(frozen=True)
class Batch:
    """One (micro)batch as a phase's loss sees it."""

    images: Tensor  # (N, C, H, W), float32 in [-1, 1]
    labels: Tensor | None  # (N,), int64; None where the data has no labels
    draw: Draw  # every random number the loss needs, (N, ...)
    progress: float  # fraction of the planned training already done, in [0, 1)

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Phase:
    """One turn of the loop: a loss, and the optimizer that steps on its gradient."""

    name: str
    optimizer: str  # which optimizer steps when the phase ends; only its networks receive gradients
    loss: Callable[
        [Batch, dict[str, Any]], tuple[Tensor, Logs]
    ]  # loss(batch, carry) -> (scalar, logs: scalars or vectors)
    every: int = 1  # lazy regularisation: run each `every` steps, loss scaled by it
    new_batch: bool = False  # draw fresh data (a WGAN critic's repeats)


def required_spec(image_spec: ImageSpec | None) -> ImageSpec:
    """The specification, which no model can be built without."""
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
    """Adam's settings that move along a half cosine during the first ``over`` of training, and then stay."""

    over: float  # fraction of training, in (0, 1]
    lr: float  # the factor that the learning rate reaches
    beta2: float  # the value that beta2 reaches

    def at(self, progress: float, beta2: float) -> tuple[float, float]:
        """The factor on the learning rate and beta2, which started as ``beta2``, at this fraction of training."""
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
    """What a model asks of the loop when the user does not say otherwise."""

    batch_size: int = 128
    lr_schedule: str = "constant"  # constant | cosine | linear | late-linear
    warmup: float = 0.0  # fraction of training over which the learning rate rises from zero
    ema: float = 0.0  # decay per step of the exponential moving average of the weights; 0 = none
    clip: float = 0.0  # gradient norm above which gradients are scaled down; 0 = never


@runtime_checkable
class HoldsPictures(Protocol):
    """A module whose state holds pictures of the data, which a resumed training needs, and a run's weights do not."""

    def without_pictures(self) -> dict[str, Tensor]:
        """The module's ``state_dict()``, but for the pictures."""


@dataclass(frozen=True)
class NoSettings:
    """The Config of a model that has no settings."""


class Model(nn.Module):
    """A family of models. One file each, beside its paper; see docs/architecture.md.

    Constructed as ``Model(config, image_spec)``; ``config`` is an instance of the frozen dataclass ``Config``, None for
    its defaults; without ``image_spec`` ReverieError is raised. What else a constructor takes, such as networks of
    one's own, has a default. All running state (pools, running means, growth level) lives in persistent buffers.
    """

    Config: ClassVar[type] = NoSettings
    taxonomy: ClassVar[str] = "unspecified"  # what it knows of the density of pictures, one of `TAXONOMY`
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
        """Which optimizer owns which child modules; a parameter belongs to one optimizer at most."""

    @abstractmethod
    def phases(self) -> list[Phase]:
        """The phases of one step, in order."""

    def on_progress(self, images: int) -> None:
        """Called after each step with the number of pictures seen; schedules and growth change buffers here."""

    def rehearse(self, progress: float) -> None:
        """Be as large as at this fraction of training: a copy is asked so, to time a budget in minutes."""

    def batch_size(self, planned: int) -> int:
        """The batch size for the next step; a growing model may shrink it with its level."""
        return planned

    @property
    def least_batch(self) -> int:
        """Pictures that a phase must see at once: 2 where they are compared, or where single numbers are normalised."""
        return 1

    def advice(self, means: dict[str, float | list[float]], progress: float) -> str | None:
        """One sentence when the logged means show trouble (say, a collapsed posterior): what, and what to do."""
        return None


accept_old_names(Model)
