"""What reports are made of: text that stays text in HTML, in Markdown and in SVG, and axes with round ticks."""

from __future__ import annotations

import math
import re
import tomllib
from html import unescape
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

import reverie
from reverie.reporting import rendering
from reverie.reporting.card import write_card
from reverie.reporting.charts import Bar, Spot, bars, curve, lines
from reverie.reporting.plot import axis
from reverie.reporting.rendering import as_markdown
from test_report import curve as logged
from test_report import make_run

EVIL = '<script>alert("x")</script> & ]]>'
ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    "text",
    [
        EVIL,
        "plain words, 1,234 and 0.5: (x) {y} 50% it's @me $x$",
        "*a* _b_ **c** ~~d~~ `e` # f",
        "[link](javascript:alert(1)) ![picture](http://x/y.png) <http://z>",
        "# heading", "- item", "+ item", "= line", "1. item", "12) item", "> quote", "| a | b |", "--- ", "```",
        "&lt; &#60; &amp", "back\\slash \\* `", "two\n\n## lines",
    ],
)  # fmt: skip
def test_markdown_shows_text_as_it_is(text: str) -> None:
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(as_markdown(text))
    assert page.count("<") == 2
    assert unescape(page.removeprefix("<p>").removesuffix("</p>\n")) == " ".join(text.split())


def test_a_card_holds_no_markup_of_others(tmp_path: Path) -> None:
    folder = tmp_path / "<script>`run"
    names = (EVIL, "a|b", "`tick`", "[x](http://y)", "two\n# lines")
    config = make_run(folder, logged("<script>", [1.0]), classes=names, spec="<script>`](x)\n# owned", steps=(10,))
    config["reverie"] = "<script> [x](y) `"
    write_card(folder, config)
    text = (folder / "README.md").read_text().split("---\n", 2)[2]
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or []]
    assert not any(token.type in ("html_block", "html_inline") for token in [*tokens, *inline])
    assert {child.attrs["href"] for child in inline if child.type == "link_open"} == {"report.html"}
    headings = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    assert [heading.split()[0] for heading in headings] == ["vae", "Data", "Training", "How", "Licence"]
    shown = [child.content for child in inline if child.type == "code_inline"]
    for name in (EVIL, "`tick`", "[x](http://y)", "two # lines", "<script>"):
        assert name in shown
    assert "Trained with reverie <script> [x](y) `." in "".join(child.content for child in inline)


def test_charts_hold_no_markup_of_others() -> None:
    chart = curve(EVIL, EVIL, [(1, 1.0), (2, 2.0)], (1, 2), EVIL)
    for svg in (chart.svg, bars([Bar(1.0, EVIL)], EVIL, EVIL, 0.1)):
        root = ElementTree.fromstring(svg)
        assert root.get("aria-label", "").startswith(EVIL)
        assert not list(root.iter("script"))
    root = ElementTree.fromstring(lines(EVIL, EVIL, EVIL, {EVIL: [Spot(1, 2, EVIL), Spot(2, 3)]}))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts.count(EVIL) == 4  # the title, two axes, and the name of the line
    assert next(root.iter(f"{SVG}title")).text == f"{EVIL}: {EVIL}"
    assert not list(root.iter(f"{SVG}script"))


def test_no_template_trusts_what_it_is_given() -> None:
    templates = sorted((rendering.HERE / "templates").glob("*.jinja"))
    assert len(templates) > 4
    for template in templates:
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe|autoescape", text)


def test_templates_and_styles_are_packaged() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["reverie"]
    package = Path(reverie.__file__).parent
    packaged = {file for pattern in patterns for file in package.glob(pattern)}
    others = {
        file
        for file in package.rglob("*")
        if file.is_file() and file.suffix != ".py" and "__pycache__" not in file.parts
    }
    assert others == packaged


@pytest.mark.parametrize("low", [-17.1, -0.2, 0.0, 1e-6, 1e3])
@pytest.mark.parametrize("size", [0.07, 12.0, 4e5])
def test_ticks_are_round_and_within_the_axis(low: float, size: float) -> None:
    across = axis(low, low + size, 50, 350)
    places = [across(value) for value, _ in across.ticks]
    assert 3 <= len(places) <= 7
    assert all(50 - 1e-6 <= place <= 350 + 1e-6 for place in places)
    (step,) = {f"{b - a:.0e}" for (a, _), (b, _) in pairwise(across.ticks)}
    assert step[0] in "125"
    for value, text in across.ticks:
        assert float(text.replace("−", "-").replace(",", "").replace("k", "e3")) == pytest.approx(value, abs=1e-9)
        assert value / float(step) == pytest.approx(round(value / float(step)))
    assert (across(low), across(low + size)) == pytest.approx((50, 350))


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (1.0, 100.0, ["1", "2", "5", "10", "20", "50", "100"]),
        (0.5, 2e4, ["1", "10", "100", "1000", "10000"]),
        (1e-12, 1e12, ["1e-12", "1e-06", "1", "1e+06", "1e+12"]),
        (3.0, 3.5, ["3.0", "3.1", "3.2", "3.3", "3.4", "3.5"]),
        (7.0, 7.0, ["5", "10"]),
    ],
)
def test_ticks_of_a_logarithmic_axis(low: float, high: float, texts: list[str]) -> None:
    up = axis(low, high, 200, 0, logarithmic=True, most=7)
    assert [text for _, text in up.ticks] == texts
    assert all(-1e-9 <= up(value) <= 200 + 1e-9 for value, _ in up.ticks)
    assert up(math.sqrt(low * high)) == pytest.approx(100)
