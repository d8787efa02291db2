"""Many IMAP clients at once: a working day's mix of commands, and thousands that only wait."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from bench import messages
from bench.large import settled
from bench.servers import DOMAIN, PASSWORD, USERS, process_tree
from bench.wire import Imap, Smtp, WireError
from bench.workloads import Meter, Plan, Result, in_parallel

CLIENTS = 20
EACH = 300  # messages of a client's mailbox


def mixed(server: Any, plan: Plan) -> Iterator[Result]:
    """Twenty clients, each in a mailbox of its own: commands per second."""
    count = max(20, int(400 * plan.scale))
    for k in range(CLIENTS):
        if not server.maildir(USERS[k], "Work").exists():
            client = Imap(server.imap, USERS[k], PASSWORD)
            client.run(b"CREATE Written")
            client.logout()
            messages.fill(server.maildir(USERS[k], "Work"), EACH, plan.cache)
            server.adopt(USERS[k])
        _a_day(Imap(server.imap, USERS[k], PASSWORD), random.Random(k), 20)

    settled(server)  # files that were put there are taken in: some at once, others later

    def work(k: int, ready: Callable[[], None]) -> None:
        client = Imap(server.imap, USERS[k], PASSWORD)
        ready()
        _a_day(client, random.Random(k), count)

    with Meter(server) as meter:
        seconds = in_parallel(CLIENTS, work)
    total = CLIENTS * count
    yield Result("mixed work of 20 clients", total / seconds, "/s", "more", meter.cpu / total * 1000)


def _a_day(client: Imap, rng: random.Random, count: int) -> None:
    exists = client.select("Work")
    text = messages.sized(4096)
    for _ in range(count):
        number = rng.randint(1, exists)
        kind = rng.random()
        if kind < 0.30:
            client.run(b"FETCH %d (UID FLAGS BODY.PEEK[])" % number)
        elif kind < 0.50:
            first = max(1, number - 20)
            client.run(b"FETCH %d:%d (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)" % (first, number))
        elif kind < 0.65:
            client.run(b"STORE %d +FLAGS (\\Seen)" % number)
        elif kind < 0.75:
            client.run(b"STORE %d -FLAGS (\\Seen)" % number)
        elif kind < 0.85:
            client.run(b"UID SEARCH UNSEEN")
        elif kind < 0.90:
            client.run(b"STATUS INBOX (MESSAGES UNSEEN UIDNEXT)")
        elif kind < 0.95:
            client.run(b"APPEND Written {%d+}\r\n%b" % (len(text), text))
        else:
            client.run(b"NOOP")
    client.logout()


def many_idle(server: Any, plan: Plan, *, tls: bool = False) -> Iterator[Result]:
    """Thousands of connections in IDLE: memory for each, and how soon the right one hears of its mail."""
    count = max(50, int(5000 * plan.scale))
    for user in USERS[:60]:
        Imap(server.imap, user, PASSWORD).logout()
    before = memory_kib(server.pids)
    clients = []
    for number in range(count):
        client = Imap(server.imaps if tls else server.imap, USERS[number % 60], PASSWORD, tls=tls)
        exists = client.select("INBOX")
        client.conn.send(b"i IDLE\r\n")
        if not client.conn.line().startswith(b"+"):
            raise WireError("no continuation")
        clients.append(client)
    time.sleep(1)
    name = "the same under TLS" if tls else "memory of an idle connection"
    yield Result(name, (memory_kib(server.pids) - before) / count, "KiB", "less")
    last, user = clients[-1], USERS[(count - 1) % 60]
    smtp, text, waits = Smtp(server.smtp), messages.sized(4096) + b".\r\n", []
    for _ in range(10):
        smtp.message(f"{user}@{DOMAIN}".encode(), text)
        accepted = time.monotonic()
        exists += 1
        while last.conn.line() != b"* %d EXISTS" % exists:
            pass
        waits.append((time.monotonic() - accepted) * 1000)
    yield Result("wake-up among many" + " under TLS" * tls, median(waits), "ms", "less")
    for client in clients:
        client.conn.close()


def memory_kib(pids: list[int]) -> int:
    """Proportional memory of the process trees: what is shared counts once."""
    total = 0
    for pid in process_tree(pids):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total
