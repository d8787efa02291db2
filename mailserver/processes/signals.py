"""Signals to a process that is about to end.

The reactor takes a second SIGTERM for a mistake, and logs a traceback. It is none: systemd sends one to each
process of a unit, the master sends one to its workers, and an operator who waits tries again.
"""

from __future__ import annotations

import signal
from typing import Any

from twisted.logger import Logger

_log = Logger()


def already_stopping(reactor: Any) -> None:
    """From now on SIGTERM and SIGINT, where they would stop this reactor, change nothing."""

    def tell(number: int, frame: object) -> None:
        reactor.callFromThread(_log.info, "the server is stopping already")

    for number in (signal.SIGTERM, signal.SIGINT):
        if reactor is getattr(signal.getsignal(number), "__self__", None):
            signal.signal(number, tell)
