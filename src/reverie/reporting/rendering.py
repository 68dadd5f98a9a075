"""Rendering of pages and cards by Jinja2 templates: all values are escaped, unless they are marked as safe.

HTML is escaped by Jinja2's autoescape, Markdown by `as_markdown`. Text that may contain anything, such as a path or a
command, is inserted into a card with the filters ``code`` and ``fence``.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reverie.files import replacing
from reverie.reporting.formatting import number

HERE = Path(__file__).parent  # folder of the style sheets, which templates include
SPECIAL = re.compile(r"[\\`*_\[\]<>|~#$]|&(?=[#\w]+;)")  # characters with a meaning in Markdown anywhere in a line
LEADING = re.compile(r"([-+=]|\d+[.)](?=\s|$))")  # or at its beginning only


def html(template: str, /, **values: object) -> str:
    """Render a page, or a part of one."""
    return _pages().get_template(template).render(values)


def markdown(template: str, /, **values: object) -> str:
    """Render a Markdown file."""
    return _cards().get_template(template).render(values)


def write(path: Path | str, text: str) -> None:
    """Write a UTF-8 text file atomically; what cannot be encoded, as in some file names, becomes '?'."""
    with replacing(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def as_markdown(value: object) -> Markup:
    """Text on one line, escaped so that Markdown shows it literally."""
    if isinstance(value, Markup):
        return value
    text = SPECIAL.sub(r"\\\g<0>", " ".join(str(value).split()))
    leading = LEADING.match(text)
    return Markup(f"{text[: leading.end() - 1]}\\{text[leading.end() - 1 :]}" if leading else text)


def code(text: object) -> Markup:
    """Text as a Markdown code span, whatever it contains."""
    clean = " ".join(str(text).split()).replace("|", "\\|")
    ticks = "`" * (max((len(run) for run in re.findall("`+", clean)), default=0) + 1)
    return Markup(f"{ticks} {clean} {ticks}" if "`" in clean else f"`{clean}`")


def fence(text: str, language: str) -> Markup:
    """Text as a Markdown code block, whatever it contains."""
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return Markup(f"{ticks}{language}\n{text}\n{ticks}")


@cache
def _pages() -> Environment:
    return Environment(
        loader=_loader(), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


@cache
def _cards() -> Environment:
    environment = Environment(
        loader=_loader(),
        finalize=as_markdown,  # applied to every value; autoescape would write HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": code, "fence": fence, "number": number}
    return environment


def _loader() -> FileSystemLoader:
    return FileSystemLoader([HERE / "templates", HERE])
