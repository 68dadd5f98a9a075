"""Does the suite notice? Break the code in ways that matter, one at a time, and run the tests that should fail.

python benchmarks/mutations.py

Works on a copy of the tree. Prints and saves JSON; exits with 1 where a mutation survived.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from results import save

ROOT = Path(__file__).resolve().parent.parent

# what is broken: (file below src/reverie, the line as it is, the line broken, the tests that must notice)
MUTATIONS = {
    "gradients leak across phases": (
        "engine/loop.py",
        "parameter.requires_grad_(other == name)",
        "parameter.requires_grad_(True)",
        "tests/test_engine.py",
    ),
    "the draws of a phase are not seeded by the step": (
        "engine/loop.py",
        "draw = Draw(self.plan.seed, self.step,",
        "draw = Draw(int.from_bytes(__import__('os').urandom(4), 'little'), self.step,",
        "tests/test_engine.py",
    ),
    "layers that draw for themselves are not seeded": (
        "engine/loop.py",
        "self._generator.manual_seed(derive(",
        "str(derive(",
        "tests/test_engine.py",
    ),
    "the data order forgets where it was": (
        "engine/loop.py",
        'self.step, self.drawn, self.images = meta["step"], meta["drawn"], meta["images"]',
        'self.step, self.drawn, self.images = meta["step"], 0, meta["images"]',
        "tests/test_engine.py",
    ),
    "buffers are left out of the checkpoint": (
        "engine/loop.py",
        'tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}',
        'tensors = {f"model.{k}": v for k, v in self.model.named_parameters()}',
        "tests/test_engine.py",
    ),
    "the optimizer is left out of the checkpoint": (
        "engine/loop.py",
        'tensors[f"optimizer.{name}.{i}.{key}"] = value',
        "pass",
        "tests/test_engine.py",
    ),
    "the pending logs are left out of the checkpoint": (
        "engine/loop.py",
        'tensors |= {f"logs.{k}": v for k, v in self._sums.items()}',
        "pass",
        "tests/test_resume.py -k vae",
    ),
    "the average is not restored": (
        "engine/loop.py",
        'targets |= {f"ema.{k}": v for k, v in self.average.model.state_dict().items()}',
        "pass",
        "tests/test_engine.py",
    ),
    "lazy phases are not scaled": (
        "engine/loop.py",
        "loss * (phase.every / (micro * self.world.size))",
        "loss * (1 / (micro * self.world.size))",
        "tests/test_engine.py",
    ),
    "ranks do not add up gradients": (
        "engine/loop.py",
        "self.world.sum_([p.grad for p in owned if p.grad is not None])",
        "pass",
        "tests/test_distributed.py",
    ),
    "ranks draw the same noise": (
        "engine/loop.py",
        "first = (self.world.rank * micro + i) * size",
        "first = i * size",
        "tests/test_distributed.py",
    ),
    "a state is written in place": (
        "files.py",
        'temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{_TEMPORARY}")',
        "temporary = path",
        "tests/test_resume.py tests/test_artifact.py tests/test_cli.py",
    ),
    "checksums are not compared": (
        "engine/checkpoint.py",
        'if meta.pop("checksum") != _checksum(tensors):',
        'if meta.pop("checksum") is None:',
        "tests/test_resume.py -k damaged",
    ),
    "KL is averaged over latent dimensions": (
        "models/vae.py",
        "if self.config.free_bits > 0 else kl.sum(1).mean()",
        "if self.config.free_bits > 0 else kl.mean()",
        "tests/test_vae.py",
    ),
    "the squared error is averaged over pixels": (
        "losses/reconstruction.py",
        "return summed((targets - mean).square())",
        "return summed((targets - mean).square()) / mean[0].numel()",
        "tests/test_losses.py tests/test_vae.py",
    ),
}


def main() -> None:
    survived, rows = [], {}
    for what, (file, old, new, tests) in MUTATIONS.items():
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder) / "tree"
            shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".venv", ".git", "runs", "__pycache__"))
            target = tree / "src" / "reverie" / file
            text = target.read_text(encoding="utf-8")
            if old not in text:
                sys.exit(f"'{old}' is no longer in {file}: bring this benchmark up to date")
            target.write_text(text.replace(old, new), encoding="utf-8")
            environment = os.environ | {"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests.split()]
            done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
            noticed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
            rows[what] = noticed[0].split(" - ")[0] if done.returncode == 1 and noticed else "SURVIVED"
            if rows[what] == "SURVIVED":
                survived.append(what)
            print(f"{what}: {rows[what]}", file=sys.stderr, flush=True)
    save("mutations", {"noticed_by": rows, "survived": survived}, seed=0)
    sys.exit(bool(survived))


if __name__ == "__main__":
    main()
