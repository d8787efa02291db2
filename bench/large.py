"""IMAP over a mailbox of 100 000 messages: the first time, warm, and what another client waits meanwhile.

Four workloads, which may be run one at a time over the same mailboxes (`--keep`): `first`, `warm`, `changes`
and `words`.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench import messages
from bench.servers import PASSWORD, cpu_seconds
from bench.wire import Imap, WireError
from bench.workloads import BIG_USER, Meter, Plan, Result, expect_rows, timed

INDEXES_AFTER = 20  # seconds of rest; a server may put off what nobody waits for
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
FIRSTS = (  # each in a folder of its own, in which nothing has been looked at before
    ("first ENVELOPE", "Cold0", b"UID FETCH 1:* (ENVELOPE)"),
    ("first SORT (DATE)", "Cold1", b"SORT (DATE) UTF-8 ALL"),
    ("first THREAD", "Cold2", b"THREAD REFERENCES UTF-8 ALL"),
    ("first BODYSTRUCTURE", "Cold3", b"UID FETCH 1:* (BODYSTRUCTURE)"),
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


def settled(server: Any, rest: float = 2, seconds: float = 900) -> None:
    """Until the server rests for so many seconds: what it does in the background is done."""
    deadline = time.monotonic() + seconds
    before, rested = cpu_seconds(server.pids), 0
    while rested < rest and time.monotonic() < deadline:
        time.sleep(2)
        now = cpu_seconds(server.pids)
        rested = rested + 2 if now - before < 0.06 else 0
        before = now


def _count(plan: Plan) -> int:
    return max(200, int(100_000 * plan.scale))


def _filled(server: Any, plan: Plan, folder: str) -> Imap:
    """A client, and a folder full of messages that the server has not seen."""
    client = Imap(server.imap, BIG_USER, PASSWORD)
    if server.maildir(BIG_USER, folder).exists():
        client.run(b"DELETE " + folder.encode())
    messages.fill(server.maildir(BIG_USER, folder), _count(plan), plan.cache)
    server.adopt(BIG_USER)
    return client


def _opened(server: Any, plan: Plan) -> tuple[Imap, int]:
    """A client with the large mailbox selected, and how many messages are in there."""
    client = None
    if not server.maildir(BIG_USER, "Big").exists():
        client = _filled(server, plan, "Big")
    client = client or Imap(server.imap, BIG_USER, PASSWORD)
    return client, client.select("Big")


def _select(client: Imap, folder: str, count: int) -> None:
    if (exists := client.select(folder)) != count:
        raise WireError(f"{exists} messages in {folder}, not {count}")


def first(server: Any, plan: Plan) -> Iterator[Result]:
    """What clients wait for in mailboxes that nobody has opened before."""
    n = _count(plan)
    longest = 0.0
    if plan.wants("first open"):
        client = _filled(server, plan, "Big")
        with Neighbour(server) as neighbour:
            yield timed(server, "first open", lambda: _select(client, "Big", n), 1)
        longest = neighbour.longest
        client.logout()
    for name, folder, command in FIRSTS:
        if plan.wants(name):
            client = _filled(server, plan, folder)
            _select(client, folder, n)
            with Neighbour(server) as neighbour:
                yield timed(server, name, lambda client=client, line=command: client.bulk(line), 1)
            longest = max(longest, neighbour.longest)
            client.logout()
    yield Result("longest wait of another client", longest, "ms", "less")


def warm(server: Any, plan: Plan) -> Iterator[Result]:
    """What everyday commands cost once all is known."""
    client, n = _opened(server, plan)
    with Neighbour(server) as neighbour:
        yield from _warm(server, plan, client, n)
    yield Result("longest wait while all is warm", neighbour.longest, "ms", "less")
    client.logout()


def _warm(server: Any, plan: Plan, client: Imap, n: int) -> Iterator[Result]:
    if plan.wants("SELECT"):
        yield timed(server, "SELECT", lambda: client.select("Big"), 7)
    for name, items, runs in FETCHES:
        verb = b"UID FETCH 1:* " if name.startswith("UID") else b"FETCH 1:* "

        def fetch(command: bytes = verb + items, name: str = name) -> None:
            expect_rows(client.bulk(command), b" FETCH (", n, name)

        if plan.wants(name):
            fetch()
            yield timed(server, name, fetch, runs)
    for name, command, runs in QUESTIONS:

        def ask(command: bytes = command) -> None:
            client.bulk(command)

        if plan.wants(name):
            ask()
            yield timed(server, name, ask, runs)
    if plan.wants("all bodies"):
        with Meter(server) as meter:
            octets = len(client.bulk(b"UID FETCH 1:* (BODY.PEEK[])"))
        megabytes = octets / 1e6
        yield Result("all bodies", megabytes / meter.seconds, "MB/s", "more", meter.cpu / megabytes * 1000)


def changes(server: Any, plan: Plan) -> Iterator[Result]:
    """What changes many messages at once; it leaves the mailbox smaller."""
    client, n = _opened(server, plan)
    tenth, hundredth = n // 10, n // 100
    client.bulk(b"STORE 1:* -FLAGS.SILENT (\\Flagged)")
    if not server.maildir(BIG_USER, "Target").exists():
        client.run(b"CREATE Target")

    def run(command: bytes) -> Callable[[], object]:
        return lambda: client.bulk(command)

    for name, command, runs in (
        ("STORE +FLAGS on a tenth", b"STORE 1:%d +FLAGS (\\Flagged)" % tenth, 1),
        ("COPY of a hundredth", b"COPY 1:%d Target" % hundredth, 3),
        ("MOVE of a hundredth", b"MOVE 1:%d Target" % hundredth, 3),
        ("EXPUNGE of a hundredth", b"EXPUNGE", 1),
    ):
        if plan.wants(name):
            if command == b"EXPUNGE":
                client.bulk(b"STORE 1:%d +FLAGS.SILENT (\\Deleted)" % hundredth)
            yield timed(server, name, run(command), runs)
    if plan.wants("QRESYNC after 10 changes"):
        yield timed(server, "QRESYNC after 10 changes", _reconnect(server, client), 5)
    client.logout()


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


def words(server: Any, plan: Plan) -> Iterator[Result]:
    """A word that few messages hold: before anything is indexed, and once the server has had the time to."""
    if plan.wants("SEARCH TEXT, not indexed"):
        client = _filled(server, plan, "Words")
        client.select("Words")
        with Neighbour(server) as neighbour:
            yield timed(server, "SEARCH TEXT, not indexed", _search(client, 0), 1)
        yield Result("longest wait of another meanwhile", neighbour.longest, "ms", "less")
        client.select("INBOX")
        client.run(b"DELETE Words")
        client.logout()
    if plan.wants("SEARCH TEXT word"):
        client, _ = _opened(server, plan)
        head = b"Subject: odd\r\n\r\n"
        before = len(client.bulk(b"SEARCH SUBJECT odd").split(b"\r\n")[1].split()) - 2
        for _ in range(20):
            text = head + b"one " + WORD + b" in a text\r\n"
            client.run(b"APPEND Big {%d+}\r\n%b" % (len(text), text))
        settled(server, INDEXES_AFTER)
        yield timed(server, "SEARCH TEXT word", _search(client, before + 20), 1)
        client.logout()


def _search(client: Imap, count: int) -> Callable[[], None]:
    def search() -> None:
        found = client.bulk(b"SEARCH TEXT " + WORD)
        if len(found.split(b"\r\n")[1].split()) != 2 + count:
            raise WireError(found[:200].decode("latin-1"))

    return search
