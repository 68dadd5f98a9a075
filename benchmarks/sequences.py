"""Random sequences of commands in one folder, some at once and some killed: is anything lost, replaced or mixed up?

python benchmarks/sequences.py [--count 200] [--seed 0]

Each sequence starts from a folder with classes of pictures, loose pictures, pairs and an .npz, and draws a few
steps from train, resume, data, sample, reconstruct, embed and translate: with and without --out, with the folder itself
as data, with an --out that is an input, two or three at once, killed by SIGKILL at a random moment. Afterwards

- every file that was there at the beginning is there, byte for byte;
- each specification names the data that it named at the beginning: no result has become data;
- every training that ended well left one run, which loads and holds the weights of the same training alone;
- every training that was killed goes on with --resume to those same weights;
- no training was refused that stands in nobody's way, and no command ended in a traceback, or never.

What kills leave of temporary files is counted, and no fault. The program imports torch once, computes nothing, and
forks a child for each command. Which command meets which moment depends on the machine; all else on the seed.
Prints and saves JSON; exits with 1 where something was violated.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import gc
import json
import random
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from results import save
from safetensors.numpy import load_file

from reverie import cli

torch.set_num_threads(1)
Image.init()
for module in (
    *("reverie.training", "reverie.reporting.report", "reverie.reporting.card", "reverie.tasks.translate_files"),
    "reverie.models.vae",
    *("reverie.models.autoencoder", "reverie.models.dcgan", "reverie.models.pix2pix"),
    *("sklearn.mixture", "torch._dynamo", "rich._emoji_codes"),
):
    import_module(module)  # here once, rather than in each child

SEEDS = 1000  # apart from each other, those of two sequences
STEPS = 5  # of a sequence; one may start several commands
ENDLESS = 60.0  # seconds after which a command that still runs is said never to end
SOON = 0.4  # seconds within which a command is killed
FOLDERS = ("pictures", "loose", "pairs", ".")
SPECS = (*FOLDERS, "data.npz")
OUTS: dict[str, tuple[str | None, ...]] = {  # what commands are told to write; some of it is there and the user's
    "data": (None, None, "sheet.png", "loose/sheet.png", "pictures/cat/0.png"),
    "sample": (None, None, "drawn", "grid.png", "pictures/new", "loose", "loose/samples.png"),
    "reconstruct": (None, "rebuilt.png", "pictures/dog/1.png"),
    "embed": (None, "codes/all.npz", "data.npz"),
    "translate": (None, "turned/here", "loose", "pictures/cat"),
}
SMALL = {
    "vae": ("model.network=mlp", "model.width=4", "model.latent=3"),
    "ae": ("model.network=mlp", "model.width=4", "model.latent=3"),
    "dcgan": ("model.width=4", "model.latent=3"),
    "pix2pix": ("model.width=4",),
}

Weights = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Training:
    """What decides the weights of a run; the seed is its name within a sequence."""

    model: str
    data: str
    inside: str  # the folder, below that of the sequence, in which the command is given
    seed: int

    def words(self, out: str | None, *more: str) -> list[str]:
        """The command for it."""
        settings = ["train.batch_size=4", "train.checkpoint_every=1", "train.sample_every=99", *SMALL[self.model]]
        if self.model == "pix2pix":
            settings.append("data.pair=folders" if self.data == "pairs" else "data.pair=invert")
        words = ["train", self.model, "--data", self.data, "--seed", str(self.seed), "--steps", "3"]
        words += [] if out is None else ["--out", out]
        return [*words, *more, "--quiet", "--device", "cpu", "--set", *settings]

    def resumed(self, out: str) -> list[str]:
        """The command to go on with it."""
        return ["train", self.model, "--data", self.data, "--out", out, "--resume", "--quiet", "--device", "cpu"]


@dataclass
class Command:
    """One command: what is asked, and once it has run, what became of it."""

    words: list[str]
    inside: str = ""
    training: Training | None = None
    out: str | None = None
    free: bool = False  # of a training: nothing stands in its way, it must not be refused
    kill_after: float | None = None  # seconds
    code: int = 0  # below 0: ended by this signal
    said: str = ""

    def __str__(self) -> str:
        killed = "" if self.kill_after is None else f" [to be killed after {self.kill_after} s]"
        return f"{self.inside or '.'}$ {shlex.join(self.words)}{killed} -> {self.code}"


@dataclass
class Result:
    """What sequences came to."""

    violations: list[tuple[str, str]] = field(default_factory=list)  # kind, and what exactly
    counts: Counter[str] = field(default_factory=Counter)


# Children


def begin(work: Callable[[], int], place: Path, log: Path) -> int:
    """Fork a child that does the work in a folder and ends with its exit code; what it says goes to the log."""
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        os.chdir(place)
        with log.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        try:
            code = work()
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def told(words: Sequence[str]) -> Callable[[], int]:
    """The work of a command."""

    def work() -> int:
        cli.main(words)
        return 0

    return work


def end(number: int) -> int:
    """Wait for a child; its exit code, below 0 where a signal ended it."""
    until = time.monotonic() + ENDLESS
    while time.monotonic() < until:
        found, status = os.waitpid(number, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
    return -signal.SIGALRM


def together(commands: Sequence[Command], place: Path, logs: Path) -> None:
    """Give all commands at once, kill those that are to be killed, and wait for the others."""
    files = [logs / f"{i}.log" for i in range(len(commands))]
    start = time.monotonic()
    numbers = [
        begin(told(command.words), place / command.inside, file) for command, file in zip(commands, files, strict=True)
    ]
    for seconds, number in sorted((c.kill_after, n) for c, n in zip(commands, numbers, strict=True) if c.kill_after):
        time.sleep(max(0.0, start + seconds - time.monotonic()))
        os.kill(number, signal.SIGKILL)  # where it has ended already, it is there still: nobody has waited for it
    for command, number, file in zip(commands, numbers, files, strict=True):
        command.code = end(number)
        command.said = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


# The folder


def furnish(place: Path) -> None:
    """What every sequence starts from."""
    chance = np.random.default_rng(0)

    def picture(name: str) -> None:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place / name)

    for i in range(6):
        for folder in ("pictures/cat", "pictures/dog", "pairs/A", "pairs/B"):
            picture(f"{folder}/{i}.png")
    for name in ("000000.png", "000001.png", "samples.png", "reconstructions.png", "x.png", "y.jpg"):
        picture(f"loose/{name}")
    np.savez(place / "data.npz", images=chance.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8))


def content(place: Path) -> dict[str, bytes]:
    """Names and bytes of all files below a folder."""
    return {str(file.relative_to(place)): file.read_bytes() for file in sorted(place.rglob("*")) if file.is_file()}


def runs(place: Path) -> dict[int, list[Path]]:
    """Folders that hold a run, by the seed of its training."""
    found: dict[int, list[Path]] = {}
    for file in sorted(place.rglob("config.json")):
        config = json.loads(file.read_text(encoding="utf-8"))
        found.setdefault(config["settings"]["train"]["seed"], []).append(file.parent)
    return found


def seen(place: Path, logs: Path, folders: Sequence[Path]) -> dict[str, Any]:
    """What is in the data by each specification, and why each run that does not load does not; found by a child."""
    from reverie import ReverieError, load, open_dataset

    answer = logs / "answer.json"

    def work() -> int:
        data, broken = {}, {}
        for spec in SPECS:
            try:
                dataset = open_dataset(spec)
                data[spec] = [len(dataset), dataset.fingerprint]
            except ReverieError as error:
                data[spec] = [0, str(error)]
        for folder in folders:
            try:
                load(folder)
            except ReverieError as error:
                broken[str(folder)] = str(error)
        answer.write_text(json.dumps({"data": data, "broken": broken}), encoding="utf-8")
        return 0

    answer.unlink(missing_ok=True)
    code = end(begin(work, place, logs / "seen.log"))
    if code:
        raise RuntimeError(f"The check itself failed ({code}): {(logs / 'seen.log').read_text(encoding='utf-8')}")
    found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return found


class Alone:
    """Weights of trainings, each done once, alone, in a folder of its own where nothing else ever was."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._known = folder, dict[Training, Weights]()
        self.template = folder / "template"
        furnish(self.template)
        self.inputs = content(self.template)
        self.data = seen(self.template, folder, [])["data"]

    def weights(self, training: Training) -> Weights:
        """Those at the end of a training."""
        if training not in self._known:
            place, out = self._folder / "clean", self._folder / "run"
            shutil.copytree(self.template, place)
            command = Command(training.words(str(out)), training.inside)
            together([command], place, self._folder)
            if command.code:
                raise RuntimeError(f"Alone in a clean folder: {command}: {command.said}")
            self._known[training] = load_file(out / "model.safetensors")
            shutil.rmtree(place)
            shutil.rmtree(out)
        return self._known[training]

    def differs(self, training: Training, run: Path) -> str:
        """Why a run is not what the training alone gives; "" where it is."""
        try:
            found = load_file(run / "model.safetensors")
        except Exception as error:  # whatever is there instead
            return f"{type(error).__name__}: {error}"
        wanted = self.weights(training)
        if found.keys() != wanted.keys():
            return "other tensors"
        return next((f"{key} differs" for key in wanted if not np.array_equal(found[key], wanted[key])), "")


# A sequence


class Trial:
    """One sequence, drawn as it goes: commands are given to the runs that are there."""

    def __init__(self, chance: random.Random, place: Path, logs: Path, alone: Alone, result: Result) -> None:
        self.chance, self.place, self.logs, self.alone, self.result = chance, place, logs, alone, result
        self.trainings: list[Training] = []  # by their seeds
        self.ended: set[int] = set()  # seeds of trainings that ended well
        self.killed: dict[
            int, str | None
        ] = {}  # seeds of those that were killed and did not end since, and their --out
        self.history: list[Command] = []

    def go(self, steps: int) -> None:
        """All of it."""
        shutil.copytree(self.alone.template, self.place)
        self._give([self._train(self._model(), "own")])
        if self.chance.random() < 0.5:
            self._give([self._train("pix2pix", "own")])
        for _ in range(steps):
            count = self.chance.choice((1, 1, 1, 1, 2, 3))
            if count > 1 and self.chance.random() < 0.5:
                commands = self._rivals(count)
            else:
                commands = [self._any() for _ in range(count)]
            for command in commands:
                if self.chance.random() < 0.3:
                    command.kill_after = round(self.chance.uniform(0.001, SOON), 3)
            self._give(commands)
        self._resume_killed()
        self._check()

    def _violated(self, kind: str, what: str) -> None:
        self.result.violations.append((kind, what))

    # What is asked

    def _any(self) -> Command:
        """A command on whatever is there."""
        there = [folder for folders in runs(self.place).values() for folder in folders]
        what = self.chance.choice(("train", "train", "resume", "data", "sample", "reconstruct", "embed", "translate"))
        if what == "train" or not there:
            out = self.chance.choice((None, None, "own", "shared", "pictures", "loose"))
            return self._train(self.chance.choice((self._model(), "pix2pix")), out)
        run = self.chance.choice(there)
        return self._resume(run) if what == "resume" else self._use(what, run, there)

    def _rivals(self, count: int) -> list[Command]:
        """Trainings that all go to one folder that is new, or to wherever they think best."""
        out = self.chance.choice((None, f"rivals/{len(self.trainings)}"))
        return [self._train("vae" if out is None else self._model(), out) for _ in range(count)]

    def _model(self) -> str:
        return self.chance.choice(("vae", "vae", "ae", "dcgan"))

    def _train(self, model: str, out: str | None) -> Command:
        """A new training; ``out`` is "own" for a folder that no other is given."""
        inside = self.chance.choice(("", "", "", "pictures"))
        data = "." if inside else self.chance.choice(FOLDERS if model == "pix2pix" else SPECS)
        training = Training(model, data, inside, len(self.trainings))
        self.trainings.append(training)
        folder = Path(inside, "runs") if out is None else Path(f"{model} {training.seed}" if out == "own" else out)
        free = out in (None, "own") and not folder.is_relative_to(Path(inside, data))  # into the data itself: may be
        if out is not None:
            out = self._path(folder, inside)
        return Command(training.words(out), inside, training, out, free)

    def _resume(self, run: Path) -> Command:
        seed = next(seed for seed, folders in runs(self.place).items() if run in folders)
        training = self.trainings[seed]
        out = self._path(run, training.inside)
        return Command(training.resumed(out), training.inside, training, out)

    def _use(self, what: str, run: Path, there: Sequence[Path]) -> Command:
        """A command that puts a run to use, or looks at data; its --out may well be an input."""
        inside = self.chance.choice(("", "", "pictures"))
        spec, outs = self.chance.choice(SPECS), OUTS[what]
        if what == "translate":
            spec = self.chance.choice(("pictures", "loose", "loose/x.png"))
            run = self.chance.choice([folder for folder in there if _model_of(folder) == "pix2pix"] or [run])
        words = [what]
        words += [] if what == "data" else [self._path(run, inside)]
        words += [] if what == "sample" else [self._path(spec, inside)]
        words += {"data": [], "sample": ["--count", "3", "--device", "cpu"]}.get(what, ["--device", "cpu"])
        out = self.chance.choice(outs)
        flag = "--sheet" if what == "data" else "--out"
        return Command([*words, *([] if out is None else [flag, self._path(out, inside)])], inside)

    def _path(self, path: str | Path, inside: str) -> str:
        return os.path.relpath(self.place / path, self.place / inside)

    # What becomes of it

    def _give(self, commands: list[Command]) -> None:
        together(commands, self.place, self.logs)
        self.history += commands
        counts = self.result.counts
        counts["commands"] += len(commands)
        counts["commands at once"] += len(commands) if len(commands) > 1 else 0
        counts["killed"] += sum(command.code == -signal.SIGKILL for command in commands)
        counts["refused"] += sum(command.code == 2 for command in commands)
        for command in commands:
            training = command.training
            if command.code == -signal.SIGKILL:
                if training and training.seed not in self.ended:
                    self.killed[training.seed] = command.out
            elif command.code not in (0, 2):
                kind = "a command never ends" if command.code == -signal.SIGALRM else "a traceback or a crash"
                self._violated(kind, f"{command}: {command.said[-400:]}")
            elif training and command.code == 0:
                self.ended.add(training.seed)
                self.killed.pop(training.seed, None)
            elif command.free:
                self._violated("a training that harms nobody was refused", f"{command}: {command.said[-300:]}")
        outs = {command.out for command in commands if command.out}
        if len(outs) == 1 < len(commands) and "rivals" in str(outs) and all(c.code == 2 for c in commands):
            self._violated("of trainings at once into one folder none was let in", str(commands[0]))

    def _resume_killed(self) -> None:
        """Go on with every training that was killed and whose folder is not another's."""
        for seed, out in sorted(self.killed.items()):
            training, folders = self.trainings[seed], runs(self.place).get(seed, [])
            if folders:
                command = self._resume(folders[0])
            elif out is None:
                continue  # killed before it had a folder
            else:
                folder = Path(os.path.normpath(self.place / training.inside / out))
                if str(folder.relative_to(self.place)) in SPECS or (folder / "config.json").exists():
                    continue  # never let in
                command = Command(training.words(out, "--resume"), training.inside, training, out)
            self._give([command])
            self.result.counts["resumed"] += 1
            if command.code == 2:
                self._violated("a killed training can't be resumed", f"{command}: {command.said[-300:]}")

    def _check(self) -> None:
        found, there = content(self.place), runs(self.place)
        for name, data in self.alone.inputs.items():
            if found.get(name) != data:
                suspects = [str(c) for c in self.history if c.code != 2 and any(Path(name).name in w for w in c.words)]
                self._violated("an input file is gone or changed", f"{name}; perhaps by {suspects[-1:]}")
        now = seen(self.place, self.logs, [folder for seed in self.ended for folder in there.get(seed, [])])
        for spec, before in self.alone.data.items():
            if now["data"][spec] != before:
                self._violated("a specification names other data", f"{spec}: {before[0]} pictures, {now['data'][spec]}")
        for why in now["broken"].values():
            self._violated("a finished run does not load", why)
        for seed in sorted(self.ended):
            self.result.counts["runs compared"] += 1
            training, own = self.trainings[seed], there.get(seed, [])
            command = next(c for c in reversed(self.history) if c.training == training)
            if len(own) != 1:
                self._violated("a finished run is gone, or there twice", f"{command}: {len(own)} folders hold it")
            elif str(own[0]) not in now["broken"] and (why := self.alone.differs(training, own[0])):
                self._violated("a finished run is not what it is alone", f"{command}: {why}")
        self.result.counts["temporary files left"] += sum(name.endswith((".partial", ".tmp")) for name in found)


def _model_of(run: Path) -> str:
    return str(json.loads((run / "config.json").read_text(encoding="utf-8"))["model"])


def sequences(count: int, seed: int, folder: Path, steps: int = STEPS) -> Result:
    """So many sequences of so many steps below a folder that is empty; the cache of packs goes there as well."""
    os.environ["REVERIE_CACHE"] = str(folder / "cache")
    logs, result = folder / "logs", Result()
    logs.mkdir(parents=True)
    gc.freeze()  # what is there already is never collected, and so not copied by each child
    alone = Alone(folder / "alone")
    for number in range(count):
        before = len(result.violations)
        place = folder / f"{number}"
        trial = Trial(random.Random(seed * SEEDS + number), place, logs, alone, result)
        trial.go(steps)
        shutil.rmtree(place)
        result.counts["sequences"] += 1
        if len(result.violations) > before:
            result.counts["sequences with a violation"] += 1
            lines = [f"sequence {number}:", *(f"  {command}" for command in trial.history)]
            lines += [f"- {kind}: {' '.join(what.split())}" for kind, what in result.violations[before:]]
            print("\n".join(lines).replace(str(folder), ""), file=sys.stderr, flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = sequences(given.count, given.seed, Path(folder))
    figures = {**result.counts, "violations": dict(Counter(kind for kind, _ in result.violations).most_common())}
    save("sequences", figures, seed=given.seed, data="8x8 noise: classes, loose pictures, pairs, an .npz")
    sys.exit(bool(result.violations))


if __name__ == "__main__":
    main()
