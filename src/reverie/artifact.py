"""The artifact: a folder with config.json and model.safetensors that describes a trained model completely.

Loading is strict: it names the field that is wrong, follows named migrations from older formats, and executes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from reverie import registry
from reverie.config import configure
from reverie.data.dataset import Dataset
from reverie.data.options import MOST_CHANNELS, DataOptions
from reverie.deprecated import OldName
from reverie.engine.budget import Plan
from reverie.engine.phase import ImageSpec, Model
from reverie.engine.randomness import derive, seeded
from reverie.errors import ReverieError
from reverie.files import encodable, replacing, savable, unreadable
from reverie.networks.pool import Pool
from reverie.scale import DTYPES, KINDS, Scale, is_span

FORMAT = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
LARGEST_SIDE, LARGEST_CONFIG = 16384, 16 * 2**20  # what a file may declare, and its bytes, before it is believed
LONGEST_NAME = 100
LARGEST_MODEL = 2**32  # numbers in a model's state; more is a mistake in the settings

# Named steps from an older format to the next: {1: ("what changed", function over the parsed config)}.
MIGRATIONS: dict[int, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {}


@dataclass(frozen=True, eq=False)
class Loaded:
    """A trained model and what is known of it; `reverie.run.Run` is this with what can be done with it."""

    path: Path
    name: str  # of the model, as in `reverie models`
    model: Model  # in eval mode
    image_spec: ImageSpec
    config: dict[str, Any]  # config.json, whole
    data: Dataset | None = None  # what it was trained on, where that is in memory and at hand

    facts = OldName("facts", "image_spec")


def build_model(model: str | type[Model], settings: dict[str, Any], image_spec: ImageSpec, seed: int = 0) -> Model:
    """A fresh model of a registered name, or of a class.

    ``settings`` are loosely typed ``model.*`` values; where a name has a preset, they are over that.

    Equal seeds give equal weights, and torch's own generators stay as they were. Raises ReverieError for settings that
    do not fit, and for such as would make it too large, before anything is allocated.
    """
    size = sum(tensor.numel() for tensor in _outline(model, settings, image_spec).values())
    if size > LARGEST_MODEL:
        raise ReverieError(
            f"A {_called(model)} with these settings for {image_spec.shape} pictures would hold {size:.2g} numbers; "
            "choose a smaller model."
        )
    with seeded(derive(seed, "init")):
        return _construct(model, settings, image_spec)


def _outline(model: str | type[Model], settings: dict[str, Any], image_spec: ImageSpec) -> dict[str, torch.Tensor]:
    """The state of such a model, of which nothing but types and shapes is there.

    Nothing is allocated, unless a constructor from outside cannot do without.
    """
    try:
        with torch.device("meta"):
            return _construct(model, settings, image_spec).state_dict()
    except ReverieError as error:
        # A constructor from outside may look at a tensor's numbers, of which there are none.
        kind = registry.load_class(model) if isinstance(model, str) else model
        if kind.__module__.startswith("reverie.") or not isinstance(error.__cause__, RuntimeError | TypeError):
            raise
    with seeded(0):
        return _construct(model, settings, image_spec).state_dict()


def _construct(model: str | type[Model], settings: dict[str, Any], image_spec: ImageSpec) -> Model:
    if isinstance(model, str):
        kind, preset = registry.load_class(model), registry.preset(model)
    else:
        kind, preset = model, {}
        registry.check(kind)
    config: Any = configure(kind.Config, preset | settings, "model")
    try:
        return kind(config, image_spec)
    except (ValueError, RuntimeError, TypeError, ArithmeticError, IndexError) as error:
        raise ReverieError(
            f"No {_called(model)} can be built from these settings for {image_spec.shape} pictures: "
            f"{_first_line(error)}."
        ) from error


def _called(model: str | type[Model]) -> str:
    return model if isinstance(model, str) else model.__name__


def describe(
    name: str, model: Model, sections: dict[str, dict[str, Any]], data: dict[str, Any], *, outside: bool = False
) -> dict[str, Any]:
    """The content of config.json.

    ``name`` is what `registry.name_for` calls the model's class. ``outside`` says that name and settings are not enough
    to build the model again, say as networks of one's own were given to it: who loads it must bring it. So it is too
    where the name is another class's. What settings it has are noted then, and not read again.
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
    """The settings of a model, for JSON; where it came from ``outside`` they may be anything."""
    config: Any = model.config
    settings: dict[str, Any] = asdict(config) if is_dataclass(config) and not isinstance(config, type) else {}
    if outside:
        settings = {key: value if _storable(value) else str(value) for key, value in settings.items()}
    return settings


def check_settings(model: Model, config: dict[str, Any], folder: Path) -> None:
    """Raise ReverieError where a model that was built by hand has other settings than the run's config.json notes."""
    mine: dict[str, Any] = json.loads(json.dumps(_settings_of(model, outside=True)))
    noted: dict[str, Any] = config["settings"]["model"]
    for key in sorted(mine.keys() | noted.keys()):
        if mine.get(key) != noted.get(key):
            raise ReverieError(
                f"The given model has other settings than that of {folder}: its {key} is {str(mine.get(key))[:80]}, "
                f"not {str(noted.get(key))[:80]}; build it as for the training."
            )


def _storable(value: object) -> bool:
    """Whether config.json can hold it: JSON has no infinity, and no objects."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write config.json. It is not noted as a result: no command may write over the files of a run."""
    with replacing(folder / CONFIG, noted=False) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def write_weights(folder: Path, model: Model) -> None:
    """Write model.safetensors. Pools of pictures stay at home: in them are zeros, as before training."""
    tensors = model.state_dict()
    for name, module in model.named_modules():
        if isinstance(module, Pool):
            tensors |= {f"{name}.{key}": torch.zeros_like(value) for key, value in module.state_dict().items()}
    with replacing(folder / WEIGHTS, noted=False) as temporary, encodable(temporary) as named:
        save_file(savable(tensors), named)


def read_config(folder: Path, *, brought: bool = False) -> dict[str, Any]:
    """config.json, checked and migrated; raises ReverieError where the folder is no run.

    The model's settings are checked where its name is a registered one that builds it, unless the model is ``brought``.
    """
    file = folder / CONFIG
    if not _is_file(file):
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
            f"{file} is damaged: it can't be read as JSON ({_first_line(error)}). Restore it from a copy of the run."
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


def load(path: str | Path, device: str | torch.device = "cpu", *, model: Model | type[Model] | None = None) -> Loaded:
    """The run in a folder, or in a repository of the Hugging Face Hub ("hf:owner/name"); its model in eval mode.

    ``model`` is for a run of a model that is not registered, or that was given networks of one's own: its class, or a
    model that is built as it was for the training, whose weights are then replaced by the run's, in place. Raises
    ReverieError in one sentence for whatever is wrong with the files, or does not fit.
    """
    if not (model is None or isinstance(model, Model) or (isinstance(model, type) and issubclass(model, Model))):
        raise ReverieError(
            f"What is given as model must be a reverie.Model or a class of one, not {str(model)[:80]!r}."
        )
    folder = _fetch(str(path)[3:]) if str(path).startswith("hf:") else Path(path)
    config = read_config(folder, brought=model is not None)
    source = _known(config, folder) if model is None else model
    image_spec = _image_spec(config["facts"])
    settings = config["settings"]["model"]
    if isinstance(source, Model):
        _check_spec(source.image_spec, image_spec, folder)
        check_settings(source, config, folder)
        state = source.state_dict()
    else:
        state = _outline(source, settings, image_spec)
    wanted = {k: _form(v) for k, v in state.items()}
    file = folder / WEIGHTS
    if not _is_file(file):
        raise ReverieError(f"{folder} has no {WEIGHTS}: its training has saved nothing yet. Go on with --resume.")
    try:
        with encodable(file) as named:
            with safe_open(named, framework="pt") as opened:
                slices = {k: opened.get_slice(k) for k in list(opened.keys())}
                found = {k: f"{v.get_dtype()} {tuple(v.get_shape())}" for k, v in slices.items()}
            for key in sorted(wanted.keys() | found.keys()):
                if wanted.get(key) != found.get(key):
                    raise ReverieError(
                        f"{file} does not fit {CONFIG} at '{key[:200]}': {found.get(key, 'nothing')[:200]} in the "
                        f"file, {wanted.get(key, 'nothing')} expected."
                    )
            tensors = load_file(named)
    except PermissionError as error:
        raise unreadable(file) from error
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ReverieError(f"{file} is damaged: {_first_line(error)}. Restore it from a copy.") from error
    built = source if isinstance(source, Model) else build_model(source, settings, image_spec)
    built.load_state_dict(tensors)
    torch.nn.utils.convert_conv2d_weight_memory_format(built, torch.channels_last)  # faster, here as in training
    return Loaded(folder, config["model"], built.to(device).eval().requires_grad_(False), image_spec, config)


def _known(config: dict[str, Any], folder: Path) -> str:
    """The name of a run's model, which is registered and builds it; ReverieError where it does not."""
    name: str = config["model"]
    if config.get("outside"):
        raise ReverieError(
            f"{folder} is of a model '{name}' that its name and settings do not build again, such as one with networks "
            "of its own; build it as for the training and give it to reverie.load(path, model=...)."
        )
    if not registry.knows(name):
        raise ReverieError(
            f"{folder} is of the model '{name}', which is not part of reverie and which no imported code has "
            "registered; import the module that defines it (--import MODULE on the command line), or give "
            "reverie.load(path, model=...)."
        )
    return name


def _check_spec(ours: ImageSpec, theirs: ImageSpec, folder: Path) -> None:
    for field in (each.name for each in fields(ImageSpec)):
        mine, wanted = getattr(ours, field), getattr(theirs, field)
        if mine != wanted:
            raise ReverieError(
                f"The given model was built for other pictures than those of {folder}: its image_spec.{field} is "
                f"{str(mine)[:80]}, not {str(wanted)[:80]}; build it with the image_spec of the run's own data."
            )


def _image_spec(named: dict[str, Any]) -> ImageSpec:
    """What config.json says of the pictures; older runs name no sides, and no scales: these were of 8 bits."""
    sides = tuple(named.get("sides", ()))
    scales = tuple(Scale(**scale) for scale in named["scales"]) if "scales" in named else (Scale(),) * (len(sides) or 1)
    return ImageSpec(named["channels"], named["height"], named["width"], tuple(named["classes"]), sides, scales)


def _form(tensor: torch.Tensor) -> str:
    """Type and shape as a safetensors header names them."""
    bits = tensor.element_size() * 8
    kind = "BOOL" if tensor.dtype == torch.bool else f"{'F' if tensor.is_floating_point() else 'I'}{bits}"
    kind = {torch.uint8: "U8", torch.bfloat16: "BF16"}.get(tensor.dtype, kind)
    return f"{kind} {tuple(tensor.shape)}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")[:300]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError as error:  # of the folder
        raise unreadable(path) from error
    except OSError:  # a name too long
        return False


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
    """What is wrong with the scales of a config.json; "" where nothing is."""
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


def _fetch(repository: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise ReverieError("Loading from the Hub needs an extra: pip install 'reverie[hub]'.") from error
    try:
        return Path(snapshot_download(repository, allow_patterns=[CONFIG, WEIGHTS, "README.md"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ReverieError(f"Can't fetch hf:{repository}: {_first_line(error)}.") from error
