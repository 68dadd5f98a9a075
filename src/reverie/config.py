"""Settings classes: declaring settings, and parsing and checking their values (``--set section.key=value``).

A settings class is a frozen dataclass of int, float, bool, str, tuples of them, or ``X | None``. `setting` declares the
default, meaning, and range or choices of a field, which error messages and help texts use. Values are coerced to the
annotated type, unknown keys are refused with the nearest match, and nothing is ever evaluated.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from reverie.errors import ReverieError, nearest

LARGEST_INTEGER = 2**63 - 1

T = TypeVar("T")

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}

# The bounds of a range: in words, and the comparison that a value must pass.
_BOUNDS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "low": ("at least", operator.ge),
    "above": ("more than", operator.gt),
    "high": ("at most", operator.le),
    "below": ("less than", operator.lt),
}


@dataclass(frozen=True)
class Setting:
    """The description of one setting; only the first three fields are set if it is not declared by `setting`."""

    name: str
    type: str  # in words, say "a whole number or none"
    default: Any
    help: str = ""  # what it means, in one line
    low: float | None = None
    above: float | None = None
    high: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def takes(self) -> str:
        """The choices or the range in words: "mlp | conv", "1 to 100", "at least 0, less than 1"; may be empty."""
        if self.choices:
            return " | ".join(filter(None, self.choices))
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        bounds = ((words, getattr(self, key)) for key, (words, _) in _BOUNDS.items())
        return ", ".join(f"{words} {bound:g}" for words, bound in bounds if bound is not None)

    @property
    def line(self) -> str:
        """Its meaning, with the allowed values in brackets; may be empty."""
        return " ".join(filter(None, (self.help, self.takes and f"({self.takes})")))


def setting(
    default: T,
    help: str = "",
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
    choices: Iterable[str] = (),
) -> T:
    """A field of a settings class: its default, its meaning in one line, and the values that it takes.

    ``low`` and ``high`` are inclusive bounds, ``above`` and ``below`` exclusive ones; they apply to each value of a
    tuple. None is allowed if the type includes it. In a subclass a plain default (``latent: int = 100``) replaces only
    the default; `setting` also replaces what else it is given; the rest is inherited.

    >>> @dataclass(frozen=True)
    ... class Config:
    ...     latent: int = setting(32, "numbers that code a picture", low=1, high=65536)
    """
    declared = {"help": help, "low": low, "above": above, "high": high, "below": below, "choices": tuple(choices)}
    said = {key: value for key, value in declared.items() if value not in ("", None, ())}
    return dataclasses.field(default=default, metadata=said)


def _declared(kind: type) -> dict[str, dict[str, Any]]:
    """The declaration of each setting of a class, by name; what a class leaves out is inherited."""
    found: dict[str, dict[str, Any]] = {}
    for each in reversed(kind.__mro__):
        for field in vars(each).get("__dataclass_fields__", {}).values():
            said = {k: v for k, v in field.metadata.items() if k in ("help", "choices", *_BOUNDS)}
            found.setdefault(field.name, {}).update(said)
    return found


def check_settings_of(settings: object, section: str) -> None:
    """Raise ReverieError if a setting is outside its declared range or choices.

    ``section`` ("model", "train" or "data") is for the error message.
    """
    for name, declared in _declared(type(settings)).items():
        value = getattr(settings, name) if declared else None
        for each in value if isinstance(value, tuple) else (value,):
            if each is not None:
                _check(f"{section}.{name}", each, declared)


def check_range(
    name: str,
    value: float,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
) -> None:
    """Raise ReverieError unless a number is finite and within the bounds, which are as for `setting`.

    ``name`` begins the error message: "model.latent", "--count", "The rate of false alarms".
    """
    _check_ends(name, value, {"low": low, "above": above, "high": high, "below": below})
    if not isinstance(value, int) and not math.isfinite(value):
        raise ReverieError(f"{name} must be a finite number, not {value:g}.")


def _check_ends(name: str, value: float, ends: Mapping[str, float | None]) -> None:
    for end, (words, holds) in _BOUNDS.items():
        bound = ends.get(end)
        if bound is not None and not holds(value, bound):
            raise ReverieError(f"{name} must be {words} {_number(bound)}, not {_number(value)}.")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _check(key: str, value: Any, declared: Mapping[str, Any]) -> None:
    _check_ends(key, value, declared)  # which may be infinite, where no end forbids it
    choices = declared.get("choices")
    if choices and value not in choices:
        raise ReverieError(f"{key} cannot be '{value}'{nearest(value, filter(None, choices))}")


def coerce(value: Any, wanted: Any, key: str) -> Any:
    """``value`` converted to the annotated type ``wanted``. Raises a ReverieError that names ``key``."""
    origin = typing.get_origin(wanted)
    if origin in (types.UnionType, typing.Union):
        options = typing.get_args(wanted)
        if type(None) in options and (value is None or (isinstance(value, str) and value.lower() == "none")):
            return None
        return coerce(value, next(o for o in options if o is not type(None)), key)
    if origin is tuple:
        parts = [p.strip() for p in value.split(",")] if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            raise ReverieError(f"{key} takes {_in_words(wanted)}, not {_shown(value)}.")
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
        raise ReverieError(f"{key} takes {_in_words(wanted)}, not {_shown(value)}.")
    if wanted is str:
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)  # a JSON file may hold a size as 64
        raise ReverieError(f"{key} takes {_in_words(wanted)}, not {_shown(value)}.")
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ReverieError(f"{key} takes {_in_words(wanted)}, not {_shown(value)}.")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or (wanted is int and number != int(number)):
        raise ReverieError(f"{key} takes {_in_words(wanted)}, not {_shown(value)}.")
    if wanted is int:
        whole = int(value) if isinstance(value, int) or str(value).lstrip("+-").isdigit() else int(number)
        if abs(whole) > LARGEST_INTEGER:
            raise ReverieError(f"{key} takes a smaller number, not {_shown(value)}.")
        return whole
    return number


def _in_words(wanted: Any) -> str:
    """The values that a setting of this type takes, in words."""
    if typing.get_origin(wanted) in (types.UnionType, typing.Union):
        kinds = typing.get_args(wanted)
        some = _in_words(next(kind for kind in kinds if kind is not type(None)))
        return f"{some} or none" if type(None) in kinds else some
    if typing.get_origin(wanted) is tuple:
        return "a comma-separated list"
    return {bool: "true or false", str: "a word", int: "a whole number"}.get(wanted, "a number")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def configure(kind: type[T], values: Mapping[str, Any], section: str) -> T:
    """A checked instance of the settings class ``kind`` from loosely typed values; ``section`` is for the errors."""
    hints = typing.get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(typing.cast(Any, kind))]
    checked = {}
    for key, value in values.items():
        if key not in names:
            raise ReverieError(f"Unknown setting '{section}.{key}'{nearest(key, names)}")
        checked[key] = coerce(value, hints[key], f"{section}.{key}")
    settings = kind(**checked)
    check_settings_of(settings, section)
    return settings


def settings_of(kind: type, preset: Mapping[str, Any] | None = None) -> list[Setting]:
    """The settings of a class, in their order; the values of ``preset`` replace the defaults."""
    hints, declared, given = typing.get_type_hints(kind), _declared(kind), preset or {}
    return [
        Setting(f.name, _in_words(hints[f.name]), given.get(f.name, f.default), **declared[f.name])
        for f in dataclasses.fields(typing.cast(Any, kind))
    ]


def parse_settings(words: list[str]) -> dict[str, dict[str, str]]:
    """``["model.width=64", "train.seed=1"]`` -> ``{"model": {"width": "64"}, "train": {"seed": "1"}, "data": {}}``."""
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
