"""Translation of picture files one by one: metadata is kept, and no input is overwritten."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from reverie.data.files import PICTURES, walk
from reverie.data.formats import Unreadable
from reverie.data.full_resolution import fitting, holds, read_exact, to_channels, write_exact
from reverie.engine.model import Model
from reverie.errors import ReverieError
from reverie.files import Unwritten, check_folder, replacing
from reverie.tasks.translate import check_translates, translate, where_memory_ends

STANDARD = Path("-")  # standard input or output, where a file is named

Claimed = Callable[[list[Path], list[Path], Path | None], None]  # (pictures, results, folder of results)


@dataclass
class Translated:
    """The result of translating picture files."""

    written: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)  # (name, reason) of files that can't be read or written
    notes: Counter[str] = field(default_factory=Counter)  # what could not be kept: number of pictures


@dataclass(frozen=True)
class _Source:
    name: str  # as messages call it
    path: Path  # or STANDARD
    below: Path  # the path of its result, relative to a folder of results

    def read(self) -> bytes:
        """Its bytes; raises Unreadable."""
        if self.path == STANDARD:
            return sys.stdin.buffer.read()
        if self.path.exists() and not self.path.is_file():  # a pipe would block for ever
            raise Unreadable("not a regular file")
        try:
            return self.path.read_bytes()
        except OSError as why:
            raise Unreadable((why.strerror or str(why)).lower()) from why


def translate_file(
    model: object,
    data: bytes,
    suffix: str,
    direction: str = "ab",
    *,
    noise: int | None = None,
    tile: int = 1024,
    overlap: int | None = None,
) -> tuple[bytes, list[str]]:
    """Translate the bytes of a picture file: the bytes of a file of type ``suffix``, and notes on what was not kept.

    Size, bit depth, alpha and colour profile are kept where the file type can hold them: see
    `reverie.data.full_resolution`; other arguments as for `translate`. Besides the network's tile, memory holds a few
    float32 copies of the picture and of its translation. Raises Unreadable where the bytes are not a picture, or one
    with other channels than the model takes, with more than `reverie.data.full_resolution.MOST_PIXELS` pixels, or too
    large for the memory.
    """
    _, before, _ = check_translates(model, direction, noise)
    assert isinstance(model, Model)
    scales = model.image_spec.scales
    given, made_of = (scales[0], scales[-1]) if direction == "ab" else (scales[-1], scales[0])
    with where_memory_ends(Unreadable("larger than the memory")):
        exact = to_channels(read_exact(data, before, given), before)
        images = torch.from_numpy(exact.pixels * 2).sub_(1)[None]
        out = translate(model, images, direction, noise=noise, tile=tile, overlap=overlap)[0]
        made, notes = write_exact(out.add_(1).div_(2).numpy(), exact.alpha, exact.bits, suffix, exact.profile, made_of)
    return made, [*exact.notes, *notes]


def translate_files(
    model: object,
    images: Sequence[str],
    out: Path,
    direction: str = "ab",
    *,
    noise: int | None = None,
    tile: int = 1024,
    overlap: int | None = None,
    claimed: Claimed | None = None,
) -> Translated:
    """Translates picture files, and all those below folders, into the folder ``out``, under the same names.

    Where the file type can't hold the result, it becomes .png, or .npy where no picture format has so many channels.
    With one picture, ``out`` may be a file, or "-" for standard output; "-" in ``images`` is standard input. Files that
    can't be read or written are listed in the result, and the others are written, unless the disk is full. Raises
    ReverieError before anything is written where two results would have one name, or one would replace a picture of
    ``images``, or where ``claimed(pictures, results, folder)`` does; otherwise as `translate` does.
    """
    _, _, after = check_translates(model, direction, noise)
    single = out == STANDARD or (out.suffix.lower() in PICTURES and not out.is_dir())
    sources = [source for word in images for source in _sources(word, None if single else out)]
    targets = [out] if single else [_below(out, source, after) for source in sources]
    _check_targets(sources, targets, after)
    if claimed is not None:
        paths = [[path for path in each if path != STANDARD] for each in ([s.path for s in sources], targets)]
        claimed(paths[0], paths[1], None if single else out)
    done = Translated()
    for source, target in zip(sources, targets, strict=True):
        suffix = fitting(source.path.suffix, after) if target == STANDARD else target.suffix
        try:
            data, notes = translate_file(
                model, source.read(), suffix, direction, noise=noise, tile=tile, overlap=overlap
            )
        except Unreadable as why:
            done.failed.append((source.name, str(why)))
            continue
        if target == STANDARD:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            try:
                with replacing(target) as temporary:
                    temporary.write_bytes(data)
            except Unwritten as why:
                if why.full:
                    raise
                done.failed.append((source.name, str(why)))
                continue
        done.written += 1
        done.notes.update(notes)
    return done


def _sources(word: str, out: Path | None) -> list[_Source]:
    """The pictures of an argument; for a folder without those in ``out``, which are results of an earlier call."""
    path = Path(word)
    if path == STANDARD:
        return [_Source("standard input", path, Path("stdin"))]
    if not path.is_dir():
        return [_Source(word, path, Path(path.name))]
    own = [] if out is None or _identity(path) == _identity(out) else [out.resolve()]
    found = [
        _Source(str(path / name), path / name, Path(name))
        for name, _ in walk(path).files
        if os.path.splitext(name)[1].lower() in PICTURES
        and not any(folder in (path / name).resolve().parents for folder in own)
    ]
    if not found:
        raise ReverieError(f"There are no pictures in the folder {path}.")
    return found


def _below(out: Path, source: _Source, channels: int) -> Path:
    """The path of a picture's translation in the folder of results."""
    suffix = fitting(source.below.suffix, channels)
    return out / (source.below if suffix == source.below.suffix else source.below.with_suffix(suffix))


def _check_targets(sources: Sequence[_Source], targets: Sequence[Path], channels: int) -> None:
    """Raises ReverieError where two results have one name, or a result would replace a picture."""
    if len(sources) != len(targets):
        where = "Standard output" if targets[0] == STANDARD else targets[0]
        raise ReverieError(f"{where} takes one picture, and there are {len(sources)}; choose a folder for them.")
    inputs = {_identity(source.path) for source in sources} - {None}
    taken: dict[Path, str] = {}
    for source, target in zip(sources, targets, strict=True):
        if target == STANDARD:
            continue
        if not holds(target.suffix, channels):
            end = fitting("", channels)
            raise ReverieError(f"{target} can't hold the model's pictures of {channels} channels; let it end in {end}.")
        if target in taken:
            raise ReverieError(
                f"{taken[target]} and {source.name} would both become {target}; translate them one after the other, "
                "into two folders."
            )
        if _identity(target) in inputs:
            raise ReverieError(f"{target} is one of the pictures to translate and stays as it is; write elsewhere.")
        taken[target] = source.name
    for folder in {target.parent for target in taken}:
        check_folder(folder)


def _identity(path: Path) -> tuple[int, int] | None:
    """A key that is equal for two names of one file; None where the file does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
