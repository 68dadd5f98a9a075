"""All charts: SVG as text, which a browser shows without anything else. All values are finite."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from reverie.reporting.formatting import number
from reverie.reporting.plot import Plot, axis, path_of

POINTS = 120  # on a curve; of more, means and ranges are drawn

# Petroff (2021), "Accessible color sequences for data visualization": ten colours, also for the colour-blind.
PALETTE = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"]


@dataclass(frozen=True)
class Group:
    """A group of points of a scatter plot."""

    name: str
    member: NDArray[np.bool_]  # (N,): which of the points
    colour: str

    @property
    def count(self) -> int:
        """The number of points."""
        return int(self.member.sum())


@dataclass(frozen=True)
class Chart:
    """A drawing, and the text that a page shows above it."""

    heading: str
    svg: Markup
    key: str = ""  # identifies it in the page
    value: str = ""  # the figure that is highlighted
    note: str = ""
    legend: Sequence[Group] = ()  # none for a single group


@dataclass(frozen=True)
class Bar:
    """A bar of a bar chart."""

    value: float
    reading: str  # the tooltip
    idle: bool = False  # drawn faint


@dataclass(frozen=True)
class Spot:
    """A point of a line."""

    x: float
    y: float
    reading: str = ""


# Charts


def curve(key: str, title: str, values: Sequence[tuple[int, float]], steps: tuple[int, int], unit: str = "") -> Chart:
    """A line of values by step, with the range where points were averaged, and a tooltip at each point."""
    points = _thinned(values)
    low, high = min(least for _, _, least, _ in points), max(most for _, _, _, most in points)
    logarithmic = low > 0 and high / low > 200
    plot = Plot(360, 190)
    plot.y = axis(low, high, plot.bottom, plot.top, padding=0.04, logarithmic=logarithmic)
    plot.x = axis(*steps, plot.left, plot.right, short=True)
    plot.rows()
    plot.base()
    places = [(plot.x(step), plot.y(mean), plot.y(least), plot.y(most)) for step, mean, least, most in points]
    if any(least < most for _, _, least, most in points):
        rim = [(x, top) for x, _, _, top in places] + [(x, bottom) for x, _, bottom, _ in reversed(places)]
        plot.add('<path class="range" d="{}Z"/>', path_of(rim))
    if len(points) > 1:
        plot.add('<path class="line" d="{}"/>', path_of([place[:2] for place in places]))
    edges = [plot.left, *((a[0] + b[0]) / 2 for a, b in pairwise(places)), plot.right]
    only = Markup(' class="only"' if len(points) == 1 else "")
    for (x, y, _, _), (step, mean, _, _), (left, right) in zip(places, points, pairwise(edges), strict=True):
        plot.add('<g class="spot"><rect x="{:.1f}" y="0" width="{:.1f}" height="{}"/>', left, right - left, plot.bottom)
        plot.add(
            '<path d="M{:.1f} {}V{}"/><circle{} cx="{:.1f}" cy="{:.1f}" r="3"/>', x, plot.top, plot.bottom, only, x, y
        )
        plot.text(plot.right, 10, f"step {step:,.0f}: {number(mean)}", "end")
        plot.add("</g>")
    first, last = (
        f"{number(value)} at step {step:,.0f}" for step, value in (points[0][:2], (points[-1][0], values[-1][1]))
    )
    note = " · ".join(filter(None, [unit, "log scale" if logarithmic else ""]))
    return Chart(title, plot.svg(f"{title}: {first}, {last}"), key, number(values[-1][1]), note)


def bars(values: Sequence[Bar], across: str, described: str, least: float) -> Markup:
    """A bar for each value, from zero; the axis reaches at least to ``least``."""
    plot = Plot(520, 500)
    heights = [bar.value for bar in values]
    plot.y = axis(min(0.0, *heights), max(least, *heights), plot.bottom, plot.top)
    plot.rows()
    each = min(60.0, (plot.right - plot.left) / len(values))
    for i, bar in enumerate(values):
        left, size = plot.left + i * each, abs(plot.y(bar.value) - plot.y(0))
        plot.add('<g class="spot bar{}">', " idle" if bar.idle else "")
        plot.add('<rect x="{:.2f}" y="0" width="{:.2f}" height="{}"/>', left, each, plot.bottom)
        plot.add('<rect class="fill" x="{:.2f}" y="{:.2f}"', left + 0.1 * each, min(plot.y(bar.value), plot.y(0)))
        plot.add(' width="{:.2f}" height="{:.2f}" rx="{:.2f}"/>', 0.8 * each, max(0.5, size), min(2.0, 0.2 * each))
        plot.text(plot.right, 12, bar.reading, "end")
        plot.add("</g>")
    plot.text((plot.left + plot.right) / 2, plot.height - 6, across)
    return plot.svg(described)


def scatter(places: NDArray[np.float32], groups: Sequence[Group], names: tuple[str, str]) -> Markup:
    """The finite positions of each group as points, on axes with these names; a group's name is at its middle."""
    plot = Plot(520, 520, top=10, below=50)
    shown = places[np.any([group.member for group in groups], 0)].astype(np.float64)
    middle = (shown.min(0) + shown.max(0)) / 2
    half = float(np.max(shown.max(0) - shown.min(0))) / 2 * 1.05 or 1.0  # one scale for both axes
    plot.x = axis(middle[0] - half, middle[0] + half, plot.left, plot.right)
    plot.y = axis(middle[1] - half, middle[1] + half, plot.bottom, plot.top)
    plot.rows()
    plot.columns()
    for i, group in enumerate(groups):
        dots = "".join(f"M{plot.x(a):.1f} {plot.y(b):.1f}h0" for a, b in places[group.member].tolist())
        plot.add(
            '<path class="dots k{}" stroke="{}" d="{}"><title>{}</title></path>', i, group.colour, dots, group.name
        )
    for group in groups if 1 < len(groups) <= len(PALETTE) else ():
        a, b = np.median(places[group.member].astype(np.float64), 0).tolist()
        name = group.name if len(group.name) <= 14 else group.name[:13] + "…"
        plot.add('<text class="centre" x="{:.1f}" y="{:.1f}">{}</text>', plot.x(a), plot.y(b), name)
    plot.text((plot.left + plot.right) / 2, plot.height - 8, names[0])
    plot.add('<g transform="rotate(-90 12 {})">', plot.height / 2)
    plot.text(12, plot.height / 2, names[1])
    plot.add("</g>")
    return plot.svg(f"Scatter plot of codes; across: {names[0]}; up: {names[1]}")


def lines(
    title: str,
    across: str,
    up: str,
    curves: Mapping[str, Sequence[Spot]],
    *,
    dashed: Collection[str] = (),
    logarithmic: bool = False,
    zero: bool = False,
) -> str:
    """A chart as a file of its own: a named line through the points of each of ``curves``, on common axes.

    ``across`` and ``up`` name the x and y axes. With ``logarithmic`` the x axis is logarithmic, and x must be positive;
    with ``zero`` the y axis begins at 0. Lines named in ``dashed`` are dashed.
    """
    plot = Plot(720, 420, left=60, beside=190, top=44, below=50)
    xs, ys = ([getattr(spot, side) for spots in curves.values() for spot in spots] for side in "xy")
    plot.x = axis(min(xs), max(xs), plot.left, plot.right, logarithmic=logarithmic, most=10)
    plot.y = axis(0.0 if zero else min(ys), max(ys), plot.bottom, plot.top, padding=0 if zero else 0.04)
    plot.text((plot.left + plot.right) / 2, 22, title)
    plot.text(10, plot.top - 12, up, "start")
    plot.text((plot.left + plot.right) / 2, plot.height - 10, across)
    plot.columns()
    plot.rows()
    for i, (name, spots) in enumerate(curves.items()):
        colour, dash = colour_of(i, len(curves)), Markup(' stroke-dasharray="5 4"' if name in dashed else "")
        path = path_of([(plot.x(spot.x), plot.y(spot.y)) for spot in spots])
        plot.add('<path class="line" stroke="{}"{} d="{}"/>', colour, dash, path)
        for spot in spots:
            plot.add('<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}">', plot.x(spot.x), plot.y(spot.y), colour)
            plot.add("<title>{}</title></circle>", f"{name}: {spot.reading}" if spot.reading else name)
        # Names are in a column of their own: the ends of the lines are too close together.
        place = plot.top + 8 + 20 * i
        plot.add('<path class="line" stroke="{}"{} d="M{} {}h20"/>', colour, dash, plot.right + 14, place)
        plot.text(plot.right + 40, place + 4, name, "start")
    return plot.file(title)


def colour_of(index: int, count: int) -> str:
    """The colour of one of ``count`` groups, distinct from that of the others."""
    return PALETTE[index] if count <= len(PALETTE) else f"hsl({360 * index / count:.0f} 65% {(45, 60)[index % 2]}%)"


def _thinned(values: Sequence[tuple[int, float]]) -> list[tuple[float, float, float, float]]:
    """(last step, mean, minimum, maximum) of at most `POINTS` runs of consecutive values."""
    points = []
    for part in np.array_split(np.arange(len(values)), min(POINTS, len(values))):
        each = [values[i][1] for i in part]
        points.append((float(values[part[-1]][0]), float(np.mean(each)), min(each), max(each)))
    return points
