"""Jinja2 templates become pages and cards: whatever a template is given is escaped, unless it is marked as safe.

HTML is escaped by Jinja2's autoescape. Markdown has rules of its own, by `as_markdown`; what may hold anything, such as
a path or a command, goes into a card by the filters ``code`` and ``fence``.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reverie.files import replacing
from reverie.reporting.formatting import number

HERE = Path(__file__).parent  # of the style sheets, which templates include
SPECIAL = re.compile(r"[\\`*_\[\]<>|~#$]|&(?=[#\w]+;)")  # what means something to Markdown in the middle of a line
LEADING = re.compile(r"([-+=]|\d+[.)](?=\s|$))")  # or at its beginning


def html(template: str, /, **values: object) -> str:
    """The text of a page, or of a part of one."""
    return _pages().get_template(template).render(values)


def markdown(template: str, /, **values: object) -> str:
    """The text of a Markdown file."""
    return _cards().get_template(template).render(values)


def write(path: Path | str, text: str) -> None:
    """A text file in UTF-8 that appears whole or not at all; what has no code there, as in names of files, is a '?'."""
    with replacing(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def as_markdown(value: object) -> Markup:
    """Text on one line that Markdown shows as it is."""
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
        finalize=as_markdown,  # which sees every value; autoescape would write HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": code, "fence": fence, "number": number}
    return environment


def _loader() -> FileSystemLoader:
    return FileSystemLoader([HERE / "templates", HERE])
