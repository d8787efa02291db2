"""An SMTP server in a thread that takes mail and remembers it, or refuses recipients as it is told."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable
from typing import Any

from attrs import frozen


@frozen
class Taken:
    """A message that got its 250. `data` has LF line ends, dots unstuffed."""

    sender: str
    recipients: tuple[str, ...]
    data: bytes


class _Handler(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        try:
            self._talk()
        except OSError:
            return

    def _say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")

    def _talk(self) -> None:
        sink: SmtpSink = self.server.sink
        sender = ""
        recipients: list[str] = []
        self._say("220 sink ESMTP")
        while line := self.rfile.readline().decode("utf-8", "replace"):
            verb = line[:4].upper().strip()
            if verb == "DATA" and recipients:
                self._say("354 go on")
                data = self._data()
                if data is None:
                    return
                sink.take(Taken(sender, tuple(recipients), data))
                self._say("250 2.0.0 taken")
                recipients = []
            elif verb == "DATA":
                self._say("503 5.5.1 no recipient")
            elif verb == "RCPT":
                reply = sink.recipient(sender, _path(line))
                if reply.startswith("2"):
                    recipients.append(_path(line))
                self._say(reply)
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                if verb == "MAIL":
                    sender, recipients = _path(line), []
                self._say("250 sink")

    def _data(self) -> bytes | None:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line.endswith(b"\r\n"):
                return None
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines).replace(b"\r\n", b"\n")


def _path(line: str) -> str:
    return line.partition("<")[2].partition(">")[0]


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    sink: Any


class SmtpSink:
    """recipient: the reply to RCPT by sender and recipient. take: called with each message before its 250; by
    default it goes into `taken`."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        recipient: Callable[[str, str], str] = lambda sender, recipient: "250 2.1.5 ok",
        take: Callable[[Taken], None] | None = None,
    ) -> None:
        self.taken: list[Taken] = []
        self.recipient = recipient
        self.take = take or self.taken.append
        self._server = _Server((host, port), _Handler)
        self._server.sink = self
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> SmtpSink:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
