"""How numbers and settings are written for people."""

from __future__ import annotations


def number(value: float) -> str:
    """About four digits, with thousands separators: 12,345 or 0.1234."""
    if value == 0 or 1e-3 <= abs(value) < 1000:
        return f"{value:.4g}".replace("-", "−")
    return (f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}").replace("-", "−")


def shortened(value: float) -> str:
    """12,000 as 12k."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


def duration(seconds: float) -> str:
    """A duration in the largest suitable unit."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def setting(value: object) -> str:
    """The full value of a setting, of any JSON type."""
    if value is None:
        return "–"
    if isinstance(value, dict):
        return ", ".join(f"{k} {setting(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(setting(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
