"""Projection: the latent that decodes to a given picture, found by optimisation, so no encoder is needed.

Maximises log p(x|z) + log p(z) with x = G(z) + noise of standard deviation ``sigma`` on each pixel: the posterior's
mode (Creswell and Bharath 2018, "Inverting the generator of a generative adversarial network", with a prior on z). The
objective has many poor local optima, so starts matter more than steps. The starts are the best of `DRAWS` sampled
latents, a ridge regression from their pictures to the latents, and the encoder's code where there is one. They are
optimised together, and each round keeps the better half (Jamieson and Talwalkar 2016, successive halving).

Latents are optimised in whitened coordinates, in which the model's samples have mean 0 and covariance I: in the styles
of a StyleGAN a step is then as large in every direction (Wulff and Torralba 2020). A picture may be observed in part
only, through ``observe``: an unmasked region, fewer pixels. Each picture is projected alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from reverie.capabilities import Encodes
from reverie.config import check_range
from reverie.errors import ReverieError
from reverie.inference.labels import Labels, labels_for
from reverie.inference.latent_space import LatentSpace, Name, latent_space
from reverie.inference.pictures import Data, check_shape, device_of, images_and_labels

DRAWS = 2048  # sampled latents whose pictures are compared with those to project, for each class
RATE = 0.1  # of Adam, in standard deviations of the latents
RIDGE = 1e-2  # of the regression, in units of the mean squared length of a picture
FLOOR = 1e-4  # least variance of a direction of the latents, as a share of the largest
AT_ONCE = 256  # pictures decoded at a time
LEAST_SIGMA = 1e-6  # far below the step of a pixel, 2 / 255; its square still divides float32 numbers

Observe = Callable[[Tensor], Tensor]  # (N, C, H, W) to what is observed of it, (N, ...); linear, each picture alone
Progress = Callable[[int, int], None]  # pictures done, pictures in all


@dataclass(frozen=True)
class Projection:
    """The result for each picture, on the CPU."""

    latents: Tensor  # (N, ...), of the latent space
    pictures: Tensor  # (N, C, H, W) in [-1, 1], what the latents decode to
    error: Tensor  # (N,): mean squared error of what is observed, values in [-1, 1]
    space: Name
    labels: Tensor | None  # (N,) int64, where the model takes labels

    @property
    def psnr(self) -> Tensor:
        """PSNR of what is observed, in dB at a range of 2 (values in [-1, 1]): (N,)."""
        return 10 * torch.log10(4 / self.error.clamp_min(1e-10))


def project(
    model: object,
    images: Data,
    labels: Labels | None = None,
    *,
    space: Name | None = None,
    steps: int = 400,
    starts: int = 4,
    sigma: float = 0.1,
    observe: Observe | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Projection:
    """The latents of pictures (N, C, H, W) in [-1, 1], of other data, or of outputs (N, ...) of ``observe``.

    ``steps`` is the number of steps of the start that is kept to the end. Including the others, of which each round
    keeps half, a picture is decoded about 1.3 times as often for 2 starts, 1.7 times for 4 and 2.1 times for 8.
    ``sigma`` is the noise of an observed number: the smaller, the closer to the picture; the larger, the closer to the
    prior. ``labels`` are the classes of the pictures, for a conditional model. ``space`` is as for `latent_space`.
    The result for a picture does not depend on the other pictures.
    """
    found = latent_space(model, space, "project pictures")
    if observe is None or not isinstance(images, Tensor):
        images, labels = images_and_labels(model, images, labels)
        check_shape(model, images.shape[1:])
    check_range("The number of steps", steps, low=1)
    check_range("The number of starts", starts, low=1, high=DRAWS)
    check_range("sigma", sigma, low=LEAST_SIGMA)
    if len(images) == 0:
        raise ReverieError("There are no pictures to project.")
    numbers = labels_for(model, labels, len(images))
    device = device_of(model)
    groups: dict[int | None, Tensor] = {None: torch.arange(len(images))}
    if numbers is not None:
        groups = {int(label): torch.where(numbers.eq(label))[0] for label in numbers.unique()}
    parts: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
    for label, members in groups.items():
        search = _Search(found, label, observe or (lambda pictures: pictures), sigma, seed)
        for rows in members.split(max(1, AT_ONCE // starts)):
            latents, pictures, error = search.best(images[rows].to(device), starts, steps)
            parts |= {int(r): (latents[i], pictures[i], error[i]) for i, r in enumerate(rows)}
            if progress is not None:
                progress(len(parts), len(images))
    latents, pictures, error = (torch.stack([parts[i][k] for i in range(len(images))]) for k in range(3))
    return Projection(latents, pictures, error, found.name, numbers)


def latents_of(
    model: object,
    images: Data,
    labels: Labels | None = None,
    *,
    space: Name | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """The latents of pictures (N, C, H, W) in [-1, 1] or of other data, on the CPU: by the encoder, else projected.

    Where there is an encoder, ``space`` None means its codes.
    """
    if isinstance(model, Encodes) and space != "w":
        images, labels = images_and_labels(model, images, labels)
        check_shape(model, images.shape[1:])
        numbers, device = labels_for(model, labels, len(images)), device_of(model)
        parts = []
        with torch.no_grad():
            for rows in torch.arange(len(images)).split(AT_ONCE):
                given = None if numbers is None else numbers[rows].to(device)
                parts.append(model.encode(images[rows].to(device), given).mean.cpu())
        return torch.cat(parts)
    return project(model, images, labels, space=space, seed=seed, progress=progress).latents


class _Search:
    """Projection into a latent space, of one class where there are classes."""

    def __init__(self, space: LatentSpace, label: int | None, observe: Observe, sigma: float, seed: int) -> None:
        self.space, self.label, self.observe, self.sigma = space, label, observe, sigma
        latents, seen = [], []
        with torch.no_grad():
            for start in range(0, DRAWS, AT_ONCE):
                numbers = range(start, min(start + AT_ONCE, DRAWS))
                latents.append(space.draw(seed, numbers, self._labels(len(numbers))))
                pictures = space.decode(latents[-1], self._labels(len(numbers)))
                self.picture_shape = pictures.shape[1:]
                seen.append(observe(pictures).flatten(1).float())
            drawn = torch.cat(latents)
            self.seen = torch.cat(seen)
            if not (drawn.isfinite().all() and self.seen.isfinite().all()):
                raise ReverieError(f"{type(space.model).__name__} draws what are no finite numbers; it has diverged.")
            self.shape = drawn.shape[1:]
            # The layers of a sampled style are equal: they share one whitening, but are optimised separately.
            flat = drawn[:, 0] if space.name == "w" else drawn.flatten(1)
            # On the CPU: not every device has double precision.
            self.mean, self.root, self.inverse = (part.to(drawn.device) for part in _whitening(flat.cpu().double()))
            self.known = self.coordinates(drawn)  # (DRAWS, d)
            # The layers of a sampled style are equal, so it is enough to regress one of them.
            self.regress = _regression(self.seen, self.known[:, : len(self.mean)])

    def _labels(self, count: int) -> Tensor | None:
        return None if self.label is None else torch.full((count,), self.label, device=device_of(self.space.model))

    def coordinates(self, latents: Tensor) -> Tensor:
        """The whitened coordinates (N, d) of latents (N, ...)."""
        rows = latents.flatten(0, 1) if self.space.name == "w" else latents.flatten(1)
        return ((rows - self.mean) @ self.inverse).reshape(len(latents), -1)

    def latents(self, coordinates: Tensor) -> Tensor:
        """The inverse of `coordinates`."""
        rows = coordinates.reshape(-1, len(self.mean))
        return (rows @ self.root + self.mean).reshape(-1, *self.shape)

    def best(self, images: Tensor, starts: int, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        """Latents (n, ...), pictures, and errors of what is observed, on the CPU."""
        wanted = images.flatten(1).float()
        if wanted.shape[1] != self.seen.shape[1]:
            theirs, mine = ("x".join(map(str, shape)) for shape in (images.shape[1:], self.picture_shape))
            raise ReverieError(f"The pictures are {theirs} (channels x height x width), and the model draws {mine}.")
        here = self.starts(images, wanted, starts)  # (n, starts, d)
        rounds = starts.bit_length()
        for number in range(rounds):
            # Half as many starts continue, each for twice as many steps: every round costs the same.
            done, until = (steps * (2**k - 1) // (2**rounds - 1) for k in (number, number + 1))
            here, value = self.descended(here, wanted, range(done, until), steps)
            keep = max(1, here.shape[1] // 2)
            order = value.topk(keep, 1, largest=False).indices
            here = here.gather(1, order[:, :, None].expand(-1, -1, here.shape[2]))
        latents = self.latents(here[:, 0])
        with torch.no_grad():
            pictures = self.space.decode(latents, self._labels(len(latents)))
            error = (self.observe(pictures).flatten(1) - wanted).square().mean(1)
        return latents.cpu(), pictures.float().cpu(), error.cpu()

    def starts(self, images: Tensor, wanted: Tensor, count: int) -> Tensor:
        """(n, count, d): the regression's estimate, the encoder's code where there is one, and the nearest samples."""
        one = self.regress(wanted)
        said = [one.repeat(1, self.known.shape[1] // one.shape[1])]
        model = self.space.model
        if isinstance(model, Encodes) and self.space.name == "z" and images.shape[1:] == self.picture_shape:
            with torch.no_grad():
                said.insert(0, self.coordinates(model.encode(images, self._labels(len(images))).mean))
        nearest = torch.cdist(wanted, self.seen).topk(count, 1, largest=False).indices
        return torch.cat([torch.stack(said, 1), self.known[nearest]], 1)[:, :count]

    def descended(self, here: Tensor, wanted: Tensor, steps: range, total: int) -> tuple[Tensor, Tensor]:
        """Coordinates (n, k, d) after steps of Adam with a cosine schedule, and their objective (n, k)."""
        count, tracks = here.shape[:2]
        rows = here.reshape(count * tracks, -1).clone().requires_grad_()
        goal = wanted.repeat_interleave(tracks, 0)
        labels = self._labels(len(rows))
        optimizer = torch.optim.Adam([rows], lr=RATE)

        def objective() -> Tensor:
            seen = self.observe(self.space.decode(self.latents(rows), labels)).flatten(1)
            # The prior is summed over the layers of styles; dividing by their number counts it once.
            layers = rows.shape[1] / len(self.mean)
            return (seen - goal).square().sum(1) / (2 * self.sigma**2) + rows.square().sum(1) / (2 * layers)

        for step in steps:
            optimizer.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * step / total)) / 2
            with torch.enable_grad():
                (rows.grad,) = torch.autograd.grad(objective().sum(), rows)  # of the coordinates, not of the network
            optimizer.step()
        with torch.no_grad():
            value = objective().view(count, tracks)
        return rows.detach().view(count, tracks, -1), value


def _whitening(latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (d,), root R (d, d) of the covariance and inverse of R, for latents (N, d): latent = mean + u R."""
    mean = latents.mean(0)
    variance, axes = torch.linalg.eigh((latents - mean).T @ (latents - mean) / len(latents))
    deviation = variance.clamp_min(FLOOR * float(variance[-1]) + 1e-12).sqrt()
    return mean.float(), (axes * deviation @ axes.T).float(), (axes / deviation @ axes.T).float()


def _regression(seen: Tensor, known: Tensor) -> Callable[[Tensor], Tensor]:
    """Ridge regression from what is observed (N, p) to coordinates (N, d), in its dual form: p may be large."""
    centre, base = seen.mean(0), known.mean(0)
    rows = seen - centre
    gram = rows @ rows.T
    ridge = RIDGE * float(gram.diagonal().mean()) + 1e-12
    weights = rows.T @ torch.linalg.solve(gram + ridge * torch.eye(len(gram), device=gram.device), known - base)
    return lambda wanted: (wanted - centre) @ weights + base
