"""Train a model on pictures and write a run folder, as `reverie train` does."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from reverie import artifact, registry, run_folder, training_data
from reverie.config import configure
from reverie.data import DataOptions, Dataset, open_dataset
from reverie.data.open import Data, spec_of
from reverie.data.sources import MEMORY
from reverie.engine.device import pick_device
from reverie.engine.distributed import World
from reverie.engine.events import check_board
from reverie.engine.loop import Diverged
from reverie.engine.model import Model
from reverie.engine.plan import Plan
from reverie.errors import Interrupted, ReverieError
from reverie.files import check_folder
from reverie.run import Run, load
from reverie.training.budget import BUDGET
from reverie.training.callbacks import Checkpoints, Folder, Mixture, Previews, Quality, Recording, Report
from reverie.training.callbacks.quality import check_quality as check_quality
from reverie.training.check import whole
from reverie.training.trainer import Trainer

Settings = Mapping[str, Mapping[str, Any]]


def train(
    model: str | type[Model] | Model,
    data: Data | None = None,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    device: str = "auto",
    settings: Settings | None = None,
    callbacks: Sequence[object] = (),
    quiet: bool = False,
    force: bool = False,
) -> Run:
    """Train ``model`` on the pictures of ``data`` and write a run to the folder ``out``; returns the run.

    ``model`` is a name that `reverie models` lists, a class, or a model object, perhaps with custom networks; an object
    is trained in place, and the run has its averaged weights. ``data`` is anything that `open_dataset` takes.
    ``settings`` has the sections "model", "train" and "data", say ``{"train": {"minutes": 5}}``. ``callbacks`` are
    called after each step and may stop the training; see `Trainer`.

    With ``resume`` the run in ``out`` continues from its last state with its own settings: only a larger budget (steps,
    epochs, minutes) may be given, and ``data`` only if the same pictures are now elsewhere. If there is no run yet, a
    new one starts. ``force`` overwrites files in ``out`` that are not part of a run. Raises ReverieError for bad input,
    `Diverged` if the loss became NaN, and `Interrupted` after SIGINT or SIGTERM; the last saved state is kept.
    """
    world, place = World(), pick_device(device)
    name = _name_of(model)
    chosen = {section: dict((settings or {}).get(section, {})) for section in ("model", "train", "data")}
    if data is None and not (resume and out is not None):
        raise ReverieError(
            "--data requires an argument, the pictures to learn from; only --resume --out RUN goes without."
        )
    with ExitStack() as held:
        folder = _folder(held, name, None if data is None else spec_of(data), out, resume, world)
        before = None if folder is None else run_folder.earlier(folder, model, chosen, BUDGET, resume)
        if before:
            name = before["model"] if isinstance(model, str) or registry.knows(before["model"]) else name
            chosen = {k: before["settings"][k] | (chosen[k] if k == "train" else {}) for k in chosen}
            assert folder is not None
            run_folder.check_states(folder)
        elif folder is not None:
            run_folder.check_new(folder, force)
        if data is None:
            if before is None:
                raise ReverieError(f"There is no run in {out} yet; to begin one, give the pictures by --data.")
            data = training_data.own(out, before["data"], "say by --data where it is now")
        dataset = _opened(data, chosen["data"], before)
        if before and before["data"]["fingerprint"] != dataset.fingerprint:
            assert folder is not None
            what = training_data.changes(folder, dataset)
            raise ReverieError(
                f"The pictures of {dataset.spec} have changed since {folder} was trained on them{what and ': '}{what}; "
                "give --data the pictures as they were, or train a new run."
            )
        plan = configure(Plan, chosen["train"], "train")
        built = _built(model, {} if before and isinstance(model, Model) else chosen["model"], dataset, plan.seed)
        if plan.evaluate_every:
            check_quality(name, built)
        if plan.tensorboard:
            check_board()
        if place.type == "cuda" and place.index is None:
            place = torch.device("cuda", world.local_rank)
        world.join(place)
        held.callback(world.leave)
        folder = Path(world.share(os.fspath(folder or ""), place))
        recording = Recording(folder, name, quiet=quiet)
        if resume and before is None:
            recording.warn(f"there is no run in {folder} yet: a new one begins")
        if before and dataset.streamed:
            recording.warn("the pictures are read anew each time: what is resumed may not be what it would have been")
        checkpoints, description = Checkpoints(folder, recording), Folder(folder, name, outside=built is model)
        measured = [Quality(folder, recording)] if plan.evaluate_every else []
        jobs = [Mixture(), checkpoints, *measured, description, recording, Previews(folder / "samples"), Report(folder)]
        trainer = Trainer(built, dataset, plan, [*jobs, *callbacks], device=place, world=world)
        how = f"reverie train {name} --data {dataset.spec} --out {folder} --resume{registry.imports(type(built))}"
        in_memory = dataset.spec.startswith(MEMORY)
        if in_memory or not isinstance(model, str):
            how = f"reverie.train(model, data, {str(folder)!r}, resume=True)"
        with recording, _told(trainer, recording, checkpoints, how):
            weights = trainer.run()
        own = dataset if in_memory else None
        if isinstance(model, Model):  # it cannot be built again from the run folder
            if weights is model:  # the caller's model must not be frozen below
                weights = copy.deepcopy(weights)
            weights.requires_grad_(False)
        elif world.first:
            return load(folder, place, model=None if isinstance(model, str) else model, data=own)
        return Run(folder, name, weights, weights.image_spec, description.config_of(trainer), own)


@contextmanager
def _told(trainer: Trainer, recording: Recording, checkpoints: Checkpoints, how: str) -> Iterator[None]:
    """Record how the training ended; the error of an interrupted one says how to resume it."""
    try:
        yield
    except Diverged as error:
        recording.event(trainer.step, diverged=str(error), kept=checkpoints.saved)
        raise
    except Interrupted as error:
        raise Interrupted(f"{str(error).rstrip('.')}; everything is saved. Go on with: {how}") from error
    recording.event(trainer.step, finished=True)


def _name_of(model: str | type[Model] | Model) -> str:
    if isinstance(model, str):
        return model
    kind = model if isinstance(model, type) else type(model)
    if not issubclass(kind, Model):
        raise ReverieError(
            f"{kind.__name__} is no model to train: give a name that `reverie models` lists, or a reverie.Model with "
            "phases and optimizers."
        )
    return registry.name_for(kind)


def _opened(data: Data, settings: dict[str, Any], before: dict[str, Any] | None) -> Dataset:
    """The data set, opened; paths of its tables are made absolute, so that a resumed run finds them."""
    if isinstance(data, Dataset) and (before or not settings):
        for key in ("flip", "shift") if before else ():  # augmentation is not part of the fingerprint
            if getattr(data.options, key) != settings[key]:
                raise ReverieError(
                    f"data.{key} can't change on --resume: it was {settings[key]}, and {data.spec} was opened with "
                    f"{getattr(data.options, key)}."
                )
        return whole(data)
    for table in ("labels", "split"):
        path = os.path.expanduser(str(settings.get(table) or ""))
        if os.path.isfile(path):
            settings = settings | {table: os.path.abspath(path)}
    return open_dataset(data, configure(DataOptions, settings, "data"))


def _built(model: str | type[Model] | Model, settings: dict[str, Any], data: Dataset, seed: int) -> Model:
    if not isinstance(model, Model):
        return artifact.build_model(model, settings, data.image_spec, seed)
    if settings:
        raise ReverieError(
            f"This {type(model).__name__} is built already; give its settings to its Config, and leave them out here."
        )
    return model


def _folder(
    held: ExitStack, model: str, data: str | None, out: str | Path | None, resume: bool, world: World
) -> Path | None:
    """The run's folder, locked by rank 0 until ``held`` closes; None on other ranks if rank 0 has yet to choose it."""
    found = Path(out) if out is not None else run_folder.newest_default(model, data or "") if resume else None
    if data is not None:
        asked = found or next(run_folder.default_folders(model, data))
        check_folder(asked)
        fresh = not (asked / artifact.CONFIG).exists()
        if out is None and training_data.inside(asked, data):
            raise ReverieError(f"{asked} would lie in the folder of the data, {data}; choose another place by --out.")
        if fresh and training_data.holds(asked, data):
            raise ReverieError(
                f"The data, {data}, lies in {asked}, where the run would be written; choose another --out."
            )
    if world.first and found is None:
        assert data is not None
        return held.enter_context(run_folder.new_default(model, data))
    if world.first and found is not None:
        held.enter_context(run_folder.held(found))
    return found
