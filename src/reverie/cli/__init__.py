"""The command line: parses, calls, prints. Nothing here imports torch before a command runs.

Commands live in a module for each room; what they share, and how to add one, in shared.py.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextvars import copy_context
from importlib import import_module

from cyclopts import CycloptsError

from reverie.cli import draw, explore, judge, learn, use  # each registers its commands
from reverie.cli.shared import app, fail, printing_notes
from reverie.errors import ReverieError

__all__ = ["app", "draw", "explore", "judge", "learn", "main", "use"]


def main(words: Sequence[str] | None = None) -> None:
    """The entry point: one sentence and exit code 2 for bad input, 1 where part of it failed, 130 if interrupted."""
    for stream in (sys.stdout, sys.stderr):  # names that the terminal cannot encode must not raise
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Threads that wait must not spin: beside another process they would take its core, and train five times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded, which no command has done yet
    try:
        # In its own context: state that one command keeps must not reach the next.
        given = _import_modules(list(sys.argv[1:] if words is None else words))
        with printing_notes():
            copy_context().run(app, given, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        fail(" ".join(str(error).split()), 2)
    except ReverieError as error:
        fail(str(error), error.code)
    except KeyboardInterrupt:
        fail("Stopped.", 130)
    except BrokenPipeError:
        os._exit(0)  # the reader of the pipe has closed it
    except OSError as error:  # a full disk, a name too long: not our error, but still reported in one sentence
        from reverie.files import reason

        fail(f"{error.filename}: {reason(error)}." if error.filename else f"{reason(error)}.", 2)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        fail("The memory is not enough for this; ask for less at a time, say smaller batches or fewer pictures.", 2)


def _import_modules(words: list[str]) -> list[str]:
    """Import the module of each `--import MODULE`, which registers your own models; returns the other arguments.

    Only the command line can name a module to import, never a file.
    """
    left: list[str] = []
    rest = iter(words)
    for word in rest:
        flag, equals, name = word.partition("=")
        if word == "--":
            return [*left, word, *rest]
        if flag == "--import":
            _import(name if equals else next(rest, ""))
        else:
            left.append(word)
    return left


def _import(name: str) -> None:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ReverieError(f"--import takes the name of a Python module, say my_models for my_models.py, not '{name}'.")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)  # at the end: a file in this folder must not shadow an installed module
    try:
        import_module(name)
    except ReverieError as error:
        raise ReverieError(f"--import {name}: {error}") from error
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise ReverieError(f"There is no Python module {name}, neither in {here} nor installed.") from error
        line = (str(error).splitlines() or [""])[0].rstrip(".")[:200]
        raise ReverieError(f"The module {name} cannot be imported ({type(error).__name__}: {line}).") from error


def _out_of_memory(error: Exception) -> bool:
    """Whether Python, numpy or torch ran out of memory, on any device."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said
