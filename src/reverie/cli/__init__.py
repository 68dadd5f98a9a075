"""The command line: parses, calls, prints. Nothing here imports torch before a command runs.

Commands live in a module for each room; what they share, and how to add one, in shared.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from reverie.cli import draw, explore, judge, learn, use  # each adds its commands to the app
from reverie.cli.shared import app, fail
from reverie.errors import ReverieError

__all__ = ["app", "draw", "explore", "judge", "learn", "main", "use"]


def main(words: Sequence[str] | None = None) -> None:
    """The entry point: one sentence and exit code 2 for bad input, 130 after an interruption."""
    try:
        app(list(sys.argv[1:] if words is None else words), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        fail(" ".join(str(error).split()), 2)
    except ReverieError as error:
        fail(str(error), 130 if type(error).__name__ == "Interrupted" else 2)
    except KeyboardInterrupt:
        fail("Stopped.", 130)
    except BrokenPipeError:
        os._exit(0)  # the reader of a pipe went away
    except OSError as error:  # a full disk, a name too long: nothing of ours, and still one sentence
        from reverie.files import reason

        fail(f"{error.filename}: {reason(error)}." if error.filename else f"{reason(error)}.", 2)
