"""The device of a training, its matrix precision, and its random state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from reverie.errors import ReverieError


def pick_device(word: str | torch.device) -> torch.device:
    """The device for "auto", "cpu", "cuda", "cuda:N" or "mps". Raises ReverieError if this machine does not have it."""
    if isinstance(word, torch.device):
        return word
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if word == "auto":
        word = "cuda" if there["cuda"] else "mps" if there["mps"] else "cpu"
    kind, _, number = word.partition(":")
    if kind not in there or (number and not (kind == "cuda" and number.isdecimal())):
        raise ReverieError(f"--device is one of auto, {', '.join(there)}, not '{word}'.")
    if not there[kind]:
        raise ReverieError(f"This machine has no {kind} device that PyTorch can use; take --device auto.")
    if number and int(number) >= torch.cuda.device_count():
        raise ReverieError(f"This machine has {torch.cuda.device_count()} CUDA devices, and so no {word}.")
    return torch.device(word)


@contextmanager
def quick_products(device: torch.device) -> Iterator[None]:
    """Allow TF32 for float32 matrix products and convolutions on CUDA inside the block; restored afterwards."""
    if device.type != "cuda":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """So many CPU threads inside the block (None: no change); restored afterwards."""
    if count is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def own_randomness(device: torch.device) -> Iterator[None]:
    """Restore the global random generators of the CPU and of the device when the block ends."""
    with torch.random.fork_rng(devices=[device.index or 0] if device.type == "cuda" else []):
        yield


@contextmanager
def training_state(device: torch.device, cpu_threads: int | None) -> Iterator[None]:
    """The global state of torch in which a training computes, inside the block; restored afterwards."""
    with threads(cpu_threads), own_randomness(device), quick_products(device):
        yield
