"""What the commands share: the app and its rooms, the types of options, and how runs and pictures are loaded.

A command is a typed function in the module of its room, decorated by ``@command``; its docstring is its help text. It
checks its arguments, imports what it needs inside (so that `--help` does not import torch), calls one function of the
library, writes and prints.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from cyclopts import App, Group, Parameter

from reverie.config import check_range, coerce
from reverie.errors import ReverieError, printable

if TYPE_CHECKING:
    from reverie.run import Run

FIGURES = "figures.json"  # file in a folder of results
ROOMS = ("Learn", "Draw", "Explore", "Use", "Judge")  # in the order of --help

app = App(
    name="reverie",
    help="Generative image models from a folder of pictures: train, draw, put to use, judge.\n\n"
    "With --import MODULE, before or after any command, a Python module of this folder or of what is installed is "
    "imported first; the models that it registers are then known by their names.",
    version_flags=["--version"],
    group_commands=Group("Options", sort_key=len(ROOMS)),  # for --help and --version; commands are in their rooms
)

Command = TypeVar("Command", bound=Callable[..., None])


def room(title: str) -> Callable[[Command], Command]:
    """A decorator that makes a function a command, shown under this title, one of `ROOMS`."""
    group = Group(title, sort_key=ROOMS.index(title))

    def command(function: Command) -> Command:
        app.command(function, group=group)
        return function

    return command


# Options


def whole_number(kind: Any, tokens: Sequence[Any]) -> Any:
    """A whole number as `--set` takes it; cyclopts itself would round 1.5."""
    return coerce(tokens[0].value, int, tokens[0].keyword)


Whole = Annotated[int, Parameter(converter=whole_number)]
WholeOrNone = Annotated[int | None, Parameter(converter=whole_number)]
Split = Literal["train", "validation", "test", "all"]
SplitOrNone = Annotated[Split | None, Parameter(help="By default test where IMAGES are the run's own data, else all.")]
Normal = Annotated[
    str | None,
    Parameter(help="Normal pictures to calibrate on; by default those the run's own data holds out of training."),
]
Labels = Annotated[
    tuple[str, ...],
    Parameter(help="Class names or numbers, taken in turn.", negative="", consume_multiple=True),
]
REMEDY = "judge another --split, or give others by --normal"  # for errors where no pictures are left to calibrate on
Force = Annotated[
    bool, Parameter(negative="", help="Write over files that reverie did not write, and empty folders of its results.")
]
Device = Annotated[str, Parameter(help="auto, cpu, cuda or mps.")]
Set = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set", negative="", consume_multiple=True, help="section.key=value ...; sections: model, train, data."
    ),
]


def suffixed(out: Path | None, suffix: str, flag: str = "--out") -> None:
    """Raise ReverieError for a file with another suffix, before the work."""
    if out is not None and out.suffix.lower() != suffix:
        raise ReverieError(f"{flag} takes a {suffix} file, not {out}.")


def png(out: Path | None, flag: str = "--out") -> None:
    """Raise ReverieError for a file that is not a .png, before the work."""
    suffixed(out, ".png", flag)


def png_or_animation(out: Path | None, rate: float) -> None:
    """Raise ReverieError for a file that is not a .png, .gif or .mp4, or a rate out of range, before the work."""
    check_range("--rate", rate, low=0.1, high=100)
    if out is not None and out.suffix.lower() not in (".png", ".gif", ".mp4"):
        raise ReverieError(f"--out takes a .png, .gif or .mp4 file, not {out}.")


# Runs and pictures


def load(run: str, device: str) -> Run:
    """The run in a folder, its model on the device."""
    from reverie.engine.device import pick_device
    from reverie.run import load as load_run

    return load_run(run, pick_device(device))


def writes(
    command: str,
    run: str,
    out: Path | None,
    default: str,
    *beside: Path | None,
    reads: Iterable[str | Path | None] = (),
    names: Iterable[str] | None = None,
    force: bool,
) -> Path:
    """The path for the results of a command on a run; ReverieError, before the work, if that would destroy something.

    That is ``out`` if given, else ``default``; a file, or with ``names`` a folder for files of these names. ``beside``
    are further output files. ``reads`` are the specs, runs and files that the command reads, besides ``run``.
    """
    from reverie.output_guard import claim_outputs
    from reverie.training_data import inside

    specs = [str(one) for one in reads if one is not None]
    where = Path(default) if out is None else out
    for spec in specs if out is None else ():
        if inside(where, spec):
            raise ReverieError(f"{where} would lie in {spec}, which is read; choose another place by --out.")
    claim_outputs(
        command,
        run,
        itertools.chain([where] if names is None else (where / name for name in names), filter(None, beside)),
        folder=None if names is None else where,
        reads=[path for spec in (run, *specs) for path in _files_of(spec)],
        force=force,
    )
    return where


def places(features: str) -> list[str]:
    """The paths that a feature space reads: the run of encoder:RUN, the file of inception:FILE."""
    return [features.partition(":")[2]] if ":" in features else []


def _files_of(spec: str) -> list[Path]:
    """The files, or the folder, of a spec; none where it is not on disk."""
    from reverie.data.idx import idx_files, is_idx
    from reverie.training_data import place_of

    place = place_of(spec)
    if place is None:
        return []
    path = Path(place)
    return idx_files(path) if os.path.isfile(path) and is_idx(path) else [path]


def run_and_pictures(run: str, images: str, split: Split, count: int, device: str) -> tuple[Run, Any, list[str] | None]:
    """A run, the first pictures (n, C, H, W) of a spec, as stored, and their classes where the model takes labels."""
    import numpy as np

    from reverie.capabilities import Conditions

    check_range("--count", count, low=1)
    loaded = load(run, device)
    dataset = loaded.open(images, split)
    indices = np.arange(min(count, len(dataset)))
    labels = None
    if isinstance(loaded.model, Conditions) and dataset.labels is not None:
        labels = [dataset.image_spec.classes[i] for i in dataset.labels[indices]]
    return loaded, dataset.batch(indices), labels


# Output


def print_figures(figures: dict[str, Any], out: Path | None = None) -> None:
    """Print figures as JSON, and write the same to a file if given."""
    from reverie.files import replacing

    text = json.dumps(figures, indent=2)
    if out:
        with replacing(out) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    print(text)


def print_line(sentence: str) -> None:
    """Print a line of the result to stdout."""
    print(printable(sentence))


def print_note(sentence: str) -> None:
    """Print a sentence to stderr, apart from the results."""
    print(f"reverie: {printable(sentence)}", file=sys.stderr)


_SAID: ContextVar[frozenset[str]] = ContextVar("said", default=frozenset())  # in this command


def print_note_once(sentence: str) -> None:
    """As `print_note`, but each sentence only once in a command."""
    if sentence not in _SAID.get():
        _SAID.set(_SAID.get() | {sentence})
        print_note(sentence)


class NoteHandler(logging.Handler):
    """Prints the library's log messages, each once in a command."""

    def emit(self, record: logging.LogRecord) -> None:
        print_note_once(record.getMessage())


@contextmanager
def printing_notes() -> Iterator[None]:
    """Within the context, print the library's log messages."""
    log, speaker = logging.getLogger("reverie"), NoteHandler()
    level = log.level
    log.addHandler(speaker)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(speaker)
        log.setLevel(level)


class ProgressPrinter:
    """Prints the progress of a long task, at most every `SECONDS`."""

    SECONDS = 10.0

    def __init__(self, of: int) -> None:
        self.of, self.said = of, time.monotonic()

    def __call__(self, done: int) -> None:
        """Report that ``done`` pictures are done."""
        if done < self.of and time.monotonic() - self.said >= self.SECONDS:
            self.said = time.monotonic()
            print_note(f"{done:,} of {self.of:,} pictures")


def print_notes(notes: Sequence[str]) -> None:
    """Print each note."""
    for note in notes:
        print_note(note)


def projected(done: int, of: int) -> None:
    """Print the progress of a projection."""
    if done < of:
        print_note(f"{done} of {of} pictures projected")


def fail(sentence: str, code: int) -> None:
    """Exit with a sentence on stderr and an exit code."""
    print_note(sentence)
    sys.exit(code)
