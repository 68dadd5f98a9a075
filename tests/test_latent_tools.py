"""Paths, mixtures of styles, and neighbours, on models whose pictures say what went in."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from reverie.capabilities import Conditions, Samples, Styles
from reverie.data.image_io import save_animation, to_tensor
from reverie.engine.model import ImageSpec
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.inference.sample import sample
from reverie.tasks.interpolate import evenness, interpolate, lerp, slerp
from reverie.tasks.mix import mix
from reverie.tasks.neighbours import neighbours
from reverie.tasks.traverse import traverse_drawn

LAYERS, SIZE = 4, 3


class Plain(nn.Module, Samples):
    """The picture is the latent, (N, 1, 1, 3)."""

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.normal(SIZE)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return z.view(-1, 1, 1, SIZE)


class Classy(Plain, Conditions):
    """And its class is added."""

    classes = ("ant", "bee")

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        return super().decode(z) + 100 * labels.view(-1, 1, 1, 1)


class Styled(nn.Module, Styles):
    """The picture is all styles, (N, 1, layers, 3); w is 2 z + 1, and its mean is 1."""

    layers = LAYERS

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.normal(SIZE)

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return (2 * z + 1).unsqueeze(1).expand(-1, LAYERS, -1)

    def synthesise(self, w: Tensor) -> Tensor:
        return w.unsqueeze(1)

    def truncate(self, w: Tensor, psi: float, layers: int | None = None) -> Tensor:
        return 1 + psi * (w - 1)


class Uneven(Plain):
    """Its dimensions are of different size and about different places."""

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.normal(SIZE) * torch.tensor([0.1, 3.0, 1.0]) + torch.tensor([5.0, 0.0, -2.0])


class UnevenStyles(Styled):
    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().map(z * torch.tensor([0.1, 3.0, 1.0]) + torch.tensor([5.0, 0.0, -2.0]))


class ClassyStyles(Styled, Conditions):
    classes = ("ant", "bee")

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        return super().map(z) + 100 * labels.view(-1, 1, 1)


@pytest.mark.parametrize(("model", "scale", "shift"), [(Uneven(), 1, 0), (UnevenStyles(), 2, 1)], ids=["z", "w"])
def test_one_dimension_at_a_time_moves_a_drawn_picture(model: Samples, scale: float, shift: float) -> None:
    found = traverse_drawn(model, rows=2, columns=3, reach=2.0, seed=4)
    assert found.dimensions == [1, 2]  # by how far the picture moves
    assert found.steps == [-2, 0, 2]
    start = sample(model, 1, seed=4).view(-1, SIZE)[0]
    rows = found.pictures.view(2, 3, -1, SIZE)  # (rows, columns, layers, dimensions)
    for row, (dimension, mean, deviation) in enumerate([(1, 0.0, 3.0), (2, -2.0, 1.0)]):
        varied, others = rows[row, ..., dimension], [d for d in range(SIZE) if d != dimension]
        wanted = scale * (mean + deviation * torch.tensor([-2.0, 0.0, 2.0])) + shift
        torch.testing.assert_close(varied, wanted[:, None].expand_as(varied), atol=0.15 * scale * deviation, rtol=0.15)
        torch.testing.assert_close(rows[row][..., others], start[others].expand_as(rows[row][..., others]))
    torch.testing.assert_close(found.importance[0] / found.importance[1], 3.0, atol=0.3, rtol=0)
    assert traverse_drawn(model, rows=9, columns=1).steps == [0]
    bee = traverse_drawn(ClassyStyles(), rows=1, columns=1, label="bee")  # which every draw must be told
    assert bee.pictures.view(-1, SIZE)[0, bee.dimensions[0]] == pytest.approx(101, abs=0.3)
    assert traverse_drawn(Classy(), rows=1, columns=2, label="bee").pictures.min() > 50
    with pytest.raises(ReverieError, match="int cannot traverse its latent"):
        traverse_drawn(3)


def test_a_jump_on_a_path_shows() -> None:
    even = torch.linspace(-1, 1, 5).view(-1, 1, 1, 1).expand(-1, 1, 2, 3)
    assert evenness(even) == pytest.approx({"step": 0.25, "largest_over_median": 1})
    jumping = even.clone()
    jumping[3:] += 2
    assert evenness(jumping)["largest_over_median"] == pytest.approx(5)


class Sudden(Plain):
    """Most of the change lies near the middle of a path."""

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().decode(torch.tanh(5 * z))


@pytest.mark.parametrize("loop", [False, True])
def test_even_steps_change_the_picture_equally_much(loop: bool) -> None:
    ends = torch.tensor([[-1.0, 0.1, 0.0], [1.0, -0.1, 0.0], [0.2, 1.0, 0.0]])
    plain, even = (
        interpolate(Sudden(), between=6, ends=ends, how="lerp", loop=loop, even=even) for even in (False, True)
    )
    assert len(even) == len(plain) == (18 if loop else 13)
    assert torch.allclose(even[::6], plain[::6])  # the stops stay
    assert evenness(plain[:7])["largest_over_median"] > 3
    for leg in (even[:7], even[6:13]):
        assert evenness(leg)["largest_over_median"] == pytest.approx(1, abs=0.05)
    still = torch.ones(2, 3)
    assert torch.equal(*(interpolate(Sudden(), between=4, ends=still, even=even) for even in (False, True)))


vectors = st.lists(st.floats(-3, 3), min_size=3, max_size=3).map(lambda v: torch.tensor(v, dtype=torch.float64))


@given(vectors, vectors, st.floats(0, 1))
def test_a_great_circle_turns_evenly(a: Tensor, b: Tensor, t: float) -> None:
    path = slerp(a, b, torch.tensor([0.0, t, 1.0], dtype=torch.float64))
    assert torch.allclose(path[0], a, atol=1e-9)
    assert torch.allclose(path[2], b, atol=1e-9)
    cosine = float(a @ b / (a.norm() * b.norm()).clamp_min(1e-12))
    if min(a.norm(), b.norm()) > 0.1 and abs(cosine) < 0.999:
        assert float(path[1].norm()) == pytest.approx(float((1 - t) * a.norm() + t * b.norm()), rel=1e-6)
        turned = math.acos(max(-1, min(1, float(path[1] @ a / (path[1].norm() * a.norm())))))
        assert turned == pytest.approx(t * math.acos(cosine), abs=1e-5)


def test_opposite_latents_are_joined_by_a_line() -> None:
    a, t = torch.tensor([1.0, 2.0]), torch.tensor([0.25])
    assert torch.allclose(slerp(a, -a, t), lerp(a, -a, t))


def test_a_path_goes_through_the_pictures_that_sample_draws() -> None:
    stops = sample(Plain(), 3, seed=5)
    open_ = interpolate(Plain(), stops=3, between=4, seed=5)
    assert open_.shape == (9, 1, 1, SIZE)
    assert torch.allclose(open_[::4], stops, atol=1e-6)
    closed = interpolate(Plain(), stops=3, between=4, seed=5, loop=True, batch=5)
    assert closed.shape == (12, 1, 1, SIZE)
    assert torch.allclose(closed[:9], open_, atol=1e-6)
    straight = interpolate(Plain(), stops=2, between=2, seed=5, how="lerp")
    assert torch.allclose(straight[1], stops[:2].mean(0), atol=1e-6)
    assert not torch.allclose(open_[2], straight[1], atol=1e-3)  # the circle bulges


def test_a_path_in_w_is_straight_and_one_class_long() -> None:
    found = interpolate(Styled(), stops=2, between=2, seed=1, space="w")
    assert torch.allclose(found[1], found[::2].mean(0), atol=1e-6)
    plain = interpolate(Classy(), stops=2, between=3, seed=1)
    assert torch.allclose(interpolate(Classy(), stops=2, between=3, seed=1, labels=["bee"]), plain + 100)


@pytest.mark.parametrize(
    ("model", "wanted", "said"),
    [
        (nn.Identity(), {}, "cannot interpolate"),
        (Plain(), {"space": "w"}, "has no space w"),
        (Styled(), {"space": "w", "how": "slerp"}, "the path is straight"),
        (Plain(), {"stops": 1}, "stops must be at least 2"),
        (Plain(), {"labels": ["ant"]}, "takes no class labels"),
        (Classy(), {"labels": ["ant", "bee"]}, "one class, not 2"),
    ],
)
def test_paths_that_cannot_be_walked(model: object, wanted: dict[str, object], said: str) -> None:
    with pytest.raises(ReverieError, match=said):
        interpolate(model, **wanted)  # type: ignore[arg-type]


def test_mixing_takes_the_columns_styles_in_the_layers_named() -> None:
    table = mix(Styled(), rows=2, columns=3, layers=(1, 3), seed=4).view(3, 4, LAYERS, SIZE)
    drawn = sample(Styled(), 5, seed=4)[:, 0]
    assert torch.equal(table[0, 0], torch.ones(LAYERS, SIZE))
    assert torch.allclose(table[1:, 0], drawn[:2])
    assert torch.allclose(table[0, 1:], drawn[2:])
    assert torch.allclose(table[1:, 1:, 1:3], drawn[None, 2:, 1:3].expand(2, -1, -1, -1))
    kept = [0, 3]
    assert torch.allclose(table[1:, 1:, kept], drawn[:2, None, kept].expand(-1, 3, -1, -1))


def test_truncation_pulls_styles_to_their_mean() -> None:
    whole, half = sample(Styled(), 6), sample(Styled(), 6, truncation=0.5)
    assert torch.allclose(half - 1, 0.5 * (whole - 1), atol=1e-6)
    assert torch.equal(sample(Styled(), 6, truncation=0.0), torch.ones(6, 1, LAYERS, SIZE))
    with pytest.raises(ReverieError, match="cannot truncate"):
        sample(Plain(), 2, truncation=0.5)
    with pytest.raises(ReverieError, match="cannot mix"):
        mix(Plain())
    with pytest.raises(ReverieError, match="between 0 and 4, not 3-9"):
        mix(Styled(), layers=(3, 9))


class Set:
    """Random pictures."""

    labels = None

    def __init__(self, count: int) -> None:
        self.pixels = np.random.default_rng(0).integers(0, 256, (count, 1, 4, 3), np.uint8)
        self.names = [str(i) for i in range(count)]
        self.image_spec = ImageSpec(1, 4, 3)

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pixels[indices]


@pytest.mark.parametrize("k", [1, 3, 7])
def test_neighbours_are_those_of_a_whole_search(k: int) -> None:
    data = Set(700)  # more than two batches
    images = to_tensor(np.random.default_rng(1).integers(0, 256, (5, 1, 4, 3), np.uint8))
    images[2] = to_tensor(data.pixels[699:])[0]  # a planted copy
    found = neighbours(images, data, k)
    distance = torch.cdist(images.flatten(1).double(), to_tensor(data.pixels).flatten(1).double())
    assert np.allclose(found.distances, np.sort(distance.numpy(), 1)[:, :k])
    assert np.array_equal(found.indices, np.argsort(distance.numpy(), 1)[:, :k])
    assert found.indices[2, 0] == 699
    sheet = found.sheet(images, data).view(5, k + 1, 1, 4, 3)
    assert torch.equal(sheet[:, 0], images)
    assert torch.equal(sheet[1, k], to_tensor(data.pixels[found.indices[1, k - 1]]))
    with pytest.raises(ReverieError, match="neighbours must be at most 700"):
        neighbours(images, data, 701)


def test_animations_hold_every_picture(tmp_path: Path) -> None:
    images = torch.linspace(-1, 1, 5)[:, None, None, None].expand(-1, 3, 2, 3)
    save_animation(images, tmp_path / "a.gif", rate=10, scale=4)
    with Image.open(tmp_path / "a.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"], gif.info["duration"]) == (5, (12, 8), 0, 100)
        shades = []
        for i in range(5):
            gif.seek(i)
            shades.append(int(np.asarray(gif.convert("L")).mean()))
    assert shades == pytest.approx([0, 64, 128, 191, 255], abs=2)
