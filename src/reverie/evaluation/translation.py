"""Quality of translations: error against the target, similarity to the other side as a set, and cycle consistency.

Pictures are compared on the scale [0, 1]. They are translated in batches, and of each batch only figures and features
are kept. For each direction, on held-out pictures:

- ``l1``, ``psnr``, ``ssim`` (where the data has pairs): against the target picture of the pair.
- ``frechet``, ``kid``, ``precision``, ``recall`` ...: the translations as a set against training pictures of the target
  side (generation.py); ``label_accuracy``, where the data has classes: the share classified as the class of the input.
- ``pixel_accuracy``, ``class_iou`` (where the side is label maps, and there are pairs): the share of pixels with the
  right label, and the mean intersection over union of the labels present. A side is taken for label maps where it is in
  colour and a few exact values make up nearly all of its pixels (in JPEG files they do not: save label maps as PNG);
  each pixel counts as the nearest of these colours.
- ``cycle_l1``, ``cycle_psnr`` (where the model has both directions): the input against its translation and back.

Sets are compared where there are at least 6 pictures of each kind; with fewer, ``note`` says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.capabilities import DIRECTION_SIDES, OPPOSITE_DIRECTION, Translates
from reverie.data.image_io import to_tensor, to_uint8
from reverie.data.pairs import Pairs
from reverie.engine.model import Model
from reverie.errors import ReverieError
from reverie.evaluation.generation import LEAST, SetFeatures, SetMetrics, set_metrics
from reverie.inference.pictures import Pictures, device_of, sample_indices
from reverie.metrics.images import l1, psnr, ssim
from reverie.metrics.segmentation import mean_iou, overlaps, pixel_accuracy

BATCH = 16
MOST_LABELS, LABELLED = 32, 0.95  # a label map's colours, and the share of pixels that they must make up
PALETTE_FROM = 50  # pictures


@dataclass
class TranslationMetrics:
    """Measures translations of held-out pictures; reusable."""

    test: Pairs
    count: int  # pictures of each side that are translated
    seed: int
    set_metrics_of: dict[str, SetMetrics]  # by direction, for its target side; none where there are too few pictures
    palettes: dict[str, Tensor | None]  # (L, C) uint8 colours of each direction's label maps
    note: str = ""  # on figures that are missing

    def figures(self, model: Translates) -> dict[str, Any]:
        """The figures of one direction; for two, names end in the direction, and their mean distance is added."""
        each = {way: self._direction(model, way) for way in model.directions}
        note = {"note": self.note} if self.note else {}
        if len(each) == 1:
            return next(iter(each.values())) | note
        mean = {"frechet": sum(found["frechet"] for found in each.values()) / len(each)} if self.set_metrics_of else {}
        return mean | {f"{key}_{way}": v for way, found in each.items() for key, v in found.items()} | note

    def floor(self) -> dict[str, Any]:
        """The figures of the held-out pictures of each side against its training pictures: the best to be expected."""
        found = {}
        for way, metrics in self.set_metrics_of.items():
            real = self.test.side(DIRECTION_SIDES[way][1])
            chosen = sample_indices(real, self.count, self.seed)
            found[way] = metrics.figures(metrics.extract_from(real, chosen))
        return found

    def _direction(self, model: Translates, way: str) -> dict[str, Any]:
        source = self.test.side(DIRECTION_SIDES[way][0])
        chosen = sample_indices(source, self.count, self.seed)
        parts: list[dict[str, Tensor]] = []
        seen: list[SetFeatures] = []
        metrics, other = self.set_metrics_of.get(way), OPPOSITE_DIRECTION[way]
        for given, wanted in _batches(self.test, way, chosen, device_of(model)):
            with torch.no_grad():
                output = model.translate(given, way)
                part = {}
                if wanted is not None:
                    part = compared(output, wanted, self.palettes[way])
                if other in model.directions:
                    back = model.translate(output, other)
                    part |= {"cycle_l1": l1(back, given), "cycle_psnr": psnr(back, given)}
            parts.append({key: value.double().cpu() for key, value in part.items()})
            if metrics is not None:
                seen.append(metrics.extract(output.float().cpu()))
        found: dict[str, Any] = {}
        for key in parts[0]:
            values = torch.cat([part[key] for part in parts])
            found[key] = mean_iou(values) if key == "class_iou" else float(values.mean())
        if metrics is None:
            return found
        labels = None if metrics.reader is None or source.labels is None else torch.from_numpy(source.labels[chosen])
        return found | metrics.figures(seen, labels)


def translation_metrics(
    model: Translates,
    training: Pairs,
    test: Pairs,
    features: str = "auto",
    count: int = 5000,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> TranslationMetrics:
    """Metrics on ``count`` held-out pictures of each side, in the named features of the target side."""
    _check(model, test)
    ends = {way: DIRECTION_SIDES[way][1] for way in model.directions}
    palettes = {way: palette(training.side(end)) for way, end in ends.items()}
    held_out = [len(test.side(end)) for way in model.directions for end in DIRECTION_SIDES[way]]
    least = min(count, *held_out, *(len(training.side(end)) for end in ends.values()))
    if least < LEAST:
        note = (
            f"Translations are compared as a set where there are at least {LEAST} pictures of each side, not {least}."
        )
        return TranslationMetrics(test, count, seed, {}, palettes, note)
    set_metrics_of = {
        way: set_metrics(training.side(end), test.side(end), features, count, seed, device) for way, end in ends.items()
    }
    return TranslationMetrics(test, count, seed, set_metrics_of, palettes)


def _batches(
    test: Pairs, way: str, chosen: NDArray[np.int64], device: torch.device
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Chosen pictures of a direction's source side, and their targets where the data has pairs."""
    source, target = (test.side(end) for end in DIRECTION_SIDES[way])
    for start in range(0, len(chosen), BATCH):
        part = chosen[start : start + BATCH]
        wanted = to_tensor(target.batch(part)).to(device) if test.paired else None
        yield to_tensor(source.batch(part)).to(device), wanted


def _check(model: Translates, test: Pairs) -> None:
    """Raise ReverieError where the sides of the pictures are not those the model was trained on."""
    known = model.image_spec.sides if isinstance(model, Model) else ()
    if known != test.image_spec.sides:
        raise ReverieError(
            f"The sides have {test.image_spec.sides} channels, the model was trained on {known}; exchange them by "
            "data.swap."
        )


def perceptual(
    model: Translates, test: Pairs, indices: NDArray[np.int64], device: torch.device | str = "cpu"
) -> dict[str, Any]:
    """LPIPS (Zhang et al. 2018, AlexNet) of translations against their targets, the mean for each direction.

    Sides of 1 or 3 channels; needs `pip install 'reverie[eval-ref]'`, which fetches weights at its first use.
    """
    try:
        import lpips
    except (ImportError, RuntimeError) as why:  # a torchvision that does not match torch raises RuntimeError
        raise ReverieError("LPIPS needs an extra: pip install 'reverie[eval-ref]'.") from why
    _check(model, test)
    distance = lpips.LPIPS(net="alex", verbose=False).to(device).eval()
    found = {}
    for way in model.directions:
        channels = test.side(DIRECTION_SIDES[way][1]).image_spec.channels
        if channels not in (1, 3):
            raise ReverieError(f"LPIPS takes pictures of 1 or 3 channels, not {channels}.")
        parts = []
        for given, wanted in _batches(test, way, indices, device_of(model)):
            assert wanted is not None
            with torch.no_grad():
                output = model.translate(given, way).clamp(-1, 1)
                parts.append(distance(output.expand(-1, 3, -1, -1), wanted.expand(-1, 3, -1, -1)).flatten())
        found[way] = float(torch.cat(parts).double().mean())
    return found


def compared(output: Tensor, wanted: Tensor, colours: Tensor | None = None) -> dict[str, Tensor]:
    """Figures of each picture, (N,), of outputs against targets (N, C, H, W) in [-1, 1].

    With the ``colours`` of label maps, (L, C) uint8, also the share of pixels with the right label, and the number of
    pixels of each label in intersection and union, (N, L, 2).
    """
    found = {"l1": l1(output, wanted), "psnr": psnr(output, wanted), "ssim": ssim(output, wanted)}
    if colours is not None:
        read, true = nearest_label(output, colours), nearest_label(wanted, colours)
        found["pixel_accuracy"] = pixel_accuracy(read, true)
        found["class_iou"] = overlaps(read, true, len(colours))
    return found


def palette(side: Pictures) -> Tensor | None:
    """The colours (L, C) of label maps, the most frequent first; None where the pictures are not label maps."""
    if len(side) == 0 or side.image_spec.channels < 3:
        return None
    pixels = side.batch(sample_indices(side, PALETTE_FROM))
    colours, counts = np.unique(pixels.transpose(0, 2, 3, 1).reshape(-1, pixels.shape[1]), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_LABELS]
    shares = np.cumsum(counts[order]) / counts.sum()
    if shares[-1] < LABELLED or len(order) < 2:
        return None
    return torch.from_numpy(colours[order[counts[order] / counts.sum() > 1e-4]])


def nearest_label(images: Tensor, colours: Tensor) -> Tensor:
    """The number of the nearest colour at each pixel, (N, H, W), of pictures (N, C, H, W) in [-1, 1]."""
    pixels = torch.from_numpy(to_uint8(images)).permute(0, 2, 3, 1).float()
    return torch.cdist(pixels.flatten(1, 2), colours.float()).argmin(2).view(pixels.shape[:3])
