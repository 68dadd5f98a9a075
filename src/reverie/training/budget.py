"""Convert a budget to a number of steps: by arithmetic, or by timing a few steps of a copy of the model."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import replace

import torch

from reverie.data.loader import BatchLoader
from reverie.engine.distributed import World
from reverie.engine.loop import BatchSource, Loop
from reverie.engine.model import Model
from reverie.engine.plan import Plan

BUDGET = ("steps", "epochs", "minutes")
DEFAULT_MINUTES = 10.0
REHEARSED = (0.1, 0.3, 0.5, 0.7, 0.9)  # fractions of training whose steps are timed: a growing model gets slower
REHEARSAL = 10**9  # steps of the plan that is timed, so many that its schedules stay at their start
SLACK = 0.96  # share of the minutes for steps; the rest is for sample pictures, checkpoints and the report


def asked(plan: Plan) -> Mapping[str, float]:
    """The budget in the plan, by its setting's name; ten minutes if there is none."""
    given = {key: value for key in BUDGET if (value := getattr(plan, key)) is not None}
    return given or {"minutes": DEFAULT_MINUTES}


def resolved(plan: Plan, model: Model, feed: BatchLoader, device: torch.device, world: World) -> Plan:
    """The plan with its budget given in steps only. ``model`` is not changed."""
    budget = asked(plan)
    if "steps" in budget:
        steps = int(budget["steps"])
    elif "epochs" in budget:
        steps = round(budget["epochs"] * len(feed.dataset) / (plan.batch_size or 1))
    else:
        seconds = seconds_per_step(model, feed, plan, device, world, budget["minutes"])
        steps = int(SLACK * budget["minutes"] * 60 / seconds)
    return replace(plan.with_steps(steps), epochs=None, minutes=None)


def seconds_per_step(
    model: Model, source: BatchSource, plan: Plan, device: torch.device, world: World, minutes: float
) -> float:
    """The mean seconds per step over ranks, timed on a copy of ``model`` at several stages of training."""
    loop = Loop(copy.deepcopy(model), source, plan.with_steps(REHEARSAL).resolved, device, world)
    for _ in range(3):
        loop.advance()
    seconds = min(10.0, max(0.5, minutes * 60 * 0.02)) / len(REHEARSED)
    spent = torch.zeros(1, device=device)
    for progress in REHEARSED:
        loop.model.rehearse(progress)
        loop.advance()
        loop.means()  # waits for the device
        start, done, enough = time.perf_counter(), 0, False
        while not enough:
            for _ in range(2):
                loop.advance()
            loop.means()
            done += 2
            enough = world.any(time.perf_counter() - start > seconds, device)
        spent += (time.perf_counter() - start) / done / len(REHEARSED)
    world.sum_([spent])
    return float(spent.item()) / world.size
