"""How fast a training is while another process takes a core, by how waiting threads wait.

    python benchmarks/shared_cpu.py

A convolutional VAE learns faces of 32 pixels for a few seconds: from Python with nothing set (waiting threads spin), by
the command line (which sets ``OMP_WAIT_POLICY=PASSIVE``), and by it with one thread; each alone, and beside a process
that loops for ever. The ways take turns; medians of pictures a second, and their ratios.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from results import save

STEPS, ROUNDS = 120, 3
SETTINGS = {"train": {"steps": STEPS, "log_every": STEPS // 4, "sample_every": 10 * STEPS}, "data": {"limit": 4000}}
BY_PYTHON = (
    "import sys, json, reverie; settings = json.loads(sys.argv[2]); "
    "reverie.train('vae', 'faces:32', sys.argv[1], settings=settings, quiet=True)"
)


def rate(way: str, folder: Path) -> float:
    """Pictures a second of one training, after its first log."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    if way == "python":
        words = ["-c", BY_PYTHON, str(folder), json.dumps(SETTINGS)]
    else:
        sets = [f"{section}.{key}={value}" for section, values in SETTINGS.items() for key, value in values.items()]
        sets += ["train.threads=1"] if way == "one thread" else []
        words = ["-m", "reverie", "train", "vae", "--data", "faces:32", "--out", str(folder), "--set", *sets]
    subprocess.run([sys.executable, *words], env=environment, check=True, capture_output=True)
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return statistics.median([line["images_per_second"] for line in lines if "images_per_second" in line][1:])


def main() -> None:
    ways, found = ("python", "command", "one thread"), {}
    with tempfile.TemporaryDirectory() as place:
        rate("command", Path(place) / "warm")  # draws the faces
        for busy in (False, True):
            other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
            try:
                rates: dict[str, list[float]] = {way: [] for way in ways}
                for number in range(ROUNDS):
                    for way in ways:
                        rates[way].append(rate(way, Path(place) / f"{busy}-{number}-{way.replace(' ', '-')}"))
            finally:
                if other:
                    other.kill()
            found["one core taken" if busy else "idle"] = {way: statistics.median(each) for way, each in rates.items()}
    for figures in found.values():
        figures["command / python"] = figures["command"] / figures["python"]
        figures["command / one thread"] = figures["command"] / figures["one thread"]
    save("shared_cpu", found, data="faces:32, 4,000 pictures", seed=0)


if __name__ == "__main__":
    main()
