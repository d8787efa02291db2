"""SMTP client engine (RFC 5321; 2920 PIPELINING, 3207 STARTTLS, 4954 AUTH, 1870 SIZE, 6152 8BITMIME, 3030).

Pure: `receive` takes bytes, `next_event` gives events, `data_to_send` the bytes to write. The driver
answers `StartTls` with `tls_established` or `failed`, `Ready` with `transact` or `quit`, `SendBody` with
`body_sent` after it has written the dot-stuffed body itself (so that large bodies never pass the engine).
Each transaction ends in exactly one `TransactionDone` with one reply per recipient; what is unclear is
temporary: a message may arrive twice, never not at all (RFC 5321, 6.1).

It speaks LMTP where the options say so (RFC 2033): each recipient has a reply of its own to the end of the
data, and those that came before the connection broke count (5).
"""

from __future__ import annotations

import re
from collections import deque

from attrs import frozen

from mailserver.smtp.client.answers import BadReply, Reply, local_reply
from mailserver.smtp.client.opening import Opening, unexpected
from mailserver.smtp.client.values import (
    DATA_TIMEOUT,
    TIMEOUTS,
    ClientOptions,
    Event,
    Failed,
    Finished,
    Mail,
    SendBody,
    State,
    TransactionDone,
)
from mailserver.smtp.parameters import mail_command, needs_utf8, rcpt_command, refuse_by


@frozen
class _Step:
    """A command of a transaction; `index` is the recipient's for RCPT."""

    verb: str
    line: bytes
    index: int = -1


class ClientEngine(Opening):
    """One connection to one server."""

    def __init__(self, options: ClientOptions) -> None:
        super().__init__(options)
        self.body_started = False  # the body is on its way: another host may not be tried
        self._dirty = False  # the last transaction did not end by itself: RSET first
        self._mail: Mail | None = None
        self._to_send: deque[_Step] = deque()
        self._awaiting: deque[_Step] = deque()
        self._mail_reply: Reply | None = None
        self._replies: list[Reply | None] = []
        self._settled: set[int] = set()  # LMTP: recipients that had their reply to the end of the data

    # --- the driver's side ------------------------------------------------------------------------

    @property
    def timeout(self) -> float | None:
        """Seconds to wait for what the engine waits for now."""
        if self.state is State.ENVELOPE and len(self._awaiting) == 1 and self._awaiting[0].verb == "DATA":
            return DATA_TIMEOUT
        return TIMEOUTS[self.state]

    @property
    def takes_binary(self) -> bool:
        """Can this server be given a binary message as it is (RFC 3030, 3)?"""
        return "BINARYMIME" in self.extensions and "CHUNKING" in self.extensions

    @property
    def usable(self) -> bool:
        """True where `transact` may be called."""
        return self.state is State.READY

    def receive(self, data: bytes) -> None:
        """Bytes of the server. In the middle of a handshake there can be none for us: they are dropped."""
        if self.state in (State.HANDSHAKE, State.CLOSED):
            return
        self._parser.feed(data)
        try:
            while self.state not in (State.HANDSHAKE, State.CLOSED):
                reply = self._parser.next()
                if reply is None:
                    return
                self._take(reply)
        except BadReply as error:
            self.failed(local_reply(451, "4.5.0", f"the server does not speak SMTP: {error}"))

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> bytes:
        out, self._out = self._out, []
        return b"".join(out)

    def tls_established(self) -> None:
        """The handshake is done: everything known from before is forgotten (RFC 3207, 4.2)."""
        self.secured = True
        self._parser.clear()
        self._say_hello()

    def failed(self, reply: Reply) -> None:
        """The connection is lost, timed out, or not to be trusted: end the transaction and the session."""
        if self.state is State.CLOSED:
            return
        stage = self.state
        self.state = State.CLOSED
        self._finish(reply)
        self._events.append(Failed(reply, stage))

    def transact(self, mail: Mail) -> None:
        """Start a transaction; only in READY. May end at once, with nothing sent."""
        if self.state is not State.READY:
            raise RuntimeError(f"no transaction while waiting for {self.state.value}")
        self._mail = mail
        self._mail_reply = None
        self._replies = [None] * len(mail.recipients)
        self._settled = set()
        self.body_started = False
        refusal = self._refuse(mail)
        for index, address in enumerate(mail.recipients):
            if refusal is None and not _clean(address):
                self._replies[index] = local_reply(501, "5.1.3", "Bad recipient address")
        if refusal is not None or all(self._replies):
            self._finish(refusal or local_reply(501, "5.1.3", "Bad recipient address"))
            return
        self._plan(mail)
        self.state = State.ENVELOPE
        self._pump()

    def body_sent(self) -> None:
        """The driver has written the body and the final dot."""
        if self.state is State.BODY:
            self.state = State.END

    def quit(self) -> None:
        """End the session politely; only between transactions."""
        if self.state is State.READY:
            self.state = State.QUIT
            self._send(b"QUIT")

    def _take(self, reply: Reply) -> None:
        """One reply of the server, whatever it belongs to."""
        if reply.code == 421 and self.state is not State.QUIT:  # RFC 5321, 3.8: it is closing
            self.failed(reply)
            return
        handler = _HANDLERS.get(self.state)
        if handler is None:
            self.failed(local_reply(451, "4.5.0", f"a reply that nothing asked for: {reply}"))
        else:
            handler(self, reply)

    def _quit_answered(self, reply: Reply) -> None:
        self.state = State.CLOSED
        self._events.append(Finished())

    # --- a transaction ----------------------------------------------------------------------------

    def _refuse(self, mail: Mail) -> Reply | None:
        """Why this server can not be given this message at all."""
        limit = self.extensions.get("SIZE", "")
        if not _clean(mail.reverse_path):
            return local_reply(501, "5.1.7", "Bad sender address")
        if limit.isdecimal() and len(limit) < 20 and 0 < int(limit) < mail.size:  # RFC 1870, 6.2
            return local_reply(552, "5.3.4", f"Message of {mail.size} octets exceeds the limit {limit}")
        if needs_utf8(mail) and "SMTPUTF8" not in self.extensions:
            return local_reply(553, "5.6.7", "The next host does not support SMTPUTF8 (RFC 6531)")
        if mail.require_tls and not (self.secured and "REQUIRETLS" in self.extensions):
            return local_reply(550, "5.7.30", "REQUIRETLS support required")
        if mail.by is not None and mail.by.returns and (late := refuse_by(mail.by, self.extensions)):
            return late
        if mail.binary and not self.takes_binary:
            return local_reply(
                554, "5.6.1", "A binary message, and the next host does not support BINARYMIME"
            )
        if mail.eight_bit and not mail.binary and "8BITMIME" not in self.extensions:  # RFC 6152, 3
            return local_reply(554, "5.6.3", "8-bit content, and the next host does not support 8BITMIME")
        return None

    def _plan(self, mail: Mail) -> None:
        """The commands of the transaction, in order."""
        if self._dirty:
            self._to_send.append(_Step("RSET", b"RSET"))
        self._to_send.append(_Step("MAIL", mail_command(mail, self.extensions)))
        for index, own in enumerate(self._replies):
            if own is None:
                self._to_send.append(_Step("RCPT", rcpt_command(mail, index, self.extensions), index))
        last = _Step("BDAT", b"BDAT %d LAST" % mail.size) if mail.binary else _Step("DATA", b"DATA")
        self._to_send.append(last)
        self._dirty = True

    def _pump(self) -> None:
        """Send what may be sent: everything under PIPELINING (RFC 2920, 3.1), else one command."""
        pipelining = "PIPELINING" in self.extensions
        while self._to_send and (pipelining or not self._awaiting):
            step = self._to_send[0]
            if step.verb in ("DATA", "BDAT") and not self._awaiting and not self._accepted():
                self._to_send.clear()
                self._finish(_NO_REPLY)
                return
            if step.verb == "BDAT":
                self._begin_chunk(step)
                return
            self._to_send.popleft()
            self._awaiting.append(step)
            self._send(step.line)

    def _begin_chunk(self, step: _Step) -> None:
        """The whole message as one chunk, once all other commands are answered (RFC 3030, 2)."""
        if self._awaiting or self._mail is None:
            return
        self._to_send.clear()
        self._send(step.line)
        self.state = State.BODY
        self.body_started = True
        self._events.append(SendBody(self._mail.size))

    def _accepted(self) -> list[int]:
        """Recipients that were accepted and wait for the end of the data."""
        return [index for index, reply in enumerate(self._replies) if reply is not None and reply.positive]

    def _step_answered(self, reply: Reply) -> None:
        step = self._awaiting.popleft()
        if step.verb == "MAIL":
            self._mail_reply = reply
            if not reply.positive and not self._awaiting:  # lock-step: nothing more is sent
                self._to_send.clear()
                self._finish(_negative(reply, "MAIL"))
                return
        elif step.verb == "RCPT":
            self._replies[step.index] = self._rcpt_reply(reply)
        elif step.verb == "DATA":
            self._data_answered(reply)
            return
        elif not reply.positive:  # RSET can not fail in a server that is sane
            self.failed(unexpected(reply, "RSET"))
            return
        self._pump()

    def _rcpt_reply(self, reply: Reply) -> Reply:
        if self._mail_reply is not None and not self._mail_reply.positive:
            return _negative(self._mail_reply, "MAIL")
        if reply.positive:
            return reply
        if reply.code == 552 and reply.enhanced in ("", "5.5.3") and self._accepted():
            # RFC 5321, 4.5.3.1.10: old servers say 552 for "too many recipients"
            return Reply(452, reply.lines, "4.5.3")
        return _negative(reply, "RCPT")

    def _data_answered(self, reply: Reply) -> None:
        if reply.code == 354 and self._accepted():
            self.state = State.BODY
            self.body_started = True
            self._events.append(SendBody())
        elif reply.code == 354 and self.options.lmtp:  # RFC 2033, 4.2: must not be; nothing would be answered
            self.failed(unexpected(reply, "DATA"))
        elif reply.code == 354:  # RFC 2920, 3.1: nobody was accepted, end the empty data
            self._out.append(b".\r\n")
            self.state = State.END
        else:
            self._finish(_negative(reply, "DATA"))

    def _end_answered(self, reply: Reply) -> None:
        end = reply if reply.positive else _negative(reply, "end of data")
        if self.options.lmtp:  # RFC 2033, 4.2: one for each recipient, in their order
            waiting = [index for index in self._accepted() if index not in self._settled]
            self._replies[waiting[0]] = end
            self._settled.add(waiting[0])
            if len(waiting) > 1:
                return
        # RFC 3030, 2: what state a failed BDAT leaves behind, nobody knows.
        self._dirty = self._mail is not None and self._mail.binary and not reply.positive
        self._finish(end)

    def _body_interrupted(self, reply: Reply) -> None:
        """An answer before the body was sent: a refusal counts, anything else is nonsense. The stream is
        out of step either way."""
        self.failed(reply if reply.temporary or reply.permanent else unexpected(reply, "body"))

    def _finish(self, reply: Reply) -> None:
        """End the transaction; `reply` is for those recipients that have no answer of their own."""
        if self._mail is None:
            return
        replies = tuple(
            reply if own is None or (own.positive and index not in self._settled) else own
            for index, own in enumerate(self._replies)
        )
        self._mail = None
        self._to_send.clear()
        self._awaiting.clear()
        self._events.append(TransactionDone(replies))
        if self.state is not State.CLOSED:
            self.state = State.READY


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NO_REPLY = local_reply(451, "4.5.0", "no reply")
_HANDLERS = {
    State.GREETING: ClientEngine._greeted,
    State.EHLO: ClientEngine._ehlo_answered,
    State.HELO: ClientEngine._helo_answered,
    State.STARTTLS: ClientEngine._starttls_answered,
    State.AUTH: ClientEngine._auth_answered,
    State.ENVELOPE: ClientEngine._step_answered,
    State.BODY: ClientEngine._body_interrupted,
    State.END: ClientEngine._end_answered,
    State.QUIT: ClientEngine._quit_answered,
}


def _clean(path: str) -> bool:
    """No octet that could end the command (CASES C7)."""
    return _CONTROL.search(path) is None


def _negative(reply: Reply, stage: str) -> Reply:
    """A refusal as it stands; anything that is neither yes nor no counts as "try again"."""
    return reply if reply.temporary or reply.permanent else unexpected(reply, stage)
