"""The command line as tests call it, with words for small runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from cases import TRANSLATORS, settings_for
from reverie import registry
from reverie.cli import main

TINY = ["--set", "train.batch_size=8", "data.limit=80"]


def words_for(
    out: Path, *more: object, model: str = "vae", data: object = "digits", steps: int | None = 2
) -> list[str]:
    """`train`, small, quiet and on the CPU."""
    budget = [] if steps is None else ["--steps", steps]
    small = settings_for(model, network="mlp") if model in registry.names() else {}
    tiny = TINY + [f"model.{key}={value}" for key, value in small.items()]
    tiny += ["data.pair=invert"] if model in TRANSLATORS else []
    words = ["train", model, "--data", data, "--out", out, "--quiet", "--device", "cpu", *budget, *tiny, *more]
    return [str(word) for word in words]


def fails(capsys: pytest.CaptureFixture[str], *words: object, code: int = 2) -> str:
    """The one sentence on stderr with which the command ends."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    out, said = capsys.readouterr()
    # How data was read is said before what is wrong with what was asked of it.
    err = "".join(line for line in said.splitlines(keepends=True) if not line.startswith("reverie: reading "))
    assert stopped.value.code == code
    assert out == ""
    assert err.startswith("reverie: ")
    assert err.endswith((".\n", "?\n"))
    assert err.count("\n") == 1
    assert 20 < len(err) < 500
    assert "Traceback" not in err
    assert not any(kind in err for kind in ("Error(", "Errno", "torch.", "object at 0x"))
    return err


def visible(folder: Path) -> list[str]:
    """The files below a folder, by their paths in it; hidden ones are reverie's own notes."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))


def run(*words: object) -> None:
    """Cyclopts 4 ends a command that went well by exit(0), cyclopts 3 by returning."""
    try:
        main([str(word) for word in words])
    except SystemExit as stopped:
        if stopped.code:
            raise


def succeeds(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    run(*words)
    return capsys.readouterr().out
