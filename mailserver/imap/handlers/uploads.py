"""The messages of one APPEND or REPLACE on their way in: streamed, bounded, and nothing of them kept before
all is there (RFC 3502; 4469).

An `Upload` holds at most `MEMORY` octets in memory, however many messages there are; the rest lies in the
spool.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.error import ConnectionLost

from mailserver.delivery.body import MEMORY
from mailserver.errors import LimitReached, MailError, MessageTooLarge, NoSuchMailbox, NotPermitted, OverQuota
from mailserver.imap.commands import Append, Begin, Octets, Step, Url
from mailserver.imap.handlers.urls import copy_url
from mailserver.imap.session import Session
from mailserver.interfaces import NewMessage, QuotaUsage
from mailserver.message.transfer import UnknownEncoding, storable

LOOKED_THROUGH = 128 * 1024  # octets of a binary message that are made storable without a thread
MAX_MESSAGES = 1000  # of one command, where the configuration sets no limit
SMALL = 16 * 1024  # octets that cost less to receive than to ask the store about beforehand


_HEADER_END = re.compile(rb"\n\r?\n")
_CONVERTING = DeferredLock()  # a message is in memory as a whole then: one at a time


async def _finish(body: Any) -> None:
    waiting = body.finish()
    if waiting is not None:
        await waiting


@define(eq=False)
class _Message:
    """One message; `size` are the octets announced for it so far."""

    begin: Begin
    body: Any
    size: int = 0
    header: bytes | None = None  # its last octets so far, while it is to be looked at
    binary: bool = False  # came as literal8: it may hold NULs, and is made storable at its end
    error: MailError | None = field(default=None)


class Upload:
    """What has come of a command. `replacing`: octets of a message that will be removed."""

    def __init__(self, session: Session, replacing: int = 0) -> None:
        self.session = session
        self.replacing = replacing
        self._messages: list[_Message] = []
        self._complete: list[NewMessage] = []
        self._memory = MEMORY
        self._asked = False
        self._waiting: Deferred[None] | None = None

    @property
    def full(self) -> bool:
        """True while the disk lags behind: give nothing more."""
        return bool(self._messages and self._messages[-1].body.full)

    async def do(self, command: Append, steps: Sequence[Step]) -> None:
        """Raises MailError, also before much is sent for nothing."""
        for step in steps:
            if isinstance(step, Begin):
                await self._end_message()
                self._check_number()
                self._begin_message(step)
            elif isinstance(step, Url):
                await copy_url(self.session, step.url, self)
                await self.session.breathe()  # each of them may have a large message looked through
            else:
                await self._expect(command, step)

    def write(self, data: bytes) -> None:
        """Octets of the message that came last."""
        message = self._messages[-1]
        if not message.binary and b"\0" in data and message.error is None:  # RFC 3501, 9: CHAR8
            message.error = MailError("NUL in a message", imap="CANNOT")
        if message.header is not None and message.error is None:
            message.error = self._look_at_header(message, message.header, data)
        if message.error is None:
            message.body.write(data)
        else:
            message.body.discard()

    def _look_at_header(self, message: _Message, header: bytes, data: bytes) -> MailError | None:
        """RFC 9755, 4: no 8-bit header fields from who has not enabled UTF-8, where that is configured."""
        header += data
        end = _HEADER_END.search(header)
        if not (header if end is None else header[: end.end()]).isascii():
            return MailError("8-bit header fields need ENABLE UTF8=ACCEPT", imap="CANNOT")
        message.header = header[-3:] if end is None else None
        return None

    async def complete(self) -> Sequence[NewMessage]:
        """All messages, ready to be stored. Raises MailError."""
        await self._end_message()
        return self._complete

    def discard(self) -> None:
        """Forget everything; harmless when called twice."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(ConnectionLost())
        for message in self._messages:
            message.body.discard()

    # --- one message ------------------------------------------------------------------------------

    def _check_number(self) -> None:
        """Is one more allowed (RFC 9738, 3.1)?"""
        limit = self.session.save_limit
        if len(self._messages) >= (limit or MAX_MESSAGES):
            raise LimitReached(imap=f"MESSAGELIMIT {limit}" if limit else "LIMIT")

    def _begin_message(self, begin: Begin) -> None:
        body = self.session.wire.new_body(self._drained, self._memory)
        now = self.session.settings.now.imap
        looked_at = now.headers_8bit == "refuse" and not self.session.utf8
        self._messages.append(_Message(begin, body, header=b"\n" if looked_at else None))

    async def _end_message(self) -> None:
        if len(self._messages) == len(self._complete):
            return
        message = self._messages[-1]
        if message.error is not None:
            raise message.error
        if not message.size:  # the way in which clients give up an APPEND (RFC 3502, 6.3.11)
            raise MailError("An empty message cannot be kept", imap="CANNOT")
        await _finish(message.body)
        if message.binary:
            await _CONVERTING.run(self._convert, message)
        if message.body.path is None:
            self._memory = max(0, self._memory - message.body.size)
        self._complete.append(NewMessage(message.body, message.begin.flags, message.begin.date))

    def _convert(self, message: _Message) -> Deferred[None]:
        return Deferred.fromCoroutine(self._make_storable(message))

    async def _make_storable(self, message: _Message) -> None:
        """Parts that no text can carry become base64 (RFC 3516, 4.4)."""
        raw, message.body = message.body, self.session.wire.new_body(self._drained, self._memory)
        try:
            if raw.path is None and raw.size <= LOOKED_THROUGH:
                pieces = list(storable(b"".join(raw.chunks())))
            else:
                pieces = await self.session.in_thread(lambda: list(storable(b"".join(raw.chunks()))))
        except UnknownEncoding:
            raise MailError("That binary content cannot be kept", imap="UNKNOWN-CTE") from None
        finally:
            raw.discard()
        for piece in pieces:
            await self.put(piece)
        await _finish(message.body)

    async def _expect(self, command: Append, octets: Octets) -> None:
        """What can be known before they come."""
        message = self._messages[-1]
        self.more(octets.size)
        if not octets.size and not octets.part:
            raise MailError("An empty message cannot be kept", imap="CANNOT")
        if octets.size > SMALL and not self._asked:
            if "i" not in await self.session.owner.rights(command.mailbox):
                raise NotPermitted
            self._asked = True
        if octets.size > SMALL:
            size = sum(each.size for each in self._messages)
            usage = await self._quota(command.mailbox)
            if usage is not None:
                usage = evolve(usage, limit=usage.limit.replacing(self.replacing))
                if not usage.fits(size, len(self._messages)):
                    raise OverQuota
        if octets.binary:
            message.binary = True
            message.body.discard()
            message.body = self.session.wire.new_body(self._drained, self._memory, raw=True)

    async def _quota(self, name: str) -> QuotaUsage | None:
        """None where this user may not know; then the end of the command tells."""
        try:
            return await self.session.owner.quota(name)
        except (NoSuchMailbox, NotPermitted):
            return None

    def more(self, size: int) -> None:
        """So many octets more; the limit is that of one message (RFC 7889; RFC 4469, 4.2)."""
        message = self._messages[-1]
        message.size += size
        if message.size > self.session.settings.now.limits.message_size:
            raise MessageTooLarge

    # --- the disk ---------------------------------------------------------------------------------

    async def put(self, data: bytes) -> None:
        """Octets that a URL stands for."""
        body = self._messages[-1].body
        body.write(data)
        if body.full:
            self._waiting = Deferred()
            await self._waiting

    def _drained(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
        self.session.wire.go_on()
