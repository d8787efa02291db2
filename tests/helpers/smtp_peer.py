"""An SMTP server that does what a test tells it, on a real socket.

Peer(["250-x", "250 PIPELINING"]) answers EHLO so; `replies` maps a verb (or a whole line) to the reply, a
list of replies (one after the other, the last repeats) or a callable of the line. Special replies: DROP
closes the connection, SILENCE says nothing. `messages` holds what came, unstuffed, with its envelope.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trustme
from attrs import define, field
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from OpenSSL import SSL
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from mailserver.wire.dots import DotReader

DROP = "DROP"
SILENCE = "SILENCE"
Replies = dict[str, Any]


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """The server side of TLS, with a certificate of an authority that nobody trusts."""

    def __init__(self, name: str = "localhost", newest: int = SSL.TLS1_3_VERSION) -> None:
        issued = trustme.CA().issue_cert(name)
        self.context = SSL.Context(SSL.TLS_METHOD)
        self.context.set_max_proto_version(newest)
        self.context.use_certificate(load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()))
        key: Any = load_pem_private_key(issued.private_key_pem.bytes(), None)
        self.context.use_privatekey(key)

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        return SSL.Connection(self.context, None)


@define
class Received:
    """One message. `raw` is as it was on the wire, dots stuffed; `body` is not."""

    sender: str
    recipients: list[str]
    body: bytes = b""
    raw: bytes = b""
    tls: bool = False


@define
class Peer:
    """What all connections to one port share."""

    extensions: list[str] = field(factory=lambda: ["PIPELINING", "SIZE 50000000", "8BITMIME"])
    greeting: str = "220 peer.example ESMTP"
    replies: Replies = field(factory=dict)
    tls: Any = None  # a context factory: STARTTLS is offered
    implicit_tls: bool = False
    after_starttls: bytes = b""  # sent in clear behind the 220
    messages: list[Received] = field(factory=list)
    lines: list[str] = field(factory=list)
    connections: int = 0
    open: set[Any] = field(factory=set)
    port: Any = None

    def start(self, reactor: Any, interface: str = "127.0.0.1", number: int = 0) -> Peer:
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda addr: _Session(self)  # type: ignore[method-assign]
        if self.implicit_tls:
            self.port = reactor.listenSSL(number, factory, self.tls, interface=interface)
        else:
            self.port = reactor.listenTCP(number, factory, interface=interface)
        return self

    @property
    def number(self) -> int:
        return int(self.port.getHost().port)

    def stop(self) -> Deferred[Any]:
        for session in list(self.open):
            session.transport.abortConnection()
        return maybeDeferred(self.port.stopListening)

    def reply(self, line: str, default: str) -> str:
        verb = line.split(" ", maxsplit=1)[0].split(":", maxsplit=1)[0].upper()
        for key in (line, verb):
            found = self.replies.get(key)
            if isinstance(found, list):
                found = found.pop(0) if len(found) > 1 else found[0]
            if isinstance(found, Callable):  # type: ignore[arg-type]
                found = found(line)
            if found is not None:
                return str(found)
        return default


class _Session(Protocol):
    transport: Any

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.buffer = b""
        self.reader: DotReader | None = None
        self.chunk = -1  # octets of a BDAT that are still to come
        self.current: Received | None = None
        self.secured = peer.implicit_tls

    def connectionMade(self) -> None:
        self.peer.connections += 1
        self.peer.open.add(self)
        self.say(self.peer.greeting)

    def connectionLost(self, reason: object = None) -> None:
        self.peer.open.discard(self)

    def say(self, reply: str) -> bool:
        if reply == DROP:
            self.transport.abortConnection()
            return False
        if reply != SILENCE:
            self.transport.write(reply.encode() + b"\r\n")
        return True

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        while self.buffer:
            if self.chunk >= 0:
                if not self.chunked():
                    return
                continue
            if self.reader is not None:
                if not self.body():
                    return
                continue
            line, found, rest = self.buffer.partition(b"\r\n")
            if not found:
                return
            self.buffer = rest
            if not self.command(line.decode()):
                return

    def body(self) -> bool:
        """Part of a body; False where more is needed."""
        assert self.reader is not None and self.current is not None
        data, self.buffer = self.buffer, b""
        self.current.raw += data
        self.current.body += self.reader.feed(data)
        if not self.reader.finished:
            return False
        assert not self.reader.bare, "bare CR or LF on the wire"
        self.buffer = self.reader.rest
        if self.buffer:
            self.current.raw = self.current.raw[: -len(self.buffer)]
        self.reader = None
        self.peer.messages.append(self.current)
        return self.say(self.peer.reply(".", "250 2.0.0 taken"))

    def chunked(self) -> bool:
        """Octets of a chunk, which is the last one."""
        assert self.current is not None
        data, self.buffer = self.buffer[: self.chunk], self.buffer[self.chunk :]
        self.current.body += data
        self.chunk -= len(data)
        if self.chunk:
            return False
        self.chunk = -1
        self.peer.messages.append(self.current)
        return self.say(self.peer.reply(".", "250 2.0.0 taken"))

    def command(self, line: str) -> bool:
        self.peer.lines.append(line)
        verb = line.split(" ", maxsplit=1)[0].split(":", maxsplit=1)[0].upper()
        default = {"MAIL": "250 2.1.0 ok", "RCPT": "250 2.1.5 ok", "DATA": "354 go", "QUIT": "221 bye"}
        if verb == "EHLO":
            extensions = list(self.peer.extensions)
            if self.peer.tls is not None and not self.secured:
                extensions.append("STARTTLS")
            lines = ["peer.example", *extensions]
            text = "\r\n".join(f"250-{one}" for one in lines[:-1]) + f"\r\n250 {lines[-1]}"
            return self.say(self.peer.reply(line, text.lstrip("\r\n")))
        if verb == "BDAT":
            assert line.endswith(" LAST")
            self.chunk = int(line.split()[1])
            return True
        reply = self.peer.reply(line, default.get(verb, "250 ok"))
        if verb == "STARTTLS" and reply == "250 ok":
            self.transport.write(b"220 go\r\n" + self.peer.after_starttls)
            self.secured = True
            self.buffer = b""
            self.transport.startTLS(self.peer.tls)
            return True
        if verb == "MAIL" and reply.startswith("250"):
            self.current = Received(line[line.index("<") + 1 : line.index(">")], [], tls=self.secured)
        if verb == "RCPT" and reply.startswith("250") and self.current is not None:
            self.current.recipients.append(line[line.index("<") + 1 : line.index(">")])
        if verb == "DATA" and reply.startswith("354"):
            self.reader = DotReader()
        alive = self.say(reply)
        if verb == "QUIT":
            self.transport.loseConnection()
        return alive
