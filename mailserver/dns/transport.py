"""One question over UDP or TCP, through Twisted. A new random port for each UDP question (RFC 5452, 4.5)."""

from __future__ import annotations

import struct
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from mailserver.dns.message import Alias, NotOurs, Question, read_answer
from mailserver.dns.values import Answer, DnsFailure

MAX_STRAYS = 100  # datagrams that are not ours before the question is given up: someone is guessing

Server = tuple[str, int]


class _Udp(DatagramProtocol):
    """A socket that is connected to the server, so that the kernel drops what others send."""

    noisy = False
    transport: Any

    def __init__(self, question: Question, server: Server, result: Deferred[Answer | Alias]) -> None:
        self._question = question
        self._server = server
        self._result: Deferred[Answer | Alias] | None = result
        self._strays = 0

    def startProtocol(self) -> None:
        self.transport.connect(*self._server)
        self.transport.write(self._question.wire)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        try:
            answer = read_answer(self._question, datagram)
        except NotOurs:
            self._strays += 1
            if self._strays > MAX_STRAYS:
                self.finish(DnsFailure("too many answers that are not ours"))
        except Exception as error:
            self.finish(error)
        else:
            self.finish(answer)

    def connectionRefused(self) -> None:
        self.finish(DnsFailure(f"no DNS server at {self._server[0]}:{self._server[1]}"))

    def finish(self, result: Answer | Alias | Exception) -> None:
        waiting, self._result = self._result, None
        if waiting is not None:
            if self.transport is not None:
                self.transport.stopListening()
            _fire(waiting, result)

    def stopProtocol(self) -> None:
        """The socket broke (no route, interface down): the reactor has closed it."""
        self.finish(DnsFailure(f"no way to {self._server[0]}"))


class _Tcp(Protocol):
    """A connection for one question (RFC 7766)."""

    transport: Any

    def __init__(self, question: Question, result: Deferred[Answer | Alias]) -> None:
        self._question = question
        self._result: Deferred[Answer | Alias] | None = result
        self._data = b""

    def connectionMade(self) -> None:
        wire = self._question.wire
        self.transport.write(struct.pack("!H", len(wire)) + wire)

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        if len(self._data) < 2:
            return
        length = int.from_bytes(self._data[:2], "big")
        if len(self._data) < 2 + length:
            return
        try:
            self.finish(read_answer(self._question, self._data[2 : 2 + length]))
        except NotOurs:
            self.finish(DnsFailure("an answer to another question over TCP"))
        except Exception as error:
            self.finish(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.finish(DnsFailure("the DNS server closed the connection"))

    def finish(self, result: Answer | Alias | Exception) -> None:
        waiting, self._result = self._result, None
        self._data = b""
        if waiting is not None:
            self.transport.abortConnection()
            _fire(waiting, result)


class _TcpFactory(Factory):
    noisy = False

    def __init__(self, protocol: _Tcp) -> None:
        self._made = protocol

    def buildProtocol(self, addr: Any) -> _Tcp:
        return self._made


def ask_udp(reactor: Any, question: Question, server: Server, seconds: float) -> Deferred[Answer | Alias]:
    """Fails with Truncated, NoEdns, DnsFailure."""
    result: Deferred[Answer | Alias] = Deferred()
    protocol = _Udp(question, server, result)
    try:
        reactor.listenUDP(0, protocol, interface="::" if ":" in server[0] else "")
    except Exception as error:  # no port, no descriptor (CASES E5), no IPv6
        return _failed(DnsFailure(f"no UDP socket: {error}"))
    timer = reactor.callLater(
        seconds, lambda: protocol.finish(DnsFailure(f"no answer from {server[0]} in {seconds:g} s"))
    )
    return result.addBoth(_cancel, timer)


def ask_tcp(reactor: Any, question: Question, server: Server, seconds: float) -> Deferred[Answer | Alias]:
    """Fails with NoEdns, DnsFailure."""
    result: Deferred[Answer | Alias] = Deferred()
    protocol = _Tcp(question, result)
    kind = TCP6ClientEndpoint if ":" in server[0] else TCP4ClientEndpoint
    connecting = kind(reactor, server[0], server[1], timeout=seconds).connect(_TcpFactory(protocol))

    def not_connected(failure: Failure) -> None:
        if not result.called:
            result.errback(DnsFailure(f"no connection to {server[0]}: {failure.getErrorMessage()}"))

    connecting.addErrback(not_connected)

    def too_late() -> None:
        connecting.cancel()
        if not result.called:
            protocol.finish(DnsFailure(f"no answer from {server[0]} over TCP in {seconds:g} s"))

    timer = reactor.callLater(seconds, too_late)
    return result.addBoth(_cancel, timer)


def _fire(waiting: Deferred[Answer | Alias], result: Answer | Alias | Exception) -> None:
    if isinstance(result, Exception):
        waiting.errback(result)
    else:
        waiting.callback(result)


def _failed(error: Exception) -> Deferred[Answer | Alias]:
    result: Deferred[Answer | Alias] = Deferred()
    result.errback(error)
    return result


def _cancel(result: Any, timer: Any) -> Any:
    if timer.active():
        timer.cancel()
    return result
