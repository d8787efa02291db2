"""Many clients for a while, and what the server's processes hold meanwhile and afterwards."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import mean

from attrs import define, field, frozen

from tests.helpers.server import Server, eventually
from tests.soak.people import Person

USERS = [f"user{number}" for number in range(20)]
GROWTH = 1.05  # of memory, from the middle of the time to its end
SLACK = 4096  # KiB: what an allocator does by itself


@frozen
class Sample:
    """Of all processes of the server."""

    memory: int  # KiB, resident
    descriptors: int
    threads: int


@define
class Soak:
    folder: Path
    clients: int
    seconds: float
    workers: int = 1
    tell: Callable[[str], None] = print
    samples: list[Sample] = field(factory=list)
    faults: list[str] = field(factory=list)
    sessions: int = 0

    def run(self) -> None:
        """Raises AssertionError where something grew, failed, or was left open."""
        server = Server(
            self.folder,
            users=USERS,
            services=("smtp", "imap", "imaps", "pop3"),
            keys={"workers": self.workers},
            limits={"connections_per_ip": 10_000},
        )
        with server:
            for number in range(len(USERS)):  # open accounts stay open, and have files open
                Person(server, number).visit(USERS[number])
            self._crowd(server, self.clients, min(10.0, self.seconds / 5))
            before = self._settled(server)
            self.samples.clear()
            self._crowd(server, self.clients, self.seconds)
            after = self._settled(server)
        self.tell(f"{self.sessions} sessions; at rest before and after: {before}, {after}")
        assert not self.faults, "\n".join(self.faults[:10])
        assert "Traceback" not in server.log(), server.log()[-5000:]
        assert after.descriptors <= before.descriptors, f"descriptors: {before} -> {after}"
        assert after.threads <= before.threads, f"threads: {before} -> {after}"

    def grown(self) -> float:
        """Memory in the last fifth by memory in the third, less what is always allowed."""
        fifth = max(1, len(self.samples) // 5)
        middle = mean(sample.memory for sample in self.samples[2 * fifth : 3 * fifth])
        return (mean(sample.memory for sample in self.samples[-fifth:]) - SLACK) / middle

    def _crowd(self, server: Server, clients: int, seconds: float) -> None:
        end = threading.Event()
        people = [Person(server, number) for number in range(clients)]
        threads = [threading.Thread(target=self._live, args=(one, end), daemon=True) for one in people]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        every = max(0.2, seconds / 100)
        while not end.wait(every):
            self.samples.append(measure(server))
            if len(self.samples) % 10 == 0:
                self.tell(f"{time.monotonic() - begun:5.0f} s: {self.samples[-1]}")
            if time.monotonic() - begun >= seconds:
                end.set()
        for thread in threads:
            thread.join(120)
        self.sessions += sum(one.sessions for one in people)

    def _live(self, person: Person, end: threading.Event) -> None:
        try:
            person.live(lambda pause: not end.wait(pause))
        except Exception as error:
            self.faults.append(f"{type(error).__name__}: {error}")

    def _settled(self, server: Server) -> Sample:
        """When the clients are gone and nothing is waiting any more."""
        last: list[Sample] = []

        def still() -> bool:
            last.append(measure(server))
            recent = {sample.descriptors for sample in last[-20:]}
            return len(last) >= 20 and len(recent) == 1

        eventually(still, 60, "the server comes to rest")
        return last[-1]


def measure(server: Server) -> Sample:
    memory = descriptors = threads = 0
    for pid in processes(server):
        with suppress(OSError):
            status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            memory += int(status["VmRSS"].split()[0])
            threads += int(status["Threads"])
            descriptors += len(os.listdir(f"/proc/{pid}/fd"))
    return Sample(memory, descriptors, threads)


def processes(server: Server) -> Iterator[int]:
    """The server's process, and its workers."""
    assert server.process is not None
    yield server.process.pid
    with suppress(OSError):
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
        yield from map(int, children.split())
