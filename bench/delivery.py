"""Deliveries per second and CPU per message, driving ILocalDelivery itself: no SMTP in between.

    python -m bench.delivery [--seconds 5] [--concurrency 16] [--users 20] [--size 4096] [--directory DIR]

Every delivery is durable (fsync) and has its row in the index when it counts.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred

from mailserver.delivery.body import MemoryBody
from mailserver.delivery.local import LocalDelivery
from mailserver.disk.group_commit import GroupWriter
from mailserver.disk.threads import Inbox, OrderedPool
from mailserver.interfaces import Envelope, Peer, Target
from mailserver.store.store import MailStore
from tests.helpers.settings import make_settings

reactor: Any = _reactor


def message(size: int) -> bytes:
    head = b"From: a@b.example\nTo: c@d.example\nSubject: a message\nMessage-ID: <1@b.example>\n\n"
    line = b"The quick brown fox jumps over the lazy dog, again and again and again.\n"
    return (head + line * (size // len(line) + 1))[:size]


class Bench:
    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self.options = options
        settings = make_settings(data_dir=directory)
        inbox = Inbox(reactor)
        self.threads = OrderedPool(inbox)
        self.writer = GroupWriter(inbox, helpers=options.helpers)
        self.store = MailStore(settings, reactor, self.threads, self.writer, inbox)
        self.delivery = LocalDelivery(self.store)
        self.body = MemoryBody(message(options.size))
        self.done = 0
        self.running = False
        self.waits: list[float] = []

    async def run(self) -> None:
        self.threads.start()
        self.writer.start()
        self.store.start()
        users = [f"user{n}@example.org" for n in range(self.options.users)]
        for user in users:
            await self.store.account(user)
        for seconds, counts in ((1.0, False), (self.options.seconds, True)):
            self.running, self.done, self.waits = True, 0, []
            started, cpu = time.perf_counter(), time.process_time()
            clients = [self.client(users, n) for n in range(self.options.concurrency)]
            reactor.callLater(seconds, setattr, self, "running", False)
            for client in clients:
                await client
            elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
            if counts:
                self.waits.sort()
                print(
                    f"{self.done / elapsed:8.0f} msg/s   {cpu / self.done * 1e6:6.0f} µs CPU/msg   "
                    f"wait median {self.waits[len(self.waits) // 2] * 1e3:.1f} ms, "
                    f"99 % {self.waits[len(self.waits) * 99 // 100] * 1e3:.1f} ms"
                )
        await self.store.stop()
        await self.threads.stop()
        await self.writer.stop()

    def client(self, users: list[str], number: int) -> Deferred[None]:
        return Deferred.fromCoroutine(self._client(users, number))

    async def _client(self, users: list[str], number: int) -> None:
        peer = Peer("192.0.2.1")
        envelope = Envelope("id", "sender@b.example", (), peer)
        trace = b"Received: from b.example (b.example [192.0.2.1])\n\tby mx with ESMTP id 1;\n\tnow\n"
        while self.running:
            user = users[number % len(users)]
            number += self.options.concurrency + 1
            begun = time.perf_counter()
            outcomes = await self.delivery.deliver(envelope, trace, self.body, (Target(user, user),))
            self.waits.append(time.perf_counter() - begun)
            if outcomes[0] is not None:
                raise outcomes[0]
            self.done += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--helpers", type=int, default=4)
    parser.add_argument("--directory", type=Path, help="on the disk to measure (default: a temporary one)")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(dir=options.directory))
    failed: list[Any] = []

    def go() -> None:
        done = Deferred.fromCoroutine(Bench(options, directory).run())
        done.addErrback(failed.append)
        done.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(go)
    reactor.run()
    shutil.rmtree(directory, ignore_errors=True)
    if failed:
        failed[0].raiseException()


if __name__ == "__main__":
    main()
