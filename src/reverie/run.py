"""`Run`: a trained model with its settings and the shape of its data, and tasks as methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from reverie import run_data
from reverie.artifact import load as load_artifact
from reverie.capabilities import Encodes, Reconstructs
from reverie.data.splits import Split
from reverie.engine.model import Model
from reverie.errors import ReverieError
from reverie.inference.labels import Labels
from reverie.inference.pictures import Data, device_of, images_and_labels, pixel_digests_of, sample_indices

if TYPE_CHECKING:
    from reverie.evaluation import Figures
    from reverie.inference.embed import Embedding
    from reverie.inference.latent_space import Name
    from reverie.inference.sample import Prior
    from reverie.tasks.anomaly import Detector, Scored
    from reverie.tasks.classify import Classified
    from reverie.tasks.interpolate import How
    from reverie.tasks.neighbours import Nearest
    from reverie.tasks.project import Progress, Projection
    from reverie.tasks.traverse import Traversal


def load(
    path: str | Path, device: str | torch.device = "cpu", *, model: Model | type[Model] | None = None, data: Data = None
) -> Run:
    """The run in a folder, or in a repository of the Hugging Face Hub ("hf:owner/name"); its model in eval mode.

    ``model`` is needed for an unregistered model, or one with networks of your own: its class, or a model built as for
    the training, whose weights are then replaced by the run's. ``data`` is the data the run was trained on, if that was
    in memory. Raises ReverieError for any invalid file or argument.
    """
    run = Run(**vars(load_artifact(path, device, model=model)))
    return run if data is None else replace(run, data=run_data.brought(run, data))


class Run(run_data.WithData):
    """A trained model: ``path``, ``name``, ``model``, ``image_spec``, ``config``, and tasks as methods.

    Where a method takes pictures ``x``, these are whatever `open` takes (a spec, a folder, an array, a list of PIL
    pictures, a data set), with its options; or a torch tensor of floats (N, C, H, W) in [-1, 1], like the result of
    `sample`. A tensor of floats with all values in [0, 1] is ambiguous, and is refused unless ``range="0-1"`` or
    ``range="-1-1"`` gives the values of black and white.
    """

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return device_of(self.model)

    def to(self, device: str | torch.device) -> Run:
        """Move the model to a device; returns the run itself."""
        self.model.to(device)
        return self

    @property
    def report(self) -> Path:
        """The path of report.html, which exists once training has ended."""
        return self.path / "report.html"

    @property
    def card(self) -> Path:
        """The path of the model card, which exists once training has ended."""
        return self.path / "README.md"

    # Drawing

    def sample(
        self,
        count: int = 16,
        *,
        seed: int = 0,
        labels: Labels | None = None,
        prior: Prior = "model",
        truncation: float = 1.0,
    ) -> Tensor:
        """``count`` new pictures (count, C, H, W) in [-1, 1], on the CPU; see `reverie.sample`."""
        from reverie.inference.sample import sample

        return sample(self.model, count, seed, labels, prior, truncation=truncation)

    def interpolate(
        self,
        x: Data = None,
        *,
        stops: int | None = None,
        between: int = 9,
        space: Name = "z",
        how: How | None = None,
        loop: bool = False,
        even: bool = False,
        label: int | str | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        **options: Any,
    ) -> Tensor:
        """Pictures (N, C, H, W) in [-1, 1] along a path through the first ``stops`` pictures of ``x``, or of samples.

        ``stops`` is by default 5, or fewer where ``x`` has fewer. ``label`` is the class along the path, for a
        conditional model; see `reverie.interpolate`.
        """
        from reverie.tasks.interpolate import ends_of, interpolate

        given = None if x is None else run_data.pictures(self, x, options)
        count = stops if stops is not None else 5 if given is None else min(5, len(given))
        ends = None if given is None else ends_of(self.model, given, count, label, space, seed, progress)
        labels = None if label is None else (label,)
        return interpolate(
            self.model, count, between, seed, space=space, how=how, loop=loop, labels=labels, ends=ends, even=even
        )

    def traverse(
        self,
        x: Data = None,
        *,
        rows: int = 10,
        columns: int = 9,
        reach: float = 2.5,
        label: int | str | None = None,
        seed: int = 0,
        **options: Any,
    ) -> Traversal:
        """One latent dimension per row, varied about the first picture of ``x``: by default the first test picture.

        The spread of codes is that of the run's own training pictures. A model without an encoder starts from a picture
        sampled by ``seed``, and takes no ``x``; see `reverie.traverse` and `reverie.traverse_drawn`.
        """
        from reverie.inference.pictures import first
        from reverie.tasks.traverse import traverse, traverse_drawn

        if not isinstance(self.model, Reconstructs):
            if x is not None:
                raise ReverieError(
                    f"{type(self.model).__name__} has no encoder, so it starts from no given picture; leave "
                    f"{run_data.spec_of(x) or 'the pictures'} out."
                )
            return traverse_drawn(self.model, rows, columns, reach, label, seed)
        given = self.open() if x is None else run_data.pictures(self, x, options)
        embedding = self.spread()
        image, labels = images_and_labels(self.model, first(given, 1), None if label is None else [label])
        return traverse(self.model, image[0], embedding, rows, columns, reach, labels)

    # Using

    def encode(self, x: Data, labels: Labels | None = None, **options: Any) -> Tensor:
        """The codes (N, latent) of pictures, on the CPU, by the model's encoder; without one, use `project`.

        ``labels`` are the classes of the pictures, for a conditional model; by default those of the data.
        """
        from reverie.inference.embed import embed
        from reverie.inference.unsupported import unsupported
        from reverie.tasks.project import latents_of

        if not isinstance(self.model, Encodes):
            raise unsupported(self.model, "embed", "encoder", Encodes)
        given = run_data.pictures(self, x, options)
        if isinstance(given, Tensor) or labels is not None:
            return latents_of(self.model, *images_and_labels(self.model, given, labels)).flatten(1)
        return torch.from_numpy(embed(self.model, given).codes)

    def embed(self, x: Data = None, **options: Any) -> Embedding:
        """Codes with the names and labels of their pictures, by default of the run's own test pictures."""
        from reverie.inference.embed import embed

        return embed(self.model, self.open(**options) if x is None else run_data.as_set(self, x, options))

    def spread(self) -> Embedding:
        """Codes of some of the run's own training pictures, for the spread of its codes."""
        from reverie.inference.embed import embed
        from reverie.tasks.directions import EMBEDDED

        training = self.open(run_data.own(self), "train")
        return embed(self.model, training, indices=sample_indices(training, EMBEDDED))

    def reconstruct(self, x: Data, labels: Labels | None = None, **options: Any) -> Tensor:
        """Reconstructions of pictures: (N, C, H, W) in [-1, 1], on the CPU."""
        from reverie.tasks.reconstruct import reconstruct

        return reconstruct(self.model, *run_data.images(self, x, labels, options))

    def project(
        self,
        x: Data,
        labels: Labels | None = None,
        *,
        space: Name | None = None,
        steps: int = 400,
        starts: int = 4,
        sigma: float = 0.1,
        seed: int = 0,
        progress: Progress | None = None,
        **options: Any,
    ) -> Projection:
        """The latents of pictures by optimisation, for any model that samples; see `reverie.project`."""
        from reverie.tasks.project import project

        images, numbers = run_data.images(self, x, labels, options)
        return project(
            self.model, images, numbers, space=space, steps=steps, starts=starts, sigma=sigma, seed=seed,
            progress=progress,
        )  # fmt: skip

    def translate(self, x: Data, direction: str = "ab", *, tile: int = 0, noise: int | None = None) -> Tensor:
        """Translate pictures of one side to pictures (N, C', H, W) of the other, at their own size.

        ``x`` are single pictures of the source side of ``direction`` ("ab", "ba"), or pairs from `open`; see
        `reverie.translate`.
        """
        from reverie.tasks.translate import translate

        return translate(self.model, x, direction, tile=tile, noise=noise)

    def neighbours(
        self,
        x: Data = None,
        *,
        count: int = 8,
        nearest: int = 5,
        features: str = "pixels",
        data: Data = None,
        seed: int = 0,
        **options: Any,
    ) -> Nearest:
        """The training pictures nearest to given pictures, to see whether the model has memorised them.

        ``count`` pictures of ``x``, by default samples, are compared with the training pictures of ``data``, by default
        the run's own.
        """
        from reverie.inference.pictures import sample_pictures
        from reverie.tasks.neighbours import nearest_of

        whole = run_data.whole(self, run_data.own(self) if data is None else data, {})
        if x is None:
            images = self.sample(count, seed=seed)
        else:
            images = images_and_labels(None, sample_pictures(run_data.pictures(self, x, options), count, seed), None)[0]
        return nearest_of(images, whole.split("train"), whole.split("test"), nearest, features, count, seed)

    # Judging

    def score(
        self,
        x: Data = None,
        score: str = "auto",
        rate: float = 0.05,
        *,
        normal: Data = None,
        seed: int = 0,
        **options: Any,
    ) -> Scored:
        """Anomaly scores of pictures, by default the run's own test pictures, with p-values and which are odd.

        The detector is calibrated on `held_out` pictures, so that at most ``rate`` of new normal ones are called odd;
        see `reverie.detector`.
        """
        pictures = self.open(**options) if x is None else run_data.as_set(self, x, options)
        return self.detector(score, rate, normal=normal, judged=pictures, seed=seed).judge(pictures)

    def detector(
        self, score: str = "auto", rate: float = 0.05, *, normal: Data = None, judged: Data = None, seed: int = 0
    ) -> Detector:
        """A detector of odd pictures, calibrated on `held_out` ones; cached for the same pictures and arguments."""
        from reverie.tasks.anomaly import detector
        from reverie.tasks.anomaly_scores import score_of

        name = score_of(self.model, score)
        held_out = self.held_out(normal, judged)
        digests = held_out.digests
        key = (name, rate, seed, tuple(pixel_digests_of(held_out) if digests is None else digests))
        if key not in self._detectors:
            self._detectors[key] = detector(self.model, held_out, name, rate, seed=seed)
        return self._detectors[key]

    @cached_property
    def _detectors(self) -> dict[object, Detector]:
        return {}

    def classify(
        self,
        x: Data = None,
        *,
        reject: float | None = None,
        normal: Data = None,
        samples: int = 50,
        seed: int = 0,
        **options: Any,
    ) -> Classified:
        """The probability of each class for every picture, by default the run's own test pictures, by Bayes' rule.

        ``reject`` is the largest share of normal pictures that may be rejected as none of the classes, calibrated on
        `held_out` pictures; see `reverie.classify`.
        """
        from reverie.tasks import classify as task

        task.check_classifies(self.model)
        pictures = self.open(**options) if x is None else run_data.as_set(self, x, options)
        threshold = None
        if reject is not None:
            known = self.held_out(normal, pictures)
            threshold = task.calibrate(self.model, known, reject, samples=samples, seed=seed)
        return task.classify(self.model, pictures, samples=samples, seed=seed, reject=threshold)

    def evaluate(
        self,
        data: Data = None,
        split: Split | None = None,
        *,
        metrics: Sequence[str] | None = None,
        samples: int = 500,
        limit: int = 0,
        features: str = "auto",
        generated: int = 10_000,
        seed: int = 0,
        **options: Any,
    ) -> Figures:
        """Figures for JSON, measured on a split of data, by default the run's own; see `reverie.evaluate`.

        ``split`` is by default "test" for the run's own data, and "all" for other data. With "test", generated pictures
        are compared with the training pictures of the data; by default, for other data, with those that the run was
        trained on, if available. A reverie `Dataset` is used as it is.
        """
        from reverie.evaluation import evaluate

        dataset, training = run_data.measured(self, data, split, options)
        return evaluate(
            self.model, dataset, metrics, samples, limit, seed,
            training=training, features=features, generated=generated,
        )  # fmt: skip

    def __repr__(self) -> str:
        from reverie.notebook import line

        return line(self)

    def _repr_html_(self) -> str:
        from reverie.notebook import html

        return html(self)
