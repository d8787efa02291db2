"""The model of `tests.imap.model` against a real server of two workers: ten clients over sockets, on
whichever worker takes them. The same rules hold, wherever a change was made; in the end all know the same.

`python -m tests.processes.model [SECONDS [SEED]]` goes on for as long.
"""

from __future__ import annotations

import random
import smtplib
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.helpers.processes import children, holder
from tests.helpers.server import Server, eventually
from tests.helpers.store import drop_file
from tests.helpers.waiting import readable
from tests.imap.model import Client, World, live, main, responses

PATIENCE = 10.0  # seconds until all have heard of everything


class SocketWire:
    """A connection whose answers are taken whole."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection((server.host, server.ports["imap"]), timeout=PATIENCE)
        self._rest = b""
        while b"\n" not in self._rest:
            self._rest += self.socket.recv(65536)
        self.socket.setblocking(False)
        assert self.take().startswith(b"* OK ")

    def feed(self, data: bytes) -> None:
        self.socket.sendall(data)

    def take(self) -> bytes:
        try:
            while piece := self.socket.recv(65536):
                self._rest += piece
        except BlockingIOError:
            pass
        whole = 0
        try:
            for line, literals in responses(self._rest):  # which raises at one that is not there yet
                length = len(line) + 2 + sum(map(len, literals)) + 2 * len(literals)
                if whole + length > len(self._rest):
                    break
                whole += length
        except ValueError:
            pass
        taken, self._rest = self._rest[:whole], self._rest[whole:]
        return taken

    def lose(self) -> None:
        self.socket.close()


class ProcessWorld(World):
    """`mailbox.uids`: what the client that knows most knows."""

    def __init__(self, server: Server, seed: int, clients: int = 10) -> None:
        self.chance = random.Random(seed)
        self.process_server = server
        self.folder = server.maildir("alice")
        self.mailbox: Any = SimpleNamespace(uids=[])
        self.texts, self.history, self.clients, self.count = {}, {}, [], 0
        for _ in range(8):
            self.deliver(foreign=False)
        modes = ("QRESYNC", "CONDSTORE", "QRESYNC", "")
        self.clients += [Client(self, f"c{n}", modes[n % 4]) for n in range(clients)]
        self.settle()

    def wire(self) -> Any:
        return SocketWire(self.process_server)

    def workers(self) -> set[int]:
        """The processes that have a session."""
        assert self.process_server.process is not None
        pids = children(self.process_server.process.pid)
        return {holder(pids, client.wire.socket) for client in self.clients if not client.away}

    def turn(self, seconds: float = 0.0) -> bool:
        present = {client.wire.socket: client for client in self.clients if not client.away}
        some = readable(present, seconds)
        for one in some:
            present[one].read()
        self.mailbox.uids = max(
            ([uid for uid in client.uids if uid is not None] for client in self.clients), key=len, default=[]
        )
        return bool(some)

    def settle(self) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            some = self.turn(0.005)
            for client in self.clients:
                client.next()
            if not some and not any(client.busy or client.queue for client in self.clients):
                return
            assert time.monotonic() < end, f"waiting: {[client.line for client in self.clients]}"

    def check(self) -> None:
        self.settle()
        for client in self.clients:
            if client.away:
                client.connect()
            elif client.idling:
                client.wire.feed(b"DONE\r\n")
        self.settle()
        end = time.monotonic() + PATIENCE
        while faults := list(self.differences()):
            assert time.monotonic() < end, "\n".join(faults)
            self.turn(0.2)
            for client in self.clients:
                client.queue.append("NOOP")
                client.next()
            self.settle()

    def differences(self) -> Iterable[str]:
        """Between what clients know, and what one that comes now is told."""
        with SocketClient(self) as fresh:
            for client in self.clients:
                if client.uids != fresh.uids:
                    yield f"{client.name}: {client.uids}, not {fresh.uids}"
                elif client.flags != fresh.flags:
                    yield f"{client.name}: {client.flags}, not {fresh.flags}"
                elif any(fresh.modseqs[uid] != modseq for uid, modseq in client.modseqs.items()):
                    if client.mode == "QRESYNC":
                        yield f"{client.name}: {client.modseqs}, not {fresh.modseqs}"
                elif client.highest > fresh.highest:
                    yield f"{client.name}: {client.highest}, not {fresh.highest}"

    def deliver(self, foreign: bool = True) -> None:
        self.count += 1
        content = b"Subject: %d\n\ntext\n" % self.count
        if foreign and self.chance.random() < 0.3:
            drop_file(self.folder, f"{self.count}.foreign", content)
            return
        server = self.process_server
        with smtplib.SMTP(server.host, server.ports["smtp"], timeout=PATIENCE) as smtp:
            smtp.sendmail("x@elsewhere.example", ["alice@example.org"], content.replace(b"\n", b"\r\n"))


class SocketClient(Client):
    """One that has just come, and has asked for everything."""

    def __init__(self, world: ProcessWorld) -> None:
        super().__init__(world, "fresh", "CONDSTORE")

    def __enter__(self) -> SocketClient:
        self.queue.append("UID FETCH 1:* (UID FLAGS MODSEQ)")
        end = time.monotonic() + PATIENCE
        while self.line or self.queue:
            readable([self.wire.socket], 0.05)
            self.read()
            self.next()
            assert time.monotonic() < end, self.line
        return self

    def __exit__(self, *exception: object) -> None:
        self.wire.lose()


def run(server: Server, seed: int, steps: int = 300, every: int = 100) -> ProcessWorld:
    """Raises AssertionError, with the dialogs of those who were concerned."""
    eventually(lambda: server.log().count(" is process ") == 2, PATIENCE, "two workers are ready")
    return live(ProcessWorld(server, seed), seed, steps, every)


def of_two_workers(folder: Path) -> Server:
    return Server(folder, services=("smtp", "imap"), keys={"workers": 2})


def one(folder: str, seed: int) -> None:
    with of_two_workers(Path(folder)) as server:
        run(server, seed, steps=600)


if __name__ == "__main__":
    sys.exit(main(", with two workers", one))
