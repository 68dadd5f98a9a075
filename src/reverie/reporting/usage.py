"""Example commands and Python code for a run, as its model's capabilities permit."""

from __future__ import annotations

import shlex
from typing import Any

from reverie import registry
from reverie.capabilities import Encodes, Reconstructs, Samples, Translates
from reverie.data.sources import MEMORY
from reverie.engine.model import Model


def commands(run: str, config: dict[str, Any], kind: type[Model]) -> str:
    """Shell commands for the run, as its model's capabilities permit; none where only a program can load it."""
    if not _named(config, kind) or kind.__module__ == "__main__":
        return ""
    spec = str(config["data"].get("spec", ""))
    in_memory = spec.startswith(MEMORY)
    place, data = shlex.quote(run), "PICTURES" if in_memory else shlex.quote(spec)
    judge = f"evaluate {place}{f' --data {data}' if in_memory else ''}"
    lines = [f"sample {place} --count 64"] if issubclass(kind, Samples) else []
    if issubclass(kind, Reconstructs):
        lines.append(f"reconstruct {place} {data}")
    if issubclass(kind, Translates):
        lines += [f"translate {place} PICTURES", judge]
    if issubclass(kind, Encodes):
        lines += [f"embed {place} {data}", judge]
    return "\n".join(f"reverie {line}{registry.imports(kind)}" for line in lines)


def script(run: str, config: dict[str, Any], kind: type[Model]) -> str:
    """Python code for the run, as its model's capabilities permit."""
    a, b = config["facts"].get("sides") or (0, 0)
    lines, given = ["import reverie"], ""
    if config.get("outside"):  # only the program that trained it can build the model
        given = ", model=model"
    elif not _named(config, kind):
        lines.append(f"from {kind.__module__} import {kind.__name__}")
        given = f", model={kind.__name__}"
    elif registry.imports(kind):
        lines.append(f"import {kind.__module__}  # which registers the model")
    given += ", data=data" if str(config["data"].get("spec", "")).startswith(MEMORY) else ""
    lines += ["", f"run = reverie.load({run!r}{given})"]
    if issubclass(kind, Samples):
        c, h, w = (config["facts"][side] for side in ("channels", "height", "width"))
        lines.append(f"pictures = run.sample(16)  # (16, {c}, {h}, {w}) in [-1, 1]")
    if issubclass(kind, Translates):
        lines.append(f"translated = run.translate(run.open())  # the test pictures, from {a} to {b} channels")
    if issubclass(kind, Encodes):
        lines.append("codes = run.encode(run.open())  # of the test pictures")
    return "\n".join(lines)


def _named(config: dict[str, Any], kind: type[Model]) -> bool:
    """Whether the name in config.json is one of the class's, so that it builds this model."""
    return config["model"] in registry.names_of(kind) and not config.get("outside")
