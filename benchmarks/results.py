"""Where benchmarks leave their figures: benchmarks/results/NAME.json, with all that is needed to run them again."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

FOLDER = Path(__file__).parent / "results"
_BEGAN = time.time()


def machine() -> str:
    """Cores, memory, Python and PyTorch; no names."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB, {gpu}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def commit() -> str:
    """The commit the code is at, with a + where files differ from it; REVERIE_COMMIT says it where there is no git."""
    if "REVERIE_COMMIT" in os.environ:
        return os.environ["REVERIE_COMMIT"]
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, cwd=FOLDER.parent
    )
    return found.stdout.strip()


def save(name: str, figures: dict[str, Any], seed: int, data: str = "") -> None:
    """Write the figures of a benchmark and print them."""
    words = [Path(w).name if "/" in w else w for w in sys.argv]  # no path of the machine it ran on
    row = {
        "command": shlex.join(["python", *words]),
        "commit": commit(),
        "seed": seed,
        "data": data,
        "machine": machine(),
        "wall_seconds": round(time.time() - _BEGAN, 1),
        "figures": figures,
    }
    text = json.dumps(row, indent=2)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(text)
