"""One thread a test process: the models are tiny, the processes many."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packs go to a cache of this test run, never to the user's."""
    cache = Path(os.environ.get("REVERIE_TEST_CACHE") or tmp_path_factory.getbasetemp() / "cache")
    monkeypatch.setenv("REVERIE_CACHE", str(cache))
    return cache


@pytest.fixture(autouse=True)
def brief_reference_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What pictures are measured by learns little; a test of how well it measures says how much it needs."""
    for name in ("classifier", "factors"):
        monkeypatch.setattr(f"reverie.features.{name}.SEEN", 1000)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """A run of each model that is asked for, trained once by the command line; not to be changed."""
    done: dict[str, Path] = {}

    def get(model: str) -> Path:
        if model not in done:
            from commands import run, words_for

            done[model] = tmp_path_factory.mktemp("runs") / model
            run(*words_for(done[model], model=model, steps=3))
        return done[model]

    return get
