"""Every block of Python on a page of docs/ runs, and does what the page says; what pages link to is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import reverie
from pages import ROOT, SIDE, blocks, reader_s, run_page
from reverie import registry

PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md") if blocks(page))
LINKING = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def own_data(names: dict[str, Any]) -> None:
    assert names["pictures"].shape == (16, 3, 16, 16)
    assert names["rebuilt"].shape == (8, 3, 16, 16)
    assert len(names["codes"]) == 400
    assert names["told"].model.classes == ("bright", "dark")
    assert names["bright"].shape == (4, 3, 16, 16)
    assert names["scans"].image_spec.scales[0].high == 3000
    assert names["stripes"].image_spec.shape == (1, 16, 16)
    assert names["batch"].shape == (32, 3, 8, 8)
    assert "reconstruction" in names["figures"]


def own_model(names: dict[str, Any]) -> None:
    assert {"sparse-vae", "plain"} <= set(registry.names())
    assert len(names["scores"]) == len(names["data"].split("test"))
    assert names["run"].model is not None
    assert names["run"].sample(2).shape == (2, 1, 8, 8)


def callbacks(names: dict[str, Any]) -> None:
    assert len(list(Path("gallery").glob("*.png"))) == 1
    assert sorted(names["copies"].kept) == [12]
    assert (Path("states") / "state").is_dir()
    assert names["trainer"].step == 12
    assert isinstance(names["trained"], torch.nn.Module)


def python(names: dict[str, Any]) -> None:
    assert names["pictures"].shape == names["mixed"].shape == (16, 3, SIDE, SIDE)
    assert names["codes"].shape[0] == len(names["test"])
    assert names["odd"].shape == (4,)
    assert names["rebuilt"].shape == (8, 3, 32, 32)
    assert names["cats"].shape == (16, 3, SIDE, SIDE)
    assert names["translated"].shape == (3, 3, SIDE, SIDE)


CLAIMS = {"own-data.md": own_data, "own-model.md": own_model, "callbacks.md": callbacks, "python.md": python}


def test_every_page_with_code_is_held_to_its_claims() -> None:
    assert {page.name for page in PAGES} == set(CLAIMS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader_s(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "MODELS", dict(registry.MODELS))  # what is registered here is not there afterwards
    CLAIMS[page.name](run_page(page))
    capsys.readouterr()


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert not [target for target in targets if target and not (page.parent / target).exists()]


def test_the_api_has_a_place_for_every_public_name() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.md"))
    placed = re.findall(r"^::: reverie\.(\w+)$", pages, re.MULTILINE)
    assert sorted(set(placed) & set(reverie.__all__)) == sorted(reverie.__all__)
    assert len(placed) == len(set(placed))


def test_every_page_is_in_the_site_s_navigation() -> None:
    listed = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert listed == pages | {"index.md", "contributing.md"}


def test_the_table_of_models_has_each_of_them() -> None:
    told = set(re.findall(r"`([\w-]+)`", (ROOT / "docs" / "models.md").read_text(encoding="utf-8")))
    ours = {name for name in registry.names() if registry.load_class(name).__module__.startswith("reverie.")}
    assert ours <= told
