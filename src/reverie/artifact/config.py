"""config.json: the description of a run. Written here, and read strictly; older formats are migrated step by step."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeGuard

from reverie import registry
from reverie.config import configure
from reverie.data.options import MOST_CHANNELS, DataOptions
from reverie.engine.model import ImageSpec, Model
from reverie.engine.plan import Plan
from reverie.errors import ReverieError, first_line
from reverie.files import is_file, replacing, unreadable
from reverie.scale import DTYPES, KINDS, Scale, is_span

FORMAT = 1
CONFIG = "config.json"
LARGEST_SIDE, LARGEST_CONFIG = (
    16384,
    16 * 2**20,
)  # largest picture side in a config.json, and largest size of it in bytes
LONGEST_NAME = 100

# Named steps from an older format to the next: {1: ("what changed", function over the parsed config)}.
MIGRATIONS: dict[int, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {}


def describe(
    name: str, model: Model, sections: dict[str, dict[str, Any]], data: dict[str, Any], *, outside: bool = False
) -> dict[str, Any]:
    """The content of config.json.

    ``name`` is `registry.name_for` the model's class. ``outside`` says that name and settings are not enough to build
    the model again, say because it has custom networks: then `load` needs the model as an argument. It is also set if
    the name is registered for another class. Settings of such a model are recorded but not used to build it.
    """
    from reverie import __version__

    outside = outside or (registry.knows(name) and registry.load_class(name) is not type(model))
    settings = _settings_of(model, outside)
    return {
        "format": FORMAT,
        "reverie": __version__,
        "model": name,
        **({"outside": True} if outside else {}),
        "facts": asdict(model.image_spec) | {"range": [-1, 1]},
        "data": data,
        "settings": {"model": settings} | sections,
    }


def _settings_of(model: Model, outside: bool) -> dict[str, Any]:
    """The settings of a model, for JSON; with ``outside``, values that JSON cannot hold are written as strings."""
    config: Any = model.config
    settings: dict[str, Any] = asdict(config) if is_dataclass(config) and not isinstance(config, type) else {}
    if outside:
        settings = {key: value if _storable(value) else str(value) for key, value in settings.items()}
    return settings


def check_settings(model: Model, config: dict[str, Any], folder: Path) -> None:
    """Raise ReverieError if a model built by the caller has other settings than the run's config.json."""
    mine: dict[str, Any] = json.loads(json.dumps(_settings_of(model, outside=True)))
    noted: dict[str, Any] = config["settings"]["model"]
    for key in sorted(mine.keys() | noted.keys()):
        if mine.get(key) != noted.get(key):
            raise ReverieError(
                f"The given model has other settings than that of {folder}: its {key} is {str(mine.get(key))[:80]}, "
                f"not {str(noted.get(key))[:80]}; build it as for the training."
            )


def _storable(value: object) -> bool:
    """Whether config.json can hold the value: JSON has no infinity and no Python objects."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write config.json. It is not recorded as a result, so that no command may overwrite it."""
    with replacing(folder / CONFIG, noted=False) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def read_config(folder: Path, *, brought: bool = False) -> dict[str, Any]:
    """config.json, checked and migrated. Raises ReverieError if the folder is not a run.

    The model's settings are checked if its registered name builds it, unless the caller gives the model (``brought``).
    """
    file = folder / CONFIG
    if not is_file(file):
        raise ReverieError(f"{folder} is no run: it has no {CONFIG}. Give a folder that `reverie train` wrote.")
    try:
        if file.stat().st_size > LARGEST_CONFIG:
            raise ValueError("too large")
        text = file.read_text(encoding="utf-8")
        config: Any = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except PermissionError as error:
        raise unreadable(file) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ReverieError(
            f"{file} is damaged: it can't be read as JSON ({first_line(error)}). Restore it from a copy of the run."
        ) from error
    if not isinstance(config, dict) or not _whole(config.get("format")):
        raise ReverieError(f"{file} is damaged: it names no format version.")
    if config["format"] > FORMAT:
        raise ReverieError(
            f"{folder} was written by a newer reverie (format {config['format']}, this one reads up to {FORMAT}); "
            "upgrade with pip install -U reverie."
        )
    while config["format"] < FORMAT:
        if config["format"] not in MIGRATIONS:
            raise ReverieError(f"{file} has the unknown format version {config['format']}.")
        what, migrate = MIGRATIONS[config["format"]]
        try:
            config = migrate(config)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ReverieError(f"{file} is damaged: it can't be migrated ({what}). Restore it from a copy.") from error
    _check(config, file, brought)
    checked: dict[str, Any] = config
    return checked


def image_spec_of(named: dict[str, Any]) -> ImageSpec:
    """The `ImageSpec` in config.json; older runs have no sides and no scales: their pictures had 8 bits."""
    sides = tuple(named.get("sides", ()))
    scales = tuple(Scale(**scale) for scale in named["scales"]) if "scales" in named else (Scale(),) * (len(sides) or 1)
    return ImageSpec(named["channels"], named["height"], named["width"], tuple(named["classes"]), sides, scales)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _check(config: dict[str, Any], file: Path, brought: bool) -> None:
    def refuse(field: str, why: str) -> None:
        raise ReverieError(f"{file} is damaged: '{field}' {why}.")

    kinds = {"model": str, "facts": dict, "data": dict, "settings": dict, "reverie": str, "format": int}
    for field, kind in kinds.items():
        if not isinstance(config.get(field), kind):
            refuse(field, "is missing or of the wrong kind")
    if not registry.NAME.fullmatch(config["model"]):
        refuse("model", "is no name of a model")
    if config.get("outside", True) is not True:
        refuse("outside", "is not true")
    if unknown := sorted(config.keys() - kinds.keys() - {"outside"}):
        refuse(unknown[0][:80], "is not known")
    for field in ("spec", "fingerprint"):
        if not isinstance(config["data"].get(field), str):
            refuse(f"data.{field}", "is missing or no word")
    if not isinstance(config["data"].get("place"), str | None):
        refuse("data.place", "is no word")
    image_spec = config["facts"]
    sides = image_spec.get("sides", [])
    if not isinstance(sides, list) or not all(_whole(side) and 1 <= side <= MOST_CHANNELS for side in sides):
        refuse("facts.sides", f"is no list of numbers from 1 to {MOST_CHANNELS}")
    for side, most in (
        ("channels", MOST_CHANNELS * max(1, len(sides))),
        ("height", LARGEST_SIDE),
        ("width", LARGEST_SIDE),
    ):
        if not _whole(image_spec.get(side)) or not 1 <= image_spec[side] <= most:
            refuse(f"facts.{side}", f"is no number from 1 to {most}")
    classes = image_spec.get("classes")
    if not isinstance(classes, list) or not all(isinstance(c, str) for c in classes):
        refuse("facts.classes", "is no list of names")
    if sides and (len(sides) != 2 or sum(sides) != image_spec["channels"]):
        refuse("facts.sides", "does not hold two numbers that add up to the channels")
    if "scales" in image_spec and (why := _wrong_scales(image_spec["scales"], max(1, len(sides)))):
        refuse("facts.scales", why)
    for section in ("model", "train", "data"):
        values = config["settings"].get(section)
        if not isinstance(values, dict):
            refuse(f"settings.{section}", "is missing")
        if any(len(key) > LONGEST_NAME for key in values):
            refuse(f"settings.{section}", f"holds a name of more than {LONGEST_NAME} letters")
        try:
            if section != "model":
                configure({"train": Plan, "data": DataOptions}[section], values, section)
            elif not (brought or config.get("outside")) and registry.knows(config["model"]):
                configure(registry.load_class(config["model"]).Config, values, section)
        except ReverieError as error:
            raise ReverieError(f"{file}: {' '.join(str(error).split())}") from error
    if unknown := sorted(config["settings"].keys() - {"model", "train", "data"}):
        refuse(f"settings.{unknown[0][:80]}", "is not known")


def _wrong_scales(scales: object, count: int) -> str:
    """What is wrong with the scales of a config.json; "" if nothing is."""
    fields = {"depth", "kind", "low", "high"}
    if not isinstance(scales, list) or not all(isinstance(one, dict) and one.keys() == fields for one in scales):
        return "is no list of depth, kind, low and high"
    if len(scales) not in (1, count):
        return f"does not hold {count}"
    for one in scales:
        if not _whole(one["depth"]) or one["depth"] not in DTYPES or one["depth"] != scales[0]["depth"]:
            return f"holds a depth that is not one of {', '.join(map(str, DTYPES))}, the same for all"
        if one["kind"] not in KINDS:
            return f"holds a kind that is not one of {', '.join(KINDS)}"
        if not is_span(one["low"], one["high"]):
            return "holds a low that is not a number below its high"
    return ""
