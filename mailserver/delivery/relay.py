"""One message to one destination: hosts tried in order, one outcome per recipient.

Another host is tried only as long as no host has begun to receive the body: after that an unclear end
means "later", so that nothing is sent twice without need (RFC 5321, 4.5.3.2.6). Connections that took a
message are kept for a moment and used again.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from mailserver.delivery.limits import hop_limits
from mailserver.delivery.mx import HostFinder, MailHost, Unroutable
from mailserver.delivery.next_hop import NextHop, next_hop
from mailserver.delivery.tls_policy import TlsPolicies, TlsPolicy
from mailserver.errors import MailError
from mailserver.interfaces import By, Clock, DeliverBy
from mailserver.smtp.client.answers import Reply, local_reply
from mailserver.smtp.client.sender import Sender, SessionFailed, Source, connect
from mailserver.smtp.client.values import ClientOptions, Mail, State, TlsUse
from mailserver.smtp.parameters import loses_by
from mailserver.tls.client import client_context

PER_TRANSACTION = 100  # recipients that every server must take (RFC 5321, 4.5.3.1.8)
IDLE_SECONDS = 3.0
NO_STARTTLS = "4.7.4"  # the client's own word for a server without
LACKS_TLS, LACKS_REQUIRETLS = "5.7.10", "5.7.30"  # RFC 8689, 4.2.1


@frozen
class Parcel:
    """A message for the recipients of one remote domain. `open` gives the body, afresh for each attempt.
    as_text: makes another of a binary message, for servers that take no such; the argument says whether they
    take 8-bit text. Fails with a MailError."""

    id: str
    domain: str
    mail: Mail
    open: Callable[[], Source]
    as_text: Callable[[bool], Awaitable[Parcel]] | None = None
    deliver_by: DeliverBy | None = None


@frozen
class Outcome:
    """What became of one recipient. `host`: the server that said so, "" where none was reached. `reports`:
    that server reports the success of a delivery itself (RFC 3461, 5.2.1). relayed: the sender is to be told
    that it was passed on (RFC 2852, 4.1.4)."""

    reply: Reply
    host: str = ""
    reports: bool = False
    relayed: bool = False


@frozen
class Attempt:
    """Outcomes in the order of the recipients. reached: some server was ready to take mail; where not,
    further mail for the destination need not be tried now."""

    outcomes: tuple[Outcome, ...]
    reached: bool


@frozen
class _Kept:
    sender: Sender
    timer: IDelayedCall


class Relay:
    """Deliveries to other servers.

    connecting: stands for smtp.client.sender.connect in tests. clock: seconds since the epoch.
    """

    def __init__(
        self,
        settings: Any,
        reactor: Any,
        finder: HostFinder,
        *,
        connecting: Callable[..., Deferred[Sender]] = connect,
        context: Callable[[str, bool], Any] = client_context,
        clock: Clock = time.time,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._finder = finder
        self._connect = connecting
        self._context = context
        self._clock = clock
        self._policies = TlsPolicies(reactor.seconds)
        self._idle: dict[str, list[_Kept]] = {}
        self._hosts: dict[Sender, MailHost] = {}
        self._opening: set[Deferred[Sender]] = set()
        self._stopping = False

    def destination(self, domain: str) -> str:
        """What connections and back-off are counted by."""
        return next_hop(self._settings.now.relay, domain).key

    async def deliver(self, parcel: Parcel) -> Attempt:
        """Try once. Never fails."""
        hop = next_hop(self._settings.now.relay, parcel.domain)
        work = _Work(parcel)
        if parcel.mail.require_tls:
            await self._deliver(evolve(hop, key=f"{hop.key} REQUIRETLS"), work)
            work.reached = True  # other mail may well find its way
            if parcel.mail.reverse_path or not work.lacked_tls:
                return Attempt(tuple(work.outcomes), work.reached)
            # RFC 8689, 5: a report is not to be lost for this.
            work = _Work(evolve(parcel, mail=evolve(parcel.mail, require_tls=False)))
        await self._deliver(hop, work)
        return Attempt(tuple(work.outcomes), work.reached)

    async def _deliver(self, hop: NextHop, work: _Work) -> None:
        sender = self._take_idle(hop.key, work.parcel.domain)
        if sender is not None:
            await self._send(sender, work)
            self._give_back(hop, sender)
        if work.left:
            await self._try_hosts(hop, work)

    def stop(self) -> None:
        """Idle connections are closed politely, busy ones are cut: their mail stays queued."""
        self._stopping = True
        for kept in [kept for group in self._idle.values() for kept in group]:
            kept.timer.cancel()
            kept.sender.quit()
        self._idle.clear()
        for sender in list(self._hosts):
            if not sender.usable and sender.engine.state is not State.QUIT:
                sender.abort()
        for opening in list(self._opening):
            opening.cancel()

    # --- one attempt ------------------------------------------------------------------------------

    async def _try_hosts(self, hop: NextHop, work: _Work) -> None:
        try:
            hosts = await self._finder.find(hop)
        except Unroutable as error:
            work.fail(Outcome(error.reply))
            work.reached = work.reached or error.reply.permanent
            return
        worst: Outcome | None = None
        for host in hosts:
            try:
                await self._try_host(hop, host, work)
            except SessionFailed as error:
                worst = _milder(worst, Outcome(error.reply, str_of(host)))
                continue
            if not work.left:
                return
            worst = _milder(worst, work.last)
        work.fail(worst or Outcome(local_reply(451, "4.4.1", "no host to try")))

    async def _try_host(self, hop: NextHop, host: MailHost, work: _Work) -> None:
        """In as many sessions as the host wants it (RFC 9422, 4.1). Fails with SessionFailed."""
        again = True
        while again and work.left:
            required = work.parcel.mail.require_tls
            sender = await (self._open_required(hop, host) if required else self._open(hop, host))
            await self._send(sender, work)
            again = sender.usable and sender.spent
            self._give_back(hop, sender)

    async def _open_required(self, hop: NextHop, host: MailHost) -> Sender:
        """A session that a message with REQUIRETLS may take (RFC 8689, 4.2.1)."""
        if not host.validated:
            text = "Encryption needed, and neither DNSSEC nor MTA-STS vouches for the name of the mail host"
            raise SessionFailed(local_reply(550, LACKS_TLS, text), None)
        try:
            sender = await self._open_with(hop, host, self._policies.required(hop))
        except SessionFailed as error:
            if error.stage is not State.HANDSHAKE and error.reply.status != NO_STARTTLS:
                raise
            text = f"Encryption needed: {error.reply.text}"
            raise SessionFailed(local_reply(550, LACKS_TLS, text), error.stage) from error
        if not sender.requires_tls:
            sender.quit()
            raise SessionFailed(local_reply(550, LACKS_REQUIRETLS, "REQUIRETLS support required"), None)
        return sender

    async def _open(self, hop: NextHop, host: MailHost) -> Sender:
        """A session with this address; in clear where TLS was offered, failed, and need not be."""
        policy = self._policies.policy_for(hop, host)
        try:
            return await self._open_with(hop, host, policy)
        except SessionFailed as error:
            if error.stage is not State.HANDSHAKE or policy.use is not TlsUse.MAY:
                raise
        self._policies.handshake_failed(host)
        return await self._open_with(hop, host, evolve(policy, use=TlsUse.NEVER))

    async def _open_with(self, hop: NextHop, host: MailHost, policy: TlsPolicy) -> Sender:
        if self._stopping:
            raise SessionFailed(local_reply(451, "4.3.2", "this server is stopping"), None)
        login = hop.host
        options = ClientOptions(
            self._settings.now.hostname,
            tls=policy.use,
            username=login.username if login else "",
            password=login.password if login else "",
            clear_auth=policy.clear_auth,
            secure=policy.implicit,
            lmtp=login is not None and login.lmtp,
        )
        opening = self._connect(
            self._reactor, host.ip, host.port, options, lambda: self._context(host.name, policy.verify)
        )
        self._opening.add(opening)
        try:
            sender = await opening
        finally:
            self._opening.discard(opening)
        self._hosts[sender] = host
        sender.on_close = self._closed
        return sender

    async def _send(self, sender: Sender, work: _Work) -> None:
        """As many transactions as the recipients need, while the server goes along."""
        host = str_of(self._hosts[sender])
        most = min(PER_TRANSACTION, sender.limits.recipients or PER_TRANSACTION)
        while work.left and sender.usable and not sender.spent:
            work.reached = True
            chunk = work.left[:most]
            try:
                parcel = await work.parcel_for(sender)
                source = parcel.open()
            except MailError as error:
                work.fail(Outcome(local_reply(error.code, error.enhanced, error.text), host))
                return
            except OSError:
                work.fail(Outcome(local_reply(451, "4.3.0", "this server could not read the message")))
                return
            part, relayed = parcel.mail.part(chunk), False
            if parcel.deliver_by is not None:
                part, relayed = in_time(part, parcel.deliver_by.left(self._clock()), sender)
            replies = await sender.send(part, source)
            reports = sender.reports
            work.take(chunk, [Outcome(reply, host, reports, relayed) for reply in replies], sender)

    # --- connections kept -------------------------------------------------------------------------

    def _take_idle(self, key: str, domain: str) -> Sender | None:
        for kept in reversed(self._idle.get(key, ())):
            if kept.sender.takes_domain(domain):
                kept.timer.cancel()
                self._drop_idle(key, kept.sender)
                return kept.sender
        return None

    def _give_back(self, hop: NextHop, sender: Sender) -> None:
        most = hop_limits(self._settings.now.relay, hop).messages
        if not sender.usable:
            sender.abort()
        elif self._stopping or sender.spent or sender.sent >= most:
            sender.quit()
        else:
            timer = self._reactor.callLater(IDLE_SECONDS, self._idle_too_long, hop.key, sender)
            self._idle.setdefault(hop.key, []).append(_Kept(sender, timer))

    def _idle_too_long(self, key: str, sender: Sender) -> None:
        self._drop_idle(key, sender)
        sender.quit()

    def _drop_idle(self, key: str, sender: Sender) -> None:
        group = [kept for kept in self._idle.get(key, ()) if kept.sender is not sender]
        if group:
            self._idle[key] = group
        else:
            self._idle.pop(key, None)

    def _closed(self, sender: Sender) -> None:
        """The server hung up, perhaps while the connection was idle."""
        self._hosts.pop(sender, None)
        for key, group in list(self._idle.items()):
            for kept in group:
                if kept.sender is sender:
                    if kept.timer.active():
                        kept.timer.cancel()
                    self._drop_idle(key, sender)


class _Work:
    """Recipients that have no outcome yet (`left`, indexes), and the outcomes of the others."""

    def __init__(self, parcel: Parcel) -> None:
        self.parcel = parcel
        self.left = list(range(len(parcel.mail.recipients)))
        self.last = Outcome(local_reply(451, "4.4.1", "not tried"))
        self.outcomes = [self.last] * len(self.left)
        self.reached = False
        self._texts: dict[bool, Parcel] = {}

    @property
    def lacked_tls(self) -> bool:
        """No host gives the message the protection that it needs."""
        return all(outcome.reply.status in (LACKS_TLS, LACKS_REQUIRETLS) for outcome in self.outcomes)

    async def parcel_for(self, sender: Sender) -> Parcel:
        """The message in the form that this server takes (RFC 3030, 3). Fails with MailError, OSError."""
        if not self.parcel.mail.binary or sender.takes_binary or self.parcel.as_text is None:
            return self.parcel
        eight_bit = sender.takes_eight_bit
        if eight_bit not in self._texts:
            self._texts[eight_bit] = await self.parcel.as_text(eight_bit)
        return self._texts[eight_bit]

    def fail(self, outcome: Outcome) -> None:
        """All that are left end so."""
        for index in self.left:
            self.outcomes[index] = outcome
        self.left = []

    def take(self, chunk: list[int], outcomes: list[Outcome], sender: Sender) -> None:
        """Note one transaction. Left for another try are those after the chunk; those the server would
        take in a transaction of their own (452, RFC 5321, 4.5.3.1.10; CASES G5); and, where the session
        broke before the body, those it said nothing about."""
        some = any(outcome.reply.positive for outcome in outcomes)
        broken = not sender.usable and not sender.body_started
        again = []
        for index, outcome in zip(chunk, outcomes, strict=True):
            reply = outcome.reply
            self.outcomes[index] = self.last = outcome
            too_many = some and reply.code == 452 and reply.status in ("4.5.3", "4.0.0")
            if too_many or (broken and (reply.local or reply.code == 421) and reply.temporary):
                again.append(index)
        self.left = again + self.left[len(chunk) :]


def in_time(mail: Mail, left: By, sender: Sender) -> tuple[Mail, bool]:
    """The message as this server gets it, with what is left of its time; and whether its sender is to be told
    that it was passed on (RFC 2852, 4.1.4). LMTP delivers: what is handed over in time is in time."""
    lmtp = sender.engine.options.lmtp
    if lmtp and not sender.takes_by:
        return mail, False
    told = not lmtp and (left.trace or loses_by(left, sender.engine.extensions))
    return evolve(mail, by=left), told


def str_of(host: MailHost) -> str:
    """`mx.example.org[192.0.2.1]:25`, as log lines and DSNs name a host; the port where it is another, and
    `unix:/run/dovecot/lmtp` for a socket."""
    if host.is_socket:
        return host.ip
    port = "" if host.port == 25 else f":{host.port}"
    return f"{host.name}[{host.ip}]{port}" if host.name != host.ip else f"[{host.ip}]{port}"


def _milder(known: Outcome | None, new: Outcome) -> Outcome:
    """Of several hosts' failures, a temporary one counts: another host may take the mail later."""
    if known is None or (known.reply.permanent and not new.reply.permanent):
        return new
    return new if known.reply.permanent == new.reply.permanent else known
