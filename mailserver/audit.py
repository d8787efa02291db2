"""The fixed set of events that the log tells, one line each, readable or JSON.

A message is followed by its id from `received` (or `rejected`) to `delivered`, `deferred`, `bounced`.
Lines have a writer of their own because `twisted.logger` costs 35 µs a line, which every message would
pay; this one collects the lines of a reactor turn and writes them at once. Values come from the
network, so control characters are escaped: one event is one line, always. Secrets are never passed in.
"""

from __future__ import annotations

import json
import os
import select
import stat
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from twisted.logger import Logger

EVENTS = (
    "connected",  # service, ip, tls                              a client came
    "refused",  # service, ip, connections | reason                 over a limit, or no proxy of ours
    "login",  # service, ip, user, mechanism, result (ok, failed, refused, unavailable), reason
    "withheld",  # service, ip, user, client, capabilities, reason  a rule took IMAP capabilities away
    "received",  # id, ip, sender, to, size, user, priority, about  the message is ours
    "rejected",  # id, ip, sender, to, code, reason                 refused in SMTP
    "delivered",  # id, to, folder | host, seconds                  one recipient is done
    "deferred",  # id, to, host, reason, next                       one recipient waits
    "bounced",  # id, to, host, reason                              one recipient failed for good
    "expired",  # id, to, reason                                    given up after expire_after
    "dropped",  # id, to, reason                                    a bounce that cannot be delivered
)

_log = Logger()
_ESCAPES = {n: f"\\x{n:02x}" for n in (*range(32), *range(127, 160), 0x2028, 0x2029)}
_ESCAPES |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


@lru_cache(maxsize=4)
def _stamp(seconds: int) -> str:
    """Many lines of one second share it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def text_line(when: float, event: str, fields: dict[str, object]) -> str:
    """`2026-11-24T03:07:34.120Z received id=… ip=… to="a b"`."""
    seconds = int(when)
    parts = [f"{_stamp(seconds)}.{int((when - seconds) * 1000):03d}Z {event}"]
    for name, value in fields.items():
        if value is None or value == "":
            continue
        text = f"{value:.3f}" if isinstance(value, float) else str(value)
        if not text.isprintable():
            text = text.translate(_ESCAPES)
        if " " in text or '"' in text or "=" in text:
            text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        parts.append(f"{name}={text}")
    return " ".join(parts)


def json_line(when: float, event: str, fields: dict[str, object]) -> str:
    """One JSON object: time (seconds since the epoch), event, and the fields that are not empty."""
    full: dict[str, object] = {"time": round(when, 3), "event": event}
    full.update((name, value) for name, value in fields.items() if value is not None and value != "")
    return json.dumps(full, default=str, ensure_ascii=True)


FORMATS: dict[str, Callable[[float, str, dict[str, object]], str]] = {"text": text_line, "json": json_line}


class Audit:
    """Writes events to a descriptor, all lines of one reactor turn in one `write`.

    `later` schedules a call without arguments for the end of the turn (``reactor.callLater(0, …)``).
    A log that cannot be written never stops the mail: the loss is counted and told once.
    """

    def __init__(
        self,
        path: Path | None,
        style: str,
        later: Callable[[Callable[[], None]], object],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._render = FORMATS[style]
        self._later = later
        self._clock = clock
        self._lines: list[str] = []
        self._fd = -1
        self.lost = 0

    def open(self) -> None:
        """Open, or after log rotation open again."""
        if self._path is None:
            self._fd = sys.__stdout__.fileno() if sys.__stdout__ is not None else 1
            return
        fresh = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self._fd >= 0:
            self.flush()
            os.close(self._fd)
        self._fd = fresh

    def event(self, event: str, /, **fields: object) -> None:
        """Note an event. Never raises, never blocks on more than a write."""
        if not self._lines:
            self._later(self.flush)
        self._lines.append(self._render(self._clock(), event, fields))

    def flush(self) -> None:
        lines, self._lines = self._lines, []
        if not lines or self._fd < 0:
            return
        try:
            for piece in self._pieces("\n".join(lines).encode("utf-8", "backslashreplace") + b"\n"):
                os.write(self._fd, piece)
        except OSError as error:
            if not self.lost:
                _log.error("the event log cannot be written: {error}", error=error)
            self.lost += len(lines)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        """Whole lines that no other process's come between: a file takes any number of them at once, a pipe
        no more than PIPE_BUF."""
        if len(data) > select.PIPE_BUF and stat.S_ISFIFO(os.fstat(self._fd).st_mode):
            while len(data) > select.PIPE_BUF:
                end = data.rfind(b"\n", 0, select.PIPE_BUF) + 1 or data.find(b"\n") + 1
                yield data[:end]
                data = data[end:]
        if data:
            yield data

    def close(self) -> None:
        self.flush()
        if self._path is not None and self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
