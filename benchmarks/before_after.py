"""Whether two versions of reverie do the same: every model on ``digits`` at fixed steps, by the command line.

    python benchmarks/before_after.py run OLD/src out/before      # with the package of another checkout
    python benchmarks/before_after.py run src out/after
    python benchmarks/before_after.py compare out/before out/after

Weights, PNG and .npz must be equal to the byte, figures within 1e-6; HTML is left out, and of JSON what tells the day
(times, speeds) and the place. Leaves benchmarks/results/before_after.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from results import save

STEPS = 12
TRANSLATORS = ("pix2pix", "cyclegan")
BYTES = (".safetensors", ".png", ".npz", ".csv", ".svg")
DATED = {"time", "seconds", "images_per_second", "place", "reverie", "normal", "data", "images", "classifier"}
ADDED = {"learned", "looks", "threads"}  # what newer versions note beside, in state/pictures.json and in config.json
TOLERANCE = 1e-6


def commands(name: str, kind: Any) -> list[list[str]]:
    """The commands that are run for a model, in a folder of its own."""
    from reverie import capabilities as can

    settings = ["data.pair=edges"] if name.startswith(TRANSLATORS) else []
    words = ["train", name, "--data", "digits", "--out", "run", "--steps", str(STEPS), "--batch-size", "16", "--quiet"]
    words += ["--device", "cpu", "--set", "train.log_every=4", "train.sample_every=6", "train.checkpoint_every=6"]
    words += [*settings, "--evaluate-every", "96"] if issubclass(kind, can.Samples | can.Translates) else settings
    found = [words]
    limits = ["--limit", "60", "--generated", "60", "--samples", "5", "--device", "cpu"]
    found.append(["evaluate", "run", *limits, "--out", "evaluate.json"])
    if issubclass(kind, can.Samples):
        found.append(["sample", "run", "--count", "12", "--save-latents", "latents.npz", "--out", "samples.png"])
        found.append(["interpolate", "run", "--stops", "3", "--between", "3", "--out", "walk.png"])
        found.append(["neighbours", "run", "--count", "3", "--out", "neighbours.png"])
        found.append(["directions", "run", "--pictures", "40", "--count", "2", "--vectors", "v.npz", "--out", "d.png"])
        found.append(["traverse", "run", "--rows", "3", "--columns", "3", "--out", "traverse.png"])
    if issubclass(kind, can.Styles):
        found.append(["mix", "run", "--out", "mix.png"])
    if issubclass(kind, can.Encodes):
        found.append(["embed", "run", "digits", "--split", "test", "--out", "codes.npz"])
        found.append(["cluster", "run", "--count", "3", "--out", "clusters"])
        found.append(["map", "run", "--side", "4", "--out", "map"])
    if issubclass(kind, can.Reconstructs):
        found.append(["reconstruct", "run", "digits", "--count", "8", "--out", "rebuilt.png"])
        found.append(["arithmetic", "run", "3 - 5", "--to", "digits", "--count", "3", "--out", "sum.png"])
        found.append(["denoise", "run", "digits", "--clean", "--count", "4", "--out", "clean.png"])
    if issubclass(kind, can.Reconstructs | can.Discriminates) and not issubclass(kind, can.Translates):
        found.append(["anomaly", "run", "digits", "--split", "test", "--out", "odd"])
    if issubclass(kind, can.Bounds) and issubclass(kind, can.Conditions):
        found.append(["classify", "run", "digits", "--split", "test", "--samples", "2", "--reject", "0.1"])
    return found


def run(package: Path, out: Path) -> None:
    """Run every command with the package of a checkout, each model in a folder of ``out``."""
    code = "import sys; import before_after; before_after.run_here(sys.argv[1])"
    here = str(Path(__file__).parent.resolve())
    place = {"PYTHONPATH": f"{package.resolve()}{os.pathsep}{here}", "REVERIE_CACHE": str(out.resolve() / "cache")}
    out.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-c", code, str(out.resolve())], env=os.environ | place, check=True)


def run_here(out: str) -> None:
    """As `run`, with the package that is importable."""
    from reverie import registry
    from reverie.cli import main

    for name in registry.names():
        folder = Path(out) / name
        folder.mkdir(parents=True)
        os.chdir(folder)
        for i, words in enumerate(commands(name, registry.load_class(name))):
            file = f"{i:02d}-{words[0]}"
            with (
                Path(f"{file}.out").open("w") as said,
                Path(f"{file}.err").open("w") as errors,
                contextlib.redirect_stdout(said),
                contextlib.redirect_stderr(errors),
            ):
                try:
                    main(words)
                except SystemExit as stop:
                    print(f"exit {stop.code}")
        print(name, "done", flush=True)


def compare(before: Path, after: Path) -> dict[str, Any]:
    """What differs, and how much was compared."""
    files = {
        p.relative_to(before) for p in before.rglob("*") if p.is_file() and "cache" not in p.relative_to(before).parts
    }
    others = {
        p.relative_to(after) for p in after.rglob("*") if p.is_file() and "cache" not in p.relative_to(after).parts
    }
    differences = [f"only in one: {file}" for file in sorted(files ^ others) if file.suffix != ".html"]
    counts: dict[str, int] = {}
    for file in sorted(files & others):
        kind = file.suffix
        if kind == ".html" or file.name in (".reverie", ".lock", "README.md"):
            continue
        one, other = (before / file).read_bytes(), (after / file).read_bytes()
        if kind in BYTES and "state" not in file.parts:
            same = one == other
        elif kind in (".json", ".jsonl", ".out"):
            same = _equal(_parsed(one), _parsed(other))
        elif "state" in file.parts:
            same = one[-4096:] == other[-4096:]  # the header holds facts that may grow
        else:
            same = one.replace(bytes(before), b"") == other.replace(bytes(after), b"")
        counts[kind or file.name] = counts.get(kind or file.name, 0) + 1
        if not same:
            differences.append(str(file))
    models = sorted(p.name for p in before.iterdir() if p.name != "cache")
    return {"models": models, "steps": STEPS, "compared": counts, "differences": differences}


def _files(folder: Path) -> set[Path]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path for path in found if path.parts[0] != "cache"}


def _parsed(text: bytes) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(text)
    whole, _, last = text.rstrip().rpartition(b"\n")
    with contextlib.suppress(ValueError):
        return [json.loads(whole), last.decode()]  # figures, and how the command ended
    lines = []
    for line in text.decode().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            lines.append(line)
    return lines


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = (one.keys() | other.keys()) - DATED - ADDED
        return all(key in one and key in other and _equal(one[key], other[key]) for key in keys)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(one == other)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "compare"))
    parser.add_argument("places", nargs=2, type=Path)
    arguments = parser.parse_args()
    if arguments.what == "run":
        run(*arguments.places)
        return
    found = compare(*arguments.places)
    save("before_after", found, 0, "digits")
    sys.exit(bool(found["differences"]))


if __name__ == "__main__":
    main()
