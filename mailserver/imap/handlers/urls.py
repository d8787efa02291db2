"""Octets that an IMAP URL stands for, into a message on its way in (RFC 4469, 3)."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from mailserver.errors import MailError, MessageGone, NoSuchMailbox
from mailserver.imap.fetch import Content, content_of, extract, span
from mailserver.imap.handlers.large import SMALL, partial_span, scan_whole
from mailserver.imap.selected import Selected
from mailserver.imap.session import Session
from mailserver.imap.urls import BadUrl, MessageUrl, parse_url
from mailserver.interfaces import IMailbox, IMailboxListener, IMessageFile
from mailserver.message.structure import scan


class Receiver(Protocol):
    """The message that the octets become a part of."""

    def more(self, size: int) -> None:
        """So many octets come; may raise."""

    def put(self, data: bytes) -> Awaitable[None]: ...


async def copy_url(session: Session, url: bytes, to: Receiver) -> None:
    """The octets as FETCH BODY.PEEK would give them. Raises BadUrl, MailError."""
    view = session.selected
    selected = None if view is None else view.mailbox.name
    wanted = parse_url(url, selected)
    try:
        if view is not None and wanted.mailbox in (None, selected):
            found = await _copy_from(session, view.mailbox, wanted, to)
        else:
            found = await _copy_from_other(session, wanted, to)
    except (NoSuchMailbox, MessageGone) as error:
        raise BadUrl(url) from error
    if not found:
        raise BadUrl(url)


async def _copy_from_other(session: Session, wanted: MessageUrl, to: Receiver) -> bool:
    listener: IMailboxListener = Selected(read_only=True)
    mailbox = await session.owner.open(wanted.mailbox or "", listener, True)
    try:
        return await _copy_from(session, mailbox, wanted, to)
    finally:
        mailbox.close(listener)


async def _copy_from(session: Session, mailbox: IMailbox, wanted: MessageUrl, to: Receiver) -> bool:
    """False where there is no such message or part."""
    if wanted.uidvalidity not in (None, mailbox.uidvalidity) or mailbox.index_of(wanted.uid) < 0:
        return False
    file = mailbox.open_message(wanted.uid)
    try:
        return await _copy(session, file, content_of(wanted.item), to)
    finally:
        file.close()


async def _copy(session: Session, file: IMessageFile, content: Content, to: Receiver) -> bool:
    """False where the message has no such part."""
    data = file.read_all()
    if data is None and file.size <= SMALL:
        data = await file.read(0, file.size)
    if data is not None:
        found = extract(content, data, scan(data))
        if found is not None:
            to.more(len(found))
            await to.put(found)
        return found is not None
    root = None
    if not content.whole:
        root = await scan_whole(session, file)
    place = (0, file.size) if root is None else span(content, root)
    if place is None:
        return False
    start, end = place
    if content.cut is not None:
        block = content.partial(content.cut(await file.read(start, end - start)))
        to.more(len(block))
        await to.put(block)
        return True
    start, end = partial_span(content, start, end)
    to.more(end - start)
    while start < end:
        data = await file.read(start, min(SMALL, end - start))
        if not data:
            raise MailError("The message cannot be read whole")
        await to.put(data)
        start += len(data)
    return True
