"""The procedural faces: a picture is a function of its row, a row of (seed, index); each factor does its own work."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from reverie.data import faces
from reverie.data.faces import CLASSES, FACTORS, Factor, draw_factors, labels, paint, render
from reverie.errors import ReverieError

Pictures = npt.NDArray[np.uint8]
COLUMN = {factor.name: column for column, factor in enumerate(FACTORS)}
NEUTRAL = {"smile": 0.3, "eye_open": 0.8, "hair_colour": 1, "hair_style": 1, "skin_tone": 0.3, "background": 0.6}


def row(**values: float) -> npt.NDArray[np.float32]:
    """One neutral face with some factors set: (1, len(FACTORS))."""
    middle = {factor.name: 0 if factor.values else (factor.low + factor.high) / 2 for factor in FACTORS}
    return np.array([list((middle | NEUTRAL | values).values())], dtype=np.float32)


def difference(first: Pictures, second: Pictures) -> npt.NDArray[np.float64]:
    """The largest change over the colours: (H, W)."""
    return np.abs(first[0].astype(np.float64) - second[0]).max(axis=0)


def box(size: int, left: float, right: float, top: float, bottom: float) -> npt.NDArray[np.bool_]:
    """The pixels of a square picture within these bounds, in -1..1: (size, size)."""
    centre = (np.arange(size) + 0.5) * 2 / size - 1
    return ((centre > top) & (centre < bottom))[:, None] & ((centre > left) & (centre < right))[None, :]


# ------------------------------------------------------------------------------------------------------- the factors


def test_a_row_depends_on_seed_and_index_alone() -> None:
    indices = np.array([5, 0, 2**40, 17, 5])
    together = draw_factors(indices, seed=3)
    alone = np.concatenate([draw_factors(np.array([index]), seed=3) for index in indices])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together[0], together[4])
    assert not np.array_equal(together, draw_factors(indices, seed=4))
    assert together.dtype == np.float32
    assert draw_factors(np.array([], dtype=np.int64)).shape == (0, len(FACTORS))
    assert draw_factors(np.array([1]), seed=-1).shape == (1, len(FACTORS))


def test_rows_are_the_same_in_every_release() -> None:
    """Saved runs name faces by index: a change of these numbers changes every one of them."""
    expected = [0.934858, 0.732828, 0.572961, 0.810804, 0.155558, 5, 0, 0.902996, 1, 0.397721, 0.275551]
    np.testing.assert_allclose(draw_factors(np.array([7]), seed=1)[0], expected, rtol=0, atol=1e-6)


def test_factors_are_uniform_in_their_ranges() -> None:
    rows = draw_factors(np.arange(20_000)).astype(np.float64)
    for factor, values in zip(FACTORS, rows.T, strict=True):
        assert values.min() >= factor.low
        assert values.max() <= factor.high
        if factor.values:
            counts = np.bincount(values.astype(np.int64), minlength=factor.values)
            np.testing.assert_array_equal(values, values.astype(np.int64))
            np.testing.assert_allclose(counts / len(rows), 1 / factor.values, atol=0.015)
        else:
            unit = (values - factor.low) / (factor.high - factor.low)
            np.testing.assert_allclose(np.quantile(unit, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.015)


def test_factors_are_independent_of_each_other_of_neighbours_and_of_the_seed() -> None:
    rows = np.concatenate([draw_factors(np.arange(20_001), seed=seed) for seed in (0, 1)], axis=1).astype(np.float64)
    columns = np.concatenate([rows[:-1], rows[1:]], axis=1)
    correlation = np.corrcoef(columns, rowvar=False)
    assert np.abs(correlation - np.eye(len(correlation))).max() < 0.04


def test_labels_tell_who_wears_glasses() -> None:
    rows = np.concatenate([row(glasses=0), row(glasses=1)])
    assert [CLASSES[label] for label in labels(rows)] == ["plain", "glasses"]
    assert labels(rows).dtype == np.int64


# ------------------------------------------------------------------------------------------------------ the pictures


@pytest.mark.parametrize(("height", "width"), [(8, 8), (32, 32), (64, 64), (128, 128), (48, 80), (96, 33)])
def test_any_size_is_drawn(height: int, width: int) -> None:
    pictures = render(draw_factors(np.arange(12)), height, width)
    assert pictures.shape == (12, 3, height, width)
    assert pictures.dtype == np.uint8
    assert pictures.std(axis=(2, 3)).min() > 5
    assert len(np.unique(pictures.reshape(12, -1), axis=0)) == 12


def test_no_faces_make_no_pictures() -> None:
    assert render(np.empty((0, len(FACTORS))), 16, 24).shape == (0, 3, 16, 24)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 57)])
def test_a_picture_does_not_depend_on_its_batch(monkeypatch: pytest.MonkeyPatch, height: int, width: int) -> None:
    rows = draw_factors(np.arange(80), seed=5)
    together = render(rows, height, width)
    order = np.random.default_rng(0).permutation(len(rows))
    np.testing.assert_array_equal(render(rows[order], height, width), together[order])
    alone = np.concatenate([render(rows[index : index + 1], height, width) for index in range(len(rows))])
    np.testing.assert_array_equal(alone, together)
    monkeypatch.setattr("reverie.data.faces.drawing.CHUNK_PIXELS", 3 * height * width)
    np.testing.assert_array_equal(render(rows, height, width), together)


@pytest.mark.parametrize(("height", "width"), [(10, 8), (48, 64)])
def test_every_shape_fits_its_window(monkeypatch: pytest.MonkeyPatch, height: int, width: int) -> None:
    """Windows save time; drawing each shape over the whole picture must give the same picture."""
    rows = draw_factors(np.arange(600), seed=2)
    for name in ("yaw", "pitch", "face_width", "smile", "gaze"):  # at the ends, where shapes reach furthest
        column = COLUMN[name]
        middle = (FACTORS[column].low + FACTORS[column].high) / 2
        rows[:, column] = np.where(rows[:, column] < middle, FACTORS[column].low, FACTORS[column].high)
    windowed = render(rows, height, width)
    inside = paint.Canvas.patch
    monkeypatch.setattr(paint.Canvas, "patch", lambda scene, *bounds: inside(scene, -np.inf, np.inf, -np.inf, np.inf))
    np.testing.assert_array_equal(windowed, render(rows, height, width))


def test_everything_is_painted_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    lay = paint.Patch.paint

    def spy(patch: paint.Patch, cover: paint.Array, colour: paint.Array, opacity: float = 1.0) -> None:
        seen.update({cover.dtype, colour.dtype})
        lay(patch, cover, colour, opacity)

    monkeypatch.setattr(paint.Patch, "paint", spy)
    render(draw_factors(np.arange(60)), 16, 16)
    assert seen == {np.dtype(np.float32)}


@pytest.mark.parametrize("factor", FACTORS, ids=lambda factor: factor.name)
def test_each_factor_shows(factor: Factor) -> None:
    """From step to step, not only from end to end; in several faces."""
    steps = np.arange(factor.values) if factor.values else np.linspace(factor.low, factor.high, 5)
    for hair_style in range(len(faces.HAIR_STYLES)):
        rows = np.concatenate([row(**{"hair_style": hair_style, factor.name: step}) for step in steps])
        pictures = render(rows, 64, 64)
        for before, after in itertools.pairwise(pictures):
            changed = difference(before[None], after[None]) > 12
            assert changed.sum() >= 12, f"{factor.name} hardly shows with {faces.HAIR_STYLES[hair_style]} hair"


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("glasses", (-0.55, 0.55, -0.25, 0.3)),
        ("smile", (-0.5, 0.5, -0.4, 0.6)),
        ("eye_open", (-0.4, 0.4, -0.25, 0.25)),
        ("gaze", (-0.4, 0.4, -0.25, 0.25)),
        ("hair_colour", (-0.65, 0.65, -0.75, 0.1)),
        ("skin_tone", (-0.75, 0.75, -0.7, 0.9)),
    ],
)
def test_a_factor_changes_only_its_place(name: str, bounds: tuple[float, float, float, float]) -> None:
    factor = FACTORS[COLUMN[name]]
    low, high = (render(row(**{name: value}), 96, 96) for value in (factor.low, factor.high))
    changed = difference(low, high) > 0
    assert changed.any()
    assert not (changed & ~box(96, *bounds)).any()


def test_the_background_changes_only_behind() -> None:
    low, high = (render(row(background=value), 96, 96) for value in (0, 1))
    changed = difference(low, high) > 0
    assert changed[:20, :20].all()
    assert not changed[box(96, -0.35, 0.35, -0.45, 0.4)].any()


def test_the_pose_turns_the_face_its_way() -> None:
    """The eyes' whites and the mouth move right with yaw, up with pitch."""

    def centre(**pose: float) -> tuple[float, float]:
        changed = difference(render(row(smile=-1, **pose), 96, 96), render(row(smile=1, **pose), 96, 96))
        down, across = np.mgrid[:96, :96]
        return float((changed * across).sum() / changed.sum()), float((changed * down).sum() / changed.sum())

    assert centre(yaw=1)[0] > centre()[0] + 5 > centre(yaw=-1)[0] + 10
    assert centre(pitch=1)[1] < centre()[1] - 3 < centre(pitch=-1)[1] - 6


def test_values_beyond_the_range_are_clipped() -> None:
    np.testing.assert_array_equal(
        render(row(smile=9, hair_style=-4), 32, 32), render(row(smile=1, hair_style=0), 32, 32)
    )


def test_edges_are_smooth_at_every_size() -> None:
    """A small picture is what a large one looks like from afar."""
    rows = draw_factors(np.arange(40))
    large = render(rows, 128, 128).astype(np.float64)
    for size in (64, 32):
        factor = 128 // size
        shrunk = large.reshape(len(rows), 3, size, factor, size, factor).mean(axis=(3, 5))
        assert np.abs(shrunk - render(rows, size, size)).mean() < 3


def test_the_face_keeps_its_shape_in_a_picture_that_is_not_square() -> None:
    square = render(row(), 64, 64)
    np.testing.assert_allclose(render(row(), 64, 96)[..., 16:-16].astype(int), square, atol=2)
    np.testing.assert_allclose(render(row(), 96, 64)[..., 16:-16, :].astype(int), square, atol=2)


@pytest.mark.parametrize(
    ("rows", "height", "width", "words"),
    [
        (row(), 7, 64, "at least 8 pixels"),
        (row(), 64, 7, "at least 8 pixels"),
        (row()[0], 64, 64, "shape"),
        (row()[:, 1:], 64, 64, "shape"),
        (row(smile=np.nan), 64, 64, "finite"),
    ],
)
def test_what_cannot_be_drawn_is_said(rows: npt.NDArray[np.float32], height: int, width: int, words: str) -> None:
    with pytest.raises(ReverieError, match=words):
        render(rows, height, width)


@pytest.mark.parametrize("indices", [np.array([0.5]), np.array([[1]])])
def test_indices_are_a_list_of_integers(indices: npt.NDArray[np.generic]) -> None:
    with pytest.raises(ReverieError, match="integers"):
        draw_factors(indices)
