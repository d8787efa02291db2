"""POP3 on a connection: logs in, reads messages, removes them at QUIT.

Locking: RFC 1939, 3 wants the maildrop locked for the session. The same mailbox is open in IMAP clients and
in other programs, which know no such lock; so a session works on the snapshot of its log-in instead. Numbers
are stable; a message that another session removed meanwhile is `-ERR`; QUIT removes what is still there.

A client that did not say UTF8 gets internationalized messages with a surrogate header (RFC 6856, 2.1); LIST
tells the octets of the original, for to know the others all such messages would have to be read.

Nothing is removed but by QUIT. A session that ends in any other way (lost, timed out, stopped) leaves all.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from zope.interface import implementer

from mailserver.errors import AuthenticationFailed, BadSasl, MailError, TemporaryFailure
from mailserver.interfaces import Challenge, IAccount, IExchange, IMailbox, IMailboxListener, Peer, Success
from mailserver.message.downgrade import surrogate
from mailserver.pop3 import replies, texts
from mailserver.pop3.engine import Pop3Engine
from mailserver.pop3.events import (
    AuthCancelled,
    AuthOffered,
    AuthResponse,
    Closing,
    Event,
    LoginOffered,
    Maildrop,
    MessageRequested,
    Options,
    TlsRequested,
    UpdateRequested,
)
from mailserver.pop3.loop import Loop
from mailserver.pop3.stream import stream
from mailserver.pop3.top import TopCutter
from mailserver.pop3.transitions import State

if TYPE_CHECKING:
    from mailserver.pop3.factory import Pop3Factory


@implementer(IMailboxListener)
class Pop3Connection(Loop):
    """One POP3 session."""

    factory: Pop3Factory

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer)
        self._mailbox: IMailbox | None = None
        self._uids: Sequence[int] = ()
        self._login: Deferred[Any] | None = None
        self._exchange: IExchange | None = None
        self._success: Success | None = None  # logged in, but the client has to take the last challenge
        self._failures = 0
        self._login_by = 0.0

    # --- the connection ---------------------------------------------------------------------------

    def started(self) -> None:
        factory = self.factory
        factory.audit.event("connected", service=factory.service, ip=self.peer.ip, tls=self.peer.tls)
        self._login_by = factory.reactor.seconds() + factory.settings.now.limits.login_timeout
        self.engine = Pop3Engine(self._options())
        self.allowance.guarded = True
        self.send(self.engine.data_to_send())
        self._arm()

    def secured(self) -> None:
        self.engine.tls_started(self._options())
        self._arm()
        self._run()

    def deadline_passed(self) -> None:
        """Silent, and without the UPDATE state (RFC 1939, 3)."""
        self.close()

    def too_much(self, text: str) -> None:
        self.send(self.engine.data_to_send() + replies.err(text))
        self.close()

    def shut_down(self) -> None:
        """The answer that is being given is finished first."""
        if self.engine.state is State.TLS:
            self.close()
            return
        self.engine.stop()
        self._run()

    def disconnected(self) -> None:
        self._drop_exchange()
        if self._login is not None:
            self._login.cancel()  # nobody is there: the password need not be hashed any more
        if self._mailbox is not None:
            self._mailbox.close(self)
            self._mailbox = None

    def _options(self) -> Options:
        return Options(
            mechanisms=tuple(self.factory.authenticator.mechanisms(self.peer)),
            starttls=self.factory.tls is not None,
            secure=bool(self.peer.tls),
            errors=self.factory.settings.now.limits.errors,
        )

    def _arm(self) -> None:
        """Until log-in one deadline for all of it, then one from each command to the next."""
        if self._mailbox is None:
            self.set_deadline(max(0.0, self._login_by - self.factory.reactor.seconds()))
        elif self.engine.state is State.TRANSACTION:
            self.set_deadline(self.factory.settings.now.limits.pop3_timeout)

    def _handle(self, event: Event) -> None:
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    # --- answers ----------------------------------------------------------------------------------

    def _tls_requested(self, event: TlsRequested) -> None:
        self.send(self.engine.data_to_send())
        self.start_tls(self.factory.tls)

    def _ended(self, event: Closing) -> None:
        self.send(self.engine.data_to_send())
        self.close()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Answer a question of the engine by `work`; what goes wrong in it becomes -ERR."""
        Deferred.fromCoroutine(self._guarded(work))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (ConnectionLost, CancelledError):
            return
        except MailError as error:
            self._refuse(error)
        except Exception:
            self.log.failure("POP3: a command of {ip} failed", ip=self.peer.ip)
            self._refuse(TemporaryFailure())
        if self.open:
            self.send(self.engine.data_to_send())
            self._run()

    def _refuse(self, error: MailError) -> None:
        if not self.open:
            return
        hang_up = False
        if isinstance(error, AuthenticationFailed):
            self._failures += 1
            hang_up = self.factory.authenticator.refuse(self.peer, self._failures)
        self._exchange = self._success = None
        self.engine.refuse(error, hang_up)

    # --- log-in -----------------------------------------------------------------------------------

    def _login_offered(self, event: LoginOffered) -> None:
        self._in_background(self._log_in(event))

    async def _log_in(self, event: LoginOffered) -> None:
        factory = self.factory
        self._login = factory.authenticator.login(event.user, event.password, self.peer, IAccount)
        try:
            account = await self._login
        finally:
            self._login = None
        await self._open(account)

    def _auth_offered(self, event: AuthOffered) -> None:
        try:
            self._exchange = self.factory.authenticator.exchange(event.mechanism, self.peer, IAccount)
        except MailError as error:
            self._refuse(error)
            return
        self._in_background(self._respond(self._exchange, event.response))

    def _auth_response(self, event: AuthResponse) -> None:
        success, self._success = self._success, None
        if success is not None:
            self._in_background(self._acknowledged(success, event.data))
        elif self._exchange is not None:
            self._in_background(self._respond(self._exchange, event.data))

    async def _respond(self, exchange: IExchange, response: bytes | None) -> None:
        step = await exchange.respond(response)
        if exchange is not self._exchange:  # the client is gone
            raise ConnectionLost
        if isinstance(step, Challenge):
            self.engine.challenge(step.data)
            return
        self._exchange = None
        if step.data is None:
            await self._open(step.avatar)
        else:  # +OK cannot carry the mechanism's last word: one more challenge (RFC 5034, 4)
            self._success = step
            self.engine.challenge(step.data)

    async def _acknowledged(self, success: Success, response: bytes) -> None:
        if response:
            raise BadSasl
        await self._open(success.avatar)

    def _auth_cancelled(self, event: AuthCancelled) -> None:
        self._drop_exchange()

    def _drop_exchange(self) -> None:
        self._success = None
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()

    async def _open(self, account: IAccount) -> None:
        """Take the snapshot: arrays of a mailbox only grow, or are replaced by new ones."""
        self.belongs_to(account.user)
        mailbox = await account.open("INBOX", self)
        if not self.open:
            mailbox.close(self)
            raise ConnectionLost
        uids, validity = mailbox.uids, mailbox.uidvalidity
        self._mailbox = mailbox
        self._uids = uids

        def unique_id(index: int) -> str:
            """As Dovecot's default, so that a mailbox that moves here is not fetched again."""
            return f"{uids[index]:08x}{validity:08x}"

        self.engine.opened(Maildrop(mailbox.sizes[: len(uids)], unique_id))
        self._arm()

    # --- messages ---------------------------------------------------------------------------------

    def _message_requested(self, event: MessageRequested) -> None:
        assert self._mailbox is not None
        try:
            file = self._mailbox.open_message(self._uids[event.index])
        except MailError as error:
            self.engine.refuse(error)
            return
        data = file.read_all()
        if data is None:
            self._in_background(stream(self, self.engine, file, event.lines, self._arm))
            return
        file.close()
        if not self.engine.utf8:
            data = surrogate(data)
        if event.lines is not None:
            data = TopCutter(event.lines).cut(data)
        self.engine.message(data)

    # --- QUIT -------------------------------------------------------------------------------------

    def _update_requested(self, event: UpdateRequested) -> None:
        self.set_deadline(None)
        self._in_background(self._update([self._uids[index] for index in event.indexes]))

    async def _update(self, uids: list[int]) -> None:
        """RFC 1939, 6: `+OK` only when all of them are gone, durably. What somebody else removed is gone."""
        mailbox = self._mailbox
        assert mailbox is not None
        removed = await mailbox.remove(uids, self)
        if len(removed) < len(uids):
            missing = set(uids).difference(removed)
            if any(mailbox.index_of(uid) >= 0 for uid in missing):
                raise TemporaryFailure(texts.NOT_REMOVED)
        self.engine.updated()

    # --- IMailboxListener -------------------------------------------------------------------------

    def messages_added(self, count: int) -> None:
        """Not of this session."""

    def flags_changed(self, uids: Sequence[int], by: IMailboxListener | None) -> None:
        """POP3 knows no flags."""

    def messages_removed(self, uids: Sequence[int], by: IMailboxListener | None) -> None:
        """The number stays; the message will be -ERR."""

    def rights_changed(self) -> None:
        """The owner has all rights."""

    def mailbox_gone(self) -> None:
        """Its numbers and unique-ids mean nothing any more."""
        if self._mailbox is not None:
            self._mailbox.close(self)
            self._mailbox = None
        self.close()


_HANDLERS: dict[type, Callable[[Pop3Connection, Any], None]] = {
    LoginOffered: Pop3Connection._login_offered,
    AuthOffered: Pop3Connection._auth_offered,
    AuthResponse: Pop3Connection._auth_response,
    AuthCancelled: Pop3Connection._auth_cancelled,
    MessageRequested: Pop3Connection._message_requested,
    UpdateRequested: Pop3Connection._update_requested,
    TlsRequested: Pop3Connection._tls_requested,
    Closing: Pop3Connection._ended,
}
