"""The base of the three server protocols: batched output with back-pressure, one deadline, TLS, closing.

A protocol gives bytes to `send`; they leave in one write at the end of `received`, or at the end of the
reactor turn where the answer came from elsewhere (a thread, another session). While more than the
transport's buffer waits for a client that does not read, `output_full` is true, reading stops, and the
protocol produces nothing more until `output_drained`: so one client costs a bounded amount of memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.interfaces import Peer
from mailserver.net.allowance import Allowance
from mailserver.net.channel import TlsChannel
from mailserver.net.deflate import Deflated
from mailserver.net.factory import ConnectionFactory
from mailserver.net.timer import disarm, rearmed

HANDSHAKE_SECONDS = 30.0
LINGER_SECONDS = 10.0  # how long a closed connection may take to swallow what was sent
WRITE_AT_ONCE = 64 * 1024


@implementer(IPushProducer, IHandshakeListener)
class Connection(Protocol):
    """One client. Subclasses override `started`, `received`, `deadline_passed`, `disconnected`,
    `output_drained`, `shut_down`; everything happens in the reactor thread."""

    factory: ConnectionFactory
    transport: Any
    log = Logger()

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.output_full = False
        self.open = False
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._receiving = False
        self._input_paused = False
        self._timer: IDelayedCall | None = None
        self._drained: list[Deferred[None]] = []
        self._closing = False
        self._begun = False
        self._shaking_hands = False
        self._deflated: Deflated | None = None
        self.allowance = Allowance()
        self._unread: IDelayedCall | None = None  # runs while the client reads nothing

    # --- for subclasses ---------------------------------------------------------------------------

    def started(self) -> None:
        """The connection is ready for bytes (on implicit TLS: after the handshake)."""

    def received(self, data: bytes) -> None:
        """Bytes came."""

    def deadline_passed(self) -> None:
        """The time given to `set_deadline` is over."""
        self.abort()

    def disconnected(self) -> None:
        """The connection is gone; nothing can be sent any more. Only called after `started`."""

    def output_drained(self) -> None:
        """`output_full` has become false: go on producing."""

    def secured(self) -> None:
        """The handshake of `start_tls` is done; `peer.tls` tells version and cipher."""

    def undecodable(self) -> None:
        """What comes is no DEFLATE: nothing more can be read."""
        self.abort()

    def too_much(self, text: str) -> None:
        """The client is over a limit of its `allowance`: say so in the protocol's words, then `close`."""
        self.abort()

    def shut_down(self) -> None:
        """The server stops: say so in the protocol's words, then `close`."""
        self.close()

    def stop(self) -> None:
        """`shut_down`, where there is somebody to talk to: in a handshake nothing can be said."""
        if self._shaking_hands or not self._begun:
            self.abort()
        else:
            self._safely(self.shut_down)

    # --- output -----------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Queue bytes for the client. Order is kept; nothing is sent after `close`."""
        if not self.open or self._closing or not data:
            return
        if not self._pending and not self._receiving:
            self.factory.flush_later(self)
        self._pending.append(data)
        self._pending_size += len(data)
        if self._pending_size >= WRITE_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Hand what was queued to the transport, in one write."""
        pending = self._pending
        if pending:
            self._pending = []
            self._pending_size = 0
            self.transport.write(pending[0] if len(pending) == 1 else b"".join(pending))

    def drained(self) -> Deferred[None]:
        """Fire when output may be produced (at once, mostly); fail when the client is gone."""
        if not self.open:
            return fail(ConnectionLost())
        if not self.output_full:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._drained.append(waiting)
        return waiting

    # --- input ------------------------------------------------------------------------------------

    def pause_input(self) -> None:
        """Read nothing more from the socket until `resume_input`."""
        if not self._input_paused:
            self._input_paused = True
            self._adjust_reading()

    def resume_input(self) -> None:
        if self._input_paused:
            self._input_paused = False
            self._adjust_reading()

    def _adjust_reading(self) -> None:
        if not self.open or self._closing:
            return
        if self._input_paused or self.output_full:
            self.transport.pauseProducing()
        else:
            self.transport.resumeProducing()

    # --- time -------------------------------------------------------------------------------------

    def set_deadline(self, seconds: float | None) -> None:
        """(Re-)arm the one timer of this connection; None disarms it. A handshake has its own time."""
        if self._shaking_hands:
            return
        wanted = seconds if self.open else None
        self._timer = rearmed(self._timer, self.factory.reactor, wanted, self._time_out)

    def _time_out(self) -> None:
        self._timer = None
        if self._closing or self._shaking_hands:
            self.abort()
        else:
            self._safely(self.deadline_passed)

    def _shake_hands(self) -> None:
        """A handshake begins: HANDSHAKE_SECONDS for all of it, whatever comes or is asked for meanwhile
        (CASES B10)."""
        self.set_deadline(HANDSHAKE_SECONDS)
        self._shaking_hands = True

    # --- log-in and limits ------------------------------------------------------------------------

    def belongs_to(self, user: str) -> None:
        """Who has logged in, "" for nobody any more. Raises TooManyOfUser."""
        if user:
            self.allowance.log_in(user, self.factory.counter, self._limits)
        else:
            self.allowance.log_out(self.factory.counter)

    def count_command(self) -> bool:
        """To be called for each command; False where the session ends for it."""
        if self.allowance.command(self._limits):
            return True
        self.too_much("Too many commands in one session")
        return False

    @property
    def _limits(self) -> Any:
        return self.factory.settings.now.limits

    # --- compression ------------------------------------------------------------------------------

    @property
    def compressed(self) -> bool:
        return self._deflated is not None

    def start_compression(self, received: bytes) -> None:
        """What is sent and received from here on is DEFLATE, above TLS where there is any (RFC 4978, 3).
        `received`: what came behind the command already."""
        self.flush()
        self._deflated = Deflated(
            self.transport, self.factory.reactor, self._take, lambda: self._safely(self.undecodable)
        )
        self.transport = self._deflated
        if received:
            self._deflated.feed(received)

    def end_compression(self) -> None:
        """What is sent and received from here on is as it was before (RFC 8437, 4.1)."""
        deflated, self._deflated = self._deflated, None
        if deflated is not None:
            self.flush()
            self.transport = deflated.transport
            received = deflated.stop()
            self._adjust_reading()
            if received:
                self._take(received)

    # --- TLS and closing --------------------------------------------------------------------------

    def start_tls(self, context_factory: object) -> None:
        """Begin the server side of a handshake now (RFC 3207, 2595). The caller has emptied its own
        input buffer: what came in clear must never be taken for what comes inside."""
        self.flush()
        self._shake_hands()
        self.transport.startTLS(context_factory, True)

    def close(self) -> None:
        """Send what is queued, then close; a client that does not read it is cut off."""
        if not self.open or self._closing:
            return
        self.flush()
        self._closing = True
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self.set_deadline(LINGER_SECONDS)

    def abort(self) -> None:
        """Close at once; what was queued is lost."""
        if self.open:
            self._closing = True
            self._pending.clear()
            self.transport.abortConnection()

    # --- called by Twisted ------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self.open = True
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        if self.factory.implicit_tls:
            self._shake_hands()
        else:
            self._begin()

    def _begin(self) -> None:
        self._begun = True
        self._safely(self.started)

    def _safely(self, step: Callable[..., None], *args: Any) -> None:
        """A step of the protocol, whose output leaves in one write. A fault in it costs this connection and
        no other."""
        self._receiving = True
        try:
            step(*args)
        except Exception:
            self.log.failure(
                "a connection from {ip} broke the {protocol} server",
                ip=self.peer.ip,
                protocol=self.peer.protocol,
            )
            self.abort()
        finally:
            self._receiving = False
            self.flush()

    def handshakeCompleted(self) -> None:
        handle = self.transport.getHandle()
        version, cipher = handle.get_protocol_version_name(), handle.get_cipher_name()
        self.peer = evolve(self.peer, tls=f"{version} {cipher}", channel=TlsChannel(handle))
        self._shaking_hands = False
        self.set_deadline(None)
        if self._begun:
            self._safely(self.secured)
        else:
            self._begin()

    def dataReceived(self, data: bytes) -> None:
        if self._deflated is not None:
            self._deflated.feed(data)
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        if self._closing:
            return
        if self.allowance.guarded and not self.allowance.received(len(data), self._limits):
            self._safely(self.too_much, "Too much was sent before a log-in")
        else:
            self._safely(self.received, data)

    def pauseProducing(self) -> None:
        if not self.output_full:
            self.output_full = True
            self._unread = self.factory.reactor.callLater(self._limits.output_timeout, self._not_read)
            self._adjust_reading()

    def _not_read(self) -> None:
        """What was sent is still not read (CASES E6)."""
        self._unread = None
        self.abort()

    def resumeProducing(self) -> None:
        if not self.output_full:
            return
        self.output_full = False
        self._read_again()
        self._adjust_reading()
        waiting, self._drained = self._drained, []
        for deferred in waiting:
            deferred.callback(None)
        self._safely(self.output_drained)

    def _read_again(self) -> None:
        disarm(self._unread)
        self._unread = None

    def stopProducing(self) -> None:
        """The transport gives up on us; `connectionLost` follows."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.open:
            return
        self._shaking_hands = False
        self.set_deadline(None)
        self._read_again()
        self.open = False
        self._pending.clear()
        if self._deflated is not None:
            self._deflated.stop()
        self.factory.forget(self)
        waiting, self._drained = self._drained, []
        for deferred in waiting:
            deferred.errback(ConnectionLost())
        if self._begun:
            self.disconnected()
