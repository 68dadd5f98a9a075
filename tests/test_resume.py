"""Training that is killed and resumed equals training that is not, bit for bit.

Each training is a process of its own, forked from a server that has imported everything but computed nothing, and is
ended by SIGKILL: between two steps, inside the writing of a state, or whenever the parent pleases.
"""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cases import TRANSLATORS, settings_for
from processes import PROCESSES
from reverie import registry
from reverie.engine.checkpoint import CheckpointFolder
from reverie.errors import ReverieError

STEPS = 24


def run_settings(name: str, workers: int) -> dict[str, dict[str, Any]]:
    train = {
        "steps": STEPS, "batch_size": 16, "log_every": 5, "checkpoint_every": 4, "sample_every": 10, "workers": workers,
        "ema": 0.9,
    }  # fmt: skip
    data = {"shift": 1, "limit": 120} | ({"pair": "invert"} if name in TRANSLATORS else {})
    return {"model": settings_for(name, network="mlp"), "train": train, "data": data}


def work(name: str, out: str, resume: bool, workers: int, die: tuple[str, int] | None) -> None:
    """What a child process does: train, and die by SIGKILL when told to."""
    torch.set_num_threads(1)
    from reverie import files
    from reverie.engine.loop import Loop
    from reverie.training import train

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if die is not None:
        where, when = die
        count = 0
        owner: Any = Loop if where == "step" else files.os
        method = {"step": "advance", "sync": "fsync", "rename": "replace"}[where]
        original = getattr(owner, method)

        def dying(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count > when:
                kill()
            return original(*args, **kwargs)

        setattr(owner, method, dying)
    settings = run_settings(name, workers)
    train(name, "digits", out, resume=resume, settings={} if resume else settings, device="cpu", quiet=True)


def run(name: str, out: Path, *, resume: bool = False, workers: int = 0, die: tuple[str, int] | None = None) -> int:
    process = PROCESSES.Process(target=work, args=(name, str(out), resume, workers, die))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def started(out: Path) -> bool:
    return (out / "config.json").exists()


def outcome(out: Path) -> tuple[dict[str, torch.Tensor], bytes, dict[str, torch.Tensor]]:
    found = CheckpointFolder(out / "state").newest()
    assert found is not None
    assert found[1]["step"] == STEPS
    return found[0], (out / "metrics.jsonl").read_bytes(), load_file(out / "model.safetensors")


def assert_same(a: Path, b: Path) -> None:
    (state, metrics, weights), (state_b, metrics_b, weights_b) = outcome(a), outcome(b)
    assert metrics == metrics_b
    assert len(metrics.splitlines()) == 5
    assert any(k.startswith("optimizer.") for k in state)
    assert any(k.startswith("ema.") for k in state)
    for left, right in ((state, state_b), (weights, weights_b)):
        assert left.keys() == right.keys()
        for key in left:
            assert torch.equal(left[key], right[key]), key


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {}


def reference(name: str, done: dict[str, Path], factory: pytest.TempPathFactory) -> Path:
    if name not in done:
        done[name] = factory.mktemp("whole") / name
        assert run(name, done[name]) == 0
    return done[name]


@pytest.mark.parametrize("name", registry.names())
def test_killed_and_resumed_equals_uninterrupted(
    name: str, uninterrupted: dict[str, Path], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = reference(name, uninterrupted, tmp_path_factory)
    chance = random.Random(name)
    out, kills = tmp_path / name, 0
    deaths = [("step", chance.randint(1, 9)), ("sync", chance.randint(2, 9)), ("rename", chance.randint(1, 6))]
    for workers, die in zip((0, 2, 0), deaths, strict=True):
        code = run(name, out, resume=started(out), workers=workers, die=die)
        assert code == -signal.SIGKILL
        kills += 1
    assert run(name, out, resume=started(out)) == 0
    assert kills == 3
    assert not list((out / "state").glob(".*"))
    assert_same(whole, out)


def test_killed_from_outside_with_loader_workers(
    uninterrupted: dict[str, Path], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = reference("vae", uninterrupted, tmp_path_factory)
    out = tmp_path / "vae"
    chance = random.Random(5)
    for _ in range(3):
        process = PROCESSES.Process(target=work, args=("vae", str(out), started(out), 2, None))
        process.start()
        process.join(chance.uniform(0.2, 1.5))
        process.kill()
        process.join()
    code = run("vae", out, resume=started(out), workers=2)
    assert code == 0
    assert_same(whole, out)


def test_interruption_saves_and_says_how_to_go_on(
    uninterrupted: dict[str, Path], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from reverie.engine.loop import Loop
    from reverie.errors import Interrupted
    from reverie.training import train

    whole = reference("ae", uninterrupted, tmp_path_factory)
    out = tmp_path / "ae"
    for number in (signal.SIGINT, signal.SIGTERM):
        advance = Loop.advance

        def stopping(self: Loop, number: int = number, advance: Any = advance) -> None:
            advance(self)
            if self.step in (7, 13):
                os.kill(os.getpid(), number)

        Loop.advance = stopping
        try:
            with pytest.raises(Interrupted, match=r"--resume"):
                train(
                    "ae",
                    "digits",
                    out,
                    resume=started(out),
                    settings={} if started(out) else run_settings("ae", 0),
                    quiet=True,
                )
        finally:
            Loop.advance = advance
    assert run("ae", out, resume=True) == 0
    assert_same(whole, out)


def test_a_damaged_newest_state_gives_way_to_the_one_before(
    uninterrupted: dict[str, Path], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = reference("vae", uninterrupted, tmp_path_factory)
    out = tmp_path / "vae"
    assert run("vae", out, die=("step", 10)) == -signal.SIGKILL
    files = sorted((out / "state").glob("*.safetensors"))
    assert [int(f.stem) for f in files] == [4, 8]
    content = bytearray(files[-1].read_bytes())
    content[-20] ^= 1  # one bit, deep in a tensor: only a checksum can tell
    files[-1].write_bytes(bytes(content))
    assert run("vae", out, resume=True) == 0
    warnings = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines() if "warning" in line]
    assert "000000008.safetensors is damaged" in warnings[0]["warning"]
    assert_same(whole, out)


def test_all_states_damaged_is_said(tmp_path: Path) -> None:
    (tmp_path / "000000004.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ReverieError, match="is damaged"):
        CheckpointFolder(tmp_path).newest()


def test_a_finished_run_can_be_resumed_for_longer(tmp_path: Path) -> None:
    from reverie.training import train

    out = tmp_path / "run"
    train("ae", "digits", out, settings=run_settings("ae", 0), quiet=True)
    train("ae", "digits", out, resume=True, settings={"train": {"steps": STEPS + 6}}, quiet=True)
    assert [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()][-1] == STEPS + 6


def test_minutes_become_steps_that_are_written_down(tmp_path: Path) -> None:
    from reverie.training import train

    settings = run_settings("ae", 0)
    del settings["train"]["steps"]
    settings["train"]["minutes"] = 0.02
    run_ = train("ae", "digits", tmp_path / "run", settings=settings, quiet=True)
    steps = run_.config["settings"]["train"]["steps"]
    assert steps >= 1
    assert run_.config["settings"]["train"]["minutes"] is None  # what was resolved can be repeated with --config
    first = json.loads((tmp_path / "run" / "events.jsonl").read_text().splitlines()[0])
    assert (first["asked"], first["steps"]) == ({"minutes": 0.02}, steps)
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == steps
