"""Random sequences of commands in one folder, some at once and some killed, lose and confuse nothing.

A few here; two hundred by benchmarks/sequences.py, which says what is asked of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
CODE = """
import json, sys
from pathlib import Path
from sequences import sequences
found = sequences(4, 7, Path(sys.argv[1]), steps=2)
print(json.dumps([found.violations, found.counts]))
"""


def test_random_sequences_of_commands_destroy_and_confuse_nothing(tmp_path: Path) -> None:
    # In a process of its own, in which nothing was computed before it forks.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(BENCHMARKS), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    violations, counts = json.loads(done.stdout.splitlines()[-1])
    assert not violations, done.stderr[-4000:]
    assert counts["runs compared"] >= 4
    assert counts["commands"] > 10
