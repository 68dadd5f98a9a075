"""The one exception that users see."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class ReverieError(Exception):
    """One clear sentence: what is wrong and what to do. The command line prints it and exits with ``code``."""

    code = 2


class Interrupted(ReverieError):
    """Work was stopped by a signal; what was done is kept."""

    code = 130


class Partly(ReverieError):
    """Some of several files failed; the others are done."""

    code = 1


def either(names: Sequence[str]) -> str:
    """One or more names in words: "ae, vae or cvae"."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: ``"; did you mean 'latent'?"``, or the known names where none is near."""
    names = sorted(known)
    match = difflib.get_close_matches(name[:100], names, n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else f"; known are: {', '.join(names)}."


def first_line(error: Exception) -> str:
    """What an error of somebody else's says, in one line without a full stop; its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")[:300]


def printable(text: str) -> str:
    """Text in one line that steers no terminal and that every encoding of one can hold with escapes."""
    # Names of files need not be valid Unicode, and what a file says of itself may be anything.
    return "".join(c if c.isprintable() else " " for c in text.encode("utf-8", "backslashreplace").decode())
