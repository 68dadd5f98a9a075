"""Evaluation of a model on a set of pictures: the metrics that its capabilities permit, with their protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from reverie.capabilities import Bounds, Encodes, Reconstructs, Samples, Translates
from reverie.data.pairs import Pairs
from reverie.errors import ReverieError, nearest
from reverie.evaluation.generation import LEAST, generation_figures, set_metrics
from reverie.evaluation.latent import latent_use
from reverie.evaluation.likelihood import likelihood
from reverie.evaluation.reconstruction import reconstruction
from reverie.evaluation.translation import perceptual, translation_metrics
from reverie.inference.embed import embed
from reverie.inference.pictures import Data, Pictures, device_of, pictures_of, sample_indices
from reverie.metrics.likelihood import bits_per_level, nats_to_bits_per_dim, standard_error

Figures = dict[str, Any]


@dataclass(frozen=True)
class EvaluationOptions:
    """The data to measure on, and numbers of samples."""

    dataset: Pictures
    indices: NDArray[np.int64]
    samples: int
    seed: int
    training: Pictures | None
    features: str
    generated: int
    device: torch.device | str


@dataclass(frozen=True)
class Metric:
    """A family of figures, the capability that it needs, and a description of that."""

    capability: type
    needs: str
    measure: Callable[[Any, EvaluationOptions], Figures]
    unasked: bool = True  # measured by default; False where an extra package is needed


def _reconstruction(model: Reconstructs, options: EvaluationOptions) -> Figures:
    found = reconstruction(model, options.dataset, options.indices)
    return {
        "mse": float(found.mse.mean()),
        "psnr": float(found.psnr.mean()),
        "ssim": float(found.ssim.mean()),
        "ssim_window": found.window,
    }


def _likelihood(model: Bounds, options: EvaluationOptions) -> Figures:
    found = likelihood(model, options.dataset, options.samples, options.seed, indices=options.indices)
    elbo, bound = float(found.elbo.mean()), float(found.bound.mean())
    bits = nats_to_bits_per_dim(bound, found.dimensions)
    depth = options.dataset.image_spec.depth  # floats have no levels
    referred = {"bits_per_dim_from_density": bits + bits_per_level(depth)} if depth < 32 else {}
    return {
        "elbo": elbo,
        "elbo_standard_error": standard_error(found.elbo),
        "iw_bound": bound,
        "iw_bound_standard_error": standard_error(found.bound),
        "nll": -bound,
        "samples": found.samples,
        "elbo_bits_per_dim": nats_to_bits_per_dim(elbo, found.dimensions),
        "bits_per_dim": bits,
        **referred,
    }


def _latent(model: Encodes, options: EvaluationOptions) -> Figures:
    found = latent_use(embed(model, options.dataset, indices=options.indices))
    return {
        "units": len(found.variance),
        "active_units": found.active,
        "variance_per_dimension": found.variance.tolist(),
        "kl": None if found.kl is None else float(found.kl.sum()),
        "kl_per_dimension": None if found.kl is None else found.kl.tolist(),
    }


def _quality(model: Samples, options: EvaluationOptions) -> Figures:
    held_out = options.dataset if options.training is not None else None
    metrics = set_metrics(
        options.training or options.dataset, held_out, options.features, options.generated, options.seed, options.device
    )
    return generation_figures(model, metrics, held_out, options.generated)


def _translation(model: Translates, options: EvaluationOptions) -> Figures:
    if not isinstance(options.dataset, Pairs):
        raise ReverieError("Translations are measured on pairs; say with data.pair how the data makes them.")
    training = options.training if isinstance(options.training, Pairs) else options.dataset
    metrics = translation_metrics(
        model, training, options.dataset, options.features, len(options.indices), options.seed, options.device
    )
    floor = {"floor": metrics.floor()} if metrics.set_metrics_of and training is options.training else {}
    protocol = {way: each.protocol for way, each in metrics.set_metrics_of.items()}
    return {**metrics.figures(model), **floor, "protocol": protocol}


def _lpips(model: Translates, options: EvaluationOptions) -> Figures:
    if not isinstance(options.dataset, Pairs) or not options.dataset.paired:
        raise ReverieError("LPIPS compares translations with what belongs to them, and this data has no pairs.")
    return perceptual(model, options.dataset, options.indices, options.device)


METRICS = {
    "reconstruction": Metric(Reconstructs, "an encoder with a decoder", _reconstruction),
    "likelihood": Metric(Bounds, "a bound on log p(x), which variational autoencoders have", _likelihood),
    "latent": Metric(Encodes, "an encoder", _latent),
    "quality": Metric(Samples, "a prior to draw new pictures from", _quality),
    "translation": Metric(Translates, "two sides to translate between", _translation),
    "lpips": Metric(Translates, "two sides to translate between", _lpips, unasked=False),
}


def evaluate(
    model: nn.Module,
    dataset: Data,
    metrics: Sequence[str] | None = None,
    samples: int = 500,
    limit: int = 0,
    seed: int = 0,
    device: torch.device | str | None = None,
    training: Data = None,
    features: str = "auto",
    generated: int = 10_000,
) -> Figures:
    """Figures of ``model``, in eval mode, on ``dataset``: for JSON, one entry for each metric and ``protocol``.

    ``dataset`` and ``training`` are whatever `open_dataset` takes; pairs must be opened by `Run.open` or
    `open_dataset`. ``metrics`` are names from `METRICS`; None is all that the model's capabilities permit without an
    extra package. ``samples`` is the number of importance samples for each picture. ``limit`` measures on that many
    pictures, sampled by ``seed``; 0 is all. With ``device`` the model is measured there, and moved back afterwards.
    ``quality`` needs at least 6 pictures of each set; with fewer it is left out, unless it is named in ``metrics``.

    ``quality`` compares ``generated`` new pictures with as many of ``training``, in the space of ``features``
    (`reverie.features.extractors`); pictures of ``dataset`` compared in the same way are the floor. Without
    ``training`` the model is compared with ``dataset`` itself, and there is no floor.

    ``bits_per_dim`` is in the model's own pixel unit: a code length for discrete pixels (Bernoulli, discretised). Where
    the likelihood is a density over pixels in [-1, 1], ``bits_per_dim_from_density`` converts it to the levels of the
    pictures, 256 at 8 bits; floats have no levels.
    """
    generated = min(generated, limit) if limit else generated
    names = metrics_of(model) if metrics is None else list(dict.fromkeys(metrics))
    dataset = pictures_of(model, dataset)
    training = None if training is None else pictures_of(model, training)
    if metrics is None and "quality" in names and min(generated, len(training or dataset)) < LEAST:
        names.remove("quality")  # too few pictures to compare sets
    for name in names:
        if name not in METRICS:
            raise ReverieError(f"There is no metric '{name}'{nearest(name, METRICS)}")
        if not isinstance(model, METRICS[name].capability):
            raise ReverieError(f"The metric '{name}' needs {METRICS[name].needs}; {type(model).__name__} has none.")
    if not names:
        raise ReverieError(f"No metric applies to {type(model).__name__}; known are: {', '.join(METRICS)}.")
    if len(dataset) == 0:
        raise ReverieError("There are no pictures to evaluate on.")
    count = min(limit, len(dataset)) if limit else len(dataset)
    with moved(model, device):
        options = EvaluationOptions(
            dataset,
            sample_indices(dataset, count, seed),
            samples,
            seed,
            training,
            features,
            generated,
            device_of(model),
        )
        figures = {name: METRICS[name].measure(model, options) for name in names}
    protocol = {"pictures": count, "of": len(dataset), "samples": samples, "seed": seed}
    return {**figures, "protocol": protocol}


@contextmanager
def moved(model: nn.Module, device: torch.device | str | None) -> Iterator[None]:
    """The model on a device (None: where it is), and afterwards back where it was, also after an error."""
    before = device_of(model)
    if device is not None:
        model.to(device)
    try:
        yield
    finally:
        if device is not None:
            model.to(before)


def metrics_of(model: object) -> list[str]:
    """The metrics that the capabilities of ``model`` permit and that need no extra package."""
    return [name for name, metric in METRICS.items() if metric.unasked and isinstance(model, metric.capability)]
