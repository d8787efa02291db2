"""The log of a worker on its way to the master's, whose destination and rotation are twistd's.

A worker writes one line for each event to its standard error: JSON behind an octet that no text begins with.
What else comes there (a fatal error of the interpreter) is passed on as it is.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    eventAsText,
    formatEvent,
    globalLogBeginner,
    globalLogPublisher,
)
from zope.interface import implementer

_MARK = b"\x01"
_LONGEST = 1 << 20  # octets without a line end
READY = "ready"


def begin_logging(fd: int = 2) -> None:
    """In the worker: all that is logged from now on goes to the master."""

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        system = str(event.get("log_system") or event.get("log_namespace") or "-")
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        send({"level": level.name, "system": system, "text": text or formatEvent(event)}, fd)

    globalLogBeginner.beginLoggingTo([observe], discardBuffer=False, redirectStandardIO=False)


def send(record: dict[str, str], fd: int = 2) -> None:
    """Never raises: a log that cannot be written stops nothing."""
    with suppress(OSError):
        os.write(fd, _MARK + json.dumps(record).encode("ascii") + b"\n")


class Records:
    """In the master: what one worker has written."""

    def __init__(self, name: str, ready: Callable[[], None]) -> None:
        self._name = name
        self._ready = ready
        self._rest = b""

    def feed(self, data: bytes) -> None:
        for line in self._lines(data):
            self._take(line)

    def end(self) -> None:
        """What has no line end."""
        if self._rest:
            self.feed(b"\n")

    def _lines(self, data: bytes) -> Iterator[bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        yield from lines
        if len(self._rest) > _LONGEST:
            line, self._rest = self._rest, b""
            yield line

    def _take(self, line: bytes) -> None:
        record = {"level": "error", "system": "stderr", "text": line.decode("utf-8", "replace")}
        if line.startswith(_MARK):
            with suppress(ValueError):
                record = json.loads(line[1:])
        if record.get("level") == READY:
            self._ready()
        elif record.get("text"):
            self._log(record)

    def _log(self, record: dict[str, str]) -> None:
        with suppress(Exception):
            globalLogPublisher(
                {
                    "log_level": LogLevel.levelWithName(record["level"]),
                    "log_namespace": record["system"],
                    "log_system": f"{self._name}, {record['system']}",
                    "log_format": "{text}",
                    "log_time": time.time(),
                    "text": record["text"],
                }
            )
