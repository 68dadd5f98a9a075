"""A line chart as SVG, for the benchmarks beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#1f6f8b", "#c8553d", "#6a994e", "#7b5ea7")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 70, 150, 40, 50


def line_chart(
    title: str, across: str, up: str, x: Sequence[float], lines: Mapping[str, Sequence[float]], marks: Sequence[float]
) -> str:
    """One line a name over the shared places ``x``, with x labels at ``marks``; both axes are linear, y starts at 0."""
    high = max(max(line) for line in lines.values()) or 1.0
    low_x, span = min(x), (max(x) - min(x)) or 1.0

    def place(a: float, b: float) -> tuple[float, float]:
        across_px = LEFT + (a - low_x) / span * (WIDTH - LEFT - RIGHT)
        return across_px, HEIGHT - BOTTOM - b / high * (HEIGHT - TOP - BOTTOM)

    def text(a: float, b: float, words: str, anchor: str, colour: str = "#333") -> str:
        return f'<text x="{a:.1f}" y="{b:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'

    parts = [text(WIDTH / 2, 22, title, "middle"), text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, across, "middle")]
    parts.append(text(10, TOP - 12, up, "start"))
    for k in range(5):
        _, y = place(low_x, high * k / 4)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(text(LEFT - 6, y + 4, f"{high * k / 4:.3g}", "end"))
    parts += [text(place(mark, 0)[0], HEIGHT - BOTTOM + 18, f"{mark:g}", "middle") for mark in marks]
    for (name, line), colour in zip(lines.items(), COLOURS, strict=False):
        points = [place(a, b) for a, b in zip(x, line, strict=True)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(text(points[-1][0] + 6, points[-1][1] + 4, f"{name} {line[-1]:.3g}", "start", colour))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
    return f'{head} font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>{"".join(parts)}</svg>\n'
