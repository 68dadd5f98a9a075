"""What a model promises, as small abstract classes checked with isinstance.

Tasks, evaluation, the command line and the documentation offer for a model exactly what it inherits from here.
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
    """What an encoder says of each picture: a point, or a diagonal Gaussian with ``logvar``. (N, latent_size)."""

    mean: Tensor
    logvar: Tensor | None = None


class Samples(ABC):
    """Draws new pictures: P(x), as a latent prior and a decoder."""

    @abstractmethod
    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        """One latent for each of the ``draw.count`` samples, from the prior the model samples with."""

    @abstractmethod
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Pictures (N, C, H, W) in [-1, 1]; deterministic, and independent of what else is in the batch."""


class Encodes(ABC):
    """Maps pictures to codes."""

    @abstractmethod
    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        """The code of each picture; deterministic, and independent of what else is in the batch."""


class Reconstructs(Encodes, Samples):
    """An encoder whose codes its own decoder turns back into pictures: autoencoders of every kind.

    ``mixture`` is a Gaussian mixture over codes, fitted after training (ex-post density estimation, Ghosh et al. 2020)
    and kept in buffers, so that it is saved with the weights; before it is fitted it is N(0, I).
    """

    mixture: Mixture

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """decode(encode(images).mean)."""
        return self.decode(self.encode(images, labels).mean, labels)


class Bounds(Reconstructs):
    """An explicit approximate density: lower bounds on log p(x)."""

    binarises: bool = False  # the bounds are of pictures made black and white

    @abstractmethod
    def log_weights(self, images: Tensor, samples: int, draw: Draw, labels: Tensor | None = None) -> Tensor:
        """log [p(x, z_s) / q(z_s | x)] for ``samples`` draws of z_s ~ q(z|x), in nats: (N, samples).

        Their mean over samples estimates the ELBO; log mean exp of them is the importance-weighted bound
        (Burda et al. 2016, eq. 8), which tightens to log p(x) as samples grow. For the Bernoulli likelihood the
        pictures are binarised once each with ``draw``.
        """


class Discriminates(ABC):
    """Has learned to tell real pictures from drawn ones."""

    @abstractmethod
    def realness(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The discriminator's logit of each picture, (N,): higher looks more real. Deterministic, each picture alone.

        Logits compare with others of the same model only.
        """


class Conditions(ABC):
    """Takes class labels: P(x|y). ``classes`` names them in the order of their numbers."""

    classes: tuple[str, ...]

    def known(self, labels: Tensor | None) -> Tensor:
        """The labels, which this model cannot do without."""
        if labels is None:
            name = type(self).__name__.lower()
            raise ReverieError(f"{name} needs a label for every picture; name the class to draw or encode.")
        return labels


def needed_classes(image_spec: ImageSpec | None, name: str, instead: str) -> tuple[str, ...]:
    """The class names of the data, which model ``name`` cannot do without; ReverieError points to ``instead``."""
    classes = required_spec(image_spec).classes
    if not classes:
        raise ReverieError(f"{name} needs labels; train it on a folder with one subfolder a class, or use {instead}.")
    return classes


class Styles(Samples):
    """A generator in two parts, z -> w -> pictures, with one style for each layer (Karras et al. 2019)."""

    layers: int  # L, how many styles a picture has

    @abstractmethod
    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The styles of each latent, (N, L, w_size); equal for every layer until they are mixed."""

    @abstractmethod
    def synthesise(self, w: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [-1, 1] from styles (N, L, w_size); deterministic, each row alone."""

    @abstractmethod
    def truncate(self, w: Tensor, psi: float, layers: int | None = None) -> Tensor:
        """w_mean + psi (w - w_mean) in the first ``layers`` layers (None: all); psi 1 changes nothing."""

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """synthesise(map(z))."""
        return self.synthesise(self.map(z, labels))


DIRECTION_SIDES = {"ab": ("a", "b"), "ba": ("b", "a")}  # the sides that a direction leads from and to
OPPOSITE_DIRECTION = {"ab": "ba", "ba": "ab"}


class Translates(ABC):
    """Turns pictures of one side of a pair into pictures of the other: P(b|a), and P(a|b) where it can."""

    directions: tuple[str, ...]  # of "ab" and "ba"
    learns_pairs: bool  # from pictures that belong together; else from two sides without pairs

    @abstractmethod
    def translator(self, direction: str) -> nn.Module:
        """The network of a direction.

        ``grain`` is what the sides of its grid of pixels are multiples of, ``dropout`` the share that a draw drops.
        """

    @abstractmethod
    def translate(self, images: Tensor, direction: str = "ab", draw: Draw | None = None) -> Tensor:
        """Pictures (N, C', H, W) in [-1, 1] from pictures (N, C, H, W), of any height and width.

        Deterministic, and each picture alone. With ``draw``, a model that learned with dropout keeps it on: the noise
        of Isola et al. (2017); another model does what it does without.
        """


def needed_sides(image_spec: ImageSpec, name: str) -> tuple[int, int]:
    """Channels of the two sides of the data's pairs, which model ``name`` cannot do without."""
    if len(image_spec.sides) != 2:
        raise ReverieError(
            f"{name} learns from two sides; say how the data makes them, for example --set data.pair=halves, folders, "
            "unpaired, edges or grey."
        )
    return image_spec.sides[0], image_spec.sides[1]
