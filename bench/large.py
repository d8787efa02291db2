"""IMAP over a mailbox of 100 000 messages: the first time, warm, and what another client waits meanwhile."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import messages
from bench.servers import PASSWORD, cpu_seconds
from bench.wire import Imap, WireError
from bench.workloads import BIG_USER, Meter, Result, expect_rows, timed

LISTING = b"(BODY.PEEK[HEADER.FIELDS (FROM SUBJECT DATE)])"
WORD = b"xylophone"  # in twenty messages, and nowhere else
FETCHES = (
    ("UID FETCH 1:* (FLAGS)", b"(FLAGS)", 7),
    ("FETCH 1:* (ENVELOPE)", b"(ENVELOPE)", 3),
    ("FETCH 1:* (BODYSTRUCTURE)", b"(BODYSTRUCTURE)", 3),
    ("FETCH 1:* (HEADER.FIELDS)", LISTING, 3),
)
QUESTIONS = (
    ("UID SEARCH UNSEEN", b"UID SEARCH UNSEEN", 7),
    ("SEARCH SUBJECT word", b"SEARCH SUBJECT holiday", 5),
    ("SORT (DATE)", b"SORT (DATE) UTF-8 ALL", 5),
    ("SORT (SUBJECT)", b"SORT (SUBJECT) UTF-8 ALL", 5),
    ("THREAD REFERENCES", b"THREAD REFERENCES UTF-8 ALL", 5),
)
FIRSTS = (
    ("first ENVELOPE", b"UID FETCH 1:* (ENVELOPE)"),
    ("first SORT (DATE)", b"SORT (DATE) UTF-8 ALL"),
    ("first THREAD", b"THREAD REFERENCES UTF-8 ALL"),
)


class Neighbour:
    """Another client of the server: the longest it waits for an answer to NOOP, in milliseconds."""

    def __init__(self, server: Any) -> None:
        self._client = Imap(server.imap, "user000", PASSWORD)
        self._stop = threading.Event()
        self.longest = 0.0
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Neighbour:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        self._client.logout()

    def _ask(self) -> None:
        while not self._stop.wait(0.005):
            began = time.monotonic()
            self._client.run(b"NOOP")
            self.longest = max(self.longest, (time.monotonic() - began) * 1000)


def settled(server: Any, seconds: float = 400) -> None:
    """Until the server rests: what it does in the background is done."""
    deadline = time.monotonic() + seconds
    before = cpu_seconds(server.pids)
    while time.monotonic() < deadline:
        time.sleep(2)
        now = cpu_seconds(server.pids)
        if now - before < 0.06:
            return
        before = now


def imap_large(server: Any, scale: float, cache: Path) -> Iterator[Result]:
    """Everything, in an order in which nothing warms what is measured cold."""
    n = max(200, int(100_000 * scale))
    Imap(server.imap, BIG_USER, PASSWORD).logout()
    for folder in ("Big", "Cold1", "Cold2"):
        messages.fill(server.maildir(BIG_USER, folder), n, cache)
    server.adopt(BIG_USER)
    client = Imap(server.imap, BIG_USER, PASSWORD)
    with Neighbour(server) as neighbour:
        yield timed(server, "first open", lambda: _select(client, "Big", n), 1)
        for (name, command), folder in zip(FIRSTS, ("Big", "Cold1", "Cold2"), strict=True):
            _select(client, folder, n)
            yield timed(server, name, lambda command=command: client.bulk(command), 1)
    yield Result("longest wait of another client", neighbour.longest, "ms", "less")
    _select(client, "Big", n)
    yield from _warm(server, client, n)
    yield from _changes(server, client, n)
    yield from _words(server, client, n)
    client.logout()


def _select(client: Imap, folder: str, count: int) -> None:
    if (exists := client.select(folder)) != count:
        raise WireError(f"{exists} messages in {folder}, not {count}")


def _warm(server: Any, client: Imap, n: int) -> Iterator[Result]:
    yield timed(server, "SELECT", lambda: client.select("Big"), 7)
    for name, items, runs in FETCHES:
        verb = b"UID FETCH 1:* " if name.startswith("UID") else b"FETCH 1:* "

        def fetch(command: bytes = verb + items, name: str = name) -> None:
            expect_rows(client.bulk(command), b" FETCH (", n, name)

        fetch()
        yield timed(server, name, fetch, runs)
    for name, command, runs in QUESTIONS:

        def ask(command: bytes = command) -> None:
            client.bulk(command)

        ask()
        yield timed(server, name, ask, runs)
    with Meter(server) as meter:
        octets = len(client.bulk(b"UID FETCH 1:* (BODY.PEEK[])"))
    megabytes = octets / 1e6
    yield Result("all bodies", megabytes / meter.seconds, "MB/s", "more", meter.cpu / megabytes * 1000)


def _changes(server: Any, client: Imap, n: int) -> Iterator[Result]:
    tenth, hundredth = n // 10, n // 100
    client.bulk(b"STORE 1:* -FLAGS.SILENT (\\Flagged)")
    client.run(b"CREATE Target")

    def run(command: bytes) -> Callable[[], object]:
        return lambda: client.bulk(command)

    yield timed(server, "STORE +FLAGS on a tenth", run(b"STORE 1:%d +FLAGS (\\Flagged)" % tenth), 1)
    yield timed(server, "COPY of a hundredth", run(b"COPY 1:%d Target" % hundredth), 3)
    yield timed(server, "MOVE of a hundredth", run(b"MOVE 1:%d Target" % hundredth), 3)
    client.bulk(b"STORE 1:%d +FLAGS.SILENT (\\Deleted)" % hundredth)
    yield timed(server, "EXPUNGE of a hundredth", run(b"EXPUNGE"), 1)
    yield timed(server, "QRESYNC after 10 changes", _reconnect(server, client), 5)


def _reconnect(server: Any, client: Imap) -> Callable[[], None]:
    """SELECT with what a client knew before ten messages changed (RFC 7162, 3.2.5); log-in not counted."""
    lines = b"\r\n".join(client.run(b"STATUS Big (UIDVALIDITY HIGHESTMODSEQ)"))
    validity = re.search(rb"UIDVALIDITY (\d+)", lines)
    modseq = re.search(rb"HIGHESTMODSEQ (\d+)", lines)
    if validity is None or modseq is None:
        raise WireError(lines.decode("latin-1"))
    client.bulk(b"STORE 1:10 +FLAGS.SILENT (\\Answered)")
    again = Imap(server.imap, BIG_USER, PASSWORD)
    again.run(b"ENABLE QRESYNC")

    def select() -> None:
        answer = again.bulk(b"SELECT Big (QRESYNC (%b %b))" % (validity[1], modseq[1]))
        expect_rows(answer, b" FETCH (", 10, "QRESYNC")

    return select


def _words(server: Any, client: Imap, n: int) -> Iterator[Result]:
    """A word that few messages hold, once the server has had the time to index what it indexes."""
    head = b"Subject: odd\r\n\r\n"
    for _ in range(20):
        text = head + b"one " + WORD + b" in a text\r\n"
        client.run(b"APPEND Big {%d+}\r\n%b" % (len(text), text))
    settled(server)

    def search() -> None:
        found = client.bulk(b"SEARCH TEXT " + WORD)
        if len(found.split(b"\r\n")[1].split()) != 22:
            raise WireError(found[:200].decode("latin-1"))

    yield timed(server, "SEARCH TEXT word", search, 1)
