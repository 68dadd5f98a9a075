"""The parts of charts: axes with round ticks, and a drawing with axes.

All text in a drawing is escaped (`Markup.format`). On a page, colours and lines come from the page's style sheet; a
drawing in a file of its own includes chart.css.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from reverie.reporting.formatting import shortened

STYLE = Path(__file__).with_name("chart.css")


@dataclass(frozen=True)
class Axis:
    """A map from numbers to positions along one side of a chart, and ticks at round numbers with their labels."""

    low: float  # on a logarithmic axis ``low`` and ``high`` are logarithms to base 10
    high: float
    start: float  # the position of ``low``, in units of the drawing
    stop: float
    logarithmic: bool
    ticks: Sequence[tuple[float, str]]

    def __call__(self, value: float) -> float:
        scaled = math.log10(value) if self.logarithmic else value
        return self.start + (scaled - self.low) / (self.high - self.low) * (self.stop - self.start)


def axis(
    low: float,
    high: float,
    start: float,
    stop: float,
    *,
    padding: float = 0.0,
    logarithmic: bool = False,
    short: bool = False,
    most: int = 6,
) -> Axis:
    """An axis for numbers from ``low`` to ``high``, between the positions ``start`` and ``stop``.

    ``padding`` is added on both ends, as a share of the range. ``short`` writes 12,000 as 12k. There are about ``most``
    ticks; on a logarithmic axis at 1, 2 and 5 times powers of ten or, if those are too many, at powers of ten only.
    """
    if logarithmic:
        low, high = (low, high) if high > low else (low / 2, high * 2)
        ticks = _powers(low, high, most)
        low, high = math.log10(low), math.log10(high)
    size = max(abs(low), abs(high))
    if high - low <= 1e-6 * size or high == low:  # a constant
        low, high = low - (0.1 * size or 1.0), high + (0.1 * size or 1.0)
    else:
        low, high = low - padding * (high - low), high + padding * (high - low)
    return Axis(low, high, start, stop, logarithmic, ticks if logarithmic else _round(low, high, most, short))


def _round(low: float, high: float, most: int, short: bool = False) -> list[tuple[float, str]]:
    """Multiples of 1, 2 or 5 times a power of ten, about ``most`` of them."""
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next((m * unit for m in (1, 2, 5) if m * unit >= rough), 10 * unit)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))

    def text(value: float) -> str:
        if short or abs(value) >= 1e5:
            return shortened(value)
        return (f"{value:,.{decimals}f}" if decimals <= 4 else f"{value:.3g}").replace("-", "−")

    return [(i * step, text(i * step)) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _powers(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """1, 2 and 5 times powers of ten, or powers of ten, or every n-th of them; in a narrow range, round numbers."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = [value for p in exponents for m in (1, 2, 5) if low <= (value := m * 10.0**p) <= high]
    if len(fine) < 2:
        return _round(low, high, most)
    whole = [value for p in exponents if low <= (value := 10.0**p) <= high]
    chosen = fine if len(fine) <= most else whole[:: max(1, len(whole) // 4)]
    return [(value, f"{value:g}") for value in chosen]


@dataclass
class Plot:
    """A drawing of a width and height, the field between its axes, and the elements drawn so far."""

    width: int
    height: int
    left: int = 50  # the left edge of the field
    top: int = 12
    beside: int = 10  # free space to the right of the field
    below: int = 24
    parts: list[Markup] = field(default_factory=list)
    x: Axis = field(init=False)
    y: Axis = field(init=False)

    @property
    def right(self) -> int:
        return self.width - self.beside

    @property
    def bottom(self) -> int:
        return self.height - self.below

    def add(self, svg: str, *values: object) -> None:
        """Add an SVG element formatted with ``values``, which are escaped unless they are Markup."""
        self.parts.append(Markup(svg).format(*values))

    def text(self, x: float, y: float, words: str, anchor: str = "middle") -> None:
        self.add('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>', x, y, anchor, words)

    def rows(self) -> None:
        """Draw a horizontal line across the field at each y tick."""
        for value, words in self.y.ticks:
            self.add('<path class="rule" d="M{} {:.1f}H{}"/>', self.left, self.y(value), self.right)
            self.text(self.left - 6, self.y(value) + 4, words, "end")

    def columns(self) -> None:
        """Draw a vertical line across the field at each x tick."""
        for value, words in self.x.ticks:
            self.add('<path class="rule" d="M{:.1f} {}V{}"/>', self.x(value), self.top, self.bottom)
            self.text(self.x(value), self.bottom + 17, words)

    def base(self) -> None:
        """Draw the x axis, with a mark at each tick."""
        self.add('<path class="axis" d="M{} {}H{}"/>', self.left, self.bottom, self.right)
        for value, words in self.x.ticks:
            self.add('<path class="axis" d="M{:.1f} {}v4"/>', self.x(value), self.bottom)
            self.text(self.x(value), self.bottom + 17, words)

    def svg(self, described: str) -> Markup:
        """The SVG for a page, with a description for screen readers."""
        head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(self.width, self.height, described)
        return head + Markup("").join(self.parts) + Markup("</svg>")

    def file(self, title: str) -> str:
        """The SVG as a file of its own."""
        head = Markup('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" role="img" aria-label="{}">')
        style = Markup("<style>{}</style>").format(Markup(STYLE.read_text(encoding="utf-8").strip()))
        paper = Markup('<rect class="paper" width="{}" height="{}"/>').format(self.width, self.height)
        parts = [head.format(self.width, self.height, title), style, paper, *self.parts, Markup("</svg>\n")]
        return str(Markup("").join(parts))


def path_of(points: Iterable[tuple[float, float]]) -> str:
    """The ``d`` of an SVG path through these points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
