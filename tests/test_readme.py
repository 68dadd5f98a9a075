"""The README: its Python runs, it is short, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pages import ROOT, SIDE, reader_s, run_page
from reverie import registry
from reverie.cli import app

README = ROOT / "README.md"


def test_the_python_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader_s(tmp_path)
    monkeypatch.chdir(tmp_path)
    names = run_page(README)
    assert names["pictures"].shape == (16, 3, SIDE, SIDE)
    assert len(names["codes"]) == len(names["reverie"].load("runs/first").open())
    assert names["odd"].shape == (4,)
    assert names["run"].path.name == "patient"
    capsys.readouterr()


def test_the_first_screen_is_a_picture_and_two_commands() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    first = lines[:20]
    assert any(line.startswith("![") for line in first)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    told = [words.split()[1] for words in first if words.startswith("make ")]
    assert told == ["demo", "test"]
    assert set(told) <= targets


def test_commands_and_models_that_it_names_are_there() -> None:
    prose = re.sub(r"^```.*?^```$", "", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    uses = prose[prose.index("## What it is for") : prose.index("## From Python")]
    named = {words.split()[0]: words.split()[1:] for words in re.findall(r"`([^`]+)`", uses)}
    assert len(named) > 10
    assert not [command for command in named if command not in app]
    models = re.findall(r"`train ([^`]+)`", uses)
    assert models
    assert set(models) <= set(registry.names())
