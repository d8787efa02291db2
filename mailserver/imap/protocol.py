"""IMAP on a Twisted connection: calls the handlers, keeps the time, gives the session what it needs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionLost
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from mailserver.audit import Audit
from mailserver.errors import DiskStuck, MailError, TemporaryFailure
from mailserver.imap.announce import capability_code
from mailserver.imap.commands import Append, Command
from mailserver.imap.engine import Engine
from mailserver.imap.events import (
    AppendChunk,
    AppendFailed,
    AppendOffered,
    CommandReceived,
    Event,
    Hangup,
    LineReceived,
)
from mailserver.imap.grammar.cursor import BadSyntax
from mailserver.imap.handlers import HANDLERS
from mailserver.imap.handlers.append import append, begin, refuse
from mailserver.imap.handlers.contexts import update
from mailserver.imap.handlers.notify import tell
from mailserver.imap.handlers.uploads import Upload
from mailserver.imap.loop import Loop
from mailserver.imap.session import Session
from mailserver.interfaces import IAuthenticator, IMessageFile, Peer
from mailserver.net.files import send_file
from mailserver.steps import run

if TYPE_CHECKING:
    from mailserver.imap.factory import ImapFactory


class ImapConnection(Loop):
    """One client."""

    factory: ImapFactory

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer)
        self.session = Session(self)
        self._telling = False
        self._line: Deferred[bytes] | None = None
        self._upload: Upload | None = None
        self._progress = False
        self._stopping = False

    # --- what the session uses --------------------------------------------------------------------

    @property
    def settings(self) -> Any:
        return self.factory.settings

    @property
    def authenticator(self) -> IAuthenticator:
        return self.factory.authenticator

    @property
    def audit(self) -> Audit:
        return self.factory.audit

    def now(self) -> float:
        return self.factory.clock()

    def call_later(self, seconds: float, function: Callable[[], None]) -> Any:
        return self.factory.reactor.callLater(seconds, function)

    def in_thread(self, function: Callable[[], Any]) -> Deferred[Any]:
        reactor = self.factory.reactor
        return deferToThreadPool(reactor, reactor.getThreadPool(), function)

    async def send_file(self, file: IMessageFile, offset: int, length: int) -> None:
        await send_file(self, file, offset, length)

    def read_line(self) -> Deferred[bytes]:
        if not self.open:
            return fail(ConnectionLost())
        line = self._line = Deferred()
        self.engine.expect_line()
        self._run_soon()
        return line

    def tls_available(self) -> bool:
        return self.factory.tls is not None and not self.peer.tls

    def begin_tls(self) -> None:
        self.engine.clear()
        self.start_tls(self.factory.tls)

    def begin_compression(self) -> None:
        self.start_compression(self.engine.take_waiting())

    def undecodable(self) -> None:
        self.end(b"* BYE That is no DEFLATE\r\n")

    def end(self, farewell: bytes = b"") -> None:
        self.send(farewell)
        self.close()

    # --- the connection's life --------------------------------------------------------------------

    def started(self) -> None:
        limits = self.settings.now.limits
        asking = self.settings.now.imap.literals == "LITERAL-"
        self.engine = Engine(limits.line, 2 * limits.message_size, limits.errors, asking)
        self.engine.off = self.session.off
        self.audit.event("connected", service=self.peer.protocol, ip=self.peer.ip, tls=self.peer.tls)
        self.allowance.guarded = True
        self.set_deadline(limits.login_timeout)
        self.send(
            f"* OK [{capability_code(self.session)}] {self.settings.now.hostname} ready\r\n".encode("ascii")
        )

    def secured(self) -> None:
        """After STARTTLS: the log-in's time runs on with a new start."""
        self.set_deadline(self.settings.now.limits.login_timeout)

    def _start_deadline(self) -> None:
        self.allowance.begin_pace()
        self.set_deadline(self._patience())

    def _patience(self) -> float:
        """Seconds until something must have come."""
        limits = self.settings.now.limits
        if self.session.account is None:
            return float(limits.login_timeout)
        return float(limits.idle_timeout if self._upload is None else limits.smtp_timeout)

    def _sign_of_life(self) -> None:
        if self.session.account is not None:
            self._start_deadline()

    def received(self, data: bytes) -> None:
        """Only a whole command is a sign of life, or as much of one as `limits.min_rate` wants; before log-in
        not even that (CASES E1)."""
        if self.session.account is not None and self.allowance.in_pace(
            len(data), self._patience(), self.settings.now.limits
        ):
            self._start_deadline()
        self._feed(data)

    def _upload_full(self) -> bool:
        return self._upload is not None and self._upload.full

    def output_drained(self) -> None:
        self._progress = True
        self.session.wake()
        self._run()

    def deadline_passed(self) -> None:
        """RFC 3501, 5.4. A command that takes long is no idleness, unless the client does not read."""
        busy = self._upload_full() or (self.session.running is not None and self._line is None)
        if busy and (self._progress or not self.output_full):
            self._progress = False
            self._start_deadline()
        elif self.output_full:
            self.abort()
        else:
            self.end(b"* BYE Idle for too long\r\n")

    def too_much(self, text: str) -> None:
        self._drop_upload()
        self.end(f"* BYE {text}\r\n".encode("ascii"))

    def shut_down(self) -> None:
        """A command that is being executed ends first: its effect may be durable already."""
        if self.session.running is not None and self._line is None:
            self._stopping = True
        else:
            self.end(b"* BYE Server shutting down\r\n")

    def disconnected(self) -> None:
        self._drop_upload()
        self.session.leave_account()
        if self.session.exchange is not None:
            self.session.exchange.abandon()
        if self.session.login is not None:
            self.session.login.cancel()  # nobody is there: the password need not be hashed any more
        line, self._line = self._line, None
        if line is not None:
            line.errback(ConnectionLost())
        if self.session.running is None:
            self.session.unselect()

    # --- events -----------------------------------------------------------------------------------

    def _held_up(self) -> bool:
        return self._telling or self._upload_full()

    def _executing(self) -> bool:
        return self.session.running is not None

    def _handle(self, event: Event) -> None:
        match event:
            case CommandReceived():
                if self.count_command():
                    self._execute(event.command)
            case AppendChunk():
                if self._upload is not None:
                    self._upload.write(event.data)
            case LineReceived():
                self._sign_of_life()
                line, self._line = self._line, None
                if line is not None:
                    line.callback(event.line)
            case AppendOffered():
                self._perform(event.command, self._offer(event))
            case AppendFailed():
                self._drop_upload()
            case Hangup():
                self._drop_upload()
                self.close()

    def _execute(self, command: Command) -> None:
        upload, self._upload = self._upload, None
        self._sign_of_life()
        if isinstance(command, Append):
            self._perform(command, append(self.session, command, upload))
        else:
            self._perform(command, HANDLERS[type(command)](self.session, command))

    def _perform(self, command: Command, steps: Coroutine[Any, Any, None]) -> None:
        self.session.running = command
        self.session.answered = False
        run(steps, partial(self._ran, command))

    def _ran(self, command: Command, failure: Failure | None) -> None:
        """The handler has returned, or failed with what becomes the reply."""
        self.session.running = None
        session = self.session
        if not self.open:
            session.unselect()
            session.leave_account()
            return
        if failure is not None:
            self._failed(failure, command)
            if isinstance(failure.value, DiskStuck):  # the command may be done yet, unseen by this client
                self.end(b"* BYE The disk does not answer\r\n")
        if self._closing:
            return
        was, now = self.engine.state, session.state
        self.engine.off = session.off
        self.engine.dialect = session.dialect
        self.engine.finished(now)
        if session.selected is not None and session.selected.gone:
            self.end(b"* BYE The selected mailbox is gone\r\n")
        elif self._stopping:
            self.end(b"* BYE Server shutting down\r\n")
        elif self.engine.closed:
            self.end(self.engine.data_to_send())
        else:
            if now is not was or not self._running:
                self._start_deadline()
            if session.notifier is not None or session.contexts_due:
                session.wake()  # what could not be told within the command
            if not self._running:
                self._run()

    def _failed(self, failure: Failure, command: Command) -> None:
        error = failure.value
        if isinstance(error, MailError):
            if error.cause is not None and isinstance(error, TemporaryFailure):
                self.log.warn(
                    "{command} of {user} failed: {cause}",
                    command=command.NAME,
                    user=self.session.user,
                    cause=error.cause,
                )
            if not self.session.answered:
                self.session.refuse(command, error)
            return
        reference = secrets.token_hex(4)
        self.log.failure(
            "{command} of {user} failed, reference {reference}",
            failure,
            command=command.NAME,
            user=self.session.user,
            reference=reference,
        )
        if not self.session.answered:
            self.session.no(command, f"Internal error, reference {reference}", "SERVERBUG")

    # --- NOTIFY -----------------------------------------------------------------------------------

    def tell(self) -> None:
        """Tell what is due; the next command, or the end of IDLE, waits until it is told."""
        if not self._telling and not self._closing:
            self._telling = True
            Deferred.fromCoroutine(self._tell_all()).addBoth(self._told)

    async def _tell_all(self) -> None:
        await tell(self.session)
        await update(self.session)

    def _told(self, result: object) -> None:
        self._telling = False
        if isinstance(result, Failure) and not isinstance(result.value, ConnectionLost):
            self.log.failure("notifying {user} failed", result, user=self.session.user)
        if self.open:
            self._run()

    # --- APPEND -----------------------------------------------------------------------------------

    def new_body(self, on_drained: Callable[[], None], memory: int, raw: bool = False) -> Any:
        return self.factory.spool.body(on_drained=on_drained, memory=memory, raw=raw)

    def go_on(self) -> None:
        self._run_soon()

    async def _offer(self, event: AppendOffered) -> None:
        """Decide, and tell the engine."""
        command = event.command
        try:
            if self._upload is None:
                self._upload = begin(self.session, command)
            await self._upload.do(command, event.steps)
        except (MailError, BadSyntax) as error:
            self._drop_upload()
            refuse(self.session, command, error)
            self.engine.refuse_literal()
        except BaseException:
            self._drop_upload()
            self.engine.refuse_literal()
            raise
        else:
            self.session.answered = True
            self.engine.accept_literal()
            self._sign_of_life()

    def _drop_upload(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.discard()
            self._sign_of_life()
