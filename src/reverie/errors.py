"""The one exception that users see."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ReverieError(Exception):
    """One clear sentence: what is wrong and what to do. The command line prints it and exits with code 2."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: ``"; did you mean 'latent'?"``, or the known names where none is near."""
    names = sorted(known)
    match = difflib.get_close_matches(name[:100], names, n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else f"; known are: {', '.join(names)}."
