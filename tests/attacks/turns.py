"""How long the reactor of a server under attack is held: an extension of that server, and what it measured.

What counts is the CPU time of the reactor's thread: with other work on the machine a turn takes longer, but
it does not cost more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.helpers.server import Server

LONGEST = 0.05  # seconds that a turn may take
ODD = 2  # turns that took longer by accident: a neighbour that uses up the caches, a collection of garbage
NOTED = 0.01
FILE = "turns"

EXTENSION = f"{__name__}:watch"


def watch(parts: Any) -> None:
    """In the server: note every turn of more than NOTED seconds, from when the reactor runs."""
    parts.reactor.callWhenRunning(_measure, parts.reactor, parts.settings.now.data_dir / FILE)


def _measure(reactor: Any, path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    calls, events, clock = reactor.runUntilCurrent, reactor.doIteration, time.thread_time
    began = clock()

    def begin() -> None:
        nonlocal began
        began = clock()
        calls()

    def end(timeout: float | None) -> None:
        events(timeout)
        spent = clock() - began
        if spent > NOTED:
            os.write(fd, f"{spent:.4f}\n".encode("ascii"))

    reactor.runUntilCurrent, reactor.doIteration = begin, end


def noted(server: Server) -> list[float]:
    """Seconds of all turns that were noted."""
    path = server.data / FILE
    return [float(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextmanager
def short_turns(server: Server, longest: float = LONGEST) -> Iterator[None]:
    """No turn of the server takes longer while the block runs, but for `ODD` ones up to twice as long."""
    before = len(noted(server))
    yield
    found = sorted(noted(server)[before:], reverse=True)
    long = [f"{seconds * 1000:.0f} ms" for seconds in found if seconds > longest]
    assert len(long) <= ODD and max(found, default=0.0) <= 2 * longest, f"turns of the reactor took {long}"
