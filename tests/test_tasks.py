"""Tasks through their public functions, on toy models whose outputs say what went in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from commands import visible
from pictures import Held
from reverie.capabilities import Code, Conditions, Encodes, Reconstructs, Samples
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.inference.embed import Embedding, embed
from reverie.inference.latent_map import latent_map
from reverie.inference.sample import sample
from reverie.networks.mixture import Mixture
from reverie.tasks.fit_mixture import fit_mixture
from reverie.tasks.reconstruct import comparison_rows, reconstruct
from reverie.tasks.traverse import traverse


class Plain(nn.Module, Reconstructs):
    """Latent = picture of 1 x 1 x ``size``, encoded as it is and decoded through tanh."""

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.size = size
        self.mixture = Mixture(size)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        return Code(images.flatten(1), torch.zeros_like(images.flatten(1)) - 2)

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.normal(self.size)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return z.view(-1, 1, 1, self.size).tanh()


class Classy(nn.Module, Samples, Conditions):
    """Draws pictures whose first pixel is the class number over ten."""

    def __init__(self, *classes: str) -> None:
        super().__init__()
        self.classes = classes

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.uniform(2)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        return torch.cat([labels[:, None] / 10, z], 1).view(-1, 1, 1, 3)


class ClassyCoder(Plain, Conditions):
    """Adds the class number to what it decodes."""

    classes = ("ant", "bee", "cow")

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        return z.view(-1, 1, 1, self.size) + labels.view(-1, 1, 1, 1)


class Eye(nn.Module, Encodes):
    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        return Code(images.flatten(1))


class Set(Held):
    def __init__(self, count: int, classes: Sequence[str] = ()) -> None:
        pixels = np.random.default_rng(3).integers(0, 256, (count, 1, 1, 3), np.uint8)
        super().__init__(pixels, np.arange(count) % len(classes) if classes else None, tuple(classes))
        self.names = [f"naïve {i}.png" for i in range(count)]


def first_pixels(pictures: Tensor) -> list[int]:
    return (pictures[:, 0, 0, 0] * 10).round().int().tolist()


# Sample


@pytest.mark.parametrize("prior", ["model", "mixture"])
def test_a_sample_depends_on_seed_and_number_alone(prior: str) -> None:
    model = Plain()
    fit_mixture(model, np.random.default_rng(0).normal(0.3, 0.4, (200, 3)).astype(np.float32))
    whole = sample(model, 7, prior=prior)
    assert whole.shape == (7, 1, 1, 3)
    assert whole.dtype == torch.float32
    assert torch.equal(sample(model, 7, prior=prior, batch=3), whole)
    assert torch.equal(sample(model, 4, prior=prior), whole[:4])
    assert not torch.equal(sample(model, 7, seed=1, prior=prior), whole)
    assert len(whole.unique()) == 21


def test_the_mixture_is_what_is_sampled_from() -> None:
    model = Plain(2)
    random = np.random.default_rng(0)
    codes = np.concatenate([random.normal((1.0, -1.0), 0.05, (300, 2)), random.normal((-1.0, 0.2), 0.05, (100, 2))])
    assert fit_mixture(model, codes.astype(np.float32), components=2) == 2
    drawn = sample(model, 2000, prior="mixture").atanh().view(-1, 2)
    right = drawn[:, 0] > 0
    assert right.float().mean().item() == pytest.approx(0.75, abs=0.03)
    torch.testing.assert_close(drawn[right].mean(0), torch.tensor([1.0, -1.0]), atol=0.02, rtol=0)
    torch.testing.assert_close(drawn[~right].mean(0), torch.tensor([-1.0, 0.2]), atol=0.02, rtol=0)
    assert sample(model, 2000).atanh().std().item() == pytest.approx(1.0, abs=0.05)


def test_classes_in_rotation_by_name_and_by_number() -> None:
    model = Classy("ant", "bee", "3", "dog")
    assert first_pixels(sample(model, 6)) == [0, 1, 2, 3, 0, 1]
    assert first_pixels(sample(model, 5, labels=["dog", "ant"], batch=3)) == [3, 0, 3, 0, 3]
    assert first_pixels(sample(model, 4, labels=[1])) == [1, 1, 1, 1]
    assert first_pixels(sample(model, 2, labels=torch.tensor([2, 1]))) == [2, 1]
    assert first_pixels(sample(model, 2, labels=["3", 3])) == [2, 3]  # a word is a name first
    with pytest.raises(ReverieError, match="no class 1; where classes are called by numbers, give one: ant, bee, 3, d"):
        sample(model, 2, labels=["1"])
    assert first_pixels(sample(Classy("ant", "bee"), 1, labels=["1"])) == [1]


def test_sample_says_what_is_wrong() -> None:
    with pytest.raises(ReverieError, match="Plain takes no class labels"):
        sample(Plain(), 2, labels=[0])
    with pytest.raises(ReverieError, match="no class 'bea'; did you mean 'bee'"):
        sample(Classy("ant", "bee"), 2, labels=["bea"])
    for label in (2, -1, "2"):
        with pytest.raises(ReverieError, match=r"no class -?[12]: classes are numbered 0 to 1"):
            sample(Classy("ant", "bee"), 2, labels=[label])
    with pytest.raises(ReverieError, match="list of labels is empty"):
        sample(Classy("ant", "bee"), 2, labels=[])
    with pytest.raises(ReverieError, match="Eye cannot draw"):
        sample(Eye(), 2)
    with pytest.raises(ReverieError, match="Classy has no encoder, so no mixture"):
        sample(Classy("ant"), 2, prior="mixture")
    with pytest.raises(ReverieError, match="at least 1, not 0"):
        sample(Plain(), 0)


# Reconstruct


def test_reconstruct() -> None:
    images = torch.linspace(-1, 1, 15).view(5, 1, 1, 3)
    assert torch.equal(reconstruct(Plain(), images, batch=2), images.tanh())
    labelled = reconstruct(ClassyCoder(), images, ["cow", "ant", "bee", "1", "0"], batch=2)
    torch.testing.assert_close(labelled - images, torch.tensor([2.0, 0, 1, 1, 0]).view(5, 1, 1, 1).expand(5, 1, 1, 3))
    assert reconstruct(Plain(), images[:0]).shape == (0, 1, 1, 3)
    with pytest.raises(ReverieError, match="needs the class label"):
        reconstruct(ClassyCoder(), images)
    with pytest.raises(ReverieError, match="5 pictures need 5 labels, not 2"):
        reconstruct(ClassyCoder(), images, ["cow", "ant"])
    with pytest.raises(ReverieError, match="Eye cannot reconstruct"):
        reconstruct(Eye(), images)


def test_pairs_are_rows_of_inputs_above_rows_of_outputs() -> None:
    inputs = torch.arange(5.0).view(5, 1, 1, 1)
    grid = comparison_rows(inputs, inputs + 10, 3)
    assert grid.flatten().tolist() == [0, 1, 2, 10, 11, 12, 3, 4, 1, 13, 14, 1]
    assert comparison_rows(inputs, inputs + 10, 5).flatten().tolist() == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]


# Embed


def test_embed_is_the_encoder_on_every_picture() -> None:
    data = Set(7, ("x", "y"))
    found = embed(Eye(), data, batch=3)
    np.testing.assert_allclose(found.codes, data.pixels.reshape(7, 3) / 127.5 - 1, atol=1e-6)
    assert found.codes.dtype == np.float32
    assert found.logvar is None
    assert found.names == data.names
    with pytest.raises(ReverieError, match="no pictures"):
        embed(Eye(), Set(0))
    with pytest.raises(ReverieError, match="Classy cannot embed"):
        embed(Classy("a"), data)


def test_names_are_asked_for_once() -> None:
    class Asked(Set):
        asked = 0

        def __getattribute__(self, name: str) -> object:
            if name == "names":
                Asked.asked += 1
            return super().__getattribute__(name)

    data = Asked(9)
    Asked.asked = 0
    rows = np.array([5, 2, 7])
    assert list(embed(Plain(), data, batch=2, indices=rows).names) == [f"naïve {i}.png" for i in rows]
    assert Asked.asked == 1  # a subset makes its list anew each time


def test_npz_round_trip_without_pickle(tmp_path: Path) -> None:
    found = embed(Plain(), Set(4, ("x", "ÿ")))
    found.save(tmp_path / "new" / "codes.npz")
    assert visible(tmp_path / "new") == ["codes.npz"]
    with np.load(tmp_path / "new" / "codes.npz", allow_pickle=False) as file:
        assert set(file) == {"codes", "logvar", "names", "labels", "classes"}
        np.testing.assert_array_equal(file["codes"], found.codes)
        np.testing.assert_array_equal(file["logvar"], np.full((4, 3), -2))
        assert file["names"].tolist() == found.names
        assert file["labels"].tolist() == [0, 1, 0, 1]
        assert file["classes"].tolist() == ["x", "ÿ"]
    embed(Eye(), Set(4)).save(tmp_path / "codes.npz")
    with np.load(tmp_path / "codes.npz", allow_pickle=False) as file:
        assert set(file) == {"codes", "names"}


def test_parquet_round_trip(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    found = embed(Plain(), Set(4, ("x", "ÿ")))
    found.save(str(tmp_path / "codes.parquet"))
    table = parquet.read_table(tmp_path / "codes.parquet")
    assert table.column_names == ["name", "label", "class", "code", "logvar"]
    np.testing.assert_array_equal(np.array(table["code"].to_pylist(), np.float32), found.codes)
    assert table["name"].to_pylist() == found.names
    assert table["class"].to_pylist() == ["x", "ÿ", "x", "ÿ"]
    Embedding(found.codes, None, ["a", "b", "c", "\udcff.png"], None).save(tmp_path / "odd.parquet")
    assert parquet.read_table(tmp_path / "odd.parquet")["name"].to_pylist()[3] == "?.png"


def test_saving_fails_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = embed(Eye(), Set(3))
    with pytest.raises(ReverieError, match=r"as .npz or .parquet, not 'codes.csv'"):
        found.save(tmp_path / "codes.csv")
    (tmp_path / "codes.parquet").write_text("old")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ReverieError, match="pip install 'reverie"):
        found.save(tmp_path / "codes.parquet")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("codes.parquet", "old")]


# Mixture


def test_mixture_recovers_what_codes_were_drawn_from() -> None:
    random = np.random.default_rng(1)
    cholesky = np.array([[3.0, 0], [2.0, 0.5]])
    codes = np.concatenate([random.standard_normal((3000, 2)) @ cholesky.T + [20, -5], random.normal(0, 1, (1000, 2))])
    model = Plain(2)
    assert fit_mixture(model, codes.astype(np.float32), components=2) == 2
    order = model.mixture.weights.argsort(descending=True)[:2]
    torch.testing.assert_close(model.mixture.weights[order], torch.tensor([0.75, 0.25]), atol=0.01, rtol=0)
    torch.testing.assert_close(model.mixture.means[order], torch.tensor([[20.0, -5.0], [0.0, 0.0]]), atol=0.2, rtol=0)
    torch.testing.assert_close(
        model.mixture.scale_tril[order[0]], torch.from_numpy(cholesky).float(), atol=0.15, rtol=0
    )
    held_out = torch.from_numpy(random.standard_normal((2000, 2)) @ cholesky.T + [20, -5]).float()
    exact = torch.distributions.MultivariateNormal(
        torch.tensor([20.0, -5.0]), scale_tril=torch.from_numpy(cholesky).float()
    )
    expected = exact.log_prob(held_out).mean() + np.log(0.75)
    assert model.mixture.log_prob(held_out).mean().item() == pytest.approx(expected.item(), abs=0.02)


def test_mixture_is_a_function_of_the_seed() -> None:
    codes = np.random.default_rng(1).standard_normal((25_000, 2)).astype(np.float32)
    fits = []
    for seed in (0, 0, 1):
        model = Plain(2)
        fit_mixture(model, codes, components=2, seed=seed)
        fits.append(model.mixture.means)
    assert torch.equal(fits[0], fits[1])
    assert not torch.equal(fits[0], fits[2])


HARD = {
    "one code": np.ones((1, 3)),
    "two codes": np.array([[0.0, 1, 2], [0, 1, 3]]),
    "constant": np.full((500, 3), 2.5),
    "zero": np.zeros((500, 3)),
    "one dead dimension": np.random.default_rng(0).standard_normal((500, 3)) * [1, 0, 1],
    "a line": np.random.default_rng(0).standard_normal((500, 1)) * [1, -2, 3],
    "few distinct": np.repeat(np.eye(3), 100, 0),
    "huge": np.random.default_rng(0).standard_normal((500, 3)) * 1e6 + 1e7,
    "tiny": np.random.default_rng(0).standard_normal((500, 3)) * 1e-9,
    "outlier": np.concatenate([np.zeros((499, 3)), np.full((1, 3), 1e5)]),
}


@pytest.mark.parametrize("case", HARD)
def test_mixture_survives_hard_codes(case: str) -> None:
    model, codes = Plain(3), HARD[case].astype(np.float32)
    components = fit_mixture(model, codes)
    assert 1 <= components <= 10
    assert model.mixture.weights.sum().item() == pytest.approx(1, abs=1e-5)
    assert (model.mixture.weights > 0).sum() <= components
    draw = Draw("test", count=4000)
    drawn = model.mixture.sample(draw.uniform(), draw.normal(3))
    assert drawn.isfinite().all()
    assert model.mixture.log_prob(torch.from_numpy(codes)).isfinite().all()
    spread = max(codes.std(), 1e-4)
    np.testing.assert_allclose(drawn.mean(0), codes.mean(0), atol=0.2 * spread + 1e-6 * abs(codes).max())
    np.testing.assert_allclose(drawn.std(0), codes.std(0), atol=0.3 * spread)


def test_mixture_refuses_what_is_no_code() -> None:
    with pytest.raises(ReverieError, match="not finite"):
        fit_mixture(Plain(2), np.array([[0, np.nan]], np.float32))
    with pytest.raises(ReverieError, match="at least one code"):
        fit_mixture(Plain(2), np.zeros((0, 2), np.float32))


# Maps and traversals


def test_latent_map() -> None:
    random = np.random.default_rng(0)
    flat = random.standard_normal((50, 2)).astype(np.float32)
    np.testing.assert_array_equal(latent_map(flat), flat)
    np.testing.assert_allclose(
        latent_map(flat[:, :1]) - latent_map(flat[:, :1])[0], np.c_[flat[:, 0] - flat[0, 0], 0 * flat[:, 0]], atol=1e-5
    )
    codes = (random.standard_normal((400, 4)) * [0.1, 1.0, 0.2, 5.0] + [3, 0, 0, -8]).astype(np.float32)
    places = latent_map(codes)
    np.testing.assert_allclose(places.mean(0), 0, atol=1e-4)
    assert np.corrcoef(places[:, 0], codes[:, 3])[0, 1] > 0.999
    assert np.corrcoef(places[:, 1], codes[:, 1])[0, 1] > 0.99
    np.testing.assert_allclose(places.std(0), codes[:, [3, 1]].std(0), rtol=0.02)
    places = np.array([0, 1, 3, 5, 5, 6, 8])  # codes on a line, fewer than dimensions
    line = latent_map(np.outer(places, np.arange(1, 10)).astype(np.float32))
    wanted = (places - 4) * np.linalg.norm(np.arange(1, 10))
    np.testing.assert_allclose(line, np.c_[wanted, 0 * wanted], atol=1e-4)
    assert not latent_map(np.ones((3, 5), np.float32)).any()


def test_traverse_moves_one_dimension_a_row() -> None:
    random = np.random.default_rng(0)
    codes = (random.standard_normal((300, 3)) * [0.3, 0.001, 0.6] + [0.2, 0, -0.1]).astype(np.float32)
    points = Embedding(codes, None, [""] * 300, None)
    image = torch.tensor([0.5, -0.4, 0.25]).view(1, 1, 3)
    found = traverse(Plain(), image, points, rows=2, columns=5, reach=2.0)
    assert found.dimensions == [2, 0]
    assert found.steps == [-2, -1, 0, 1, 2]
    codes_of = found.pictures.atanh().view(2, 5, 3)
    np.testing.assert_allclose(codes_of[0, :, 2], codes[:, 2].mean() + np.arange(-2, 3) * codes[:, 2].std(), atol=1e-4)
    np.testing.assert_allclose(codes_of[0, :, :2], np.tile([0.5, -0.4], (5, 1)), atol=1e-4)
    np.testing.assert_allclose(codes_of[1, :, 1:], np.tile([-0.4, 0.25], (5, 1)), atol=1e-4)


def test_traverse_of_gaussians_orders_by_kl_and_spreads_over_the_aggregate() -> None:
    random = np.random.default_rng(0)
    codes = (random.standard_normal((300, 3)) * [0.5, 0.1, 0.3]).astype(np.float32)
    logvar = np.tile(np.log([0.9, 0.99, 0.01]), (300, 1)).astype(np.float32)  # dimension 2 is the sharpest
    found = traverse(Plain(), torch.zeros(1, 1, 3), Embedding(codes, logvar, [""] * 300, None), columns=3, reach=1.0)
    assert found.dimensions == [2, 0, 1]
    ends = found.pictures.atanh().view(3, 3, 3)[1, :, 0]
    assert (ends[2] - ends[0]).item() == pytest.approx(2 * np.sqrt(codes[:, 0].var() + 0.9), rel=1e-3)


def test_traverse_takes_a_label_where_the_model_does() -> None:
    codes = Embedding(np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32), None, [""] * 9, None)
    found = traverse(ClassyCoder(), torch.zeros(1, 1, 3), codes, rows=1, columns=3, reach=0.0, labels=["cow"])
    other = [i for i in range(3) if i != found.dimensions[0]]
    assert found.pictures.view(3, 3)[:, other].unique().tolist() == [2.0]
    with pytest.raises(ReverieError, match="needs the class label"):
        traverse(ClassyCoder(), torch.zeros(1, 1, 3), codes)
    with pytest.raises(ReverieError, match="Eye cannot traverse"):
        traverse(Eye(), torch.zeros(1, 1, 3), codes)
