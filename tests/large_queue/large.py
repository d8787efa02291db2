"""A server is started on a queue of very many messages: how soon it delivers, what it holds in memory,
whether its reactor stays quick, and how long an operator waits (CASES G21).

One message in a hundred is for a server that takes it. In one form a few senders have flooded a few
destinations, which put everything off. In the other, the worst for memory, each of the other messages has a
sender of its own and a destination of its own, where nobody is.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import define
from twisted.internet.task import Clock

from mailserver.queue import schema
from mailserver.queue.spool import Spool
from mailserver.queue.values import NewMessage
from tests.attacks import turns
from tests.helpers.server import ROOT, Server, eventually
from tests.helpers.smtp_sink import SmtpSink
from tests.queue.scene import message

LIVE = 100  # one message in so many is for a server that takes it
BATCH = 500  # as many as come in at once at a busy server
BODY = b"Subject: one of many\n\n" + b"A line of text as there are many in a message.\n" * 20
FIRST_SECONDS = 10.0
PER_MESSAGE = 1024  # octets of memory
ALLOWED = 8 << 20  # octets besides: deliveries under way, whatever the queue holds
LISTED = 24 << 20  # octets by which `queue list` may be larger than a command that has nothing to do
PER_COMMAND = 100e-6  # seconds a message; a command itself takes START_SECONDS
START_SECONDS = 3.0


@define
class Large:
    """distinct: each message has a sender and a destination of its own."""

    folder: Path
    count: int
    distinct: bool
    tell: Callable[[str], None] = print

    def run(self) -> None:
        """Raises AssertionError."""
        with SmtpSink(recipient=_reply) as sink:
            server = self._server(sink.port)
            with server:
                empty = at_rest(server)
            began = time.monotonic()
            fill(server.data / "queue", self.count, self.distinct)
            self._note("filled, seconds", time.monotonic() - began)
            with server:
                with turns.short_turns(server):
                    self._deliver(server, sink)
                    self._remember(server, empty)
                with turns.short_turns(server):
                    self._operate(server)
            assert "Traceback" not in server.log(), server.log()[-5000:]

    def _server(self, port: int) -> Server:
        relay = {
            "retry": ["1h"],
            "port": port,
            "allow_loopback": True,
            "routes": {"live.example": f"127.0.0.1:{port}", "*.later.example": f"127.0.0.1:{port}"},
        }
        return Server(self.folder, services=("smtp",), keys={"extensions": [turns.EXTENSION]}, relay=relay)

    def _deliver(self, server: Server, sink: SmtpSink) -> None:
        began = time.monotonic()
        eventually(lambda: sink.taken, 60, "a first delivery")
        first = self._note("the first delivery, seconds after the start", time.monotonic() - began)
        assert first < FIRST_SECONDS
        live = self.count // LIVE
        eventually(lambda: len(sink.taken) >= live, 240, "all that is for the live server")
        self._note("the last one", time.monotonic() - began)
        if self.distinct:
            with closing(schema.connect(server.data / "queue", create=False)[0]) as database:
                eventually(lambda: _all_tried(database), 240, "all is tried once")
            self._note("all tried", time.monotonic() - began)
        assert len(sink.taken) == live

    def _remember(self, server: Server, empty: int) -> None:
        each = self._note("octets of memory a message", (peak(server) - empty) / self.count)
        assert each <= PER_MESSAGE + ALLOWED / self.count
        self._note("the longest turn of the reactor, ms", 1000 * max(turns.noted(server), default=0.0))

    def _operate(self, server: Server) -> None:
        _, least = self._command(server, "list", "--domain", "nowhere.example")
        _, most = self._command(server, "list")
        assert most - least < LISTED
        choices: list[list[str]] = [["--sender", "s0@example.org"], ["--all"]]
        for choice in choices:
            for name in ("retry", "hold", "release", "remove"):
                self._command(server, name, *choice)
        self._command(server, "list")

    def _command(self, server: Server, *arguments: str) -> tuple[float, int]:
        seconds, octets, said = command(server, *arguments)
        self.tell(f"{' '.join(arguments)}: {seconds:.1f} s, {octets >> 20} MiB: {said}")
        assert seconds < START_SECONDS + self.count * PER_COMMAND
        return seconds, octets

    def _note(self, name: str, value: float) -> float:
        self.tell(f"{name}: {value:.1f}")
        return value


def _all_tried(database: Any) -> bool:
    untried = "SELECT 1 FROM recipients WHERE state = 0 AND attempts = 0 AND last_attempt = 0 LIMIT 1"
    return database.execute(untried).fetchone() is None


def _reply(sender: str, recipient: str) -> str:
    return "250 2.1.5 ok" if recipient.endswith("@live.example") else "451 4.7.1 later"


def fill(queue_dir: Path, count: int, distinct: bool) -> None:
    """As the server queues what comes in."""
    clock = Clock()
    clock.advance(time.time())
    spool = Spool(queue_dir, clock, clock=clock.seconds, threaded=False)
    spool.open()
    for batch in _batches(count, distinct, clock.seconds()):
        failed: list[Any] = []
        spool.record([], batch).addErrback(failed.append)
        assert not failed, failed
    spool.close()


def _batches(count: int, distinct: bool, now: float) -> Iterator[list[NewMessage]]:
    for start in range(0, count, BATCH):
        numbers = range(start, min(start + BATCH, count))
        yield [_message(number, number % LIVE == LIVE - 1, distinct, now) for number in numbers]


def _message(number: int, live: bool, distinct: bool, now: float) -> NewMessage:
    who, where = (number, f"[127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}]")
    if not distinct:
        who, where = number % 7, f"d{number % 5}.later.example"
    to = f"u{number}@live.example" if live else f"u{number}@{where}"
    return message(to, sender=f"s{who}@example.org", id=f"m{number:x}", at=now, body=BODY)


def memory(server: Server) -> int:
    return _status(server, "VmRSS")


def at_rest(server: Server) -> int:
    """Its memory, once that has been the same for half a second."""
    looks: deque[int] = deque(maxlen=50)

    def steady() -> bool:
        looks.append(memory(server))
        return len(looks) == looks.maxlen and len(set(looks)) == 1

    eventually(steady, 20, "it is at rest")
    return looks[-1]


def peak(server: Server) -> int:
    """The most that it ever had."""
    return _status(server, "VmHWM")


def _status(server: Server, key: str) -> int:
    assert server.process is not None
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)[key].split()[0]) * 1024


def command(server: Server, *arguments: str) -> tuple[float, int, str]:
    """`mailserver queue …`: seconds, octets of memory, and the last line that it says."""
    code = (
        "import resource, sys\nfrom mailserver.cli.queue import queue\n"
        "try:\n    queue()\nfinally:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "-c", str(server.config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began, int(done.stderr.split()[-1]) * 1024, done.stdout[-200:].splitlines()[-1]
