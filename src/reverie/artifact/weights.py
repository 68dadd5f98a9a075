"""Write model.safetensors, and load a run from its folder: names and shapes are compared before tensors are read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from reverie import registry
from reverie.artifact.build import build_model, outline
from reverie.artifact.config import CONFIG, check_settings, image_spec_of, read_config
from reverie.data.dataset import Dataset
from reverie.deprecated import OldName
from reverie.engine.model import HoldsPictures, ImageSpec, Model
from reverie.errors import ReverieError, first_line
from reverie.files import encodable, is_file, replacing, savable, unreadable

WEIGHTS = "model.safetensors"


@dataclass(frozen=True, eq=False)
class Loaded:
    """A trained model, its `ImageSpec` and config; `reverie.run.Run` adds the methods that use it."""

    path: Path
    name: str  # of the model, as in `reverie models`
    model: Model  # in eval mode
    image_spec: ImageSpec
    config: dict[str, Any]  # the content of config.json
    data: Dataset | None = None  # the training data, if it is in memory

    facts = OldName("facts", "image_spec")


def write_weights(folder: Path, model: Model) -> None:
    """Write model.safetensors, without training pictures that a module holds in its state (`HoldsPictures`)."""
    tensors = model.state_dict()
    for name, module in model.named_modules():
        if isinstance(module, HoldsPictures):
            tensors |= {f"{name}.{key}": value for key, value in module.without_pictures().items()}
    with replacing(folder / WEIGHTS, noted=False) as temporary, encodable(temporary) as named:
        save_file(savable(tensors), named)


def load(path: str | Path, device: str | torch.device = "cpu", *, model: Model | type[Model] | None = None) -> Loaded:
    """The run in a folder, or in a repository of the Hugging Face Hub ("hf:owner/name"); its model in eval mode.

    ``model`` is for a run whose model is not registered or has custom networks: its class, or a model that is built as
    for the training, whose weights are replaced by the run's in place. Raises ReverieError if files are missing,
    damaged or do not fit the model.
    """
    if not (model is None or isinstance(model, Model) or (isinstance(model, type) and issubclass(model, Model))):
        raise ReverieError(
            f"What is given as model must be a reverie.Model or a class of one, not {str(model)[:80]!r}."
        )
    folder = _fetch(str(path)[3:]) if str(path).startswith("hf:") else Path(path)
    config = read_config(folder, brought=model is not None)
    source = _known(config, folder) if model is None else model
    image_spec = image_spec_of(config["facts"])
    settings = config["settings"]["model"]
    if isinstance(source, Model):
        _check_spec(source.image_spec, image_spec, folder)
        check_settings(source, config, folder)
        state = source.state_dict()
    else:
        state = outline(source, settings, image_spec)
    wanted = {k: _form(v) for k, v in state.items()}
    file = folder / WEIGHTS
    if not is_file(file):
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
        raise ReverieError(f"{file} is damaged: {first_line(error)}. Restore it from a copy.") from error
    built = source if isinstance(source, Model) else build_model(source, settings, image_spec)
    built.load_state_dict(tensors)
    torch.nn.utils.convert_conv2d_weight_memory_format(built, torch.channels_last)  # faster, here as in training
    return Loaded(folder, config["model"], built.to(device).eval().requires_grad_(False), image_spec, config)


def _known(config: dict[str, Any], folder: Path) -> str:
    """The registered name of a run's model. Raises ReverieError if the model cannot be built from it."""
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


def _form(tensor: torch.Tensor) -> str:
    """Type and shape in the notation of a safetensors header."""
    bits = tensor.element_size() * 8
    kind = "BOOL" if tensor.dtype == torch.bool else f"{'F' if tensor.is_floating_point() else 'I'}{bits}"
    kind = {torch.uint8: "U8", torch.bfloat16: "BF16"}.get(tensor.dtype, kind)
    return f"{kind} {tuple(tensor.shape)}"


def _fetch(repository: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise ReverieError("Loading from the Hub needs an extra: pip install 'reverie[hub]'.") from error
    try:
        return Path(snapshot_download(repository, allow_patterns=[CONFIG, WEIGHTS, "README.md"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ReverieError(f"Can't fetch hf:{repository}: {first_line(error)}.") from error
