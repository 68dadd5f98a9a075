"""The ``train.*`` settings: how long and how to train, and the resolution of defaults to numbers.

Importing this does not import torch.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from reverie.config import check_settings_of, setting
from reverie.errors import ReverieError

if TYPE_CHECKING:
    from reverie.engine.model import Defaults

SCHEDULES = ("constant", "cosine", "linear", "late-linear")
LARGEST_BUDGET, MOST_WORKERS = 1e9, 256


@dataclass(frozen=True)
class Plan:
    """The ``train.*`` settings. None means the model's default (`Defaults`), or a value derived from the budget."""

    steps: int | None = setting(
        None, "how many optimizer steps to train for; give one of steps, epochs and minutes", low=1
    )
    epochs: float | None = setting(None, "how often to see every picture", above=0, below=LARGEST_BUDGET)
    minutes: float | None = setting(
        None,
        "how long to train, turned into steps after a short timing; 10 where neither epochs nor steps are given",
        above=0,
        below=LARGEST_BUDGET,
    )
    seed: int = setting(0, "seed of every random number; equal seeds give equal runs", low=0)
    batch_size: int | None = setting(None, "pictures a step, over all ranks", low=1)
    microbatches: int = setting(1, "gradients are accumulated over this many parts of each rank's batch", low=1)
    lr: float | None = setting(
        None, "replaces the learning rate of every optimizer of the model", above=0, below=LARGEST_BUDGET
    )
    lr_schedule: str | None = setting(
        None, "how the learning rate moves; late-linear is constant for the first half", choices=SCHEDULES
    )
    warmup: float | None = setting(
        None, "fraction of training over which the learning rate rises from zero", low=0, below=1
    )
    ema: float | None = setting(None, "decay per step of the averaged weights; 0 = none", low=0, below=1)
    clip: float | None = setting(None, "largest gradient norm; 0 = no clipping", low=0)
    log_every: int = setting(50, "steps between lines of metrics.jsonl", low=1)
    sample_every: int | None = setting(
        None, "steps between pictures of samples; none = ten times over the training", low=1
    )
    evaluate_every: int = setting(
        0,
        "measure the samples' quality each time so many pictures were seen; RUN/best keeps the best; 0 = never",
        low=0,
    )
    features: str = setting(
        "auto", "the space quality is measured in: auto, pixels, textures, classifier, encoder:RUN, inception"
    )
    checkpoint_every: int | None = setting(None, "steps between saved states; none = every two minutes", low=1)
    workers: int = setting(0, "threads that prepare batches ahead", low=0, high=MOST_WORKERS)
    threads: int | None = setting(None, "CPU threads of the training; none = torch's choice", low=1, high=MOST_WORKERS)
    tensorboard: bool = setting(False, "also write the metrics for TensorBoard")

    def __post_init__(self) -> None:
        check_settings_of(self, "train")

    def with_defaults(self, defaults: Defaults) -> Plan:
        """This plan with the model's defaults for settings that are None. Raises ReverieError if settings conflict."""
        chosen = {k: v for k, v in asdict(defaults).items() if getattr(self, k) is None}
        plan = replace(self, **chosen)
        if (plan.batch_size or 0) % plan.microbatches:
            raise ReverieError(
                f"The batch size {plan.batch_size} can't be divided by {plan.microbatches} microbatches; "
                f"set train.batch_size to a multiple of {plan.microbatches}."
            )
        if sum(getattr(plan, k) is not None for k in ("steps", "epochs", "minutes")) > 1:
            raise ReverieError("Give only one of --steps, --epochs and --minutes.")
        return plan

    def with_steps(self, steps: int) -> Plan:
        """This plan with the budget resolved to a number of steps."""
        steps = max(1, steps)
        return replace(self, steps=steps, sample_every=self.sample_every or max(1, steps // 10))

    @property
    def resolved(self) -> ResolvedPlan:
        """The complete plan, for the loop."""
        values: dict[str, Any] = asdict(self)
        return ResolvedPlan(**{k: v for k, v in values.items() if k in ResolvedPlan.__annotations__})


@dataclass(frozen=True)
class ResolvedPlan:
    """The settings that the loop uses, all resolved."""

    steps: int
    seed: int
    batch_size: int
    microbatches: int
    lr: float | None
    lr_schedule: str
    warmup: float
    ema: float
    clip: float

    def lr_factor(self, step: int) -> float:
        """The factor on the learning rate at a step: linear warm-up, then the schedule down to zero at the end."""
        done = step / self.steps
        if done < self.warmup:
            return (step + 1) / (self.warmup * self.steps + 1)
        left = (done - self.warmup) / (1 - self.warmup)
        match self.lr_schedule:
            case "cosine":
                return 0.5 * (1 + math.cos(math.pi * left))
            case "linear":
                return 1 - left
            case "late-linear":
                return min(1.0, 2 * (1 - left))
        return 1.0
