"""The one exception that users see."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class ReverieError(Exception):
    """One clear sentence: what is wrong and what to do. The command line prints it and exits with code 2."""


def either(names: Sequence[str]) -> str:
    """One or more names in words: "ae, vae or cvae"."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: ``"; did you mean 'latent'?"``, or the known names where none is near."""
    names = sorted(known)
    match = difflib.get_close_matches(name[:100], names, n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else f"; known are: {', '.join(names)}."
