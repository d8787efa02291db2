"""Which core a worker runs on.

The threads of a Python process take turns. On one core they do it without waiting for each other: the one
that comes back from a system call finds the interpreter's lock where it left it. On several cores another
thread has it by then, and each message costs some waits more (measured on two busy cores: a quarter to a
third of the rate). So where there is a worker for every core, each has its own. Where there are fewer, a core
may be free while another is busy, and the system chooses. Whatever computes without the lock may use all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress


def settle(number: int, count: int) -> Callable[[], None]:
    """Before any thread is started, in worker `number` (from 1) of `count`. The answer lets the thread that
    calls it run everywhere."""
    if not hasattr(os, "sched_setaffinity"):
        return _stay
    cores = sorted(os.sched_getaffinity(0))
    if count < len(cores) or len(cores) == 1:
        return _stay
    with suppress(OSError):  # a core that was taken away just now
        os.sched_setaffinity(0, cores[(number - 1) % len(cores) :][:1])

    def roam() -> None:
        with suppress(OSError):
            os.sched_setaffinity(0, cores)

    return roam


def _stay() -> None:
    """Threads run everywhere as it is."""
