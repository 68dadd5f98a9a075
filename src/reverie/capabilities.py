"""The capabilities of models, as small abstract classes checked with isinstance.

Tasks, evaluation, the command line and the documentation support for a model exactly what it inherits from here.
Throughout, pictures are float32 tensors of shape (N, C, H, W) in [-1, 1], labels are int64 of shape (N,), and a latent
is (N, latent_size) unless a model says otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from reverie.engine.model import ImageSpec, required_spec
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.networks.mixture import Mixture


@dataclass(frozen=True)
class Code:
    """An encoder's output for each picture: a point, or a diagonal Gaussian with ``logvar``; (N, latent_size)."""

    mean: Tensor
    logvar: Tensor | None = None


class Samples(ABC):
    """Samples new pictures: P(x), as a latent prior and a decoder."""

    @abstractmethod
    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        """A latent for each of the ``draw.count`` samples, from the model's prior."""

    @abstractmethod
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Pictures (N, C, H, W) in [-1, 1]; deterministic, and independent of the rest of the batch."""


class Encodes(ABC):
    """Maps pictures to codes."""

    @abstractmethod
    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        """The code of each picture; deterministic, and independent of the rest of the batch."""


class Reconstructs(Encodes, Samples):
    """An encoder with a decoder for its codes: autoencoders of every kind.

    ``mixture`` is a Gaussian mixture over codes, fitted after training (ex-post density estimation, Ghosh et al. 2020)
    and held in buffers, so that it is saved with the weights; before it is fitted it is N(0, I).
    """

    mixture: Mixture

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """decode(encode(images).mean)."""
        return self.decode(self.encode(images, labels).mean, labels)


class Bounds(Reconstructs):
    """An explicit approximate density: lower bounds on log p(x)."""

    binarises: bool = False  # whether the bounds are of binarised pictures

    @abstractmethod
    def log_weights(self, images: Tensor, samples: int, draw: Draw, labels: Tensor | None = None) -> Tensor:
        """log [p(x, z_s) / q(z_s | x)] for ``samples`` draws of z_s ~ q(z|x), in nats: (N, samples).

        Their mean over samples estimates the ELBO; log mean exp of them is the importance-weighted bound
        (Burda et al. 2016, eq. 8), which tightens to log p(x) with more samples. For the Bernoulli likelihood each
        picture is binarised once, with ``draw``.
        """


class Discriminates(ABC):
    """Has a discriminator trained to distinguish real pictures from generated ones."""

    @abstractmethod
    def realness(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The discriminator's logit of each picture, (N,): higher is more real. Deterministic, each picture alone.

        Logits are only comparable with those of the same model.
        """


class Conditions(ABC):
    """Takes class labels: P(x|y). ``classes`` names them in the order of their numbers."""

    classes: tuple[str, ...]

    def known(self, labels: Tensor | None) -> Tensor:
        """The labels; ReverieError for None, since this model needs them."""
        if labels is None:
            name = type(self).__name__.lower()
            raise ReverieError(f"{name} needs a label for every picture; name the class to draw or encode.")
        return labels


def needed_classes(image_spec: ImageSpec | None, name: str, instead: str) -> tuple[str, ...]:
    """The class names of the data, which model ``name`` needs; without them, ReverieError suggests ``instead``."""
    classes = required_spec(image_spec).classes
    if not classes:
        raise ReverieError(f"{name} needs labels; train it on a folder with one subfolder a class, or use {instead}.")
    return classes


class Styles(Samples):
    """A generator in two parts, z -> w -> pictures, with one style for each layer (Karras et al. 2019)."""

    layers: int  # L, the number of styles of a picture

    @abstractmethod
    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The styles of each latent, (N, L, w_size); equal for all layers, before mixing."""

    @abstractmethod
    def synthesise(self, w: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [-1, 1] from styles (N, L, w_size); deterministic, each row alone."""

    @abstractmethod
    def truncate(self, w: Tensor, psi: float, layers: int | None = None) -> Tensor:
        """w_mean + psi (w - w_mean) in the first ``layers`` layers (None: all); psi 1 changes nothing."""

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """synthesise(map(z))."""
        return self.synthesise(self.map(z, labels))


DIRECTION_SIDES = {"ab": ("a", "b"), "ba": ("b", "a")}  # the source and target side of a direction
OPPOSITE_DIRECTION = {"ab": "ba", "ba": "ab"}


class Translates(ABC):
    """Translates pictures of one side into pictures of the other: P(b|a), and P(a|b) where it can."""

    directions: tuple[str, ...]  # of "ab" and "ba"
    learns_pairs: bool  # whether it is trained on pairs, or on two unpaired sides

    @abstractmethod
    def translator(self, direction: str) -> nn.Module:
        """The network of a direction.

        Its ``grain`` is the number that padded heights and widths are multiples of, ``dropout`` its probability.
        """

    @abstractmethod
    def translate(self, images: Tensor, direction: str = "ab", draw: Draw | None = None) -> Tensor:
        """Pictures (N, C', H, W) in [-1, 1] from pictures (N, C, H, W), of any height and width.

        Deterministic, and each picture alone. With ``draw``, a model trained with dropout keeps it on, as the noise of
        Isola et al. (2017); for other models ``draw`` has no effect.
        """


def needed_sides(image_spec: ImageSpec, name: str) -> tuple[int, int]:
    """Channels of the two sides of the data's pairs, which model ``name`` needs; ReverieError without them."""
    if len(image_spec.sides) != 2:
        raise ReverieError(
            f"{name} learns from two sides; say how the data makes them, for example --set data.pair=halves, folders, "
            "unpaired, edges or grey."
        )
    return image_spec.sides[0], image_spec.sides[1]
