"""How long to train, and with what: the settings of the loop, and their resolution to plain numbers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from reverie.engine.phase import Defaults
from reverie.errors import ReverieError

SCHEDULES = ("constant", "cosine", "linear", "late-linear")
LARGEST_BUDGET, MOST_WORKERS = 1e9, 256


@dataclass(frozen=True)
class Plan:
    """The ``train.*`` settings. None means: what the model asks for (`Defaults`), or what the budget implies."""

    steps: int | None = None  # how long to train: give one of steps, epochs and minutes
    epochs: float | None = None  # times that every picture is seen
    minutes: float | None = None  # turned into steps after a short timing
    seed: int = 0  # of every random number; equal seeds give equal runs
    batch_size: int | None = None  # pictures a step, over all ranks
    microbatches: int = 1  # gradients are accumulated over this many parts of each rank's batch
    lr: float | None = None  # replaces the learning rate of every optimizer of the model
    lr_schedule: str | None = None  # constant | cosine | linear | late-linear (constant for the first half)
    warmup: float | None = None  # fraction of training over which the learning rate rises from zero
    ema: float | None = None  # decay per step of the averaged weights; 0 = none
    clip: float | None = None  # largest gradient norm; 0 = no clipping
    log_every: int = 50  # steps
    sample_every: int | None = None  # steps; None = ten times over the training
    evaluate_every: int = 0  # pictures seen between measurements of samples' quality, which add time; 0 = none
    features: str = (
        "auto"  # the space quality is measured in: auto, pixels, textures, classifier, encoder:RUN, inception
    )
    checkpoint_every: int | None = None  # steps; None = every two minutes
    workers: int = 0  # threads that prepare batches ahead
    tensorboard: bool = False  # also write the metrics for TensorBoard

    def with_defaults(self, defaults: Defaults) -> Plan:
        """This plan with every open choice of the model's filled in; checks ranges."""
        chosen = {k: v for k, v in asdict(defaults).items() if getattr(self, k) is None}
        plan = replace(self, **chosen)
        if plan.lr_schedule not in SCHEDULES:
            raise ReverieError(f"train.lr_schedule is one of {', '.join(SCHEDULES)}, not '{plan.lr_schedule}'.")
        at_least: dict[str, float] = {"batch_size": 1, "microbatches": 1, "log_every": 1, "workers": 0, "clip": 0}
        at_least["evaluate_every"] = 0
        at_least["seed"] = 0
        at_least |= {k: 1 for k in ("steps", "sample_every", "checkpoint_every") if getattr(plan, k) is not None}
        for key, low in at_least.items():
            if getattr(plan, key) < low:
                raise ReverieError(f"train.{key} must be at least {low}, not {getattr(plan, key)}.")
        for key in ("epochs", "minutes", "lr"):
            if getattr(plan, key) is not None and not 0 < getattr(plan, key) < LARGEST_BUDGET:
                raise ReverieError(
                    f"train.{key} must be more than zero and less than {LARGEST_BUDGET:g}, not {getattr(plan, key)}."
                )
        if plan.workers > MOST_WORKERS:
            raise ReverieError(f"train.workers must be at most {MOST_WORKERS}, not {plan.workers}.")
        if (plan.batch_size or 0) % plan.microbatches:
            raise ReverieError(
                f"The batch size {plan.batch_size} can't be divided by {plan.microbatches} microbatches; "
                f"set train.batch_size to a multiple of {plan.microbatches}."
            )
        for key in ("warmup", "ema"):
            if not 0 <= getattr(plan, key) < 1:
                raise ReverieError(f"train.{key} must lie in [0, 1), not {getattr(plan, key)}.")
        if sum(getattr(plan, k) is not None for k in ("steps", "epochs", "minutes")) > 1:
            raise ReverieError("Give only one of --steps, --epochs and --minutes.")
        return plan

    def with_steps(self, steps: int) -> Plan:
        """This plan with the budget resolved to a number of steps."""
        steps = max(1, steps)
        return replace(self, steps=steps, sample_every=self.sample_every or max(1, steps // 10))

    @property
    def resolved(self) -> ResolvedPlan:
        """The plan with nothing left open, for the loop."""
        values: dict[str, Any] = asdict(self)
        return ResolvedPlan(**{k: v for k, v in values.items() if k in ResolvedPlan.__annotations__})


@dataclass(frozen=True)
class ResolvedPlan:
    """What the loop reads."""

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
