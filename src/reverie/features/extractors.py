"""Feature extractors: the spaces in which sets of pictures are compared.

A distance between sets of pictures is meaningless without its feature space, so an extractor has a name, a version and
a hash of its parameters, which are stored with every figure.

    pixels          principal components of training pictures; needs nothing else, and is insensitive to shapes
    textures        the strength of each octave of detail in each part of the picture; needs nothing else, detects blur
    classifier      the features of a small classifier that reverie trains once on a labelled data set (classifier.py)
    encoder:RUN     the codes of a run with an encoder
    inception:FILE  Inception's of 2015 (Heusel et al. 2017), from that file of weights or, without FILE, a download;
                    needs `pip install 'reverie[eval-ref]'`. Only these make a Frechet distance an FID.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reverie.capabilities import Conditions, Encodes
from reverie.data.image_io import to_tensor, to_uint8
from reverie.errors import ReverieError, nearest
from reverie.features.classifier import VERSION, Classifier, accuracy, classifier
from reverie.features.reference import SEED
from reverie.inference.pictures import Pictures, sample_indices
from reverie.metrics.pca import pca

KINDS = ("pixels", "textures", "classifier", "encoder", "inception")
COMPONENTS, FITTED = 64, 10_000  # pixels: most principal components, and most pictures they are fitted on
NUMBERS = 2**27  # most values of those pictures together, 1 GiB as float64: of large pictures, fewer are used
INCEPTION = "6726825d"  # start of the SHA-256 of the weights that torch-fidelity distributes
CELLS, SMALLEST = 4, 8  # textures: cells along a side; the shorter side in pixels below which no octave is taken
BATCH = 256


@dataclass(frozen=True)
class Extractor:
    """Pictures (N, C, H, W) in [-1, 1] -> features (N, d), with a description for the protocol of figures."""

    compute: Callable[[Tensor], Tensor]
    description: dict[str, Any]  # name, version, hash, resizer, and the accuracy of a classifier
    network: Classifier | None = None  # whose features these are, if a classifier's

    def __call__(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([self.compute(part).float().flatten(1).cpu() for part in images.split(BATCH)])

    def of(self, dataset: Pictures, indices: np.ndarray) -> Tensor:
        """The features of the pictures ``indices`` of ``dataset``, (N, d)."""
        parts = [indices[start : start + BATCH] for start in range(0, len(indices), BATCH)]
        return torch.cat([self(to_tensor(dataset.batch(part))) for part in parts])


def extractor(
    word: str, training: Pictures, test: Pictures | None = None, device: torch.device | str = "cpu"
) -> Extractor:
    """The extractor named ``word``: "auto", or KIND or KIND:WHAT as at the top of this file.

    "auto" is the classifier where the data has classes, else pixels. An extractor is fitted on ``training``; the
    accuracy of a classifier is measured on ``test``. Raises ReverieError for an unknown or unavailable extractor.
    """
    if word == "auto":
        word = "classifier" if labelled(training) else "pixels"
    kind, _, what = word.partition(":")
    if kind not in KINDS:
        raise ReverieError(f"There are no features '{kind}'{nearest(kind, KINDS)}")
    if what and kind in ("pixels", "textures", "classifier"):
        raise ReverieError(f"The features '{kind}' take nothing after a colon, and got '{what}'.")
    if kind == "encoder":
        return _encoder(what, training, device)
    if kind == "inception":
        return _inception(what, device)
    if kind == "textures":
        return Extractor(textures, _describe("textures", 1, {}) | {"cells": CELLS, "smallest": SMALLEST})
    return _pixels(training) if kind == "pixels" else _classifier(training, test, device)


def labelled(dataset: Pictures) -> bool:
    """Whether a classifier of these pictures could be trained."""
    return dataset.labels is not None and len(dataset.image_spec.classes) > 1


def _pixels(training: Pictures) -> Extractor:
    indices = sample_indices(training, min(FITTED, NUMBERS // math.prod(training.image_spec.shape)))
    if len(indices) < 2:
        raise ReverieError("Principal components need at least 2 pictures.")
    flat = to_tensor(training.batch(indices)).flatten(1).double()
    found, components = pca(flat), min(COMPONENTS, *flat.shape)
    mean, axes = found.mean, found.axes[:, :components]

    def compute(images: Tensor) -> Tensor:
        projected: Tensor = (images.cpu().flatten(1).double() - mean) @ axes
        return projected

    description = {"components": components, "fitted_on": len(indices)}
    return Extractor(compute, _describe("pixels", 1, {"mean": mean, "axes": axes}) | description)


def textures(images: Tensor) -> Tensor:
    """Pictures (N, C, H, W) -> (N, d): the strength of each octave, and the mean, of each channel in a grid of cells.

    An octave is the detail lost when a picture is downsampled by 2 and upsampled again, as in a Laplacian pyramid (Burt
    & Adelson 1983); its strength is the root mean square.
    """
    found = []
    while min(images.shape[2:]) >= SMALLEST:
        coarse = F.avg_pool2d(images, 2, ceil_mode=True)
        detail = images - F.interpolate(coarse, images.shape[2:], mode="bilinear")
        found.append(F.adaptive_avg_pool2d(detail.square(), CELLS).sqrt())
        images = coarse
    found.append(F.adaptive_avg_pool2d(images, CELLS))
    return torch.cat([part.flatten(1) for part in found], 1)


def _classifier(training: Pictures, test: Pictures | None, device: torch.device | str) -> Extractor:
    network = classifier(training, device)
    description: dict[str, Any] = _describe("classifier", VERSION, network.state_dict())
    if test is not None:
        description["test_accuracy"] = accuracy(network, test)
    return Extractor(lambda images: network(images.to(device)), description | {"seed": SEED}, network)


def _encoder(where: str, training: Pictures, device: torch.device | str) -> Extractor:
    from reverie import artifact

    if not where:
        raise ReverieError("Say which run's encoder gives the features: encoder:RUN.")
    run = artifact.load(where, device)
    model = run.model
    if not isinstance(model, Encodes):
        raise ReverieError(f"{where} is a {run.name}, which has no encoder.")
    if isinstance(model, Conditions):
        raise ReverieError(f"{where} is a {run.name}, whose encoder needs labels; features must do without.")
    if run.image_spec.shape != training.image_spec.shape:
        raise ReverieError(
            f"{where} was trained on {run.image_spec.shape} pictures, and these are {training.image_spec.shape}."
        )
    description = _describe("encoder", 1, model.state_dict()) | {"model": run.name}
    return Extractor(lambda images: model.encode(images.to(device)).mean, description)


def _inception(path: str, device: torch.device | str) -> Extractor:
    if path and not Path(path).is_file():
        raise ReverieError(f"There is no file {path} with Inception's weights.")
    if path:
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        if not digest.startswith(INCEPTION):
            raise ReverieError(
                f"{path} does not hold the 2015 Inception weights: its SHA-256 begins with {digest[:8]}, not with "
                f"{INCEPTION}. Take weights-inception-2015-12-05-{INCEPTION}.pth of torch-fidelity."
            )
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except (ImportError, RuntimeError) as error:  # a torchvision that does not match torch raises RuntimeError
        raise ReverieError("The features 'inception' need an extra: pip install 'reverie[eval-ref]'.") from error
    network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=path or None).to(device)

    def compute(images: Tensor) -> Tensor:
        pixels = torch.from_numpy(to_uint8(images))
        if pixels.shape[1] not in (1, 3):
            raise ReverieError(f"Inception takes pictures of 1 or 3 channels, not {pixels.shape[1]}.")
        features: Tensor = network(pixels.expand(-1, 3, -1, -1).to(device))[0]
        return features

    description = {
        "name": "inception",
        "version": "2015-12-05",
        "hash": INCEPTION,
        "resizer": "TensorFlow 1, bilinear, 299",
    }
    return Extractor(compute, description)


def _describe(name: str, version: int, tensors: dict[str, Tensor]) -> dict[str, Any]:
    content = hashlib.blake2b(digest_size=8)
    for key in sorted(tensors):
        content.update(key.encode())
        content.update(tensors[key].detach().cpu().contiguous().numpy().tobytes())
    return {"name": name, "version": version, "hash": content.hexdigest(), "resizer": "none"}
