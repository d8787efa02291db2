"""APPEND and REPLACE (RFC 3501, 6.3.11; MULTIAPPEND: 3502; CATENATE: 4469; UIDPLUS: 4315, 3; REPLACE: 8508).

The messages are an `Upload`'s matter, from the first one on (`begin`); what is here stores them.
"""

from __future__ import annotations

from contextlib import suppress

from mailserver.errors import MailError, MessageGone, NoSuchMailbox, NotPermitted
from mailserver.imap.commands import Append, Command, Replace
from mailserver.imap.grammar.cursor import BadSyntax
from mailserver.imap.handlers.batches import uids_of
from mailserver.imap.handlers.change import NO_SUCH_NUMBER, READ_ONLY, uid_set
from mailserver.imap.handlers.names import tell_normalised
from mailserver.imap.handlers.uploads import Upload
from mailserver.imap.selected import Selected
from mailserver.imap.session import Handler, Session
from mailserver.interfaces import CopyResult, IMailboxListener, NewMessage


def begin(session: Session, command: Append) -> Upload:
    """Before the first message. Raises the MailError, or BadSyntax, that the whole command would end with."""
    if not isinstance(command, Replace):
        return Upload(session)
    view = session.mailbox
    row = view.mailbox.index_of(_replaced(view, command))
    return Upload(session, view.mailbox.sizes[row])


async def append(session: Session, command: Append, upload: Upload | None = None) -> None:
    """All of it is durable before the OK, or nothing of it is kept (RFC 3502)."""
    try:
        upload = upload or begin(session, command)
        await upload.do(command, command.steps)
        messages = await upload.complete()
        if isinstance(command, Replace):
            await _replace(session, command, messages[0], upload.replacing)
            return
        result = await session.owner.append(command.mailbox, messages)
        await tell_normalised(session, command, command.mailbox)
    except (MailError, BadSyntax) as error:
        refuse(session, command, error)
        return
    finally:
        if upload is not None:
            upload.discard()
    session.put(command.mailbox, result.target)
    session.ok(command, code=_appended(session, result))


async def _replace(session: Session, command: Replace, message: NewMessage, size: int) -> None:
    """The new message is durable before the old one goes: there is never less than one. Where the old one
    cannot be removed, the new one goes again (RFC 8508, 3.4)."""
    view = session.mailbox
    uid = _replaced(view, command)
    result = await session.owner.append(command.mailbox, (message,), size)
    try:
        await view.mailbox.remove((uid,), view)
    except MailError:
        with suppress(MailError):
            await _withdraw(session, command.mailbox, result)
        raise
    session.put(command.mailbox, result.target)
    code = _appended(session, result)
    if code:  # before the EXPUNGE, which `ok` tells (RFC 8508, 4.3)
        session.send(f"* OK [{code}] Replacement message ready\r\n".encode("ascii"))
    session.ok(command)


def _replaced(view: Selected, command: Replace) -> int:
    """The UID of the message to be replaced. Raises BadSyntax for a number that cannot be, MailError."""
    if view.read_only:
        raise NotPermitted(READ_ONLY, imap="READ-ONLY")
    if not {"t", "e"} <= set(view.mailbox.rights):  # RFC 8508, 4.1
        raise NotPermitted
    ranges = view.ranges(command.numbers, command.uid)
    if ranges is None:
        raise BadSyntax(NO_SUCH_NUMBER)
    uids = uids_of(view, ranges)
    if not uids:
        raise MailError("No such message", imap="NONEXISTENT")
    if view.is_removed(uids[0]) or view.mailbox.index_of(uids[0]) < 0:
        raise MessageGone
    return uids[0]


async def _withdraw(session: Session, folder: str, result: CopyResult) -> None:
    listener: IMailboxListener = Selected(read_only=True)
    mailbox = await session.owner.open(folder, listener)
    try:
        await mailbox.remove(result.target, None)
    finally:
        mailbox.close(listener)


def _appended(session: Session, result: CopyResult) -> str:
    """APPENDUID (RFC 4315, 3), with a UID for each message (RFC 3502)."""
    if not result.target or not session.has("UIDPLUS"):
        return ""
    return f"APPENDUID {result.uidvalidity} {uid_set(result.target)}"


def refuse(session: Session, command: Append, error: MailError | BadSyntax) -> None:
    """NO; TRYCREATE where creating the mailbox would help (RFC 3501, 6.3.11)."""
    if isinstance(error, BadSyntax):
        session.bad(command, str(error))
    else:
        code = "TRYCREATE" if isinstance(error, NoSuchMailbox) else error.imap or ""
        session.no(command, error.text, code)


TABLE: dict[type[Command], Handler] = {Append: append, Replace: append}
