"""The charts of the report: SVG as text, which a browser draws without anything else.

Colours and lines come from the style sheet of the page. Every text that is given here is escaped; values are finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from reverie.reporting.card import number

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 190, 50, 10, 12, 24  # of a chart, and its margins
POINTS = 120  # on a curve; more are drawn as means with their range
ACTIVE_KL = 0.01  # nats of KL above which a latent dimension counts as in use

# Petroff (2021), "Accessible color sequences for data visualization": ten colours, told apart by the colour-blind too.
PALETTE = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"]

Point = tuple[float, float, float, float]  # step, mean, least, most
Group = tuple[str, NDArray[np.bool_], str]  # name, which pictures, colour


def curve(key: str, title: str, values: Sequence[tuple[int, float]], steps: tuple[int, int], unit: str = "") -> str:
    """A line chart: axes, ticks, the curve with its range where points were put together, and a reading at each."""
    points = _thin(values)
    first, last = points[0][0], points[-1][0]
    low, high = min(p[2] for p in points), max(p[3] for p in points)
    logarithmic = low > 0 and high / low > 200
    scale: Callable[[float], float] = math.log10 if logarithmic else float
    y, ticks = _axis(scale(low), scale(high), HEIGHT - BOTTOM, TOP)
    if logarithmic:
        powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
        ticks = [(float(p), f"{10.0**p:g}") for p in powers][:: max(1, len(powers) // 4)]
    x, x_ticks = _axis(*steps, LEFT, WIDTH - RIGHT, tight=True, short=True)
    places = [(x(s), y(scale(mean)), y(scale(least)), y(scale(most))) for s, mean, least, most in points]
    edges = [LEFT, *((a[0] + b[0]) / 2 for a, b in pairwise(places)), WIDTH - RIGHT]
    parts = [_grid(ticks, y), f'<path class="axis" d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>']
    for step, text in x_ticks:
        parts.append(f'<path class="axis" d="M{x(step):.1f} {HEIGHT - BOTTOM}v4"/>')
        parts.append(_label(x(step), HEIGHT - 7, text, "middle"))
    if any(p[2] < p[3] for p in points):
        rim = [(px, top) for px, _, _, top in places] + [(px, bottom) for px, _, bottom, _ in reversed(places)]
        parts.append(f'<path class="range" d="{_path(rim)}Z"/>')
    if len(points) > 1:
        parts.append(f'<path class="line" d="{_path([p[:2] for p in places])}"/>')
    only = ' class="only"' if len(points) == 1 else ""
    for (px, py, _, _), (step, mean, _, _), (left, right) in zip(places, points, pairwise(edges), strict=True):
        reading = f"step {step:,.0f}: {number(mean)}"
        spot = f'<circle{only} cx="{px:.1f}" cy="{py:.1f}" r="3"/>'
        parts.append(
            f'<g class="spot"><rect x="{left:.1f}" y="0" width="{right - left:.1f}" height="{HEIGHT - BOTTOM}"/>'
            f'<path d="M{px:.1f} {TOP}V{HEIGHT - BOTTOM}"/>{spot}{_label(WIDTH - RIGHT, 10, reading, "end")}</g>'
        )
    described = f"{title}: {number(points[0][1])} at step {first:,.0f}, {number(values[-1][1])} at step {last:,.0f}"
    units = " · ".join(filter(None, [unit, "log scale" if logarithmic else ""]))
    heading = (
        f"<h3>{escape(title)} <code>{escape(key)}</code></h3><p><b>{number(values[-1][1])}</b> {escape(units)}</p>"
    )
    return f'<div class="chart">{heading}{_svg(WIDTH, HEIGHT, described, parts)}</div>'


def bars(kl: Sequence[tuple[int, float]]) -> str:
    """The KL divergence of every latent dimension, the largest first."""
    width, height = 520, 500
    dimensions = sorted(kl, key=lambda each: -each[1])
    active, total = sum(value > ACTIVE_KL for _, value in dimensions), sum(value for _, value in dimensions)
    y, ticks = _axis(min(0.0, dimensions[-1][1]), max(dimensions[0][1], ACTIVE_KL), height - BOTTOM, TOP, tight=True)
    each = min(60.0, (width - LEFT - RIGHT) / len(dimensions))
    parts = [_grid(ticks, y, width)]
    for i, (dimension, value) in enumerate(dimensions):
        left, top = LEFT + i * each, min(y(value), y(0))
        parts.append(
            f'<g class="spot bar{"" if value > ACTIVE_KL else " idle"}"><rect x="{left:.2f}" y="0" width="{each:.2f}" '
            f'height="{height - BOTTOM}"/><rect class="fill" x="{left + 0.1 * each:.2f}" y="{top:.2f}" '
            f'width="{0.8 * each:.2f}" height="{max(0.5, abs(y(value) - y(0))):.2f}" rx="{min(2.0, 0.2 * each):.2f}"/>'
            f"{_label(width - RIGHT, 12, f'dimension {dimension}: {number(value)} nats', 'end')}</g>"
        )
    parts.append(_label(LEFT + (width - LEFT - RIGHT) / 2, height - 6, "latent dimensions, sorted", "middle"))
    text = (
        f"<b>{active} of {len(dimensions)}</b> dimensions are active, that is, carry more than {ACTIVE_KL:g} nats of "
        f"KL(q(z|x) ‖ p(z)); together they carry {number(total)} nats per picture."
    )
    described = f"Bar chart of the KL divergence of {len(dimensions)} latent dimensions, {active} of them active"
    return f'<div class="chart"><h3>KL per dimension</h3><p>{text}</p>{_svg(width, height, described, parts)}</div>'


def scatter(places: NDArray[np.float32], groups: Sequence[Group], names: tuple[str, str]) -> str:
    """The finite places of each group as dots, on axes with these names; the middle of a group bears its name."""
    side = 520
    shown = places[np.any([member for _, member, _ in groups], 0)].astype(np.float64)
    middle = (shown.min(0) + shown.max(0)) / 2
    half = float(np.max(shown.max(0) - shown.min(0))) / 2 * 1.05 or 1.0  # one scale for both axes
    x, x_ticks = _axis(middle[0] - half, middle[0] + half, LEFT, side - RIGHT, tight=True)
    y, y_ticks = _axis(middle[1] - half, middle[1] + half, side - LEFT, RIGHT, tight=True)
    parts = [_grid(y_ticks, y, side)]
    for tick, text in x_ticks:
        parts.append(f'<path class="rule" d="M{x(tick):.1f} {RIGHT}V{side - LEFT}"/>')
        parts.append(_label(x(tick), side - LEFT + 16, text, "middle"))
    centres = []
    for i, (name, member, colour) in enumerate(groups):
        dots = "".join(f"M{x(a):.1f} {y(b):.1f}h0" for a, b in places[member].astype(np.float64))
        parts.append(f'<path class="dots k{i}" stroke="{colour}" d="{dots}"><title>{escape(name)}</title></path>')
        if 1 < len(groups) <= len(PALETTE):
            a, b = np.median(places[member].astype(np.float64), 0)
            centres.append(f'<text class="centre" x="{x(a):.1f}" y="{y(b):.1f}">{escape(_brief(name))}</text>')
    parts += centres
    parts.append(_label((LEFT + side - RIGHT) / 2, side - 8, names[0], "middle"))
    parts.append(f'<g transform="rotate(-90 12 {side / 2})">{_label(12, side / 2, names[1], "middle")}</g>')
    return _svg(side, side, f"Scatter plot of codes; across: {names[0]}; up: {names[1]}", parts)


def legend(groups: Sequence[Group]) -> str:
    """Names and sizes of the groups; pointing at one fades the others. Nothing for a single group."""
    if len(groups) < 2:
        return ""
    items = "".join(
        f'<li tabindex="0" class="k{i}"><i style="background:{colour}"></i>{escape(name)} '
        f"<small>{int(member.sum())}</small></li>"
        for i, (name, member, colour) in enumerate(groups)
    )
    rules = "".join(
        f".map:has(.legend .k{i}:is(:hover,:focus)) .dots:not(.k{i}){{opacity:.06}}" for i in range(len(groups))
    )
    return f'<style>{rules}</style><ul class="legend" aria-label="Classes">{items}</ul>'


def _axis(
    low: float, high: float, start: float, stop: float, tight: bool = False, short: bool = False
) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """A map from [low, high] to places from ``start`` to ``stop``, and round ticks with their texts."""
    size = max(abs(low), abs(high))
    if high - low <= 1e-6 * size or high == low:  # a constant
        low, high = low - (0.1 * size or 1.0), high + (0.1 * size or 1.0)
    elif not tight:
        low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
    span = high - low
    rough = span / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next((m * unit for m in (1, 2, 5) if m * unit >= rough), 10 * unit)
    numbers = [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    texts = [shortened(v) if short or abs(v) >= 1e5 else _tick(v, step) for v in numbers]
    return lambda value: start + (value - low) / span * (stop - start), list(zip(numbers, texts, strict=True))


def _tick(value: float, step: float) -> str:
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return (f"{value:,.{decimals}f}" if decimals <= 4 else f"{value:.3g}").replace("-", "−")


def _thin(values: Sequence[tuple[int, float]]) -> list[Point]:
    """At most `POINTS` points: consecutive values are put together as their mean, least and most, at the last step."""
    parts = np.array_split(np.arange(len(values)), min(POINTS, len(values)))
    points = []
    for part in parts:
        each = [values[i][1] for i in part]
        points.append((float(values[part[-1]][0]), float(np.mean(each)), min(each), max(each)))
    return points


def _grid(ticks: Iterable[tuple[float, str]], y: Callable[[float], float], width: int = WIDTH) -> str:
    return "".join(
        f'<path class="rule" d="M{LEFT} {y(v):.1f}H{width - RIGHT}"/>{_label(LEFT - 6, y(v) + 4, text, "end")}'
        for v, text in ticks
    )


def _svg(width: int, height: int, described: str, parts: Iterable[str]) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(described)}">{"".join(parts)}</svg>'


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def colour_of(index: int, count: int) -> str:
    """The colour of one of ``count`` groups, distinct from the others'."""
    return PALETTE[index] if count <= len(PALETTE) else f"hsl({360 * index / count:.0f} 65% {(45, 60)[index % 2]}%)"


def shortened(value: float) -> str:
    """12,000 as 12k."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


def _brief(name: str) -> str:
    return name if len(name) <= 14 else name[:13] + "…"
