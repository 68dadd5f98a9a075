"""Log files and progress display of a training.

``metrics.jsonl`` and ``quality.jsonl`` depend only on the seed: a resumed run writes the same lines as an uninterrupted
one. What can differ between equal runs (speed, warnings, saved states) goes to ``events.jsonl``.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from reverie.engine.loop import Means
from reverie.errors import ReverieError, printable
from reverie.files import replacing

METRICS, EVENTS, QUALITY = "metrics.jsonl", "events.jsonl", "quality.jsonl"
TAIL = 2**14  # bytes that usually hold the last lines of a file
QUIET_SECONDS = 10.0  # between lines if the output is not a terminal


class Record:
    """Writes the log files, the progress display and optionally TensorBoard events. Use as a context manager."""

    def __init__(self, folder: Path, steps: int, *, resume_at: int = 0, quiet: bool = False, tensorboard: bool = False):
        self.folder, self.steps, self.quiet = folder, steps, quiet
        self._board = _board(folder) if tensorboard else None
        folder.mkdir(parents=True, exist_ok=True)
        for name in (METRICS, QUALITY):
            self._keep_until(folder / name, resume_at)
        self._files = contextlib.ExitStack()
        self._metrics = self._files.enter_context((folder / METRICS).open("a", encoding="utf-8"))
        self._events = self._files.enter_context((folder / EVENTS).open("a", encoding="utf-8"))
        self._said: set[str] = set()
        self._clock, self._clock_images, self._printed = time.perf_counter(), -1, time.perf_counter()
        self._console = Console(file=sys.stderr, highlight=False)
        self._bar = Progress(
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
            refresh_per_second=4,
        )
        self._task = self._bar.add_task("", total=steps, completed=resume_at, rate="")

    def __enter__(self) -> Record:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._bar.stop()
        self._files.close()
        if self._board:
            self._board.close()

    def log(self, step: int, images: int, means: Means) -> None:
        """Write a line of metrics.jsonl and update the display."""
        self._metrics.write(_line({"step": step, "images": images} | means))
        self._metrics.flush()
        now = time.perf_counter()
        rate = (images - self._clock_images) / (now - self._clock) if self._clock_images >= 0 else 0.0
        self._clock, self._clock_images = now, images
        if rate:
            self.event(step, images_per_second=round(rate, 1))
        scalars = {k: v for k, v in means.items() if isinstance(v, float)}
        shown = f"{rate:,.0f} img/s" if rate else ""
        text = "  ".join(f"{k} {v:.4g}" for k, v in list(scalars.items())[:6])
        self._bar.update(self._task, completed=step, description=text, rate=shown)
        if not self.quiet and not self._console.is_terminal and now - self._printed > QUIET_SECONDS:
            self._printed = now
            self._console.print(f"step {step}/{self.steps}  {shown}  {text}", soft_wrap=True)
        if self._board:
            for key, value in scalars.items():
                self._board.add_scalar(key, value, step)

    def quality(self, step: int, images: int, figures: dict[str, Any]) -> bool:
        """Write a line of quality.jsonl; returns whether its Frechet distance is the smallest so far."""
        _, best = read_quality(self.folder)
        with (self.folder / QUALITY).open("a", encoding="utf-8") as file:
            file.write(_line({"step": step, "images": images} | figures))
        shown = "  ".join(f"{k} {v:.4g}" for k, v in figures.items() if isinstance(v, float))
        self.say(f"step {step}: {shown}")
        return best is None or figures["frechet"] < best["frechet"]

    def event(self, step: int, **fields: Any) -> None:
        """Write a line of events.jsonl."""
        self._events.write(_line({"step": step, "time": round(time.time(), 1)} | fields))
        self._events.flush()

    def say(self, sentence: str) -> None:
        """Print a message to the terminal, unless quiet."""
        if not self.quiet:
            self._console.print(printable(sentence), soft_wrap=True, markup=False)

    def warn(self, step: int, sentence: str) -> None:
        """Print a warning to the terminal and write it to events.jsonl; only once for each text."""
        if sentence not in self._said:
            self._said.add(sentence)
            self.event(step, warning=sentence)
            self._console.print(f"warning: {printable(sentence)}", soft_wrap=True, markup=False)

    @staticmethod
    def _keep_until(file: Path, step: int) -> None:
        """Remove the lines of steps that will be repeated, and a truncated last line."""
        if not file.exists():
            return
        kept = [line for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if _step(line) <= step]
        with replacing(file) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl."""
    return read_lines(folder / METRICS)


def last_step(folder: Path) -> int | None:
    """The step in the last complete line of metrics.jsonl, None if there is none; only the end of the file is read."""
    with contextlib.suppress(FileNotFoundError), (folder / METRICS).open("rb") as file:
        start = size = file.seek(0, os.SEEK_END)
        while start:
            start = max(0, 2 * start - size - TAIL)  # read TAIL bytes, then twice as much and TAIL more
            file.seek(start)
            lines = file.read().decode("utf-8", "replace").splitlines()
            steps = [step for line in lines[start > 0 :] if (step := _step(line)) < sys.maxsize]
            if steps:
                return steps[-1]
    return None


def read_quality(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The lines of quality.jsonl, and the one with the smallest Frechet distance (the first of equal ones)."""
    lines = [line for line in read_lines(folder / QUALITY) if isinstance(line.get("frechet"), (int, float))]
    return lines, min(lines, key=lambda line: line["frechet"], default=None)


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The complete lines of a file that `Record` wrote; empty if it does not exist."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [json.loads(line) for line in lines if _step(line) < sys.maxsize]


def _line(fields: dict[str, Any]) -> str:
    """A line of JSON; numbers that are not finite, which JSON cannot hold, become null."""
    return json.dumps(_finite(fields), allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def _step(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return sys.maxsize


def check_board() -> Any:
    """TensorBoard's SummaryWriter class. Raises ReverieError if the package is missing."""
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise ReverieError("train.tensorboard needs an extra: pip install 'reverie[tensorboard]'.") from error
    return SummaryWriter


def _board(folder: Path) -> Any:
    return check_board()(str(folder / "tensorboard"))
