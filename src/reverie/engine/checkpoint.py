"""The training state on disk: one safetensors file per checkpoint, checked by a checksum, the last two kept.

Files are written to a temporary name, synced and renamed, so that a process killed at any moment leaves complete files.
A file damaged afterwards is detected by its checksum, and the one before it is used.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from reverie.errors import ReverieError
from reverie.files import encodable, replacing, savable, sweep, unreadable

KEPT = 2


def _checksum(tensors: dict[str, Tensor]) -> int:
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(name.encode(), total)
        total = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes(), total)
    return total


class CheckpointFolder:
    """The folder ``state/`` of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Write the state of a step, then delete all but the last two."""
        plain = savable(tensors)
        text = json.dumps(meta | {"step": step, "checksum": _checksum(plain)})
        with replacing(self.folder / f"{step:09d}.safetensors") as temporary, encodable(temporary) as named:
            save_file(plain, named, metadata={"reverie": text})
        for old in self._files()[:-KEPT]:
            old.unlink(missing_ok=True)

    def newest(self) -> tuple[dict[str, Tensor], dict[str, Any], list[str]] | None:
        """(tensors, meta, names of damaged newer files) of the newest intact state; None if there is no state.

        Raises ReverieError if there are states and all are damaged.
        """
        sweep(self.folder)
        damaged: list[str] = []
        for file in reversed(self._files()):
            try:
                return *self._read(file), damaged
            except PermissionError as error:
                raise unreadable(file) from error
            except (OSError, SafetensorError, ValueError, KeyError, TypeError):
                damaged.append(file.name)
        if damaged:
            raise ReverieError(f"Every saved state in {self.folder} is damaged; remove the folder to train anew.")
        return None

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.safetensors"))

    def _read(self, file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        with encodable(file) as named, safe_open(named, framework="pt") as opened:
            meta = json.loads((opened.metadata() or {})["reverie"])
            tensors = {name: opened.get_tensor(name) for name in list(opened.keys())}
        if meta.pop("checksum") != _checksum(tensors):
            raise ValueError("checksum")
        return tensors, meta
