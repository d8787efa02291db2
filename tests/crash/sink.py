"""The next hop for remote mail: takes everything, and remembers it."""

from __future__ import annotations

import socketserver
import threading
from collections import Counter
from typing import Any

from tests.crash.messages import fault, number_of


class _Handler(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        try:
            self._talk()
        except OSError:
            return

    def _talk(self) -> None:
        self.wfile.write(b"220 sink\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper().strip()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                if not self._data():
                    return
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 sink\r\n")

    def _data(self) -> bool:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line.endswith(b"\r\n"):
                return False
            lines.append(line[1:] if line.startswith(b".") else line)
        self.server.sink.take(b"".join(lines).replace(b"\r\n", b"\n"))
        self.wfile.write(b"250 taken\r\n")
        return True


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    sink: Sink


class Sink:
    """received: how often each number came; faults: messages that were not whole."""

    def __init__(self) -> None:
        self.received: Counter[int] = Counter()
        self.faults: list[str] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.sink = self
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def take(self, data: bytes) -> None:
        number = number_of(data)
        if number is None:
            self.faults.append("a relayed message has no number")
            return
        begin = data.find(b"From: load@sender.example\n")
        problem = fault(data[begin:]) if begin >= 0 else "no header"
        if problem:
            self.faults.append(f"relayed: {problem}")
        self.received[number] += 1

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
