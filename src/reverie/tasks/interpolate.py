"""Interpolation in latent space, from one sampled or given picture to the next."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from reverie.config import check_range
from reverie.errors import ReverieError
from reverie.inference.labels import Labels, classes_of, labels_in_turn
from reverie.inference.latent_space import Name, latent_space
from reverie.inference.pictures import Pictures, device_of, first, images_and_labels
from reverie.tasks.project import Progress, latents_of

How = Literal["lerp", "slerp"]
Join = Callable[[Tensor, Tensor, Tensor], Tensor]  # `lerp` or `slerp`

FINER = 16  # candidate places evaluated for each step of an even path


def interpolate(
    model: object,
    stops: int = 4,
    between: int = 8,
    seed: int = 0,
    space: Name = "z",
    how: How | None = None,
    loop: bool = False,
    labels: Labels | None = None,
    batch: int = 256,
    ends: Tensor | None = None,
    even: bool = False,
) -> Tensor:
    """Pictures (N, C, H, W) in [-1, 1] along a path through ``stops`` latents, each ``between`` steps from the next.

    The stops are ``ends`` (stops, ...), for example from `latents_of`, or else the latents of the first pictures of
    `sample` with this seed. Without ``loop`` the path ends at the last stop, N = (stops - 1) between + 1; with it the
    path returns to the first stop, N = stops between, and the first picture is not repeated at the end. Latents ``z``
    are joined along great circles (``slerp``), which preserves the typical length of samples of the prior, unless
    ``how`` is lerp; styles ``w`` along straight lines. ``labels`` is the one class of a conditional model along the
    path (default: its first). ``even`` places the steps of each leg so that the pictures, not the latents, change
    equally much, which takes `FINER` times as many decodings.
    """
    found = latent_space(model, space, "interpolate")
    if space == "w" and how == "slerp":
        raise ReverieError("Styles do not lie on a sphere: in space w the path is straight, lerp.")
    stops = stops if ends is None else len(ends)
    check_range("The number of stops", stops, low=2)
    check_range("The number of steps between stops", between, low=1)
    device = device_of(model)
    if labels is not None and classes_of(model) and len(labels) != 1:
        raise ReverieError(f"A path has one class, not {len(labels)}.")
    numbers = labels_in_turn(model, labels, 1)

    def given(count: int) -> Tensor | None:
        return None if numbers is None else numbers.expand(count).to(device)

    with torch.no_grad():
        through = found.draw(seed, range(stops), given(stops)) if ends is None else ends.to(device)
        join: Join = lerp if how == "lerp" or space == "w" else slerp

        def evened(a: Tensor, b: Tensor, places: Tensor) -> Tensor:
            fine = torch.linspace(0, 1, FINER * between + 1, dtype=a.dtype, device=device)
            pictures = found.pictures(join(a, b, fine), given(len(fine)), batch)
            return join(a, b, even_places(pictures, places.cpu()).to(a))

        path = walk(through, between, loop, evened if even else join)
        return found.pictures(path, given(len(path)), batch)


def ends_of(
    model: object,
    pictures: Tensor | Pictures,
    stops: int,
    label: int | str | None = None,
    space: Name = "z",
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """The latents (stops, ...) of the first ``stops`` pictures, for `interpolate` to go through.

    Each picture is encoded with its own class; where it has no label, with the class ``label``, by default the first.
    """
    if len(pictures) < stops:
        name = getattr(pictures, "spec", "This")
        raise ReverieError(f"{name} has {len(pictures)} pictures, and the path is to go through {stops}.")
    shown = first(pictures, stops)
    unknown = isinstance(shown, Tensor) or shown.labels is None
    classes = classes_of(model)
    given: Labels | None = [classes[0] if label is None else label] * stops if classes and unknown else None
    images, labels = images_and_labels(model, shown, given)
    return latents_of(model, images, labels, space=space, seed=seed, progress=progress)


def evenness(path: Tensor) -> dict[str, float]:
    """How evenly pictures (N, C, H, W) change along a path, by the steps between neighbours, in units of [0, 1] pixels.

    ``step`` is the mean over steps of the root mean square; ``largest_over_median`` above about 3 means a jump. N is at
    least 2.
    """
    steps = (path.diff(dim=0) / 2).square().flatten(1).mean(1).sqrt()
    return {"step": float(steps.mean()), "largest_over_median": float(steps.max() / steps.median().clamp_min(1e-9))}


def even_places(path: Tensor, places: Tensor) -> Tensor:
    """The positions (n,), from 0 (start) to 1 (end), at which a path has covered the shares ``places`` of its length.

    The path is given by equally spaced pictures (N, C, H, W); its length is the sum of distances between neighbours.
    """
    lengths = torch.stack([(b - a).double().norm() for a, b in pairwise(path)]).cumsum(0).numpy()
    if lengths[-1] == 0:
        return places
    along = np.linspace(0, 1, len(path))
    return torch.from_numpy(np.interp(places.numpy() * lengths[-1], [0, *lengths], along))


def walk(ends: Tensor, between: int, loop: bool, join: Join) -> Tensor:
    """Points along the path through ``ends`` (K, ...), (N, ...)."""
    following = torch.cat([ends[1:], ends[:1]]) if loop else ends[1:]
    t = torch.arange(between, device=ends.device, dtype=ends.dtype) / between
    legs = [join(a, b, t) for a, b in zip(ends, following, strict=False)]
    return torch.cat(legs if loop else [*legs, ends[-1:]])


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """a + t (b - a) for a and b (...) and t (n,): (n, ...)."""
    t = t.view(-1, *[1] * a.dim())
    return a + t * (b - a)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """The great circle from a to b (...) at t (n,), (n, ...); lengths are interpolated linearly (Shoemake 1985).

    A straight line where the directions are the same, or opposite, so that the great circle is not unique.
    """
    x, y = a.flatten() / a.norm().clamp_min(1e-12), b.flatten() / b.norm().clamp_min(1e-12)
    angle = torch.atan2((x - y).norm(), (x + y).norm()) * 2  # exact for small angles, where acos is not
    if float(angle.sin()) < 1e-4:
        return lerp(a, b, t)
    s = t[:, None]
    direction = (torch.sin((1 - s) * angle) * x + torch.sin(s * angle) * y) / angle.sin()
    path: Tensor = (direction * lerp(a.norm(), b.norm(), t)[:, None]).view(-1, *a.shape)
    return path
