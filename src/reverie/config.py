"""Typed settings from words: every ``--set section.key=value`` ends here.

A settings class is a frozen dataclass of int, float, bool, str, tuples of them, or ``X | None``. Values are coerced to
the annotated type, unknown keys are refused with the nearest match, and nothing is ever evaluated.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import re
import textwrap
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from reverie.errors import ReverieError, nearest

LARGEST_INTEGER = 2**63 - 1

T = TypeVar("T")

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}


def coerce(value: Any, wanted: Any, key: str) -> Any:
    """``value`` as the annotated type ``wanted``, or a ReverieError that names ``key``."""
    origin = typing.get_origin(wanted)
    if origin in (types.UnionType, typing.Union):
        options = typing.get_args(wanted)
        if type(None) in options and (value is None or (isinstance(value, str) and value.lower() == "none")):
            return None
        return coerce(value, next(o for o in options if o is not type(None)), key)
    if origin is tuple:
        parts = [p.strip() for p in value.split(",")] if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            raise ReverieError(f"{key} takes a comma-separated list, not {_shown(value)}.")
        kinds = typing.get_args(wanted)
        kinds = (kinds[0],) * len(parts) if len(kinds) == 2 and kinds[1] is Ellipsis else kinds
        if len(kinds) != len(parts):
            raise ReverieError(f"{key} takes {len(kinds)} values, not {len(parts)}.")
        return tuple(coerce(part, kind, key) for part, kind in zip(parts, kinds, strict=True))
    if wanted is bool:
        if isinstance(value, bool):
            return value
        word = str(value).lower()
        if word in _TRUE | _FALSE:
            return word in _TRUE
        raise ReverieError(f"{key} takes true or false, not {_shown(value)}.")
    if wanted is str:
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)  # 64 in a JSON file for a size
        raise ReverieError(f"{key} takes a word, not {_shown(value)}.")
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ReverieError(f"{key} takes {'a whole number' if wanted is int else 'a number'}, not {_shown(value)}.")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or (wanted is int and number != int(number)):
        raise ReverieError(f"{key} takes {'a whole number' if wanted is int else 'a number'}, not {_shown(value)}.")
    if wanted is int:
        whole = int(value) if isinstance(value, int) or str(value).lstrip("+-").isdigit() else int(number)
        if abs(whole) > LARGEST_INTEGER:
            raise ReverieError(f"{key} takes a smaller number, not {_shown(value)}.")
        return whole
    return number


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def check_ranges(settings: object, section: str, **ranges: tuple[float, float]) -> None:
    """ReverieError unless each named setting lies between its two numbers, which are both allowed."""
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            bound = f"at least {low:g}" if value < low else f"at most {high:g}"
            raise ReverieError(f"{section}.{name} must be {bound}, not {value:g}.")


def check_choices(settings: object, section: str, **choices: Collection[str]) -> None:
    """ReverieError, with the nearest match, unless each named setting is one of its choices."""
    for name, known in choices.items():
        value = getattr(settings, name)
        if value not in known:
            raise ReverieError(f"{section}.{name} cannot be '{value}'{nearest(value, known)}")


def configure(kind: type[T], values: Mapping[str, Any], section: str) -> T:
    """An instance of the settings class ``kind`` from loosely typed values; ``section`` names it in errors."""
    hints = typing.get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(typing.cast(Any, kind))]
    checked = {}
    for key, value in values.items():
        if key not in names:
            raise ReverieError(f"Unknown setting '{section}.{key}'{nearest(key, names)}")
        checked[key] = coerce(value, hints[key], f"{section}.{key}")
    return kind(**checked)


def settings_of(kind: type, preset: Mapping[str, Any] | None = None) -> list[tuple[str, str, str]]:
    """(name, default, what it means) of each setting; the meaning is the comment beside it in the source, if any."""
    values = {f.name: f.default for f in dataclasses.fields(typing.cast(Any, kind))} | dict(preset or {})
    sources = []
    for each in filter(dataclasses.is_dataclass, reversed(kind.__mro__)):
        with contextlib.suppress(OSError, TypeError):  # what was typed into a shell has no source
            sources.append(textwrap.dedent(inspect.getsource(each)))
    meant = dict(re.findall(r"^    (\w+): .*?  # (.+)$", "\n".join(sources), re.MULTILINE))
    return [(name, str(value), meant.get(name, "")) for name, value in values.items()]


def parse_settings(words: list[str]) -> dict[str, dict[str, str]]:
    """``["model.width=64", "train.seed=1"]`` as ``{"model": {"width": "64"}, "train": {"seed": "1"}}``."""
    sections: dict[str, dict[str, str]] = {"model": {}, "train": {}, "data": {}}
    for word in words:
        key, equals, value = word.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (equals and dot and name):
            raise ReverieError(f"--set takes section.key=value (say, --set model.width=64), not '{word}'.")
        if section not in sections:
            raise ReverieError(f"Unknown section '{section}' in --set {word}{nearest(section, sections)}")
        sections[section][name] = value.strip()
    return sections
