"""The SMTP services on Twisted: the engine's questions answered by policies, router, log-in and acceptor.

The engine holds the order of things; here is only where answers come from and how long they may take. While
an answer is open, no deadline runs and nothing more is read than a bounded buffer holds. What a client loses
by going away in the middle of a message is that message, and nothing is left of it (CASES B16, E7).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.delivery.body import Body
from mailserver.errors import MailError, ServiceUnavailable, TemporaryFailure, TooManyConnections
from mailserver.interfaces import ISender, Peer, Recipient
from mailserver.smtp import events
from mailserver.smtp.engine import SmtpEngine
from mailserver.smtp.extensions import Options
from mailserver.smtp.login import LogIn
from mailserver.smtp.loop import Loop
from mailserver.smtp.policy import MAX_HEADER, ask, edit_binary, grant_priority
from mailserver.smtp.transaction import Transaction
from mailserver.smtp.transitions import IN_A_MESSAGE
from mailserver.smtp.xclient import Told
from mailserver.smtp.xclient import read as read_xclient

if TYPE_CHECKING:
    from mailserver.smtp.factory import SmtpFactory

TARPIT_AFTER = 5  # refused commands of a stranger, after which each refused recipient costs time (CASES D9)
TARPIT_SECONDS = 2.0

TIMEOUT = MailError("Timeout, closing connection", code=421, enhanced="4.4.2")


class SmtpConnection(Loop):
    """One session."""

    factory: SmtpFactory

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer)
        self._transaction: Transaction | None = None
        self._own = peer  # who is connected
        self._told = Told()  # and of whom it tells

    # --- the connection ---------------------------------------------------------------------------

    def started(self) -> None:
        factory = self.factory
        self._own = self.peer
        self.sender: Any = factory.authenticator.anonymous(self.peer)
        self.engine = SmtpEngine(self._options())
        self._log_in = LogIn(factory.authenticator, self.engine, self.belongs_to)
        self.allowance.guarded = factory.rules.log_in
        factory.audit.event("connected", service=factory.service, ip=self.peer.ip, tls=self.peer.tls)
        self.engine.greet()
        self._run()

    def received(self, data: bytes) -> None:
        if self.factory.settings.now is not self._config:  # reloaded
            self.engine.options = self._options()
        self.engine.receive(data)
        limits = self._config.limits
        if self.engine.state in IN_A_MESSAGE and self.allowance.in_pace(
            len(data), limits.smtp_timeout, limits
        ):
            self._arm()
        self._run()

    def deadline_passed(self) -> None:
        self.engine.close(TIMEOUT)
        self._run()

    def too_much(self, text: str) -> None:
        self.engine.close(MailError(text, code=421, enhanced="4.7.0"))
        self._run()

    def shut_down(self) -> None:
        """421, but a message that is just being accepted is answered first (CASES F13)."""
        self._stopping = True
        if not isinstance(self.engine.question, events.BodyEnded):
            self.engine.close(ServiceUnavailable())
            self._run()

    def secured(self) -> None:
        """All that was said in clear is void (RFC 3207, 4.2), also by a proxy."""
        self._own = evolve(self._own, tls=self.peer.tls, channel=self.peer.channel)
        if self._told != Told():
            self._told = Told()
            self.factory.moved(self, self._own)
        self.belongs_to("")
        self.sender = self.factory.authenticator.anonymous(self.peer)
        self.engine.options = self._options()
        self.engine.tls_started()
        self._arm()

    def disconnected(self) -> None:
        self._cancel_later()
        self._log_in.abandon()
        if not isinstance(self.engine.question, events.BodyEnded):
            self._drop_body()
        self.engine.close(ServiceUnavailable())

    def _options(self) -> Options:
        self._config = self.factory.settings.now
        return self.factory.options(self._config, self.peer, self._own.ip, self.sender.user)

    def _arm(self) -> None:
        self.allowance.begin_pace()
        self.set_deadline(self.factory.settings.now.limits.smtp_timeout)

    def _handle(self, event: events.Event) -> None:
        if isinstance(event, _COUNTED) and not self.count_command():
            return
        _HANDLERS[type(event)](self, event)

    # --- answers -----------------------------------------------------------------------------------

    def _went_wrong(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, MailError):
            name = self._transaction.id if self._transaction is not None else "-"
            self.log.failure("SMTP failed for {ip}, message {id}", failure, ip=self.peer.ip, id=name)
            error = TemporaryFailure(cause=error)
        question = self.engine.question
        if isinstance(question, events.AuthOffered | events.AuthResponse):
            self._log_in.failed(error, self.peer)
            self._answered()
            return
        if question is not None:
            self._log_rejected(error, question)
        if isinstance(question, events.BodyEnded) or not self.open:
            self._drop_body()
            self._transaction = None
        if isinstance(question, events.RecipientOffered) and self._is_suspect(error):
            self._later = self.factory.reactor.callLater(TARPIT_SECONDS, self._refuse_late, error)
        else:
            self._refuse(error)

    def _is_suspect(self, error: MailError) -> bool:
        return (
            not error.temporary
            and not self.sender.user
            and self.engine.failures >= TARPIT_AFTER
            and self._later is None
        )

    def _refuse_late(self, error: MailError) -> None:
        self._later = None
        self._refuse(error)

    # --- MAIL and RCPT ----------------------------------------------------------------------------

    def _on_mail(self, event: events.MailOffered) -> None:
        factory, engine = self.factory, self.engine
        self._transaction = transaction = Transaction(
            id=factory.ids.new(),
            peer=self.peer,
            helo=self._told.helo or engine.helo,
            extended=self._told.proto == "ESMTP" if self._told.proto else engine.extended,
            sender=self.sender,
            mail=event.command,
            started=factory.clock(),
        )
        self._guard(self._check_sender, transaction)

    def _check_sender(self, transaction: Transaction) -> Deferred[Any] | None:
        waiting = ask(self.factory.rules.on_sender, transaction)
        if waiting is None:
            self._take_sender(None, transaction)
            return None
        return waiting.addCallback(self._take_sender, transaction)

    def _take_sender(self, result: object, transaction: Transaction) -> None:
        changed = transaction.mail.priority is not None and grant_priority(transaction, self._config.limits)
        if changed:  # RFC 6710, 4.1
            self._accept(f"{transaction.priority} is the new priority assigned to the message", "2.3.6")
        else:
            self._accept()

    def _on_recipient(self, event: events.RecipientOffered) -> None:
        self._guard(self._check_recipient, event)

    def _check_recipient(self, event: events.RecipientOffered) -> Deferred[Any] | None:
        rcpt, transaction = event.command, self._transaction
        if transaction is None:
            raise TemporaryFailure(cause="RCPT without a transaction")
        address = str(rcpt.path)
        targets = tuple(self.factory.router.resolve(address))
        recipient = Recipient(address, targets, rcpt.notify, rcpt.orcpt)
        waiting = ask(self.factory.rules.on_recipient, transaction, rcpt, targets)
        if waiting is None:
            self._take_recipient(None, transaction, recipient)
            return None
        return waiting.addCallback(self._take_recipient, transaction, recipient)

    def _take_recipient(self, result: object, transaction: Transaction, recipient: Recipient) -> None:
        transaction.recipients.append(recipient)
        self._accept()

    # --- the message ------------------------------------------------------------------------------

    def _on_body(self, event: events.BodyReceived) -> None:
        self._open_body().write(event.data)

    def _open_body(self) -> Body:
        body = self._body
        if body is None:
            binary = self._transaction is not None and self._transaction.mail.binary
            edit = partial(edit_binary, self._edit) if binary else self._edit
            body = self._body = self.factory.spool.body(edit, self._run, raw=binary)
        return body

    def _edit(self, data: bytes) -> bytes:
        transaction = self._transaction
        if transaction is None:
            return data
        for edit in self.factory.rules.on_header:
            data = edit(transaction, data)
        return data

    def _drop_body(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.discard()

    def _on_body_failed(self, event: events.BodyFailed) -> None:
        self._drop_body()

    def _on_body_refused(self, event: events.BodyRefused) -> None:
        self._log_rejected(event.error, event)
        self._transaction = None

    def _on_body_ended(self, event: events.BodyEnded) -> None:
        self._guard(self._finish_body)

    def _finish_body(self) -> Deferred[Any] | None:
        body = self._open_body()
        finishing = body.finish()
        if finishing is None:
            return self._hand_over(None, body)
        return finishing.addCallback(self._hand_over, body)

    def _hand_over(self, result: object, body: Body) -> Deferred[Any] | None:
        """The message is complete: policies on the whole, then to the acceptor."""
        transaction = self._transaction
        if transaction is None:
            raise TemporaryFailure(cause="a message without a transaction")
        waiting = ask(self.factory.rules.on_message, transaction, body)
        if waiting is None:
            return self._accept_message(None, transaction, body)
        return waiting.addCallback(self._accept_message, transaction, body)

    def _accept_message(self, result: object, transaction: Transaction, body: Body) -> Deferred[Any]:
        factory = self.factory
        now = factory.clock()
        envelope = transaction.envelope(now, body.head(MAX_HEADER))
        if envelope.deliver_by is not None and envelope.deliver_by.returned(now):
            raise MailError("Delivery time expired", code=554, enhanced="5.4.7")  # RFC 2852, 3
        trace = transaction.received_field(factory.settings.now.hostname, now)
        if factory.rules.dialect.each:
            each: Deferred[Any] = factory.acceptor.accept_each(envelope, trace, body)
            return each.addCallback(self._each_taken, transaction)
        taken: Deferred[Any] = factory.acceptor.accept(envelope, trace, body)
        return taken.addCallback(self._taken, transaction)

    def _taken(self, result: object, transaction: Transaction) -> None:
        """The message is ours; nothing from here on may say otherwise (CASES F12)."""
        self._body = self._transaction = None
        self._accept(f"Ok, id {transaction.id}")

    def _each_taken(self, answers: Sequence[MailError | None], transaction: Transaction) -> None:
        """LMTP: what was ours for a recipient is told as ours, and nothing else is."""
        self._body = self._transaction = None
        told: list[MailError | str] = []
        for recipient, error in zip(transaction.recipients, answers, strict=True):
            if error is None:
                told.append(f"<{recipient.address}> Ok, id {transaction.id}")
                continue
            transaction.log_rejected(self.factory.audit, error, recipient.address)
            code = 451 if error.code == 421 else error.code  # one recipient's failure ends no session
            told.append(MailError(f"<{recipient.address}> {error.text}", code=code, enhanced=error.enhanced))
        self.engine.conclude(told)
        self._answered()

    def _log_rejected(self, error: MailError, event: events.Event) -> None:
        if self._transaction is not None:
            recipient = str(event.command.path) if isinstance(event, events.RecipientOffered) else ""
            self._transaction.log_rejected(self.factory.audit, error, recipient)

    # --- AUTH and STARTTLS ------------------------------------------------------------------------

    def _on_auth(self, event: events.AuthOffered) -> None:
        self._guard(self._log_in.begin, event, self.peer, then=self._answered)

    def _on_response(self, event: events.AuthResponse) -> None:
        self._guard(self._log_in.go_on, event, then=self._answered)

    def _on_authenticated(self, event: events.Authenticated) -> None:
        self.sender = self._log_in.avatar() or self.sender
        self.engine.options = self._options()

    def _on_auth_cancelled(self, event: events.AuthCancelled) -> None:
        self._log_in.abandon()

    # --- XCLIENT ----------------------------------------------------------------------------------

    def _on_client_told(self, event: events.ClientTold) -> None:
        self._guard(self._become, event.argument)

    def _become(self, argument: bytes) -> Deferred[Any] | None:
        """The session is that of the client which a proxy tells of."""
        authenticator = self.factory.authenticator
        told = read_xclient(argument, self.engine.options.xclient, self._told)
        peer = told.peer(self._own)
        if not told.login:
            self._became(authenticator.anonymous(peer), told, peer)
            return None
        vouched: Deferred[Any] = authenticator.vouched(told.login, peer, ISender)
        return vouched.addCallback(self._became, told, peer)

    def _became(self, sender: Any, told: Told, peer: Peer) -> None:
        self.belongs_to("")
        self.sender = self.factory.authenticator.anonymous(peer)  # until nothing can go wrong any more
        if not self.factory.moved(self, peer):
            raise TooManyConnections
        self.belongs_to(sender.user)
        self._told, self.sender = told, sender
        self._transaction = None
        self.engine.options = self._options()
        service = self.factory.service
        self.factory.audit.event("connected", service=service, ip=peer.ip, tls=peer.tls)
        self._accept()

    # --- STARTTLS ---------------------------------------------------------------------------------

    def _on_starttls(self, event: events.TlsRequested) -> None:
        self.engine.accept()
        self.send(self.engine.data_to_send())
        self.start_tls(self.factory.tls)

    def _on_closing(self, event: events.Closing) -> None:
        self._cancel_later()
        self._drop_body()
        self.send(self.engine.data_to_send())
        self.close()


_COUNTED = (events.MailOffered, events.RecipientOffered, events.AuthOffered)  # others are counted as junk
_HANDLERS: dict[type, Callable[[SmtpConnection, Any], None]] = {
    events.MailOffered: SmtpConnection._on_mail,
    events.RecipientOffered: SmtpConnection._on_recipient,
    events.BodyReceived: SmtpConnection._on_body,
    events.BodyFailed: SmtpConnection._on_body_failed,
    events.BodyRefused: SmtpConnection._on_body_refused,
    events.BodyEnded: SmtpConnection._on_body_ended,
    events.AuthOffered: SmtpConnection._on_auth,
    events.AuthResponse: SmtpConnection._on_response,
    events.Authenticated: SmtpConnection._on_authenticated,
    events.AuthCancelled: SmtpConnection._on_auth_cancelled,
    events.ClientTold: SmtpConnection._on_client_told,
    events.TlsRequested: SmtpConnection._on_starttls,
    events.Closing: SmtpConnection._on_closing,
}
