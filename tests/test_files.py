"""Files are written whole, with the permissions that the user's umask gives."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from reverie.files import replacing


@pytest.fixture(params=[0o022, 0o027, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_files_have_the_permissions_of_the_umask(umask: int, tmp_path: Path) -> None:
    """As it is when they are written; whoever writes them, and whatever was there."""
    (tmp_path / "plain").write_text("old")
    (tmp_path / "plain").chmod(0o666)
    with replacing(tmp_path / "plain") as temporary:
        temporary.write_text("new")
    with replacing(tmp_path / "tensors", sync=False, noted=False) as temporary:
        save_file({"x": torch.zeros(1)}, temporary)
    for name in ("plain", "tensors"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~umask
    assert (tmp_path / "plain").read_text() == "new"
    assert not list(tmp_path.glob(".*.partial"))


def test_importing_does_not_touch_the_umask() -> None:
    code = "import os\ndef no(_): raise SystemExit('umask was set')\nos.umask = no\nimport reverie.files"
    subprocess.run([sys.executable, "-c", code], check=True)
