"""One outgoing connection: the client engine on a Twisted transport, with its timers, TLS and bodies.

A body is written as fast as the server takes it, in slices read elsewhere; up to 256 KiB wait in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from typing import Protocol as Shape

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IPushProducer
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.net.eager import write_now
from mailserver.net.timer import rearmed
from mailserver.smtp.client.answers import Reply, local_reply
from mailserver.smtp.client.engine import ClientEngine
from mailserver.smtp.client.values import (
    ClientOptions,
    Failed,
    Finished,
    Mail,
    Ready,
    SendBody,
    StartTls,
    State,
    TransactionDone,
)
from mailserver.smtp.parameters import Limits, read_limits
from mailserver.wire.dots import DotStuffer

CONNECT_SECONDS = 30.0


class Source(Shape):
    """A body to send, any line ends; a binary one as it shall be on the wire. `whole` is all of it where it
    is small."""

    whole: bytes | None

    def read(self) -> Deferred[bytes]:
        """The next slice, b"" at the end. Only where `whole` is None."""

    def close(self) -> None:
        """No more is wanted."""


class SessionFailed(Exception):
    """The connection could not be brought to the point where it takes mail."""

    def __init__(self, reply: Reply, stage: State | None) -> None:
        super().__init__(str(reply))
        self.reply = reply
        self.stage = stage  # None: no connection


class _Chunk:
    """The octets of a chunk (RFC 3030), which have to be as many as were announced."""

    def __init__(self, size: int) -> None:
        self._left = size

    def feed(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("a body that is longer than it was said to be")
        return data

    def finish(self) -> bytes:
        if self._left:
            raise ValueError("a body that is shorter than it was said to be")
        return b""


@implementer(IPushProducer, IHandshakeListener)
class Sender(Protocol):
    """`opened` fires with this object when the server is ready for mail, or fails with SessionFailed."""

    transport: Any
    log = Logger()

    def __init__(self, options: ClientOptions, tls: Callable[[], Any], reactor: Any) -> None:
        self.engine = ClientEngine(options)
        self.opened: Deferred[Sender] = Deferred(lambda _: self.abort())
        self.connector: Any = None
        self.closed = False
        self.sent = 0  # transactions
        self.domains: set[str] = set()  # of recipients
        self.on_close: Callable[[Sender], None] | None = None
        self._tls = tls
        self._reactor = reactor
        self._timer: IDelayedCall | None = None
        self._running = False
        self._outcome: Deferred[tuple[Reply, ...]] | None = None
        self._source: Source | None = None
        self._full = False
        self._connected = False
        self._drained: Deferred[None] | None = None

    # --- for the relay ----------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Can a transaction be started?"""
        return not self.closed and self.engine.usable

    @property
    def limits(self) -> Limits:
        """What the server will refuse beyond (RFC 9422)."""
        return read_limits(self.engine.extensions.get("LIMITS", ""))

    @property
    def spent(self) -> bool:
        """The server takes no further transaction in this session."""
        return 0 < self.limits.transactions <= self.sent

    def takes_domain(self, domain: str) -> bool:
        """Will the server have recipients of this domain, after those it had (RFC 9422, 4.3)?"""
        most = self.limits.domains
        return not most or domain in self.domains or len(self.domains) < most

    @property
    def requires_tls(self) -> bool:
        """Does the server promise to pass REQUIRETLS on (RFC 8689)?"""
        return "REQUIRETLS" in self.engine.extensions

    @property
    def takes_binary(self) -> bool:
        """Can the server be given a binary message as it is?"""
        return self.engine.takes_binary

    @property
    def takes_eight_bit(self) -> bool:
        return "8BITMIME" in self.engine.extensions

    @property
    def reports(self) -> bool:
        """Does the server take over what the sender wants to be told (RFC 3461)?"""
        return "DSN" in self.engine.extensions

    @property
    def takes_by(self) -> bool:
        """Does the server watch over the time that a message is to be delivered by (RFC 2852)?"""
        return "DELIVERBY" in self.engine.extensions

    @property
    def body_started(self) -> bool:
        """Did the server begin to receive the last transaction's body?"""
        return self.engine.body_started

    def send(self, mail: Mail, source: Source) -> Deferred[tuple[Reply, ...]]:
        """One transaction; fires with a reply per recipient, never fails. `source` is closed."""
        outcome: Deferred[tuple[Reply, ...]] = Deferred()
        self._outcome = outcome
        self._source = source
        self.sent += 1
        self.domains.update(address.rpartition("@")[2].lower() for address in mail.recipients)
        self.engine.transact(mail)
        self._run()
        return outcome

    def quit(self) -> None:
        """Say QUIT and close; at once where the server is not waiting for us."""
        if self.usable:
            self.engine.quit()
            self._run()
        else:
            self.abort()

    def abort(self) -> None:
        """Close at once, connected or not; a transaction under way ends as unclear."""
        if not self._connected and self.connector is not None:
            self.connector.stopConnecting()
        elif not self.closed:
            self.engine.failed(local_reply(451, "4.4.2", "given up by this server"))
            self._run()

    # --- the engine -------------------------------------------------------------------------------

    def _run(self) -> None:
        """Handle what the engine has to say and write what it has to send. Callbacks may call `send`
        again: the loop that runs already goes on with it."""
        if self._running:
            return
        self._running = True
        try:
            while True:
                data = self.engine.data_to_send()
                if data and not self.closed:
                    write_now(self.transport, data)
                event = self.engine.next_event()
                if event is None:
                    break
                self._handle(event)
        finally:
            self._running = False
        self._arm()

    def _handle(self, event: object) -> None:
        if isinstance(event, TransactionDone):
            self._done(event.replies)
        elif isinstance(event, SendBody):
            assert self._source is not None
            stuffer = DotStuffer(normalise=True) if event.chunk is None else _Chunk(event.chunk)
            Deferred.fromCoroutine(self._send_body(self._source, stuffer))
        elif isinstance(event, Ready):
            if not self.opened.called:
                self.opened.callback(self)
        elif isinstance(event, StartTls):
            self._start_tls()
        elif isinstance(event, Failed):
            self._close(abort=True)
            if not self.opened.called:
                self.opened.errback(SessionFailed(event.reply, event.stage))
        elif isinstance(event, Finished):
            self._close(abort=False)

    def _done(self, replies: tuple[Reply, ...]) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()
        outcome, self._outcome = self._outcome, None
        if outcome is not None:
            outcome.callback(replies)

    async def _send_body(self, source: Source, stuffer: DotStuffer | _Chunk) -> None:
        """The whole body to its end, then wait for the last reply."""
        try:
            if source.whole is not None:
                write_now(self.transport, stuffer.feed(source.whole) + stuffer.finish())
            else:
                while self._source is source and (piece := await source.read()):
                    self.transport.write(stuffer.feed(piece))
                    self._arm()
                    if self._full:
                        self._drained = Deferred()
                        await self._drained
                if self._source is not source:  # the transaction ended before its body
                    return
                self.transport.write(stuffer.finish())
        except Exception:
            self.log.failure("a queued body cannot be read; the transaction is broken off")
            self.engine.failed(local_reply(451, "4.3.0", "this server could not read the message"))
        else:
            self.engine.body_sent()
        self._run()

    # --- time -------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """One timer, for what is waited for now (RFC 5321, 4.5.3.2)."""
        seconds = None if self.closed else self.engine.timeout
        self._timer = rearmed(self._timer, self._reactor, seconds, self._timed_out)

    def _timed_out(self) -> None:
        self._timer = None
        if self.engine.state is State.QUIT:
            self._close(abort=True)
            return
        waited = f"no answer for {self.engine.timeout:g} s while waiting for {self.engine.state.value}"
        self.engine.failed(local_reply(451, "4.4.2", waited))
        self._run()

    # --- TLS --------------------------------------------------------------------------------------

    def _start_tls(self) -> None:
        try:
            context = self._tls()
        except ValueError as error:  # a name that no certificate can carry
            self.engine.failed(local_reply(454, "4.7.5", f"no TLS to a host of this name: {error}"))
        else:
            self.transport.startTLS(context)

    def handshakeCompleted(self) -> None:
        if self.closed or self.transport.disconnecting:  # the certificate was not good enough
            return
        if self.engine.state is State.HANDSHAKE:
            self.engine.tls_established()
            self._run()

    # --- called by Twisted ------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._connected = True
        self.connector = None
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        if self.engine.options.secure:
            self._start_tls()
        self._run()

    def dataReceived(self, data: bytes) -> None:
        if not self.closed:
            self.engine.receive(data)
            self._run()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._connected = False
        if not self.closed:
            why = "" if isinstance(reason.value, ConnectionDone) else f": {reason.getErrorMessage()}"
            waiting = self.engine.state.value
            self.engine.failed(local_reply(451, "4.4.2", f"connection lost while waiting for {waiting}{why}"))
            self._run()
        self._release_writer()

    def _close(self, abort: bool) -> None:
        if self.closed:
            return
        self.closed = True
        if self._connected:
            self.transport.unregisterProducer()
            if abort:
                self.transport.abortConnection()
            else:
                self.transport.loseConnection()
        self._release_writer()
        if self.on_close is not None:
            self.on_close(self)

    def _release_writer(self) -> None:
        """Wake the body's writer, which finds its transaction gone."""
        waiting, self._drained = self._drained, None
        self._full = False
        if waiting is not None:
            waiting.callback(None)

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        self._release_writer()

    def stopProducing(self) -> None:
        """The transport is closing; `connectionLost` follows."""


class _SenderFactory(ClientFactory):
    noisy = False

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def buildProtocol(self, addr: Any) -> Sender:
        return self._sender

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._sender.connector = None
        if not self._sender.opened.called:
            self._sender.closed = True
            reply = local_reply(451, "4.4.1", f"no connection: {reason.getErrorMessage()}")
            self._sender.opened.errback(SessionFailed(reply, None))


def connect(
    reactor: Any, ip: str, port: int, options: ClientOptions, tls: Callable[[], Any]
) -> Deferred[Sender]:
    """A connection that is ready for mail. Fails with SessionFailed, also when it is cancelled.

    ip:  or `unix:PATH`
    tls: makes the connection creator for a handshake (`mailserver.tls.client.client_context`).
    """
    sender = Sender(options, tls, reactor)
    factory = _SenderFactory(sender)
    if ip.startswith("unix:"):
        path = ip.removeprefix("unix:")
        sender.connector = reactor.connectUNIX(path, factory, timeout=CONNECT_SECONDS)
    else:
        sender.connector = reactor.connectTCP(ip, port, factory, timeout=CONNECT_SECONDS)
    return sender.opened
