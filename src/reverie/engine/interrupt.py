"""Handling of SIGINT and SIGTERM: recorded, so that training can finish the current step."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Yields a list that is empty until SIGINT or SIGTERM arrives; a second SIGINT raises KeyboardInterrupt."""
    arrived: list[int] = []

    def note(number: int, frame: object) -> None:
        if arrived and number == signal.SIGINT:
            raise KeyboardInterrupt
        arrived.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signal handlers cannot be set
        before = {}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
