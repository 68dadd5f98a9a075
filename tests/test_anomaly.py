"""Odd pictures: scores that can be reckoned by hand, the promised rate of false alarms, heat maps and the files."""

from __future__ import annotations

import base64
import csv
import io
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import mannwhitneyu
from torch import Tensor, nn

from cases import SPEC, tiny
from commands import visible
from pictures import Held
from reverie.capabilities import Bounds, Code, Conditions, Discriminates, Encodes, Reconstructs
from reverie.data.image_io import to_tensor
from reverie.engine.model import ImageSpec
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.inference.embed import embed
from reverie.networks.mixture import Mixture
from reverie.reporting import anomaly as sheets
from reverie.reporting.anomaly import overlay, write_csv, write_sheet
from reverie.tasks import anomaly_scores
from reverie.tasks.anomaly import aupr, auroc, detector
from reverie.tasks.anomaly_scores import scores_of
from reverie.tasks.fit_mixture import fit_mixture
from reverie.tasks.heat_map import heat_map


class Grey(nn.Module, Reconstructs):
    """Encodes a picture by its first two pixels, and makes every picture the same grey."""

    def __init__(self, level: float = 0.0) -> None:
        super().__init__()
        self.level = level
        self.mixture = Mixture(2)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        return Code(images.flatten(1)[:, :2])

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.normal(2)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.full((len(z), 1, 1, 1), self.level)

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.full_like(images, self.level)


class Likely(Grey, Bounds):
    """log p(x, z) / q(z|x) = scale * sum of pixels + noise."""

    def __init__(self, scale: float = 1.0, noise: float = 0.0) -> None:
        super().__init__()
        self.scale, self.noise = scale, noise

    def log_weights(self, images: Tensor, samples: int, draw: Draw, labels: Tensor | None = None) -> Tensor:
        total = self.scale * images.flatten(1).sum(1, keepdim=True)
        return total + self.noise * draw.normal(samples)


class Classy(Likely, Conditions):
    classes = ("ant", "bee")


class Eye(nn.Module, Encodes):
    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        return Code(images.flatten(1)[:, :2])


class Diverged(Grey):
    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.full_like(images, math.nan)


class Set(Held):
    @property
    def images(self) -> Tensor:
        return to_tensor(self.pixels)


def noise(count: int, seed: int = 0, channels: int = 1, side: int = 8) -> Set:
    return Set(np.random.default_rng(seed).integers(0, 256, (count, channels, side, side), np.uint8))


class Critic(nn.Module, Discriminates):
    """What is bright is real."""

    def realness(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return images.mean((1, 2, 3))


def fitted(model: Reconstructs, dataset: Set) -> Reconstructs:
    fit_mixture(model, embed(model, dataset).codes, components=2)
    return model


# Scores


def test_scores_follow_from_capabilities() -> None:
    assert scores_of(Eye()) == ["codes"]
    assert scores_of(Grey()) == ["reconstruction", "peak", "codes"]
    assert scores_of(fitted(Grey(), noise(30))) == ["reconstruction", "peak", "density", "codes", "joint"]
    assert scores_of(Likely()) == ["reconstruction", "peak", "bound", "iw", "complexity", "codes"]
    assert scores_of(Likely(), Likely())[:2] == ["likelihood-ratio", "reconstruction"]
    assert scores_of(nn.Identity()) == []
    assert scores_of(Critic()) == ["discriminator"]
    assert set(scores_of(fitted(Likely(), noise(30)), Likely())) == set(anomaly_scores.SCORES) - {"discriminator"}


def test_what_the_discriminator_takes_for_real_is_normal() -> None:
    data = noise(60)
    found = detector(Critic(), data, rate=0.1)
    assert found.score == "discriminator"
    brightness = data.pixels.mean((1, 2, 3)) / 127.5 - 1
    assert found.scores(data) == pytest.approx(-brightness, abs=1e-5)


def test_reconstruction_and_peak_by_hand() -> None:
    flat = np.full((2, 1, 8, 8), 255, np.uint8)
    flat[1] = 128
    flat[1, 0, 4, 4] = 255  # one pixel off
    new = Set(flat)
    grey = 128 / 127.5 - 1
    found = detector(Grey(grey), noise(20), "reconstruction").scores(new)
    np.testing.assert_allclose(found, [64 * (1 - grey) ** 2, (1 - grey) ** 2], rtol=1e-5)
    peak = detector(Grey(grey), noise(20), "peak").scores(new)
    weights = [math.exp(-0.5 * x * x) for x in range(-3, 4)]
    np.testing.assert_allclose(peak, [(1 - grey) ** 2, (1 - grey) ** 2 / sum(weights) ** 2], rtol=1e-5)


def test_bounds_are_minus_nats() -> None:
    data = noise(25)
    total = data.images.flatten(1).sum(1).double().numpy()
    np.testing.assert_allclose(detector(Likely(), data, "bound").scores(data), -total, atol=1e-4)
    np.testing.assert_allclose(detector(Likely(), data, "iw").scores(data), -total, atol=1e-4)
    ratio = detector(Likely(), data, background=Likely(scale=3))
    assert ratio.score == "likelihood-ratio"
    np.testing.assert_allclose(ratio.scores(data), 2 * total, atol=1e-4)
    # Of Gaussian log weights the mean is 0, and log mean exp half the variance.
    for name, mean in (("bound", 0.0), ("iw", -0.5)):
        noisy = detector(Likely(noise=1.0), data, name, samples=2000).scores(data) + total
        assert noisy.mean() == pytest.approx(mean, abs=0.1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_complexity_takes_the_length_of_the_file_off_the_bound(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Black pictures, the likeliest of all to this model, are odd where normal pictures are noise."""
    normal, black = noise(30, channels=channels), Set(np.zeros((5, channels, 8, 8), np.uint8))
    model = Likely(scale=-0.5)
    assert auroc(*(detector(model, normal, "bound").scores(data) for data in (noise(30, 1, channels), black))) == 0
    finder = detector(model, normal, "complexity")
    assert auroc(finder.scores(noise(30, 1, channels)), finder.scores(black)) == 1
    difference = finder.scores(normal) - detector(model, normal, "bound").scores(normal)
    lengths = -difference / math.log(2) / 8
    np.testing.assert_allclose(lengths, lengths.round(), atol=1e-6)
    if channels in (1, 3, 4):
        files = [io.BytesIO(), io.BytesIO()]
        picture = Image.fromarray(normal.pixels[0].transpose(1, 2, 0).squeeze())
        picture.save(files[0], "PNG", optimize=True)
        picture.save(files[1], "WEBP", lossless=True, exact=True, quality=100, method=4)
        sizes = [len(file.getvalue()) for file in files]
        assert lengths[0] == pytest.approx(min(sizes))
        monkeypatch.setattr("PIL.features.check", lambda name: False)
        alone = detector(model, normal, "bound").scores(normal) - detector(model, normal, "complexity").scores(normal)
        assert alone[0] / math.log(2) / 8 == pytest.approx(sizes[0])


def test_density_and_codes_know_where_codes_are_usual() -> None:
    random = np.random.default_rng(0)
    pixels = np.zeros((400, 1, 1, 3), np.uint8)
    pixels[:, 0, 0, :2] = (random.normal(0, 1, (400, 2)) * (20, 4) + 128).round()
    normal = Set(pixels)
    new = Set(np.array([[128, 128, 0], [168, 128, 0], [128, 168, 0]], np.uint8)[:, None, None])
    codes = new.images.view(3, 3)[:, :2].double().numpy()
    distance = detector(Eye(), normal, "codes").scores(new)
    np.testing.assert_allclose(distance, np.linalg.norm(codes * (127.5 / 20, 127.5 / 4), axis=1), rtol=0.15, atol=0.2)
    model = fitted(Grey(), normal)
    density = detector(model, normal, "density").scores(new)
    np.testing.assert_allclose(density, -model.mixture.log_prob(new.images.view(3, 3)[:, :2]).numpy(), rtol=1e-5)
    assert density[0] < density[1] < density[2]


def test_the_length_of_a_file_says_nothing_about_a_bound_of_black_and_white_pictures() -> None:
    normal = noise(41)
    model = tiny("vae", likelihood="bernoulli")
    fit_mixture(model, np.random.default_rng(0).standard_normal((50, model.config.latent)).astype(np.float32))
    assert "complexity" in scores_of(tiny("vae"))
    assert "complexity" not in scores_of(model)
    with pytest.raises(ReverieError, match=r"this VAE is of pictures made black and white.*use 'bound'"):
        detector(model, normal, "complexity")
    found = detector(model, normal, "joint", 0.2)  # takes the reconstruction instead
    assert found.figures(found.scores(normal))["samples"] is None


def test_joint_adds_what_both_parts_say_in_units_of_normal_pictures() -> None:
    normal, new = noise(41), noise(9, seed=1)
    for model, first in ((fitted(Grey(), normal), "reconstruction"), (fitted(Likely(), normal), "complexity")):
        halves = [detector(model, normal, name, 0.2).scores(noise(2000, seed=2)) for name in (first, "density")]
        wanted = sum(
            (detector(model, normal, name, 0.2).scores(new) - known.mean()) / known.std()
            for name, known in zip((first, "density"), halves, strict=True)
        )
        found = detector(model, normal, "joint", 0.2)
        assert found.figures(found.scores(new))["samples"] == (32 if first == "complexity" else None)
        assert len(found.normal) == 21  # the other twenty say what is usual
        scores = found.scores(new)
        assert np.corrcoef(scores, wanted)[0, 1] > 0.97
        assert abs(scores - wanted).mean() < 0.8  # twenty pictures know the deviations roughly
        assert scores.tolist() == [float(found.scores(Set(new.pixels[i : i + 1]))[0]) for i in range(9)]
    with pytest.raises(ReverieError, match="'joint' need a mixture fitted on codes"):
        detector(Grey(), normal, "joint")


def test_codes_count_along_the_directions_in_which_they_vary() -> None:
    random = np.random.default_rng(0)
    along, across = random.normal(0, 30, (400, 1)), random.normal(0, 3, (400, 1))
    pixels = (np.concatenate([along, along / 2 + across], 1) + 128).round().clip(0, 255).astype(np.uint8)
    new = Set(np.array([[168, 148], [168, 108]], np.uint8)[:, None, None])  # equally far, with the slope and against it
    usual, strange = detector(Eye(), Set(pixels[:, None, None]), "codes").scores(new)
    assert usual == pytest.approx(40 / 30, abs=0.3)
    assert 4 * usual < strange < math.hypot(40 / 30, 40 / 3)  # shrinking the covariance widens the narrow direction


def test_codes_that_do_not_vary_do_no_harm() -> None:
    flat = Set(np.zeros((60, 1, 8, 8), np.uint8))
    finder = detector(Eye(), flat, "codes")
    assert finder.odd(finder.scores(flat)).sum() == 0
    assert finder.odd(finder.scores(noise(3))).all()


@pytest.mark.parametrize("name", ["ae", "vae", "vaegan"])
def test_a_score_is_a_function_of_the_picture(name: str) -> None:
    """Of neither its place in the set nor what else is in it."""
    data = noise(70)
    model = tiny(name, ImageSpec(1, 8, 8)).eval()
    assert isinstance(model, Reconstructs)
    fitted(model, data)
    background = tiny(name, ImageSpec(1, 8, 8), seed=1).eval() if isinstance(model, Bounds) else None
    order = np.random.default_rng(1).permutation(70)
    for score in scores_of(model, background):
        finder = detector(model, data, score, background=background if score == "likelihood-ratio" else None)
        whole = finder.scores(data)
        assert whole.shape == (70,)
        assert len(np.unique(whole)) > 60
        np.testing.assert_allclose(finder.scores(Set(data.pixels[order])), whole[order], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(finder.scores(Set(data.pixels[9:10])), whole[9:10], rtol=1e-4, atol=1e-4)
        assert finder.scores(Set(data.pixels[:0])).shape == (0,)


def test_the_seed_is_that_of_the_draws() -> None:
    data, model = noise(20), Likely(noise=1.0)
    first = detector(model, data, "bound").scores(data)
    assert np.array_equal(detector(model, data, "bound").scores(data), first)
    assert not np.allclose(detector(model, data, "bound", seed=1).scores(data), first)


def test_labels_reach_a_conditional_model() -> None:
    data = noise(20)
    data.labels, data.image_spec = np.arange(20) % 3, SPEC
    finder = detector(tiny("cvae").eval(), data, "bound")
    other = noise(20)
    other.labels, other.image_spec = (np.arange(20) + 1) % 3, SPEC
    assert not np.isclose(finder.scores(data), finder.scores(other)).any()
    with pytest.raises(ReverieError, match="CVAE needs class labels, and this data has none"):
        finder.scores(noise(20))


# The threshold


@pytest.mark.parametrize(("count", "rate"), [(19, 0.05), (40, 0.1), (99, 0.07), (25, 0.5)])
def test_the_rate_of_false_alarms_is_kept(count: int, rate: float) -> None:
    """Over calibrations and new normal pictures: at most the rate, and no less than one rank below it."""
    random = np.random.default_rng(0)
    alarms, small = [], []
    for _ in range(300):
        finder = detector(Likely(), Set(random.integers(0, 256, (count, 1, 2, 2), np.uint8)), "bound", rate)
        scores = finder.scores(Set(random.integers(0, 256, (50, 1, 2, 2), np.uint8)))
        alarms.append(finder.odd(scores).mean())
        small.append((finder.p_values(scores) <= 0.5).mean())
        assert np.array_equal(finder.odd(scores), finder.p_values(scores) <= rate + 1e-12)
    error = 4 * float(np.std(alarms)) / math.sqrt(300)
    assert rate - 1 / (count + 1) - error <= np.mean(alarms) <= rate + error
    assert np.mean(small) == pytest.approx(0.5, abs=1 / (count + 1) + 0.05)


def test_the_rate_is_kept_for_codes_which_learn_from_normal_pictures_too() -> None:
    random = np.random.default_rng(0)
    alarms = []
    for seed in range(300):
        normal = Set(random.integers(0, 256, (20, 1, 1, 2), np.uint8))
        finder = detector(Eye(), normal, "codes", 0.2, seed=seed)
        alarms.append(finder.odd(finder.scores(Set(random.integers(0, 256, (50, 1, 1, 2), np.uint8)))).mean())
    assert np.mean(alarms) == pytest.approx(0.2 - 0.2 / 11, abs=0.03)  # 9 of 10 must be below: 2 of 11


def test_the_threshold_by_hand() -> None:
    pixels = np.zeros((19, 1, 1, 1), np.uint8)
    pixels[:, 0, 0, 0] = 10 * np.arange(19)
    finder = detector(Likely(scale=-1.0), Set(pixels), "bound")
    assert finder.threshold == pytest.approx(180 / 127.5 - 1, abs=1e-5)  # k = ceil(20 * 0.95) = 19: the largest
    scores = np.array([-2.0, 0.0, finder.threshold, 1.0, np.inf])
    assert finder.odd(scores).tolist() == [False, False, False, True, True]
    np.testing.assert_allclose(finder.p_values(scores), [1, 7 / 20, 2 / 20, 1 / 20, 1 / 20])


def test_what_has_no_number_is_odd() -> None:
    class Picky(Grey):
        def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
            return torch.where(images.amax((1, 2, 3), True) < 0, images, math.nan)

    finder = detector(Picky(), Set(np.zeros((20, 1, 4, 4), np.uint8)))
    scores = finder.scores(Set(np.full((2, 1, 4, 4), 255, np.uint8)))
    assert np.isposinf(scores).all()
    assert finder.odd(scores).all()
    assert finder.p_values(scores).tolist() == [1 / 21, 1 / 21]


def test_bad_input_is_one_sentence() -> None:
    data = noise(20)
    with pytest.raises(ReverieError, match="Identity cannot tell odd pictures: it has no encoder and no discriminator"):
        detector(nn.Identity(), data)
    with pytest.raises(ReverieError, match="no score 'bond'; did you mean 'bound'"):
        detector(Likely(), data, "bond")
    with pytest.raises(ReverieError, match=r"'bound' needs a bound on log p.*; Grey has none"):
        detector(Grey(), data, "bound")
    with pytest.raises(ReverieError, match="'joint' need a mixture fitted on codes, and this Grey has none"):
        detector(Grey(), data, "density")
    with pytest.raises(ReverieError, match="'likelihood-ratio' needs a background model"):
        detector(Likely(), data, "likelihood-ratio")
    with pytest.raises(ReverieError, match=r"A background model needs a bound on log p.*; Grey has none"):
        detector(Likely(), data, "likelihood-ratio", background=Grey())
    with pytest.raises(ReverieError, match="for the score 'likelihood-ratio', not for 'bound'"):
        detector(Likely(), data, "bound", background=Likely())
    with pytest.raises(ReverieError, match="same class labels"):
        detector(Likely(), data, background=Classy())
    for rate in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(ReverieError, match="false alarms must be "):
            detector(Grey(), data, rate=rate)
    with pytest.raises(ReverieError, match="samples must be at least 1, not 0"):
        detector(Likely(), data, samples=0)
    with pytest.raises(ReverieError, match=r"0\.05 needs at least 19 normal pictures .*'reconstruction'.* are 18"):
        detector(Grey(), noise(18))
    detector(Grey(), noise(19))
    with pytest.raises(ReverieError, match=r"0\.05 needs at least 19 normal pictures .*'codes' on, and there are 10"):
        detector(Grey(), data, "codes")
    with pytest.raises(ReverieError, match="at least 4 normal pictures"):
        detector(Grey(), noise(2), "codes", rate=0.6)
    with pytest.raises(ReverieError, match="needs at least 1 normal pictures"):
        detector(Grey(), noise(0), rate=0.6)
    with pytest.raises(ReverieError, match="not finite numbers; the model has diverged"):
        detector(Diverged(), data)
    with pytest.raises(ReverieError, match=r"pictures are 3x8x8 .*, and the detector takes 1x8x8"):
        detector(Grey(), data).scores(noise(2, channels=3))


# Figures


@pytest.mark.parametrize("levels", [3, 20, 10**6])
def test_areas_of_two_kinds_of_scores(levels: int) -> None:
    random = np.random.default_rng(levels)
    normal, odd = random.integers(0, levels, 80) / levels, random.integers(0, levels, 33) / levels + 0.2
    wanted = mannwhitneyu(odd, normal).statistic / (80 * 33)
    assert auroc(normal, odd) == pytest.approx(wanted, abs=1e-12)
    assert auroc(odd, normal) == pytest.approx(1 - wanted, abs=1e-12)
    precision = [(odd >= at).sum() / ((odd >= at).sum() + (normal >= at).sum()) for at in odd]
    assert aupr(normal, odd) == pytest.approx(np.mean(precision), abs=1e-12)


def test_areas_of_extremes() -> None:
    low, high = np.array([0.0, 1.0, -np.inf]), np.array([2.0, np.inf])
    assert auroc(low, high) == aupr(low, high) == 1
    assert auroc(high, low) == 0
    assert auroc(low, low) == 0.5
    assert low.tolist() == [0, 1, -np.inf]
    for area in (auroc, aupr):
        with pytest.raises(ReverieError, match="at least one score each"):
            area(low, high[:0])
        with pytest.raises(ReverieError, match="not numbers"):
            area(low, np.array([np.nan]))


# Heat


def test_the_heat_is_where_the_damage_is() -> None:
    images = torch.zeros(3, 2, 32, 48)
    images[1, :, 20:26, 30:36] = 1.0
    images[2] = 1.0
    heat = heat_map(Grey(), images)
    assert heat.shape == (3, 32, 48)
    assert heat[0].max() == 0
    where = heat[1] > 0.25
    assert where[21:25, 31:35].all()
    assert where[19:27, 29:37].sum() == where.sum()
    torch.testing.assert_close(heat[2], torch.full((32, 48), 0.5), atol=1e-4, rtol=0)  # edges too
    torch.testing.assert_close(heat_map(Grey(-1.0), torch.ones(1, 1, 1, 1)), torch.ones(1, 1, 1))
    torch.testing.assert_close(heat_map(Grey(), images[1:2]), heat[1:2])
    assert heat_map(Grey(3.0), images[2:]).max() == 0  # shown, it is as white
    assert heat_map(Grey(), images[:0]).shape == (0, 32, 48)
    with pytest.raises(ReverieError, match="Eye cannot reconstruct"):
        heat_map(Eye(), images)


def test_an_overlay_is_red_where_it_is_hot() -> None:
    images = torch.full((2, 3, 4, 5), 0.25)
    heat = torch.zeros(2, 4, 5)
    heat[1, 2, 3] = 1.0
    shown = overlay(images, heat)
    assert shown.shape == (2, 3, 4, 5)
    torch.testing.assert_close(shown[0], images[0])
    assert shown[1, :, 2, 3].tolist() == [1, -1, -1]
    green = overlay(torch.tensor([-1.0, 1.0, -1.0]).view(1, 3, 1, 1).expand(2, 3, 4, 5), heat)
    torch.testing.assert_close(green[0], torch.full((3, 4, 5), -1 / 3))  # so that red means heat alone
    assert overlay(images[:, :1], heat).shape == (2, 3, 4, 5)
    with pytest.raises(ReverieError, match="cannot be"):
        overlay(images, heat[:1])


# Files

SCORES, P_VALUES, ODD = np.array([1 / 3, 12.5, np.inf, -3.0]), np.array([1 / 7, 0.05, 0.01, 1.0]), np.arange(4) % 3 > 0
NAMES = ["a.png", 'with, comma "and" quote.png', "<script>alert(1)</script>", "line\nbreak ü.png"]


def test_csv_round_trip(tmp_path: Path) -> None:
    write_csv(tmp_path / "new" / "odd.csv", NAMES, SCORES, P_VALUES, ODD)
    assert visible(tmp_path / "new") == ["odd.csv"]
    with (tmp_path / "new" / "odd.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == NAMES
    assert [float(row["score"]) for row in rows] == SCORES.tolist()
    assert [float(row["p_value"]) for row in rows] == P_VALUES.tolist()
    assert [row["odd"] for row in rows] == ["false", "true", "true", "false"]
    write_csv(tmp_path / "surrogate.csv", ["\udcff.png"], SCORES[:1], P_VALUES[:1], ODD[:1])
    with pytest.raises(ReverieError, match="4 names and 3 scores"):
        write_csv(tmp_path / "bad.csv", NAMES, SCORES[:3], P_VALUES, ODD)
    assert not (tmp_path / "bad.csv").exists()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_a_sheet_is_one_escaped_page_oddest_first(tmp_path: Path, channels: int) -> None:
    images = noise(4, channels=channels).images
    heat = torch.rand(4, 8, 8)
    write_sheet(tmp_path / "odd.html", images, NAMES, SCORES, P_VALUES, ODD, heat, title="<b>{odd}</b>")
    page = (tmp_path / "odd.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;b&gt;{odd}&lt;/b&gt;" in page
    order = [page.index(text) for text in ("&lt;script&gt;alert", "with, comma &#34;and&#34;", "a.png", "line\nbreak")]
    assert order == sorted(order)
    assert "2 of 4 pictures are odd" in page
    assert page.count("<li class=odd>") == 2
    assert "score 12.5, p = 0.05" in page
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|@import", page)
    sources = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(sources) == 4
    with Image.open(io.BytesIO(base64.b64decode(sources[1]))) as picture:
        assert picture.size == (16, 8)
        beside = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    expected = to_tensor(np.ascontiguousarray(beside[None, :, :, 8:]))
    torch.testing.assert_close(expected, overlay(images[1:2], heat[1:2]), atol=0.005, rtol=0)


def test_a_sheet_without_heat_and_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "MOST_SHOWN", 2)
    write_sheet(tmp_path / "odd.html", noise(4).images, NAMES, SCORES, P_VALUES, ODD)
    page = (tmp_path / "odd.html").read_text(encoding="utf-8")
    assert page.count("<img") == 2
    assert "a.png" not in page
    assert "The 2 oddest are shown" in page
    assert "Red" not in page
    for heat, count in ((torch.zeros(3, 8, 8), 4), (None, 3)):
        with pytest.raises(ReverieError, match="4 names and 3"):
            write_sheet(tmp_path / "bad.html", noise(count).images, NAMES, SCORES, P_VALUES, ODD, heat)
    assert visible(tmp_path) == ["odd.html"]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ReverieError, match="a file is in the way"):
        write_sheet(tmp_path / "file" / "odd.html", noise(4).images, NAMES, SCORES, P_VALUES, ODD)
