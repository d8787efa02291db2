"""A shorter way from epoll to a protocol.

Twisted wraps each event of each descriptor in a log context, which costs about a third of what a short
SMTP command costs in all (measured: 68 against 51 µs a message). A descriptor that is only readable, which
is nearly every event of a mail server, is read directly here; everything else goes the ordinary way.
"""

from __future__ import annotations

import errno
from select import EPOLLIN
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.logger import Logger

_log = Logger()


def quicken(reactor: Any) -> bool:
    """Shorten the event loop of a plain epoll reactor; False where it is another one (kqueue, asyncio …).

    Leans on EPollReactor's `_poller`, `_selectables` and `_doReadOrWrite`; tests/net/test_polling.py
    fails where a release of Twisted changes them.
    """
    kind: type = type(reactor)
    if kind is not EPollReactor:
        return False
    poll = reactor._poller.poll
    selectables = reactor._selectables
    ordinary = reactor._doReadOrWrite

    def do_poll(timeout: float | None) -> None:
        try:
            events = poll(-1 if timeout is None else timeout, len(selectables))
        except OSError as error:
            if error.errno == errno.EINTR:
                return
            raise
        for fd, event in events:
            selectable = selectables.get(fd)
            if selectable is None:
                continue
            if event != EPOLLIN:
                ordinary(selectable, fd, event)
                continue
            try:
                why = selectable.doRead()
            except Exception as error:
                _log.failure("reading from {selectable} failed", selectable=selectable)
                why = error
            if why:
                reactor._disconnectSelectable(selectable, why, True)

    reactor.doIteration = do_poll
    return True
