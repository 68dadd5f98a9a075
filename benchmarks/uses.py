"""Every task on every family that can do it, by the command line, on real pictures: a table with pictures for cells.

python benchmarks/uses.py --runs RUN ... --data mnist.npz [--out docs/uses] [--outliers SPEC] [--threads 2]

Each run is of another family and learned from ``--data``. A cell is one command with its figures; where a model can't
do a task, the cell holds the sentence with which the command refuses. Leaves pictures in docs/uses/, the table in
docs/uses.md, and benchmarks/results/uses.json, whose other cells stay as they are: columns may be run one by one.
"""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from measured import parsed, parser_for
from results import FOLDER, save

import reverie
import reverie.cli
from reverie import registry

# The words of a command, and which picture of those it leaves is shown.
TASKS = {
    "sample": ("sample RUN --count 16 --out OUT/a.png", "a.png"),
    "reconstruct": ("reconstruct RUN DATA --split test --count 8 --out OUT/a.png", "a.png"),
    "project": ("project RUN DATA --split test --count 8 --out OUT/a.png", "a.png"),
    "interpolate": ("interpolate RUN DATA --stops 3 --between 8 --out OUT/a.png", "a.png"),
    "traverse": ("traverse RUN --rows 4 --columns 8 --out OUT/a.png", "a.png"),
    "directions": ("directions RUN --attributes slant thickness --columns 8 --out OUT/a.png", "a.png"),
    "directions, without labels": ("directions RUN --how sensitive --count 3 --columns 8 --out OUT/a.png", "a.png"),
    "arithmetic": ("arithmetic RUN 'slant - slant:low' --to DATA --terms 30 --out OUT/a.png", "a.png"),
    "mix": ("mix RUN --rows 3 --columns 7 --out OUT/a.png", "a.png"),
    "map": ("map RUN --side 14 --out OUT", "pictures.png"),
    "neighbours": ("neighbours RUN --count 3 --nearest 7 --out OUT/a.png", "a.png"),
    "denoise": ("denoise RUN DATA --split test --count 8 --level 0.3 --clean --out OUT/a.png", "a.png"),
    "denoise, a hole": ("denoise RUN DATA --split test --count 8 --damage hole --clean --out OUT/a.png", "a.png"),
    "denoise, few pixels": ("denoise RUN DATA --split test --count 8 --damage coarse --clean --out OUT/a.png", "a.png"),
    "anomaly": ("anomaly RUN DATA --out OUT", "odd.png"),
    "cluster": ("cluster RUN --columns 8 --out OUT", "clusters.png"),
    "compress": ("compress RUN --count 500 --out OUT", "compressed.png"),
    "classify": ("classify RUN DATA --samples 5 --out OUT/a.csv --sheet OUT/a.png", "a.png"),
    "condition": ("condition RUN --label 3 --count 16 --draws 2048 --out OUT/a.png", "a.png"),
    "transfer": ("transfer RUN --labels DATA --count 100 --how frozen --out OUT", ""),
}


def main() -> None:
    parser = parser_for(__doc__, "data", seed=False)
    parser.add_argument("--runs", nargs="+", required=True)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--out", type=Path, default=Path("docs/uses"))
    given = parsed(parser)
    given.out.mkdir(parents=True, exist_ok=True)
    names = [reverie.load(run).name for run in given.runs]
    fresh: dict[str, dict[str, Any]] = {}
    for task in given.tasks:
        template, picture = TASKS[task]
        fresh[task] = {}
        for name, run in zip(names, given.runs, strict=True):
            with tempfile.TemporaryDirectory() as folder:
                given_words = {"RUN": run, "DATA": given.data}
                words = [given_words.get(w, w.replace("OUT", folder)) for w in shlex.split(template)]
                began = time.perf_counter()
                code, said, told = run_command(words)
                cell: dict[str, Any] = {"seconds": round(time.perf_counter() - began, 1)}
                cell["command"] = f"reverie {template}".replace("RUN", name).replace("OUT", "here")
                if code == 2:
                    cell["refused"] = told.strip().splitlines()[-1].removeprefix("reverie: ")
                elif code:
                    raise SystemExit(f"{cell['command']}: {told}")
                else:
                    if said.startswith("{"):
                        cell["figures"] = placeless(json.loads(said))
                    if picture and (Path(folder) / picture).exists():  # a model without a decoder leaves no heat maps
                        kept = given.out / f"{task.replace(', ', '-').replace(' ', '-')}-{name}.png"
                        shutil.copy(Path(folder) / picture, kept)
                        cell["picture"] = kept.name
            fresh[task][name] = cell
            print(task, name, cell.get("refused") or cell.get("picture", "done"), cell["seconds"], flush=True)
    before: dict[str, dict[str, Any]] = {}
    if (FOLDER / "uses.json").exists():
        before = json.loads((FOLDER / "uses.json").read_text(encoding="utf-8"))["figures"]["cells"]
    cells = {task: before.get(task, {}) | fresh.get(task, {}) for task in TASKS}
    found = {name for row in cells.values() for name in row}
    page(given.out, [name for name in registry.names() if name in found], cells)
    save("uses", {"cells": cells}, seed=0, data=Path(given.data).name)


def run_command(words: list[str]) -> tuple[int, str, str]:
    """The exit code of a command and what it said on stdout and stderr; in this process, as torch is slow to start."""
    said, told, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        try:
            reverie.cli.main(words)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    return code, said.getvalue(), told.getvalue()


def placeless(value: Any) -> Any:
    """Figures without the folders of the machine that they were taken on."""
    if isinstance(value, dict):
        return {key: placeless(part) for key, part in value.items()}
    if isinstance(value, list):
        return [placeless(part) for part in value]
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value


def page(out: Path, names: list[str], cells: dict[str, dict[str, Any]]) -> None:
    """docs/uses.md: the table of cells, then the figures of each."""
    lines = [
        "# What each family can be used for",
        "",
        "Every command was run by `benchmarks/uses.py` on MNIST, on models after a few minutes of training; commands",
        "and figures are in [uses.json](../benchmarks/results/uses.json). A dash: the command refuses in one sentence,",
        "and says which models can. `stylegan2` had 800 steps, after which it draws hardly anything but ones.",
        "",
        f"| | {' | '.join(f'`{name}`' for name in names)} |",
        f"|---|{'---|' * len(names)}",
    ]
    for task, row in cells.items():
        shown = []
        for name in names:
            cell = row.get(name, {})
            if not cell:
                shown.append("")
            elif "refused" in cell:
                shown.append("–")
            elif "picture" in cell:
                shown.append(f"![{task}, {name}]({out.name}/{cell['picture']})")
            else:
                shown.append("done")
        lines.append(f"| {task} | {' | '.join(shown)} |")
    out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
