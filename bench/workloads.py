"""What is measured. Each workload yields results; every answer of the server is checked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from bench import messages
from bench.servers import DOMAIN, PASSWORD, USERS, cpu_seconds
from bench.wire import Imap, Pop3, Smtp, WireError

_FORK = get_context("fork")
BIG_USER = "user099"


class Result:
    """One figure: `value` in `unit`; `better` is "more" or "less"; `cpu_ms`: server CPU per operation."""

    def __init__(self, name: str, value: float, unit: str, better: str, cpu_ms: float | None = None) -> None:
        self.name, self.value, self.unit, self.better, self.cpu_ms = name, value, unit, better, cpu_ms


class Plan:
    """What of a workload is wanted: its share of the load, where messages are kept, which rows, whether the
    mailboxes of an earlier run may be there."""

    def __init__(self, scale: float, cache: Path, rows: Sequence[str] = (), kept: bool = False) -> None:
        self.scale, self.cache, self.kept = scale, cache, kept
        self._rows = [row.lower() for row in rows]

    def wants(self, name: str) -> bool:
        return not self._rows or any(row in name.lower() for row in self._rows)


class Meter:
    """Seconds and server CPU between entering and leaving."""

    def __init__(self, server: Any) -> None:
        self._pids = server.pids

    def __enter__(self) -> Meter:
        self._cpu = cpu_seconds(self._pids)
        self.seconds = -time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.monotonic()
        self.cpu = cpu_seconds(self._pids) - self._cpu


def in_parallel(clients: int, work: Callable[[int, Callable[[], None]], None]) -> float:
    """Run work(k, ready) in `clients` processes; all go on from ready() together. Seconds until the last."""
    barrier = _FORK.Barrier(clients + 1)

    def body(k: int) -> None:
        try:
            work(k, lambda: barrier.wait(60) and None)
        except BaseException as error:
            print(f"client {k}: {error!r}", flush=True)
            os._exit(1)
        os._exit(0)

    children = [_FORK.Process(target=body, args=(k,)) for k in range(clients)]
    for child in children:
        child.start()
    barrier.wait(60)
    began = time.monotonic()
    for child in children:
        child.join(300)
    seconds = time.monotonic() - began
    if any(child.exitcode for child in children):
        raise SystemExit("a client failed")
    return seconds


def count_files(paths: list[Path]) -> int:
    return sum(
        len(os.listdir(path / sub)) for path in paths for sub in ("new", "cur") if (path / sub).is_dir()
    )


def send_many(
    server: Any,
    count: int,
    recipient: Callable[[int], str],
    size: int = 4096,
    clients: int = 16,
    pipelining: bool = False,
    reuse: bool = True,
) -> None:
    """Messages of `size` octets over some connections (or each over its own), to a recipient by number."""
    text = messages.sized(size) + b".\r\n"

    def work(k: int, ready: Callable[[], None]) -> None:
        client = Smtp(server.smtp) if reuse else None
        ready()
        for i in range(k, count, clients):
            sender = client or Smtp(server.smtp)
            sender.message(recipient(i).encode(), text, pipelining)
            if client is None:
                sender.quit()
        if client is not None:
            client.quit()

    in_parallel(clients, work)


class _Arrival:
    """Sends messages to local users and waits until each is durable and visible in its mailbox."""

    def __init__(self, server: Any, count: int, **how: Any) -> None:
        paths = [server.maildir(user) for user in USERS]
        before = count_files(paths)
        with Meter(server) as meter:
            began = time.monotonic()
            send_many(server, count, lambda i: f"{USERS[i % 90]}@{DOMAIN}", **how)
            self.accepted = count / (time.monotonic() - began)
            while count_files(paths) < before + count:
                if time.monotonic() > began + 300:
                    raise SystemExit("mail is missing after 300 s")
                time.sleep(0.01)
        self.visible = count / meter.seconds
        self.cpu = meter.cpu / count * 1000


def smtp_in(server: Any, scale: float) -> Iterator[Result]:
    """4 KiB messages over 16 connections."""
    arrival = _Arrival(server, max(64, int(3000 * scale)))
    yield Result("SMTP in, accepted", arrival.accepted, "msg/s", "more")
    yield Result("SMTP in, durable and visible", arrival.visible, "msg/s", "more")
    yield Result("SMTP in, server CPU", arrival.cpu, "ms/msg", "less")


def smtp_kinds(server: Any, scale: float) -> Iterator[Result]:
    """Other ways in: commands in one piece, a connection for each message, larger messages."""
    for name, count, how in (
        ("SMTP in, pipelined", 3000, {"pipelining": True}),
        ("SMTP in, a connection each", 2000, {"reuse": False}),
        ("SMTP in, 64 KiB", 1000, {"size": 1 << 16}),
    ):
        arrival = _Arrival(server, max(64, int(count * scale)), **how)
        yield Result(name, arrival.visible, "msg/s", "more", arrival.cpu)
    size = 5 << 20
    arrival = _Arrival(server, max(4, int(60 * scale)), size=size, clients=4)
    yield Result("SMTP in, 5 MiB", arrival.visible * size / 1e6, "MB/s", "more", arrival.cpu)


@contextmanager
def big_mailbox(server: Any, count: int, cache: Path) -> Iterator[Imap]:
    """A folder of `count` messages put there from outside and opened by IMAP."""
    Imap(server.imap, BIG_USER, PASSWORD).logout()
    messages.fill(server.maildir(BIG_USER, "Big"), count, cache)
    server.adopt(BIG_USER)
    client = Imap(server.imap, BIG_USER, PASSWORD)
    if (exists := client.select("Big")) != count:
        raise WireError(f"{exists} messages, not {count}")
    yield client
    client.logout()


def timed(server: Any, name: str, action: Callable[[], object], runs: int) -> Result:
    """The median of several runs, in milliseconds."""
    times = []
    with Meter(server) as meter:
        for _ in range(runs):
            began = time.monotonic()
            action()
            times.append(time.monotonic() - began)
    return Result(name, median(times) * 1000, "ms", "less", meter.cpu / runs * 1000)


def expect_rows(data: bytes, marker: bytes, count: int, name: str) -> None:
    if data.count(marker) != count:
        raise WireError(f"{name}: {data.count(marker)} answers, not {count}")


def imap_10000(server: Any, scale: float, cache: Path) -> Iterator[Result]:
    """Commands over a mailbox of 10 000 messages, after one warming run each."""
    n = max(100, int(10_000 * scale))
    with big_mailbox(server, n, cache) as client:

        def fetch(items: bytes) -> Callable[[], None]:
            def run() -> None:
                expect_rows(client.bulk(b"UID FETCH 1:* " + items), b" FETCH (", n, repr(items))

            return run

        bodies = fetch(b"(BODY.PEEK[])")
        for name, action, runs in (
            ("UID FETCH 1:* (FLAGS)", fetch(b"(FLAGS)"), 9),
            ("UID FETCH 1:* (ENVELOPE)", fetch(b"(ENVELOPE)"), 5),
            ("UID FETCH 1:* (BODYSTRUCTURE)", fetch(b"(BODYSTRUCTURE)"), 5),
            ("UID FETCH 1:* (RFC822.SIZE)", fetch(b"(RFC822.SIZE)"), 5),
            ("SELECT", lambda: client.select("Big"), 9),
            ("all bodies by IMAP", bodies, 3),
        ):
            action()
            yield timed(server, name, action, runs)
        yield from _changes(server, client, n)


def _changes(server: Any, client: Imap, n: int) -> Iterator[Result]:
    client.bulk(b"STORE 1:* -FLAGS.SILENT (\\Flagged \\Answered)")
    for flag in (b"\\Answered", b"\\Flagged"):

        def store(flag: bytes = flag) -> None:
            expect_rows(client.bulk(b"STORE 1:* +FLAGS (" + flag + b")"), b" FETCH (", n, "STORE")

        result = timed(server, "STORE 1:* +FLAGS", store, 1)
    yield result
    for name in ("CopyA", "CopyB", "CopyC"):
        client.run(f"CREATE {name}".encode())
    targets = iter(("CopyA", "CopyB", "CopyC"))
    tenth = max(10, n // 10)
    yield timed(server, f"COPY of {tenth}", lambda: client.run(f"COPY 1:{tenth} {next(targets)}".encode()), 3)


def pop3_all(server: Any, scale: float, cache: Path) -> Iterator[Result]:
    """Log in and RETR every one of 10 000 messages, one after the other; the second time counts."""
    n = max(100, int(10_000 * scale))
    user = "user098"
    Imap(server.imap, user, PASSWORD).logout()
    messages.fill(server.maildir(user), n, cache)
    server.adopt(user)

    def drain() -> None:
        client = Pop3(server.pop3, user, PASSWORD)
        for number in range(1, n + 1):
            client.retrieve(number)
        client.quit()

    drain()
    yield timed(server, "all bodies by POP3", drain, 2)


def logins(server: Any, scale: float) -> Iterator[Result]:
    """Connect, log in, log out; 8 clients at once; warm."""
    count, clients = max(80, int(1600 * scale)), 8
    for name, once in (
        ("IMAP log-ins", lambda i: Imap(server.imap, USERS[i % 60], PASSWORD).logout()),
        ("POP3 log-ins", lambda i: Pop3(server.pop3, USERS[i % 60], PASSWORD).quit()),
    ):
        for user in range(60):
            once(user)

        def work(k: int, ready: Callable[[], None], once: Callable[[int], None] = once) -> None:
            ready()
            for i in range(k, count, clients):
                once(i)

        with Meter(server) as meter:
            seconds = in_parallel(clients, work)
        yield Result(name, count / seconds, "/s", "more", meter.cpu / count * 1000)


def idle_latency(server: Any, scale: float) -> Iterator[Result]:
    """From the end of the data, and from the 250, to the EXISTS that an IDLE client gets, one message at a
    time."""
    count, user = max(20, int(100 * scale)), "user097"
    client, smtp = Imap(server.imap, user, PASSWORD), Smtp(server.smtp)
    exists = client.select("INBOX")
    client.conn.send(b"i IDLE\r\n")
    if not client.conn.line().startswith(b"+"):
        raise WireError("no continuation")
    text = messages.sized(4096) + b".\r\n"
    waits, from_dot = [], []
    for _ in range(count):
        sent = smtp.message(f"{user}@{DOMAIN}".encode(), text)
        accepted = time.monotonic()
        exists += 1
        while client.conn.line() != b"* %d EXISTS" % exists:
            pass
        told = time.monotonic()
        waits.append((told - accepted) * 1000)
        from_dot.append((told - sent) * 1000)
    smtp.quit()
    client.conn.send(b"DONE\r\n")
    client.conn.close()
    waits.sort()
    yield Result("final dot to IDLE client, median", median(from_dot), "ms", "less")
    yield Result("250 to IDLE client, median", median(waits), "ms", "less")
    yield Result("250 to IDLE client, 99 %", waits[int(len(waits) * 0.99) - 1], "ms", "less")
