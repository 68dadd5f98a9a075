"""Two ranks equal one: to the bit without batch statistics, else within a bound that a wrong sum would exceed."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cases import BATCH_STATISTICS, NAMES, SMALL, loop_for
from processes import PROCESSES
from reverie.engine.distributed import World

STEPS = 5
# Batch normalisation: one rank sees the whole batch, two see halves and exchange sums, rounded differently.
TOLERANCE = dict.fromkeys(("normed", *BATCH_STATISTICS), 2e-5)
# These toys let what one half of the batch did change the other half's loss; ranks keep that state each for themselves.
OWN_STATE = ("pool", "lazy")


def as_rank(rank: int, port: int, job: Any, *args: Any) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    job(*args)


def together(job: Any, *args: Any) -> list[int | None]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [PROCESSES.Process(target=as_rank, args=(r, port, job, *args)) for r in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def all_models(folder: str) -> None:
    world = World()
    world.join(torch.device("cpu"))
    for name in NAMES:
        loop = loop_for(name, world)
        for _ in range(STEPS):
            loop.advance()
        tensors, _ = loop.state()
        means = loop.means()
        mine = {k: v.detach().clone().contiguous() for k, v in tensors.items()}
        save_file(mine, Path(folder) / f"{name}-{world.rank}.safetensors")
        (Path(folder) / f"{name}-{world.rank}.json").write_text(json.dumps(means))
    world.leave()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    assert together(all_models, str(folder)) == [0, 0]
    return folder


@pytest.mark.parametrize("name", OWN_STATE)
def test_ranks_agree_on_the_weights_though_each_has_its_own_buffers(name: str, two_ranks: Path) -> None:
    ranks = [load_file(two_ranks / f"{name}-{r}.safetensors") for r in range(2)]
    for key in dict(loop_for(name).model.named_parameters()):
        assert torch.equal(ranks[0][f"model.{key}"], ranks[1][f"model.{key}"]), key


@pytest.mark.parametrize("name", [n for n in NAMES if n not in OWN_STATE])
def test_two_ranks_equal_one(name: str, two_ranks: Path) -> None:
    tolerance = TOLERANCE.get(name, 0.0)
    loop = loop_for(name, microbatches=1 if tolerance else 2)
    start = {k: v.detach().clone() for k, v in loop.model.named_parameters()}
    for _ in range(STEPS):
        loop.advance()
    ranks = [load_file(two_ranks / f"{name}-{r}.safetensors") for r in range(2)]
    moved = 0.0
    for key, value in loop.model.named_parameters():
        for rank in ranks:
            assert torch.equal(rank[f"model.{key}"], ranks[0][f"model.{key}"])
            torch.testing.assert_close(rank[f"model.{key}"], value.detach(), rtol=tolerance, atol=tolerance)
        moved = max(moved, float((value.detach() - start[key]).abs().max()))
    assert moved > 5e-4  # far above the tolerance: a gradient summed wrongly would be seen
    means = loop.means()
    found = [json.loads((two_ranks / f"{name}-{r}.json").read_text()) for r in range(2)]
    assert found[0] == found[1]
    for key, value in means.items():
        if tolerance and key == "diversity":
            continue  # the spread within what one rank sees: a log, not a loss
        assert found[0][key] == pytest.approx(value, rel=1e-4, abs=1e-6), key


def test_batch_statistics_are_those_of_the_whole_batch(two_ranks: Path) -> None:
    loop = loop_for("normed")
    for _ in range(STEPS):
        loop.advance()
    for rank in range(2):
        tensors = load_file(two_ranks / f"normed-{rank}.safetensors")
        for key, value in loop.model.named_buffers():
            torch.testing.assert_close(tensors[f"model.{key}"], value, rtol=1e-5, atol=1e-6)


def test_every_rank_s_buffers_are_saved(two_ranks: Path) -> None:
    tensors = load_file(two_ranks / "pool-0.safetensors")
    assert tensors["rank1.pool"].shape == tensors["model.pool"].shape
    assert not torch.equal(tensors["rank1.pool"], tensors["model.pool"])
    torch.testing.assert_close(load_file(two_ranks / "pool-1.safetensors")["model.pool"], tensors["rank1.pool"])


def whole_training(out: str, microbatches: int, resume: bool, steps: int) -> None:
    from reverie.training import train

    settings = {
        "train": {"steps": 8, "batch_size": 16, "microbatches": microbatches, "log_every": 2, "checkpoint_every": 2},
        "model": SMALL | {"network": "mlp", "sigma": 0.3},
        "data": {"shift": 1, "limit": 120},
    }
    if resume:
        settings = {"train": {"steps": steps}}
    train("vae", "digits", out, settings=settings, device="cpu", quiet=True, resume=resume)


def test_a_training_on_two_ranks_leaves_the_run_of_one(tmp_path: Path) -> None:
    assert together(whole_training, str(tmp_path / "two"), 1, False, 8) == [0, 0]
    assert together(whole_training, str(tmp_path / "two"), 1, True, 12) == [0, 0]
    whole_training(str(tmp_path / "one"), 2, False, 8)
    whole_training(str(tmp_path / "one"), 2, True, 12)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for key, value in one.items():
        if key.startswith("mixture"):
            continue  # fitted afterwards, not trained
        torch.testing.assert_close(two[key], value, rtol=0, atol=0)
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("one", "two")]
    assert len(lines[0]) == len(lines[1]) == 6
    for left, right in zip(*lines, strict=True):
        for key, value in json.loads(left).items():
            assert json.loads(right)[key] == pytest.approx(value, rel=1e-6)


class Patience:
    """Stops at a step by what it has counted, on the first rank alone."""

    def __init__(self, folder: str, stop: int) -> None:
        self.folder, self.stop, self.count = folder, stop, 0

    def on_step(self, trainer: Any) -> None:
        self.count += 1
        if self.count == self.stop:
            trainer.stop()

    def on_end(self, trainer: Any) -> None:
        Path(self.folder, f"patience-{trainer.world.rank}.json").write_text(json.dumps([trainer.step, self.count]))

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


class Everywhere(Patience):
    """The same on every rank, which all end at the first one's word."""

    every_rank = True

    def on_end(self, trainer: Any) -> None:
        Path(self.folder, f"everywhere-{trainer.world.rank}.json").write_text(json.dumps([trainer.step, self.count]))


def training_with_callbacks(folder: str, resume: bool) -> None:
    from reverie.training import train

    settings = {"train": {"steps": 8, "batch_size": 16, "log_every": 3}, "model": SMALL | {"network": "mlp"}}
    callbacks = [Patience(folder, 3 if not resume else 6), Everywhere(folder, 99)]
    words: dict[str, Any] = {"settings": {} if resume else settings, "quiet": True, "resume": resume}
    train("ae", "digits", f"{folder}/run", device="cpu", callbacks=callbacks, **words)


class StopsAt:
    """Stops in the method that is named, on the first rank alone."""

    def __init__(self, method: str) -> None:
        setattr(self, method, lambda trainer, *_: trainer.stop())

    def on_end(self, trainer: Any) -> None: ...


def training_that_stops(folder: str, method: str) -> None:
    from reverie.training import train

    settings = {"train": {"steps": 8, "batch_size": 16, "checkpoint_every": 3}, "model": SMALL | {"network": "mlp"}}
    train("ae", "digits", folder, device="cpu", callbacks=[StopsAt(method)], settings=settings, quiet=True)


@pytest.mark.parametrize(("method", "step"), [("on_start", 0), ("on_checkpoint", 3)])
def test_stops_at_odd_moments_stop_both(method: str, step: int, tmp_path: Path) -> None:
    assert together(training_that_stops, str(tmp_path / "run"), method) == [0, 0]
    last = json.loads((tmp_path / "run" / "events.jsonl").read_text().splitlines()[-1])
    assert (last["step"], last["finished"]) == (step, True)


def test_a_callback_of_the_first_rank_stops_both(tmp_path: Path) -> None:
    for resume, step in ((False, 3), (True, 6)):
        assert together(training_with_callbacks, str(tmp_path), resume) == [0, 0]
        assert json.loads((tmp_path / "patience-0.json").read_text()) == [step, step]
        assert not (tmp_path / "patience-1.json").exists()
        for rank in range(2):
            assert json.loads((tmp_path / f"everywhere-{rank}.json").read_text()) == [step, step]
    assert (tmp_path / "run" / "report.html").exists()
