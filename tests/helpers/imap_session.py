"""IMAP sessions without a connection: commands in the selected state as lines, answers as lines.

alice = SelectedClient(account)          # selects INBOX
alice.told("NOOP")                       # -> untagged responses and the tagged one
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock

from mailserver.errors import MailError
from mailserver.imap.commands import Noop
from mailserver.imap.grammar.command import parse_command
from mailserver.imap.handlers import change, fetch, search
from mailserver.imap.selected import Selected
from mailserver.imap.session import Session
from mailserver.interfaces import IMessageFile, Peer
from tests.helpers.settings import make_settings

HANDLERS = {**fetch.TABLE, **search.TABLE, **change.TABLE}


class FakeWire:
    """`session.Wire` that keeps what is sent. `stalled`: the client reads nothing; `lost`: it is gone."""

    def __init__(self) -> None:
        self.peer = Peer("192.0.2.1", protocol="imap")
        self.settings: Any = make_settings()
        self.authenticator: Any = None
        self.audit: Any = None
        self.output_full = False
        self.time = 1_000_000_000.0
        self.timers = Clock()
        self.compressed = False
        self.stalled = False
        self.sent: list[bytes] = []
        self.breaths = 0
        self.ended = b""
        self.closed = False
        self.failing: MailError | None = None  # what reading a large message fails with
        self.largest = 0
        self._waiting: list[Deferred[None]] = []

    def belongs_to(self, user: str) -> None:
        """Not counted here."""

    def send(self, data: bytes) -> None:
        if self.closed:
            return
        self.sent.append(data)
        self.largest = max(self.largest, len(data))
        if self.stalled:
            self.output_full = True

    def drained(self) -> Deferred[None]:
        if not self.output_full:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def drain(self) -> None:
        """The client has read what was sent."""
        self.output_full = False
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    def lose(self) -> None:
        """The client goes while output waits."""
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.errback(ConnectionLost())

    def breathe(self) -> Deferred[None]:
        self.breaths += 1
        return succeed(None)

    def now(self) -> float:
        return self.time

    def call_later(self, seconds: float, function: Callable[[], None]) -> Any:
        return self.timers.callLater(seconds, function)

    def in_thread(self, function: Callable[[], Any]) -> Deferred[Any]:
        return succeed(function())

    async def send_file(self, file: IMessageFile, offset: int, length: int) -> None:
        if self.failing is not None:
            raise self.failing
        while length > 0:
            await self.drained()
            data = await file.read(offset, min(length, 256 * 1024))
            offset += len(data)
            length -= len(data)
            self.send(data)

    def read_line(self) -> Deferred[bytes]:
        return fail(ConnectionLost())

    def tls_available(self) -> bool:
        return False

    def start_tls(self) -> None: ...

    def logged_in(self) -> None: ...

    def begin_compression(self) -> None: ...

    def end_compression(self) -> None: ...

    def new_body(self, on_drained: Callable[[], None], memory: int, raw: bool = False) -> Any:
        raise NotImplementedError

    def go_on(self) -> None: ...

    def end(self, farewell: bytes = b"") -> None:
        self.ended = farewell
        self.closed = True

    def take(self) -> bytes:
        sent, self.sent = b"".join(self.sent), []
        return sent


class SelectedClient:
    """A session that has a mailbox of `account` selected (a FakeAccount, or one of a real store whose results
    come at once)."""

    def __init__(self, account: Any, name: str = "INBOX", read_only: bool = False) -> None:
        self.account = account
        self.wire = FakeWire()
        self.session = Session(self.wire)
        self.session.account = account
        self.view = Selected(read_only, self.session.wake, self.session.enabled)
        self.clock: Any = getattr(account, "clock", None)
        opened: list[Any] = []
        account.open(name, self.view, read_only).addCallback(opened.append)
        if not opened:
            self.clock.advance(0)
        self.view.attach(opened[0])
        self.session.select(self.view)
        self.failures: list[Any] = []

    def start(self, line: str | bytes) -> Deferred[None]:
        """Give a command (without tag) and do not wait."""
        raw = line.encode() if isinstance(line, str) else line
        return Deferred.fromCoroutine(self._run(parse_command((b"a " + raw,))))

    def run_now(self, command: Any) -> list[str]:
        """A parsed command that has nothing to wait for; the lines that are told."""
        done: list[Any] = []
        Deferred.fromCoroutine(self._run(command)).addBoth(done.append)
        assert done == [None]
        return self.wire.take().decode("latin-1").split("\r\n")[:-1]

    async def _run(self, command: Any) -> None:
        try:
            if isinstance(command, Noop):
                await self.view.mailbox.refresh()
                self.session.ok(command)
            else:
                await HANDLERS[type(command)](self.session, command)
        except MailError as error:
            self.session.refuse(command, error)

    def raw(self, line: str | bytes) -> bytes:
        """Give a command (without tag); all that is sent until it is answered."""
        done: list[Any] = []
        self.start(line).addBoth(done.append)
        while not done:
            if self.clock is None or not self.clock.getDelayedCalls():
                raise AssertionError("the command waits for something that does not come")
            self.clock.advance(0)
        if done[0] is not None:
            done[0].raiseException()
        return self.wire.take()

    def told(self, line: str | bytes) -> list[str]:
        """The same as lines without CRLF, the tagged one last."""
        answer = self.raw(line)
        assert answer.endswith(b"\r\n")
        return answer[:-2].decode("latin-1").split("\r\n")
