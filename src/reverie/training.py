"""From a model's name and a data spec to a run folder: what `reverie train` does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch

from reverie import artifact, own_data, run_folder
from reverie.capabilities import Bounds, Conditions, Reconstructs, Samples, Translates
from reverie.config import configure
from reverie.data import DataOptions, Dataset, open_dataset
from reverie.data.feed import Feed
from reverie.data.pairs import Pairs
from reverie.data.pictures import save_grid, to_tensor
from reverie.engine.budget import Plan
from reverie.engine.checkpoint import Checkpoints
from reverie.engine.distributed import World
from reverie.engine.events import Record
from reverie.engine.loop import Diverged, Loop
from reverie.engine.phase import Model
from reverie.errors import Interrupted, ReverieError
from reverie.evaluation.generation import judge, quality
from reverie.evaluation.translation import referee
from reverie.files import check_folder, sweep
from reverie.marks import mark_folder
from reverie.run import Run, load
from reverie.run_folder import BEST
from reverie.tasks.embed import embed
from reverie.tasks.fit_mixture import fit_mixture
from reverie.tasks.pictures import some
from reverie.tasks.reconstruct import pairs, reconstruct
from reverie.tasks.sample import Prior, sample
from reverie.tasks.translations import translations

DEFAULT_MINUTES = 10.0
CHECKPOINT_SECONDS = 120.0
MIXTURE_CODES = 10_000
REHEARSED = (0.1, 0.3, 0.5, 0.7, 0.9)  # fractions of training whose steps are timed: a growing model gets slower
SLACK = 0.96  # share of the minutes that goes to steps; the rest to pictures, states and the report
BUDGET = ("steps", "epochs", "minutes")
SHOWN = 64  # pictures in a sample grid
MEASURED = 5000  # samples, and training pictures they are compared with, in a measurement during training

Settings = Mapping[str, Mapping[str, Any]]


def train(
    model: str,
    data: str | None = None,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    device: str = "auto",
    settings: Settings | None = None,
    quiet: bool = False,
    force: bool = False,
) -> Run:
    """Train ``model`` on the pictures of ``data`` and leave a run in the folder ``out``.

    ``settings`` are the sections "model", "train" and "data", say ``{"train": {"minutes": 5}}``.
    With ``resume`` the run in ``out`` goes on where it stopped, with the settings it was started with; only a larger
    budget (steps, epochs, minutes) may be given, and ``data`` only where the same pictures are now elsewhere. Where
    there is no run yet, one begins. ``force`` writes over files in ``out`` that are no run's. Raises ReverieError for
    bad input, `Diverged` where the loss became NaN, and `Interrupted` after SIGINT or SIGTERM; nothing done so far is
    lost by either.
    """
    world, place = World(), pick_device(device)
    given = settings or {}
    chosen: dict[str, dict[str, Any]] = {
        section: dict(given.get(section, {})) for section in ("model", "train", "data")
    }
    if data is None and not (resume and out is not None):
        raise ReverieError(
            "--data requires an argument, the pictures to learn from; only --resume --out RUN goes without."
        )
    with ExitStack() as held:
        folder = _folder(held, model, data, out, resume, world)
        before = None if folder is None else run_folder.earlier(folder, model, chosen, BUDGET, resume)
        if before:
            chosen = {k: before["settings"][k] | (chosen[k] if k == "train" else {}) for k in chosen}
            assert folder is not None
            run_folder.check_states(folder)
        elif folder is not None:
            run_folder.check_new(folder, force)
        if data is None:
            if before is None:
                raise ReverieError(f"There is no run in {out} yet; to begin one, give the pictures by --data.")
            data = own_data.own(out, before["data"], "say by --data where it is now")
        for table in ("labels", "split"):  # found again from anywhere
            path = os.path.expanduser(str(chosen["data"].get(table) or ""))
            if os.path.isfile(path):
                chosen["data"][table] = os.path.abspath(path)
        dataset = open_dataset(data, configure(DataOptions, chosen["data"], "data"))
        if before and before["data"]["fingerprint"] != dataset.fingerprint:
            assert folder is not None
            what = own_data.changes(folder, dataset)
            raise ReverieError(
                f"The pictures of {data} have changed since {folder} was trained on them{what and ': '}{what}; give "
                "--data the pictures as they were, or train a new run."
            )
        pictures = dataset.split("train")
        plan = configure(Plan, chosen["train"], "train")
        built = artifact.build_model(model, chosen["model"], dataset.facts, plan.seed)
        plan = plan.with_defaults(built.defaults)
        _check_sides(model, built, dataset)
        if len(pictures) == 0:
            raise ReverieError(f"{data} has no pictures to train on.")
        _, height, width = dataset.facts.shape
        if dataset.options.shift >= min(height, width):
            raise ReverieError(
                f"data.shift={dataset.options.shift} must be smaller than the pictures, {height}x{width}."
            )
        together = (plan.batch_size or 1) // (world.size * plan.microbatches)
        if 0 < together < built.least_batch:
            raise ReverieError(
                f"{model} needs {built.least_batch} pictures at a time or more, not {together}; give a larger "
                "--batch-size."
            )
        if place.type == "cuda":
            place = torch.device("cuda", world.local_rank)
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        world.join(place)
        held.callback(world.leave)
        folder = Path(world.share(os.fspath(folder or ""), place))
        session = _Session(folder, model, data, dataset, pictures, built, plan, place, world, quiet)
        return session.run(begins=resume and before is None)


def _folder(
    held: ExitStack, model: str, data: str | None, out: str | Path | None, resume: bool, world: World
) -> Path | None:
    """The run's folder, held by the first rank until ``held`` ends; None on another rank that can't know it yet."""
    found = Path(out) if out is not None else run_folder.newest_default(model, data or "") if resume else None
    if data is not None:
        asked = found or next(run_folder.default_folders(model, data))
        check_folder(asked)
        fresh = not (asked / artifact.CONFIG).exists()
        if out is None and own_data.inside(asked, data):
            raise ReverieError(f"{asked} would lie in the folder of the data, {data}; choose another place by --out.")
        if fresh and own_data.holds(asked, data):
            raise ReverieError(
                f"The data, {data}, lies in {asked}, where the run would be written; choose another --out."
            )
    if world.first and found is None:
        assert data is not None
        return held.enter_context(run_folder.new_default(model, data))
    if world.first and found is not None:
        held.enter_context(run_folder.held(found))
    return found


class _Session:
    """One process's work on a run."""

    def __init__(
        self,
        folder: Path,
        name: str,
        spec: str,
        dataset: Dataset,
        pictures: Dataset,
        model: Model,
        plan: Plan,
        device: torch.device,
        world: World,
        quiet: bool,
    ) -> None:
        self.folder, self.name, self.spec, self.dataset, self.pictures = folder, name, spec, dataset, pictures
        self.device, self.world, self.quiet = device, world, quiet
        self.checkpoints = Checkpoints(folder / "state")
        feed = Feed(pictures, plan.seed, device, plan.workers, world.rank, world.size)
        self.feed = feed
        if plan.steps is None and plan.epochs is not None:
            plan = plan.with_steps(round(plan.epochs * len(pictures) / (plan.batch_size or 1)))
        trial = plan if plan.steps else plan.with_steps(1 << 30)
        self.loop = Loop(model, feed, trial.resolved, device, world)
        self.budget = {k: v for k, v in asdict(plan).items() if k in BUDGET and v is not None}
        if plan.steps is None:
            minutes = self.budget.setdefault("minutes", DEFAULT_MINUTES)
            plan = plan.with_steps(int(SLACK * minutes * 60 / seconds_per_step(self.loop, minutes)))
        self.plan = replace(plan.with_steps(plan.steps or 1), epochs=None, minutes=None)
        self.loop.plan = self.plan.resolved
        self.measure: Callable[[Model], dict[str, Any]] | None = None
        if plan.evaluate_every and not isinstance(model, (Samples, Translates)):
            raise ReverieError(
                f"{name} draws no pictures, so their quality can't be measured; leave evaluate_every out."
            )

    def run(self, begins: bool = False) -> Run:
        """Train to the end of the plan, or until a signal or a divergence; returns the finished run.

        ``begins``: there was to be a run to go on with, and there is none, which is said.
        """
        loop, plan = self.loop, self.plan
        if self.world.first:
            sweep(self.folder)
        state = self.checkpoints.newest()
        damaged: list[str] = []
        if state:
            tensors, facts, damaged = state
            loop.load_state(tensors, facts)
        self.world.barrier()
        config = artifact.describe(
            self.name,
            loop.model,
            {"train": asdict(plan), "data": asdict(self.dataset.options)},
            {
                "spec": self.spec,
                "place": own_data.place_of(self.spec),
                "fingerprint": self.dataset.fingerprint,
                "pictures": len(self.pictures),
            },
        )
        if not self.world.first:
            self._steps(None)
            return Run(self.folder, self.name, loop.weights.eval(), loop.model.facts, config)
        if plan.evaluate_every:  # before anything is written: what cannot be measured is told now
            self.measure = self._ruler()
        if not own_data.holds(self.folder, self.spec):  # an older run may hold its data, which stays data
            mark_folder(self.folder, "run")
        with Record(
            self.folder, plan.steps or 1, resume_at=loop.step, quiet=self.quiet, tensorboard=plan.tensorboard
        ) as record:
            artifact.write_config(self.folder, config)
            if not (self.folder / own_data.LISTING).exists():
                own_data.write_listing(self.folder, self.dataset)
            if begins:
                record.warn(loop.step, f"there is no run in {self.folder} yet: a new one begins")
            for file in damaged:
                record.warn(loop.step, f"The saved state {file} is damaged; the one before it is used.")
            record.say(self.dataset.said)
            of = f"{len(self.pictures):,} pictures of {'x'.join(map(str, self.dataset.facts.shape))}"
            record.say(
                f"{self.name} on {of}: {plan.steps:,} steps of {plan.batch_size}, on {self.device}, in {self.folder}"
            )
            record.event(loop.step, asked=self.budget, steps=plan.steps)
            self._steps(record)
            self._finish(config)
            record.event(loop.step, finished=True)
        return load(self.folder, self.device)

    def _steps(self, record: Record | None) -> None:
        loop, plan = self.loop, self.plan
        steps = plan.steps or 1
        saved_at, saved_step = time.perf_counter(), loop.step
        every = plan.evaluate_every
        with interruptible() as stop:
            while loop.step < steps:
                try:
                    before = loop.images
                    loop.advance()
                    if loop.step % plan.log_every == 0 or loop.step == steps:
                        self._log(record)
                    if loop.step % (plan.sample_every or steps) == 0 and loop.step < steps and record:
                        self._pictures(loop.step)
                    if record and every and (loop.images // every > before // every or loop.step == steps):
                        self._measure(record)
                    due = time.perf_counter() - saved_at > CHECKPOINT_SECONDS
                    if plan.checkpoint_every:
                        due = loop.step % plan.checkpoint_every == 0
                    stopping = self.world.any(bool(stop), self.device)
                    if stopping or loop.step == steps or self.world.any(due and self.world.first, self.device):
                        self._save(record)
                        saved_at, saved_step = time.perf_counter(), loop.step
                except Diverged as error:
                    if record:
                        record.event(loop.step, diverged=str(error), kept=saved_step)
                    raise
                if stopping and loop.step < steps:
                    self.feed.close()
                    raise Interrupted(
                        f"Stopped at step {loop.step} of {steps}; everything is saved. Go on with: "
                        f"reverie train {self.name} --data {self.spec} --out {self.folder} --resume"
                    )
        self.feed.close()

    def _log(self, record: Record | None) -> None:
        means = self.loop.means()
        if record:
            record.log(self.loop.step, self.loop.images, means)
            advice = self.loop.model.advice(means, self.loop.step / (self.plan.steps or 1))
            if advice:
                record.warn(self.loop.step, advice)

    def _save(self, record: Record | None) -> None:
        tensors, facts = self.loop.state()
        if record:
            start = time.perf_counter()
            self.checkpoints.save(self.loop.step, tensors, facts)
            artifact.write_weights(self.folder, self.loop.weights)
            record.event(self.loop.step, saved=True, seconds=round(time.perf_counter() - start, 3))

    def _ruler(self) -> Callable[[Model], dict[str, Any]]:
        """What measures the quality of pictures that a model draws, or translates."""
        test, plan = self.dataset.split("test"), self.plan
        if isinstance(self.loop.model, Translates):
            assert isinstance(test, Pairs)
            assert isinstance(self.pictures, Pairs)
            judged = referee(self.loop.model, self.pictures, test, plan.features, MEASURED, plan.seed, self.device)
            if judged.note:  # the best weights are those of the smallest distance
                raise ReverieError(judged.note)
            return lambda model: judged.figures(cast(Translates, model))
        ruler = judge(self.pictures, test, plan.features, MEASURED, plan.seed, self.device)
        return lambda model: quality(cast(Samples, model), ruler, MEASURED)

    def _measure(self, record: Record) -> None:
        """The quality of samples now; the weights that are best so far are kept as a run of their own."""
        assert self.measure is not None
        if record.quality(self.loop.step, self.loop.images, self.measure(self.loop.weights.eval())):
            artifact.write_config(self.folder / BEST, artifact.read_config(self.folder))
            artifact.write_weights(self.folder / BEST, self.loop.weights)

    def _pictures(self, step: int) -> None:
        """Grids that a person can look at: the same latents, and the same held-out pictures, at every step."""
        model = self.loop.weights.eval()
        samples = self.folder / "samples"
        if isinstance(model, Reconstructs):
            held_out = self.dataset.split("test")
            indices = some(held_out, SHOWN // 2)
            images = to_tensor(held_out.batch(indices))
            labels = held_out.labels[indices] if held_out.labels is not None and isinstance(model, Conditions) else None
            rebuilt = reconstruct(model, images, labels)
            save_grid(pairs(images, rebuilt, 8), samples / f"{step:09d}-reconstructions.png", 8)
        if isinstance(model, Samples):
            self._draw(model, f"{step:09d}.png", "model")
        if isinstance(model, Translates):
            held_out = self.dataset.split("test")
            assert isinstance(held_out, Pairs)
            for way in model.directions:
                sheet = translations(model, held_out, way, SHOWN // 8)
                save_grid(sheet, samples / f"{step:09d}-{way}.png", SHOWN // 8)

    def _draw(self, model: Model, name: str, prior: Prior) -> None:
        """A grid of samples; each class its column where there are classes."""
        columns = len(model.classes) if isinstance(model, Conditions) else 8
        grid = sample(model, max(1, SHOWN // columns) * columns, prior=prior)
        save_grid(grid, self.folder / "samples" / name, columns)

    def _finish(self, config: dict[str, Any]) -> None:
        """The ex-post density, the last pictures, the weights, the model card and the report."""
        from reverie.card import write_card
        from reverie.report import write_report

        weights = self.loop.weights.eval()
        if isinstance(weights, Reconstructs):
            codes = embed(weights, self.pictures, indices=some(self.pictures, MIXTURE_CODES, self.plan.seed)).codes
            # Into the trained model: the averaged one takes its buffers from there.
            trained = self.loop.model
            assert isinstance(trained, Reconstructs)
            fit_mixture(trained, codes, seed=self.plan.seed)
        self._pictures(self.loop.step)
        if isinstance(weights, Bounds):  # it has a prior of its own; other encoders draw from the mixture anyway
            self._draw(self.loop.weights.eval(), f"{self.loop.step:09d}-mixture.png", "mixture")
        artifact.write_weights(self.folder, self.loop.weights)
        write_card(self.folder, config)
        write_report(self.folder, self.loop.weights.eval(), self.dataset)


def _check_sides(name: str, model: Model, dataset: Dataset | Pairs) -> None:
    """ReverieError where the data has two sides and the model knows one, or pairs are needed and there are none."""
    if not isinstance(dataset, Pairs):
        return
    if not isinstance(model, Translates):
        raise ReverieError(f"{name} learns single pictures; leave out data.pair, or train pix2pix or cyclegan.")
    if model.learns_pairs and not dataset.paired:
        raise ReverieError(f"{name} learns from pictures that belong together; train cyclegan on unpaired ones.")


def pick_device(word: str) -> torch.device:
    """The device that "auto", "cpu", "cuda" or "mps" names; ReverieError where this machine has it not."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if word == "auto":
        word = "cuda" if there["cuda"] else "mps" if there["mps"] else "cpu"
    if word not in there:
        raise ReverieError(f"--device is one of auto, {', '.join(there)}, not '{word}'.")
    if not there[word]:
        raise ReverieError(f"This machine has no {word} device that PyTorch can use; take --device auto.")
    return torch.device(word)


def seconds_per_step(loop: Loop, minutes: float) -> float:
    """Time a few steps at several stages of training, then put the loop back to where it was."""
    tensors, facts = loop.state()
    tensors = {k: v.clone() for k, v in tensors.items()}
    for _ in range(3):
        loop.advance()
    seconds = min(10.0, max(0.5, minutes * 60 * 0.02)) / len(REHEARSED)
    spent = torch.zeros(1, device=loop.device)
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
            enough = loop.world.any(time.perf_counter() - start > seconds, loop.device)
        spent += (time.perf_counter() - start) / done / len(REHEARSED)
    loop.world.sum_([spent])
    loop.load_state(tensors, facts)
    return float(spent.item()) / loop.world.size


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Yields a list that is empty until SIGINT or SIGTERM arrives; a second SIGINT stops at once."""
    arrived: list[int] = []

    def note(number: int, frame: object) -> None:
        if arrived and number == signal.SIGINT:
            raise KeyboardInterrupt
        arrived.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are somebody else's business
        before = {}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
