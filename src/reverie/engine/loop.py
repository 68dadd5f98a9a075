"""The training loop of all models: the only code that calls ``backward`` and ``optimizer.step``.

A step runs the model's phases in order. A phase unfreezes exactly the networks that its optimizer owns, accumulates
gradients over microbatches and ranks, clips them if configured, and steps the optimizer. So the same code trains a VAE
(one phase) and a GAN (alternating phases), and no gradient reaches a network of another phase.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from reverie.engine.distributed import World, synchronise_batch_statistics
from reverie.engine.ema import EMA
from reverie.engine.model import Batch, Model, OptimizerSpec, Phase
from reverie.engine.plan import ResolvedPlan
from reverie.engine.randomness import Draw, derive
from reverie.errors import ReverieError

Means = dict[str, float | list[float]]


class BatchSource(Protocol):
    """A source of batches: see `reverie.data.loader.BatchLoader`."""

    def take(self, start: int, total: int) -> tuple[Tensor, Tensor | None]:
        """This rank's part of the samples ``start .. start + total``: pictures, and labels or None."""
        ...


class Diverged(ReverieError):
    """A loss or a weight became NaN or infinite."""


class Loop:
    """Trains a model step by step. What it computes next depends only on `state()`."""

    def __init__(
        self, model: Model, source: BatchSource, plan: ResolvedPlan, device: torch.device, world: World | None = None
    ) -> None:
        self.world = world or World()
        if self.world.size > 1:
            synchronise_batch_statistics(model)
        # channels_last: convolutions are up to twice as fast.
        nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
        self.model = model.to(device).train()
        self.source, self.plan, self.device = source, plan, device
        # The global generator, used by layers such as dropout. Not torch.manual_seed: that seeds every possible device,
        # and queues each call until CUDA starts.
        cuda = device.type == "cuda"
        self._generator = torch.cuda.default_generators[device.index or 0] if cuda else torch.default_generator
        self.step = 0  # steps done
        self.drawn = 0  # samples taken from the data so far
        self.images = 0  # pictures seen: one batch a step, extra batches not counted
        self.phases = model.phases()
        self.owned: dict[str, list[nn.Parameter]] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self._base_lr: dict[str, float] = {}
        self._specs = model.optimizers()
        for name, spec in self._specs.items():
            theirs = dict.fromkeys(p for m in spec.modules for p in model.get_submodule(m).parameters())  # tied: once
            # Parameters that the user has frozen stay frozen; a module frozen as a whole was loaded, and is trained on.
            self.owned[name] = [p for p in theirs if p.requires_grad] or list(theirs)
            self.optimizers[name], self._base_lr[name] = self._build(spec, self.owned[name]), plan.lr or spec.lr
        self._check_contract()
        self.average = EMA(self.model, plan.ema) if plan.ema else None
        self._sums: dict[str, Tensor] = {}  # sums of the logs since the last call of `means`
        self._counts: dict[str, int] = {}
        self._unchecked: list[tuple[int, str, Tensor]] = []  # losses not yet known to be finite

    @property
    def weights(self) -> Model:
        """The averaged model if there is one, else the trained one, which the next step sets to train mode."""
        return self.average.model if self.average else self.model

    def advance(self) -> None:
        """Do one step: every phase that is due, then the moving average and the model's own schedules."""
        if not self.model.training:
            self.model.train()
        total = self.model.batch_size(self.plan.batch_size)
        parts = self.world.size * self.plan.microbatches
        if total % parts:
            raise ReverieError(
                f"The batch size {total} can't be divided by {self.world.size} ranks x {self.plan.microbatches} "
                f"microbatches; set train.batch_size to a multiple of {parts}."
            )
        carries: list[dict[str, Any]] = [{} for _ in range(self.plan.microbatches)]
        pictures: tuple[Tensor, Tensor | None] | None = None
        for phase in self.phases:
            if self.step % phase.every:
                continue
            if pictures is None or phase.new_batch:
                pictures = self.source.take(self.drawn, total)
                self.drawn += total
            self._run(phase, pictures, total, carries)
        self.step += 1
        self.images += total
        if self.average:
            self.average.update(self.step)
        self.model.on_progress(self.images)

    def means(self) -> Means:
        """Means of the logs since the last call, over steps and ranks. Raises `Diverged` if a loss is not finite."""
        self._check_finite()
        sums = {key: self._sums[key] / self._counts[key] / self.world.size for key in sorted(self._sums)}
        self.world.sum_(list(sums.values()))
        self._sums, self._counts = {}, {}
        return {key: value.tolist() for key, value in sums.items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The full training state: (tensors, meta for JSON). Raises `Diverged` if a loss or weight is not finite."""
        self._check_finite()
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        for name, value in tensors.items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise Diverged(self._advice(f"{name} became NaN or infinite before step {self.step}"))
        if self.average:
            tensors |= {f"ema.{k}": v for k, v in self.average.model.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for i, parameter in enumerate(self.owned[name]):
                for key, value in optimizer.state.get(parameter, {}).items():
                    tensors[f"optimizer.{name}.{i}.{key}"] = value
        tensors |= {f"logs.{k}": v for k, v in self._sums.items()}
        for key, buffer in self.model.named_buffers():
            for rank, value in enumerate(self.world.gather(buffer)):
                if rank:
                    tensors[f"rank{rank}.{key}"] = value
        meta = {"step": self.step, "drawn": self.drawn, "images": self.images, "counts": dict(self._counts)}
        return tensors, meta

    @torch.no_grad()
    def load_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Continue from a state, in place."""
        self.step, self.drawn, self.images = meta["step"], meta["drawn"], meta["images"]
        targets = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        if self.average:
            targets |= {f"ema.{k}": v for k, v in self.average.model.state_dict().items()}
        for key, target in targets.items():
            if key not in tensors or tensors[key].shape != target.shape:
                raise ReverieError(f"The saved state does not fit this model at '{key}'; was config.json changed?")
            target.copy_(tensors[key])
        for key, buffer in self.model.named_buffers():
            buffer.copy_(tensors.get(f"rank{self.world.rank}.{key}", buffer))
        for name, optimizer in self.optimizers.items():
            optimizer.state.clear()
            for i, parameter in enumerate(self.owned[name]):
                prefix = f"optimizer.{name}.{i}."
                saved = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
                for key, value in saved.items():
                    like = parameter if value.shape == parameter.shape else value
                    fresh = torch.empty_like(like, dtype=value.dtype, memory_format=torch.preserve_format)
                    optimizer.state[parameter][key] = fresh.detach().requires_grad_(False).copy_(value)
        self._counts = dict(meta["counts"])
        self._sums = {
            k.removeprefix("logs."): v.to(self.device).clone() for k, v in tensors.items() if k[:5] == "logs."
        }
        self._unchecked = []

    def _run(
        self,
        phase: Phase,
        pictures: tuple[Tensor, Tensor | None],
        total: int,
        carries: list[dict[str, Any]],
    ) -> None:
        owned, optimizer = self.owned[phase.optimizer], self.optimizers[phase.optimizer]
        self._unfreeze(phase.optimizer)
        optimizer.zero_grad(set_to_none=True)
        micro = self.plan.microbatches
        size = len(pictures[0]) // micro
        for i in range(micro):
            images, labels = (None if t is None else t[i * size : (i + 1) * size] for t in pictures)
            assert images is not None
            first = (self.world.rank * micro + i) * size
            # Random numbers of layers such as dropout also depend only on the seed and step.
            self._generator.manual_seed(derive(self.plan.seed, self.step, phase.name, first))
            draw = Draw(self.plan.seed, self.step, phase.name, first=first, count=size, total=total, device=self.device)
            batch = Batch(images, labels, draw, progress=self.step / self.plan.steps)
            loss, logs = phase.loss(batch, carries[i])
            self._note(phase.name, loss, logs)
            (loss * (phase.every / (micro * self.world.size))).backward()
        self.world.sum_([p.grad for p in owned if p.grad is not None])
        if self.plan.clip or len(self.owned) > 1:  # with two optimizers (a GAN) the gradient norms are always logged
            norm = nn.utils.get_total_norm([p.grad for p in owned if p.grad is not None])
            self._add("grad_norm" if len(self.owned) == 1 else f"grad_norm_{phase.name}", norm.detach())
        if self.plan.clip:
            nn.utils.clip_grads_with_norm_(owned, self.plan.clip, norm)
        self._set_rates(phase.optimizer)
        optimizer.step()

    def _set_rates(self, name: str) -> None:
        """This step's learning rate, and beta2 where the model anneals it."""
        lr, spec = self._base_lr[name] * self.plan.lr_factor(self.step), self._specs[name]
        values: dict[str, Any] = {"lr": lr}
        if spec.anneal:
            factor, beta2 = spec.anneal.at(self.step / self.plan.steps, spec.betas[1])
            values = {"lr": lr * factor, "betas": (float(spec.betas[0]), beta2)}
        for group in self.optimizers[name].param_groups:
            group.update(values)

    def _unfreeze(self, name: str) -> None:
        if len(self.owned) == 1:  # parameters that no optimizer owns were frozen at the start
            return
        for other, parameters in self.owned.items():
            for parameter in parameters:
                parameter.requires_grad_(other == name)

    def _note(self, phase: str, loss: Tensor, logs: dict[str, Tensor]) -> None:
        self._unchecked.append((self.step + 1, phase, loss.detach()))
        if self.device.type == "cpu":  # on other devices, reading the value would force a synchronisation
            self._check_finite()
        for key, value in logs.items():
            self._add(key, value.detach())

    def _add(self, key: str, value: Tensor) -> None:
        value = value.to(torch.float64 if self.device.type == "cpu" else torch.float32)
        self._sums[key] = value.clone() if key not in self._sums else self._sums[key].add_(value)
        self._counts[key] = self._counts.get(key, 0) + 1

    def _check_finite(self) -> None:
        for step, phase, loss in self._unchecked:
            if not math.isfinite(loss.item()):
                raise Diverged(self._advice(f"The loss of phase '{phase}' became {loss.item()} at step {step}"))
        self._unchecked.clear()

    @staticmethod
    def _advice(what: str) -> str:
        return (
            f"{what}; the last good state is kept. Train again with a lower learning rate (--set train.lr=...) "
            "or clipped gradients (--set train.clip=1)."
        )

    @staticmethod
    def _build(spec: OptimizerSpec, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        kind = torch.optim.AdamW if spec.weight_decay else torch.optim.Adam
        betas = (float(spec.betas[0]), float(spec.betas[1]))
        decay = float(spec.weight_decay)
        return kind(parameters, lr=float(spec.lr), betas=betas, eps=float(spec.eps), weight_decay=decay, fused=True)

    def _check_contract(self) -> None:
        everyone = [id(p) for p in itertools.chain(*self.owned.values())]
        if len(everyone) != len(set(everyone)):
            raise ReverieError(f"{type(self.model).__name__}: a parameter belongs to two optimizers.")
        for phase in self.phases:
            if phase.optimizer not in self.optimizers:
                raise ReverieError(
                    f"Phase '{phase.name}' asks for the optimizer '{phase.optimizer}', which is not there."
                )
        for parameter in self._orphans():
            parameter.requires_grad_(False)
        for parameter in itertools.chain(*self.owned.values()):
            parameter.requires_grad_(True)

    def _orphans(self) -> Iterator[nn.Parameter]:
        owned = {id(p) for p in itertools.chain(*self.owned.values())}
        return (p for p in self.model.parameters() if id(p) not in owned)
