"""Projection, restoration, directions, attributes and arithmetic, on models whose answers are known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from torch import Tensor, nn

from pictures import Held
from reverie.capabilities import Code, Conditions, Reconstructs, Samples, Styles
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.inference.latent_space import latent_space
from reverie.networks.mixture import Mixture
from reverie.tasks.arithmetic import Term, chosen, edited, nearby, parse, total
from reverie.tasks.attributes import attribute, attributes_of, brightness, slant, thickness
from reverie.tasks.denoise import add_noise, centre_mask, downsample, mask, restore
from reverie.tasks.directions import along, attributed, drawn, effects, principal, sensitive
from reverie.tasks.interpolate import interpolate
from reverie.tasks.project import latents_of, project

SIZE, SHAPE = 3, (2, 4, 6)


class Bent(nn.Module, Samples):
    """A curved surface of pictures, 2 x 4 x 6: tanh(W z), z ~ N(0, I) in three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(torch.randn(SIZE, 48, generator=generator))

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.normal(SIZE)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return (z @ self.weight).tanh().view(-1, *SHAPE)


class Classy(Bent, Conditions):
    """Class 1 has the negative picture of class 0."""

    classes = ("ant", "bee")

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().decode(z.abs()) * (1 - 2 * self.known(labels)).view(-1, 1, 1, 1)


class Coded(Bent, Reconstructs):
    """With an encoder that is nearly right."""

    mixture = Mixture(SIZE)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        inner = images.flatten(1).clamp(-0.999, 0.999).atanh()
        return Code(inner @ torch.linalg.pinv(self.weight.detach()) + 0.1)


class Styled(Bent, Styles):
    """Two layers, each half of the picture's rows; w is a stretched and turned z."""

    layers = 2
    turn = torch.tensor([[5.0, 1, 0], [0, 1, 0], [0, 0, 0.2]])

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return (z @ self.turn + 1).unsqueeze(1).expand(-1, 2, -1)

    def synthesise(self, w: Tensor) -> Tensor:
        z = (w - 1) @ torch.linalg.inv(self.turn)
        top, bottom = ((z[:, i] @ self.weight).tanh().view(-1, *SHAPE) for i in range(2))
        return torch.cat([top[:, :, :2], bottom[:, :, 2:]], 2)

    def truncate(self, w: Tensor, psi: float, layers: int | None = None) -> Tensor:
        return w

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return Styles.decode(self, z, labels)


def pictures(model: Samples, count: int = 5, seed: int = 9, labels: Tensor | None = None) -> Tensor:
    space = latent_space(model, "z")
    with torch.no_grad():
        return space.decode(space.draw(seed, range(count), labels), labels)


# Projection


@pytest.mark.parametrize("model", [Bent(), Styled(), Coded()], ids=["z", "w", "encoder"])
def test_a_picture_that_the_model_can_draw_is_found(model: Samples) -> None:
    wanted = pictures(model)
    found = project(model, wanted, steps=120, sigma=0.01)
    assert found.space == ("w" if isinstance(model, Styles) else "z")
    assert float(found.psnr.min()) > 40
    assert torch.allclose(found.pictures, latent_space(model).decode(found.latents), atol=1e-6)
    assert torch.allclose(found.error, (found.pictures - wanted).square().flatten(1).mean(1), atol=1e-7)


def test_a_projection_knows_nothing_of_the_others_in_its_batch() -> None:
    model, wanted = Bent(), pictures(Bent(), 70)
    whole = project(model, wanted, steps=20, starts=4)
    alone = project(model, wanted[68:69], steps=20, starts=4)
    assert torch.allclose(whole.latents[68:69], alone.latents, atol=1e-5)
    again = project(model, wanted, steps=20, starts=4)
    assert torch.equal(whole.latents, again.latents)


class Wavy(Bent):
    """A surface that folds many times: nearly every way down ends in a poor valley."""

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return (3 * z @ self.weight).sin().view(-1, *SHAPE)


def test_more_starts_find_better_valleys() -> None:
    wanted = pictures(Wavy(), 12)
    one, sixteen = (project(Wavy(), wanted, steps=60, starts=starts).error for starts in (1, 16))
    assert float(sixteen.mean()) < 0.6 * float(one.mean())


def test_the_prior_holds_latents_back_as_sigma_says() -> None:
    near, far = (project(Bent(), pictures(Bent()), steps=60, sigma=sigma).latents.norm(dim=1) for sigma in (0.05, 5.0))
    assert float(far.mean()) < 0.7 * float(near.mean())


def test_styles_may_differ_from_layer_to_layer() -> None:
    model = Styled()
    first, second = pictures(model, 2)
    both = torch.cat([first[:, :2], second[:, 2:]], 1)[None]
    found = project(model, both, steps=200, sigma=0.01)
    assert float(found.psnr) > 35
    assert not torch.allclose(found.latents[:, 0], found.latents[:, 1], atol=0.1)


def test_each_picture_is_projected_under_its_own_class() -> None:
    model, labels = Classy(), torch.tensor([1, 0, 0, 1])
    wanted = pictures(model, 4, labels=labels)
    right = project(model, wanted, ["bee", "ant", "ant", "bee"], steps=60, sigma=0.05)
    wrong = project(model, wanted, [0, 1, 1, 0], steps=60, sigma=0.05)
    assert float(right.error.max()) < 0.01 < float(wrong.error.min())
    assert right.labels is not None
    assert right.labels.tolist() == [1, 0, 0, 1]
    with pytest.raises(ReverieError, match="needs the class label"):
        project(model, wanted)


def test_an_encoder_is_asked_before_a_search() -> None:
    model, wanted = Coded(), pictures(Coded())
    assert torch.equal(latents_of(model, wanted), model.encode(wanted).mean)
    assert torch.allclose(latent_space(Bent()).decode(latents_of(Bent(), wanted)), wanted, atol=0.2)


def test_impossible_projections_are_told() -> None:
    with pytest.raises(ReverieError, match="Linear cannot project pictures"):
        project(nn.Linear(1, 1), torch.zeros(1, 2, 4, 6))
    with pytest.raises(ReverieError, match=r"1x4x6 .* draws 2x4x6"):
        project(Bent(), torch.zeros(1, 1, 4, 6))
    with pytest.raises(ReverieError, match="has no space w"):
        project(Bent(), torch.zeros(1, *SHAPE), space="w")
    with pytest.raises(ReverieError, match="sigma"):
        project(Bent(), torch.zeros(1, *SHAPE), sigma=0)
    for sigma in (1e-30, float("nan")):  # the square of the first divides by zero
        with pytest.raises(ReverieError, match="sigma must be at least"):
            project(Bent(), torch.zeros(1, *SHAPE), sigma=sigma)
    with pytest.raises(ReverieError, match="starts must be at least 1"):
        project(Bent(), torch.zeros(1, *SHAPE), starts=0)
    with pytest.raises(ReverieError, match="starts must be at most 2048"):
        project(Bent(), torch.zeros(1, *SHAPE), steps=1, starts=2049)
    with pytest.raises(ReverieError, match="no pictures"):
        project(Bent(), torch.zeros(0, *SHAPE))
    with pytest.raises(ReverieError, match="no space 'q'"):
        latent_space(Bent(), "q")  # type: ignore[arg-type]
    broken = Bent()
    broken.weight.data[0, 0] = torch.nan
    with pytest.raises(ReverieError, match="diverged"):
        project(broken, torch.zeros(1, *SHAPE))


def test_a_path_passes_through_given_latents() -> None:
    ends = latents_of(Bent(), pictures(Bent(), 3))
    path = interpolate(Bent(), between=4, ends=ends)
    assert path.shape == (9, *SHAPE)
    assert torch.allclose(path[[0, 4, 8]], latent_space(Bent()).decode(ends).detach(), atol=1e-5)


# Restoration


def test_a_hole_is_filled_and_pixels_are_added_as_the_model_would_draw_them() -> None:
    model, wanted = Bent(), pictures(Bent())
    for damage in (mask(wanted, centre_mask(4, 6)), downsample(wanted, 2)):
        restored = restore(model, damage)
        assert float((restored - wanted).square().mean()) < 0.01
        assert float((damage.damaged - wanted).square().mean()) > 0.05


def test_noise_is_what_was_asked_for_and_is_removed() -> None:
    wanted = pictures(Bent(), 40)
    damage = add_noise(wanted, 0.2, seed=1)
    assert float((damage.damaged - wanted).std()) == pytest.approx(0.4, rel=0.05)
    assert damage.sigma == pytest.approx(0.4)  # so the search allows for as much
    assert torch.equal(add_noise(wanted[:3], 0.2, seed=1).damaged, damage.damaged[:3])
    by_search, by_code = restore(Bent(), damage), restore(Coded(), damage, how="reconstruct")
    before = float((damage.damaged - wanted).square().mean())
    assert float((by_search - wanted).square().mean()) < 0.3 * before
    assert torch.equal(restore(Coded(), damage), by_code)


def test_impossible_restorations_are_told() -> None:
    wanted = pictures(Bent())
    with pytest.raises(ReverieError, match="cannot reconstruct"):
        restore(Bent(), add_noise(wanted, 0.1), how="reconstruct")
    with pytest.raises(ReverieError, match="whole pictures"):
        restore(Coded(), downsample(wanted, 2), how="reconstruct")
    with pytest.raises(ReverieError, match="nothing to go by"):
        mask(wanted, torch.ones(4, 6, dtype=torch.bool))
    with pytest.raises(ReverieError, match="True or False of each pixel, not int64"):
        mask(wanted, torch.zeros(4, 6, dtype=torch.int64))
    with pytest.raises(ReverieError, match="as large"):
        mask(wanted, torch.zeros(6, 4, dtype=torch.bool))
    with pytest.raises(ReverieError, match="factor for pictures of 4 x 6 pixels must be at most 4, not 5"):
        downsample(wanted, 5)
    with pytest.raises(ReverieError, match="noise"):
        add_noise(wanted, 0)


def test_pictures_are_damaged_where_they_are() -> None:
    elsewhere = torch.zeros(2, *SHAPE, device="meta")  # another device that every machine has; it holds no numbers
    kept = add_noise(elsewhere, 0.1).seen, mask(elsewhere, centre_mask(4, 6)).damaged, downsample(elsewhere, 2).damaged
    assert [part.device.type for part in kept] == ["meta"] * 3


def test_a_coarse_picture_is_shown_as_large_as_it_was() -> None:
    images = torch.arange(2 * 1 * 5 * 7, dtype=torch.float32).view(2, 1, 5, 7) / 70
    damage = downsample(images, 2)
    assert damage.damaged.shape == images.shape
    assert torch.equal(damage.seen, torch.nn.functional.avg_pool2d(images, 2))
    assert float(damage.damaged[0, 0, 0, 0]) == pytest.approx(float(images[0, 0, :2, :2].mean()))


# Directions


def test_principal_directions_are_those_of_scikit_learn() -> None:
    latents = torch.randn(200, 4, generator=torch.Generator().manual_seed(1)) @ torch.diag(torch.tensor([5.0, 1, 3, 0]))
    found, reference = principal(latents, 4), PCA(3).fit(latents.numpy())
    assert len(found.vectors) == 3  # one does not vary
    for vector, axis, variance in zip(
        found.vectors.numpy(), reference.components_, reference.explained_variance_, strict=True
    ):
        assert abs(float(vector @ axis)) == pytest.approx(variance**0.5, rel=1e-4)
        assert vector[np.abs(vector).argmax()] > 0
    assert found.strength == pytest.approx(reference.explained_variance_ratio_, rel=1e-4)


def test_the_most_sensitive_direction_is_the_one_that_changes_pictures_most() -> None:
    class Stretched(Bent):
        def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
            scaled = z * torch.tensor([0.1, 1.0, 0.3])
            return torch.nn.functional.pad(scaled, (0, 45)).view(-1, *SHAPE)

    found = sensitive(Stretched(), 3)
    assert found.vectors.abs().argmax(1).tolist() == [1, 2, 0]
    assert found.strength == pytest.approx(np.array([1, 0.09, 0.01]) / 1.1, rel=0.1)
    assert float(found.vectors[0].norm()) == pytest.approx(1, rel=0.1)


def test_directions_of_styles_move_all_layers() -> None:
    found = sensitive(Styled(), 2)
    assert found.vectors.shape == (2, 2, SIZE)
    assert torch.equal(found.vectors[:, 0], found.vectors[:, 1])
    assert drawn(Styled()).shape == (2048, 2, SIZE)
    w = drawn(Styled())[:4]
    shown = along(Styled(), w, found.vectors[0], torch.tensor([-1.0, 0.0, 1.0]))
    assert shown.shape == (4, 3, *SHAPE)
    assert torch.allclose(shown[:, 1], Styled().synthesise(w).detach(), atol=1e-6)
    assert float((shown[:, 2] - shown[:, 1]).abs().mean()) > 0.01


def test_a_direction_is_followed_under_the_class_of_each_picture() -> None:
    latents, labels = torch.randn(3, SIZE), torch.tensor([0, 1, 0])
    shown = along(Classy(), latents, torch.ones(SIZE), torch.tensor([0.0, 1.0]), labels=labels)
    assert torch.allclose(shown[:, 0], Classy().decode(latents, labels).detach(), atol=1e-6)


def test_directions_need_latents_that_vary() -> None:
    with pytest.raises(ReverieError, match="All latents are the same"):
        principal(torch.ones(5, 3))
    with pytest.raises(ReverieError, match="not finite"):
        principal(torch.full((5, 3), torch.nan))


def test_many_dimensions_are_probed_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    class Watched(Bent):
        def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
            sizes.append(len(z))
            return super().decode(z)

    whole = sensitive(Bent(), 3)
    monkeypatch.setattr("reverie.inference.latent_space.BATCH", 2)
    assert torch.allclose(sensitive(Watched(), 3).vectors, whole.vectors, atol=1e-4)
    assert max(sizes) == 2


def test_as_many_latents_are_drawn_for_attributes_as_were_asked_for() -> None:
    latents, values = attributed(Bent(), Set(), ["brightness", "slant"], 2100)
    assert latents.shape == (2100, SIZE)
    assert list(values) == ["brightness", "slant"]
    assert values["slant"] == pytest.approx(slant(Bent().decode(latents).detach()).numpy(), abs=1e-5)
    few, same = attributed(Bent(), Set(), ["brightness"], 20)
    assert torch.equal(few, latents[:20])  # each is a function of its number
    assert same["brightness"] == pytest.approx(values["brightness"][:20], abs=1e-6)


def test_an_effect_leaves_the_other_attributes_out() -> None:
    random = np.random.default_rng(0)
    smile = random.normal(size=500)
    age = 0.8 * smile + 0.6 * random.normal(size=500)  # goes with the smile in the data
    latents = np.stack([smile, 2 * age, random.normal(size=500)], 1)
    found = effects(torch.from_numpy(latents).float(), {"smile": smile, "age": age})
    assert found.vectors[0].numpy() == pytest.approx([smile.std(), 0, 0], abs=0.1)
    reference = LinearRegression().fit(np.stack([smile, age], 1), latents).coef_.T * np.array(
        [[smile.std()], [age.std()]]
    )
    assert found.vectors.numpy() == pytest.approx(reference, rel=1e-2, abs=1e-3)
    both = np.stack([smile, age], 1)
    for i, strength in enumerate(found.strength):  # what the fit loses where the attribute is left out
        fits = [LinearRegression().fit(known, latents).predict(known) for known in (both, both[:, [1 - i]])]
        whole, without = ((latents - fit).var(0).sum() for fit in fits)
        assert strength == pytest.approx((without - whole) / latents.var(0).sum(), rel=1e-3)
    alone = effects(torch.from_numpy(latents).float(), {"smile": smile})
    assert float(alone.vectors[0, 1]) > 1  # without the age beside it, the smile takes its part


def test_effects_that_cannot_be_told_are_told() -> None:
    latents, same = torch.randn(20, 3), np.arange(20.0)
    with pytest.raises(ReverieError, match="the same 'age'"):
        effects(latents, {"age": np.ones(20)})
    for others in ({"years": 2 * same}, {"a": same % 2, "b": same + same % 2}):  # of three, no two are alike
        with pytest.raises(ReverieError, match="follows from the others"):
            effects(latents, {"age": same, **others})
    with pytest.raises(ReverieError, match="as many values"):
        effects(latents, {"age": same[:5]})
    with pytest.raises(ReverieError, match="more than so many"):
        effects(latents[:2], {"a": same[:2], "b": same[:2] ** 2})


# Attributes


def stroke(width: float, lean: float, side: int = 32, ground: float = -1.0) -> Tensor:
    """A stroke 20 pixels high, with smooth edges."""
    rows, columns = torch.meshgrid(torch.arange(side) - 15.5, torch.arange(side) - 15.5, indexing="ij")
    away = ((columns + lean * rows).abs() - width / 2).clamp(-0.5, 0.5)
    ink = (0.5 - away) * (rows.abs() <= 10)
    return (ground - 2 * ground * ink)[None, None]


@given(st.floats(2, 6), st.floats(-0.5, 0.5), st.sampled_from([-1.0, 1.0]))
def test_strokes_are_measured_on_any_ground(width: float, lean: float, ground: float) -> None:
    picture = stroke(width, lean, ground=ground)
    assert float(slant(picture)) == pytest.approx(lean, abs=0.05)
    wider = float(thickness(stroke(width + 1, lean, ground=ground)) - thickness(picture))
    assert 0.3 < wider < 1.2  # the ends of the stroke are outline too
    assert float(slant(-picture)) == pytest.approx(float(slant(picture)), abs=1e-4)


def test_what_is_clear_is_as_bright_as_white() -> None:
    black, clear = torch.full((1, 4, 2, 2), -1.0), torch.full((1, 4, 2, 2), -1.0)
    black[:, 3] = 1
    assert float(brightness(black)) == pytest.approx(0)
    assert float(brightness(clear)) == pytest.approx(1)


def test_an_empty_picture_has_no_strokes() -> None:
    empty = torch.zeros(2, 3, 8, 8)
    assert thickness(empty).tolist() == [0, 0]
    assert slant(empty).tolist() == [0, 0]


class Set(Held):
    """Grey pictures, brighter with their number; classes ant, bee, ant, bee ..."""

    factors = None

    def __init__(self, count: int = 30) -> None:
        pixels = np.tile(np.arange(count, dtype=np.uint8)[:, None, None, None] * 8, (1, 1, 4, 4))
        super().__init__(pixels, np.arange(count) % 2, ("ant", "bee"))


def test_attributes_are_factors_classes_and_what_is_measured() -> None:
    data = Set()
    assert attributes_of(data) == ["ant", "bee", "brightness", "slant", "thickness"]
    assert attribute(data, "bee").tolist() == [0, 1] * 15
    assert attribute(data, "brightness", np.array([0, 29])) == pytest.approx([0, 29 * 8 / 255])
    data.factors = {"smile": np.linspace(-1, 1, 30)}  # type: ignore[assignment]
    assert attribute(data, "smile", np.array([29, 0])).tolist() == [1, -1]
    with pytest.raises(ReverieError, match=r"no attribute 'smlie'.*smile"):
        attribute(data, "smlie")
    with pytest.raises(ReverieError, match="same 'bee'"):
        attribute(data, "bee", np.array([1, 3, 5]))


# Arithmetic


def test_an_expression_is_a_sum_of_named_terms() -> None:
    assert parse("smiling-men/ - plain faces + smile:low") == [
        Term(1, "smiling-men/"), Term(-1, "plain faces"), Term(1, "smile:low"),
    ]  # fmt: skip
    assert parse("- a") == [Term(-1, "a")]
    for wrong in ("", "a +", "a - + b", "- - a"):
        with pytest.raises(ReverieError):
            parse(wrong)


def test_a_term_means_the_class_or_the_extreme_fifth() -> None:
    data = Set()
    for name, expected in {
        "brightness": range(24, 30), "brightness:high": range(24, 30), "brightness:low": range(6),
        "bee": range(1, 30, 2), "bee:low": range(0, 30, 2),
    }.items():  # fmt: skip
        found = chosen(data, name, 100)
        assert found is not None
        assert found.tolist() == list(expected)
    some = chosen(data, "bee", 4, seed=1)
    assert some is not None
    assert len(some) == 4
    assert set(some.tolist()) <= set(range(1, 30, 2))
    assert chosen(data, "bee", 4, seed=-1) is not None
    assert chosen(data, "folder/of/pictures", 4) is None
    assert chosen(data, "bee:middle", 4) is None


def test_a_value_that_nearly_all_share_is_no_extreme() -> None:
    data = Set()
    data.factors = {"hats": np.array([0.0] * 27 + [1, 2, 2])}  # type: ignore[assignment]
    high, low = chosen(data, "hats", 100), chosen(data, "hats:low", 100)
    assert high is not None
    assert low is not None
    assert high.tolist() == [27, 28, 29]
    assert low.tolist() == list(range(27))


def test_sums_of_means_are_added_to_every_latent() -> None:
    a, b = torch.randn(5, SIZE), torch.randn(4, SIZE)
    change = total([(1, a), (-1, b)])
    assert torch.allclose(change, a.mean(0) - b.mean(0))
    latents = torch.randn(300, SIZE)
    shown = edited(Bent(), latents, change, 0.5, batch=7)
    assert torch.allclose(shown, Bent().decode(latents + 0.5 * change).detach(), atol=1e-5)
    with pytest.raises(ReverieError, match="at least 3 pictures, and one has 2"):
        total([(1, a), (-1, b[:2])])


def test_near_finds_what_a_change_is_at_each_picture() -> None:
    """On rings around zero "outer - inner" points outward: a direction of its own everywhere, and none on average."""
    angle = torch.linspace(0, 2 * math.pi, 201)[:-1]
    around = torch.stack([angle.cos(), angle.sin()], 1)
    scale = torch.tensor([1.0, 100.0])  # one coordinate is in another unit
    terms = [(1, 3 * around * scale), (-1, 1 * around[::2] * scale)]
    given = 1.2 * around[[10, 60, 164]] * scale
    assert float((total(terms) / scale).norm()) < 1e-4
    torch.testing.assert_close(nearby(terms, given, 3) / scale, 2 * around[[10, 60, 164]], atol=0.02, rtol=0)
    torch.testing.assert_close(nearby(terms, given, 500), total(terms).expand(3, 2), atol=1e-4, rtol=0)
    shaped = [(sign, part.view(-1, 1, 2)) for sign, part in terms]  # styles have more axes
    assert torch.equal(nearby(shaped, given.view(-1, 1, 2), 3).view(3, 2), nearby(terms, given, 3))
    dead = [(sign, torch.cat([part, 1e-4 * torch.randn(len(part), 30)], 1)) for sign, part in terms]
    found = nearby(dead, torch.cat([given, torch.zeros(3, 30)], 1), 3)[:, :2] / scale
    torch.testing.assert_close(found, 2 * around[[10, 60, 164]], atol=0.2, rtol=0)
    with pytest.raises(ReverieError, match="nearest pictures must be at least 3, not 2"):
        nearby(terms, given, 2)
    with pytest.raises(ReverieError, match="at least 3 pictures, and one has 2"):
        nearby([(1, around), (-1, around[:2])], given, 3)


def test_classes_are_kept_while_latents_change() -> None:
    latents, labels = torch.randn(4, SIZE), torch.tensor([0, 1, 1, 0])
    shown = edited(Classy(), latents, torch.zeros(SIZE), labels=labels, batch=3)
    for picture, latent, label in itertools.zip_longest(shown, latents, labels):
        assert torch.allclose(picture, Classy().decode(latent[None], label[None])[0].detach(), atol=1e-6)


def test_attributes_of_a_conditional_model_are_measured_on_its_classes_in_turn() -> None:
    latents, values = attributed(Classy(), Set(), ["brightness"], count=300)
    assert latents.shape == (300, SIZE)
    labels = torch.arange(300) % 2
    expected = brightness(latent_space(Classy()).decode(latents, labels).detach())
    assert values["brightness"] == pytest.approx(expected.double().numpy(), abs=1e-6)
    assert values["brightness"].std() > 0
