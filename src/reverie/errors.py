"""The exceptions that users see, and helpers for their messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class ReverieError(Exception):
    """An error whose message says what is wrong and what to do. The command line prints it and exits with ``code``."""

    code = 2


class Interrupted(ReverieError):
    """Work was stopped by a signal; results so far are kept."""

    code = 130


class Partly(ReverieError):
    """Some of several files failed; the others are done."""

    code = 1


def either(names: Sequence[str]) -> str:
    """One or more names in words: "ae, vae or cvae"."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: ``"; did you mean 'latent'?"``, or the known names if none is similar."""
    names = sorted(known)
    match = difflib.get_close_matches(name[:100], names, n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else f"; known are: {', '.join(names)}."


def first_line(error: Exception) -> str:
    """The first line of another library's error message, without a full stop; its type if the message is empty."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")[:300]


def printable(text: str) -> str:
    """Text as one line without control characters, safe to print to a terminal."""
    # File names need not be valid Unicode, and text from files may contain anything.
    return "".join(c if c.isprintable() else " " for c in text.encode("utf-8", "backslashreplace").decode())
