"""The report and the model card of hand-made runs, and of a real one."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import reverie
from reverie.capabilities import Code, Encodes
from reverie.engine.model import ImageSpec, Model
from reverie.reporting.card import write_card
from reverie.reporting.formatting import number
from reverie.reporting.rendering import code, fence
from reverie.reporting.report import STRIP, write_report

VOID = {"meta", "img", "br", "hr", "link", "input"}
EVIL = '<script>alert("x")</script>'
CLASSES = (EVIL, "b & c")


class Plain(Model):
    """No capability at all."""

    taxonomy = "implicit"
    paper = "none"

    def __init__(self, image_spec: ImageSpec) -> None:
        super().__init__(None, image_spec)
        self.layer = torch.nn.Linear(math.prod(image_spec.shape), 3)


class Encoder(Plain, Encodes):
    """The first ``size`` pixels are the code."""

    size = 5

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        return Code(images.flatten(1)[:, : self.size])


class Pair(Encoder):
    size = 2


class Single(Encoder):
    size = 1


class Set:
    """Random pictures, the same for every split."""

    def __init__(self, classes: Sequence[str] = (), count: int = 40) -> None:
        random = np.random.default_rng(0)
        self.pixels = random.integers(0, 256, (count, 1, 4, 4), np.uint8)
        self.labels = random.integers(0, len(classes), count) if classes else None
        self.names = [f"{i}.png" for i in range(count)]
        self.image_spec = ImageSpec(1, 4, 4, tuple(classes))
        self.found: dict[str, Any] = {"splits": {"train": count}, "notes": [EVIL]}
        self.unreadable = [(EVIL, "broken")]

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pixels[indices]

    def split(self, which: str) -> Set:
        return self


class Page(HTMLParser):
    """Checks that every tag is closed in order, and collects what the tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.within: dict[str, str] = {}  # the text in every kind of element
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data + " "
        for tag in self.open:
            self.within[tag] = self.within.get(tag, "") + data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag]

    def headings(self) -> list[str]:
        return re.findall(
            r"Warnings|Samples over time|Reconstructions|Training|Latent space|How to use|Settings", self.text
        )


def make_run(
    folder: Path,
    metrics: Sequence[dict[str, Any]] = (),
    events: Sequence[dict[str, Any]] = (),
    classes: Sequence[str] = (),
    steps: Sequence[int] = (),
    model: str = "vae",
    spec: str = "digits",
) -> dict[str, Any]:
    """A run folder as training leaves it, without weights; returns its config."""
    config = {
        "format": 1,
        "reverie": "0.1.0",
        "model": model,
        "facts": {"channels": 1, "height": 4, "width": 4, "classes": list(classes), "range": [-1, 1]},
        "data": {"spec": spec, "fingerprint": "f00", "pictures": 40},
        "settings": {
            "model": {"latent": 5},
            "train": {"steps": 100, "seed": 0, "batch_size": 8, "lr": None, "tensorboard": False},
            "data": {"size": "auto", "fit": "crop"},
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    for name, lines in (("metrics", metrics), ("events", events)):
        if lines:
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "samples").mkdir(exist_ok=True)
    for step in steps:
        for kind in ("", "-reconstructions"):
            pixels = np.random.default_rng(step).integers(0, 256, (46, 46), np.uint8)
            Image.fromarray(pixels).save(folder / "samples" / f"{step:09d}{kind}.png")
    return config


def report(folder: Path, model_class: type[Plain] = Encoder, classes: Sequence[str] = (), count: int = 40) -> Page:
    """The parsed report, after the checks that hold for every one."""
    write_report(folder, model_class(ImageSpec(1, 4, 4, tuple(classes))).eval(), Set(classes, count))
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert not page.all("script")
    assert not re.search(r"url\(|@import|https?://", text)
    for _, attrs in page.tags:
        for key in ("src", "href", "srcset", "data"):
            assert attrs.get(key, "data:").startswith("data:")
        for key in ("d", "x", "y", "cx", "cy", "width", "height", "transform"):
            assert not re.search("nan|inf", attrs.get(key, ""), re.IGNORECASE), attrs
    for image in page.all("img"):
        assert image["alt"]
        picture = Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2])))
        picture.load()
        assert (str(picture.width), str(picture.height)) == (image["width"], image["height"])
    assert all(svg["aria-label"] for svg in page.all("svg"))
    assert len(page.all("h1")) == 1
    return page


def curve(key: str, values: Sequence[float], start: int = 50) -> list[dict[str, Any]]:
    return [{"step": start * (i + 1), "images": 400 * (i + 1), key: value} for i, value in enumerate(values)]


def test_a_full_run_has_every_section(tmp_path: Path) -> None:
    metrics = [
        {"step": s, "images": 8 * s, "loss": 1 / s, "kl": -3.0, "kl_dims": [0.5, 0.0, 2.0, 0.005, 0.1]}
        for s in range(1, 500)
    ]
    events = [{"step": 10, "time": 1.0, "images_per_second": 123.4}, {"step": 20, "time": 2.0, "warning": EVIL}] * 2
    make_run(tmp_path, metrics, events, CLASSES, steps=range(10, 500, 20), spec=EVIL)
    page = report(tmp_path, classes=CLASSES)
    assert page.headings() == [
        "Warnings", "Samples over time", "Reconstructions", "Training", "Latent space", "How to use", "Settings",
    ]  # fmt: skip
    assert "3 of 5" in page.text
    assert page.text.count("from step 20") == 1
    assert len([a for a in page.all("img") if a["alt"].startswith("Samples after")]) == STRIP
    assert next(a["alt"] for a in page.all("img")).endswith("490 steps")
    assert EVIL in page.text  # as text, not as a tag
    assert "% of the variance" in page.text
    assert len([a for a in page.all("path") if "dots" in a.get("class", "")]) == 2
    assert (tmp_path / "report.html").stat().st_size < 2_000_000


def test_nothing_that_a_user_named_is_markup(tmp_path: Path) -> None:
    folder = tmp_path / "<script>run"
    metrics = curve(EVIL, [1.0, 2.0])
    config = make_run(folder, metrics, [{"step": 1, "warning": EVIL}], CLASSES, (10, 20), spec=EVIL)
    config["settings"]["data"]["labels"] = EVIL
    config["reverie"] = EVIL
    (folder / "config.json").write_text(json.dumps(config))
    quality = [{"step": step, "images": 8, "frechet": 1.0, EVIL: 0.5} for step in (10, 20)]
    (folder / "quality.jsonl").write_text("".join(json.dumps(line) + "\n" for line in quality))
    page = report(folder, classes=CLASSES)
    names = {name for _, attrs in page.tags for name in attrs}
    assert all(re.fullmatch(r"[a-z][a-z\d-]*", name) for name in names), names  # no quote ended an attribute early
    # The spec, a warning and a class, what was logged, a figure of quality, settings and notes, the version.
    for where in ("title", "h1", "li", "h3", "th", "td", "footer"):
        assert EVIL in page.within[where], where
    assert page.within["td"].count(EVIL) >= 4  # the spec, a setting, notes, and what could not be read
    assert "<script>run" in page.within["pre"]


def test_an_empty_run_has_a_report(tmp_path: Path) -> None:
    make_run(tmp_path)
    page = report(tmp_path, Plain)
    assert page.headings() == ["How to use", "Settings"]
    assert not page.all("img")


@pytest.mark.parametrize(
    "values",
    [
        [3.0],
        [3.0] * 4,
        [0.0, 0.0],
        [1e-300, 1e300, -1e300],
        [math.nan, 1.0, math.inf, 2.0],
        [1e9, 1e9 + 1e-6],
        [1e5, 10.0, 0.01],
        [5e-324, 5e-324],
        [-1e-9, 1e-9],
    ],
)
def test_curves_of_every_kind_have_finite_coordinates(tmp_path: Path, values: list[float]) -> None:
    make_run(tmp_path, curve("loss", values))
    charts = [svg for svg in report(tmp_path).all("svg") if svg["aria-label"].startswith("Loss")]
    assert len(charts) == 1


def test_a_curve_of_nothing_finite_is_left_out(tmp_path: Path) -> None:
    make_run(tmp_path, [*curve("loss", [math.nan, math.inf]), {"step": 200, "images": 1, "kl_dims": [math.nan]}])
    assert report(tmp_path, Plain).headings() == ["How to use", "Settings"]


def test_lines_cut_off_by_a_crash_are_passed_over(tmp_path: Path) -> None:
    make_run(tmp_path, curve("loss", [1.0, 2.0]), [{"step": 1, "warning": "whole"}])
    for name in ("metrics", "events"):
        with (tmp_path / f"{name}.jsonl").open("a") as file:
            file.write('{"step": 3, "war')
    assert report(tmp_path).headings()[0] == "Warnings"


@pytest.mark.parametrize(
    ("kind", "words"), [(Pair, "latent space itself"), (Single, "one latent dimension"), (Encoder, "First two of 5")]
)
def test_the_map_says_what_it_shows(tmp_path: Path, kind: type[Plain], words: str) -> None:
    make_run(tmp_path)
    assert words in report(tmp_path, kind).text


@pytest.mark.parametrize("classes", [1, 10, 40])
def test_the_map_copes_with_any_number_of_classes_and_one_picture(tmp_path: Path, classes: int) -> None:
    make_run(tmp_path)
    names = [f"class {i}" for i in range(classes)]
    page = report(tmp_path, classes=names)
    strokes = [a["stroke"] for a in page.all("path") if "dots" in a.get("class", "")]
    assert len(strokes) == len(set(strokes))
    report(tmp_path, classes=names, count=1)


def test_large_pictures_are_shrunk(tmp_path: Path) -> None:
    make_run(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (2064, 2064, 4), np.uint8)
    for step in range(1, 15):
        Image.fromarray(noise).save(tmp_path / "samples" / f"{step:09d}.png", compress_level=0)
    report(tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 5_000_000


def test_other_files_among_the_samples_are_ignored(tmp_path: Path) -> None:
    make_run(tmp_path)
    for name in ("notes.png", "1.png", ".000000001.png.tmp"):
        (tmp_path / "samples" / name).write_text("no picture")
    assert not report(tmp_path).all("img")


def test_the_card_tells_what_the_run_is(tmp_path: Path) -> None:
    config = make_run(tmp_path, curve("loss", [4.0, 1234.5]), steps=(50, 100), spec="hf:owner/name", classes=("a|b",))
    write_card(tmp_path, config)
    text = (tmp_path / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    assert front.splitlines()[:2] == ["library_name: reverie", "pipeline_tag: unconditional-image-generation"]
    assert '  - "vae"' in front
    assert '  - "owner/name"' in front
    for part in ("Kingma & Welling 2014", "explicit approximate density", "samples/000000100.png", "`loss` | 1,234"):
        assert part in body
    assert "`a\\|b`" in body
    assert f"reverie sample {tmp_path} --count 64" in body


def test_the_card_of_a_conditional_model_and_of_no_metrics(tmp_path: Path) -> None:
    config = make_run(tmp_path, model="cvae", classes=("a", "b"))
    write_card(tmp_path, config)
    text = (tmp_path / "README.md").read_text()
    assert "pipeline_tag" not in text
    assert "No figures were logged" in text


def test_markdown_cannot_break_out() -> None:
    assert code("a`b") == "`` a`b ``"
    assert fence("```", "bash").startswith("````bash\n")
    assert "\n" not in code("a\nb")


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (12345.6, "12,346"), (-0.5, "−0.5"), (1e-5, "1e−05"), (999.96, "1000")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_what_the_report_says_of_a_real_run_works(tmp_path: Path) -> None:
    settings = {"train": {"steps": 2, "batch_size": 16, "log_every": 1}, "model": {"network": "mlp", "width": 8}}
    run = reverie.train("cvae", "digits", tmp_path / "a run", settings=settings, device="cpu", quiet=True)
    page = Page((run.path / "report.html").read_text())
    assert "Latent space" in page.headings()
    blocks = re.findall(r"```(\w+)\n(.*?)\n```", (run.path / "README.md").read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    exec(next(text for language, text in blocks if language == "python"), found)
    assert found["pictures"].shape == (16, 1, 8, 8)
    assert found["codes"].ndim == 2
    assert "--count 64" in page.text
