"""`Trainer`: resolves the budget to steps, runs the loop and calls the callbacks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from reverie.data import Dataset, open_dataset
from reverie.data.loader import BatchLoader
from reverie.engine.device import pick_device, training_state
from reverie.engine.distributed import World
from reverie.engine.interrupt import interruptible
from reverie.engine.loop import Loop
from reverie.engine.model import Model
from reverie.engine.plan import Plan
from reverie.errors import Interrupted, ReverieError
from reverie.training import budget
from reverie.training.check import check_trainable, checked, storable, whole

CHECKPOINT_SECONDS = 120.0  # between checkpoints if train.checkpoint_every is not set


class Trainer:
    """Trains a model and calls callbacks. `reverie.train` uses it and writes a run folder.

    >>> data = reverie.open_dataset("digits")
    >>> trainer = reverie.Trainer(VAE(image_spec=data.image_spec), data, reverie.Plan(steps=1000), callbacks=[Mine()])
    >>> model = trainer.run()

    A callback is an object with any of these methods. ``trainer`` is this object: a callback may read its ``step``,
    ``loop``, ``plan``, ``data``, ``pictures`` and ``weights``, and call `stop`.

        on_start(trainer)                once, before the first step; `reverie.train` has loaded a saved state by then
        on_step(trainer)                 after each step
        on_log(trainer, means)           every ``plan.log_every`` steps: the means of the logs, numbers by name
        on_checkpoint(trainer, state)    at each checkpoint: (tensors, meta), see `state`; clone tensors that you keep
        on_end(trainer)                  once, when the plan is done or a callback has stopped it; not on an interrupt

    If a callback has ``state_dict`` and ``load_state_dict``, its state (tensors and JSON values, by name) is part of
    the trainer's state, so that a resumed run continues exactly; what it changes in ``on_checkpoint`` is not in that
    checkpoint. With several ranks a callback runs on rank 0 only, unless its ``every_rank`` is true, which it must be
    if it changes the model; the state of rank 0 is saved.

    ``data`` is anything that `open_dataset` takes; the model is trained on its training split. ``device`` is a torch
    device or a value of `reverie train --device`. ``plan.minutes`` is converted to steps here, by timing a copy of the
    model. Raises ReverieError if model, data, plan and callbacks do not fit together.
    """

    def __init__(
        self,
        model: Model,
        data: Any,
        plan: Plan | None = None,
        callbacks: Sequence[object] = (),
        *,
        device: str | torch.device = "auto",
        world: World | None = None,
    ) -> None:
        self._ours = world is None
        self.world = world or World()
        self.device = pick_device(device)
        if self.device.type == "cuda" and self.device.index is None:
            self.device = torch.device("cuda", self.world.local_rank)
        self.callbacks = list(checked(callbacks))
        self.data = whole(data if isinstance(data, Dataset) else open_dataset(data))
        self.pictures = self.data.split("train")
        plan = (plan or Plan()).with_defaults(model.defaults)
        check_trainable(model, self.data, self.pictures, plan, self.world)
        self.world.join(self.device)
        self.feed = BatchLoader(self.pictures, plan.seed, self.device, plan.workers, self.world.rank, self.world.size)
        self.asked = budget.asked(plan)  # the budget in the plan, before it is resolved to steps
        with training_state(self.device, plan.threads):
            self.plan = budget.resolved(plan, model, self.feed, self.device, self.world)
        self.steps = self.plan.steps or 1
        self._flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        self.loop = Loop(model, self.feed, self.plan.resolved, self.device, self.world)
        self.stopping = False  # whether a callback of this rank has asked to stop
        self._ran = False

    @property
    def step(self) -> int:
        """Steps done."""
        return self.loop.step

    @property
    def weights(self) -> Model:
        """The model to evaluate and save, in eval mode: the averaged one if there is one."""
        return self.loop.weights.eval()

    def stop(self) -> None:
        """End the training after this step, as if the plan were done."""
        self.stopping = True

    def run(self) -> Model:
        """Train to the end of the plan, or until a callback stops it; returns `weights`.

        Raises `Interrupted` after SIGINT or SIGTERM, once ``on_checkpoint`` was called, and
        `reverie.engine.loop.Diverged` if a loss became NaN or infinite.
        """
        if self._ran:
            raise ReverieError("This trainer has run already; make another one, which goes on from a state.")
        self._ran = True
        with ExitStack() as stack:
            stack.callback(self._tidy)
            self.world.join(self.device)
            stack.enter_context(training_state(self.device, self.plan.threads))
            self._call("on_start")
            self._steps()
            self._call("on_end")
        return self.weights

    def _steps(self) -> None:
        loop, saved = self.loop, time.perf_counter()
        if ended := self.world.any(self.stopping, self.device):
            self._call("on_checkpoint", self.state())
        with interruptible() as arrived:
            while loop.step < self.steps and not ended:
                loop.advance()
                self._call("on_step")
                if loop.step % self.plan.log_every == 0 or loop.step == self.steps:
                    self._call("on_log", loop.means())
                flags = bool(arrived), self.stopping, self._due(saved)
                interrupted, ended, due = self.world.raised(flags, self.device)
                if interrupted or ended or due or loop.step == self.steps:
                    self._call("on_checkpoint", self.state())
                    saved = time.perf_counter()
                    ended = self.world.any(self.stopping, self.device)
                if interrupted and not ended and loop.step < self.steps:
                    raise Interrupted(f"Stopped at step {loop.step} of {self.steps}.")

    def _tidy(self) -> None:
        """Close the loader and restore the caller's ``requires_grad`` flags and process group."""
        self.feed.close()
        for parameter, flag in self._flags:
            parameter.requires_grad_(flag)
        if self._ours:
            self.world.leave()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The full training state: (tensors, meta for JSON). Every rank must call it.

        Raises `Diverged` if a loss or weight is not finite.
        """
        tensors, meta = self.loop.state()
        for name, callback in self._stateful():
            own = dict(callback.state_dict())
            plain = {key: value for key, value in own.items() if not isinstance(value, Tensor)}
            if odd := [key for key, value in plain.items() if not storable(value)]:
                kind = type(plain[odd[0]]).__name__
                raise ReverieError(
                    f"The state of {name} can't be kept: '{odd[0]}' is a {kind}, or holds what JSON can't; let its "
                    "state_dict give tensors, numbers, words, and lists and dictionaries of them, with words as keys."
                )
            meta.setdefault("callbacks", {})[name] = plain
            tensors |= {f"callback.{name}.{key}": value for key, value in own.items() if isinstance(value, Tensor)}
        return tensors, meta

    def load_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> list[str]:
        """Continue from a state. Returns the names of callbacks that have a state in it but are not among ours."""
        self.loop.load_state(tensors, meta)
        kept = dict(meta.get("callbacks", {}))
        for name, callback in self._stateful():
            if name in kept:
                prefix = f"callback.{name}."
                own = {k.removeprefix(prefix): v.clone() for k, v in tensors.items() if k.startswith(prefix)}
                callback.load_state_dict(kept.pop(name) | own)
        return list(kept)

    def _due(self, saved: float) -> bool:
        if self.plan.checkpoint_every:
            return self.loop.step % self.plan.checkpoint_every == 0
        return self.world.first and time.perf_counter() - saved > CHECKPOINT_SECONDS

    def _call(self, method: str, *arguments: object) -> None:
        for callback in self.callbacks:
            if self._runs_here(callback) and (told := getattr(callback, method, None)) is not None:
                told(self, *arguments)

    def _runs_here(self, callback: object) -> bool:
        return self.world.first or getattr(callback, "every_rank", False)

    def _stateful(self) -> Iterator[tuple[str, Any]]:
        """(name, callback) of each callback with a state; the name is its class, numbered from the second one on."""
        count: dict[str, int] = {}
        for callback in self.callbacks:
            if hasattr(callback, "state_dict"):
                name = type(callback).__name__
                count[name] = count.get(name, 0) + 1
                if self._runs_here(callback):
                    yield name if count[name] == 1 else f"{name}-{count[name]}", callback
