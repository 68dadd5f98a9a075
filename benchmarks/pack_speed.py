"""How long a folder of many pictures takes to be opened: the first time, later, and as a copy; beside an older version.

python benchmarks/pack_speed.py FOLDER --before CHECKOUT [--rounds 3]

Each opening is a process of its own that imports, and then times `open_dataset`; the two versions take turns, each with
a cache of its own that is empty in the first opening of a round. The folder's files are read once before, so that both
find them in the memory of the system. A later opening follows the first one three seconds later, when the files' times
have settled. Prints and saves JSON: medians in seconds, and ratios of now to before.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import save

CODE = """
import sys, time
from reverie.data import open_dataset
start = time.perf_counter()
found = open_dataset(sys.argv[1])
print(len(found), time.perf_counter() - start)
"""
NOW = Path(__file__).parents[1] / "src"


def seconds(source: Path, folder: Path, cache: Path) -> float:
    """One opening in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(source), "REVERIE_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(folder)], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    count = sum(1 for file in given.folder.rglob("*") if file.is_file() and file.read_bytes())
    versions = {"before": given.before / "src", "now": NOW}
    found: dict[str, dict[str, list[float]]] = {name: {"first": [], "later": [], "copy": []} for name in versions}
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "copy"
        shutil.copytree(given.folder, copy, copy_function=shutil.copyfile)
        for number in range(given.rounds):
            turns = list(versions.items())[:: 1 if number % 2 else -1]
            for kind in ("first", "later", "copy"):
                if kind == "later":
                    time.sleep(3)
                for name, source in turns:
                    folder = copy if kind == "copy" else given.folder
                    repeats = 5 if kind == "later" else 1
                    cache = Path(place) / f"{name} {number}"
                    found[name][kind] += [seconds(source, folder, cache) for _ in range(repeats)]
    medians = {name: {k: round(statistics.median(v), 3) for k, v in kinds.items()} for name, kinds in found.items()}
    ratios = {k: round(medians["now"][k] / medians["before"][k], 3) for k in medians["now"]}
    save(
        "pack_speed", {"pictures": count, "seconds": medians, "now_to_before": ratios}, seed=0, data="CIFAR-10 as JPEG"
    )


if __name__ == "__main__":
    main()
