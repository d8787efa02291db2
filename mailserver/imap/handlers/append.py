"""APPEND (RFC 3501, 6.3.11; UIDPLUS: RFC 4315, 3; APPENDLIMIT: RFC 7889): the message is streamed.

`offered` decides before the message comes, as far as that can be known; `append` stores it.
"""

from __future__ import annotations

from mailserver.errors import MailError, MessageTooLarge, NoSuchMailbox, OverQuota
from mailserver.imap.commands import Append, Command
from mailserver.imap.session import Handler, Session
from mailserver.interfaces import NewMessage

SMALL = 16 * 1024  # octets that cost less to receive than to ask the store about beforehand


async def offered(session: Session, command: Append) -> None:
    """Raises the MailError that the whole command would end with, before much was sent for nothing."""
    if command.size > session.settings.now.limits.message_size:
        raise MessageTooLarge
    if not command.size:  # the way in which clients give up an APPEND (RFC 3502, 6.3.11)
        raise MailError("An empty message cannot be kept", imap="CANNOT")
    if command.size <= SMALL:
        return
    await session.owner.status(command.mailbox)
    usage = await session.owner.quota()
    if usage.limit and usage.used + command.size > usage.limit:
        raise OverQuota


async def append(session: Session, command: Append) -> None:
    """All of it is durable before the OK. The body is given up in any case."""
    body = command.body
    if body is None:
        raise MailError("No message")
    try:
        message = NewMessage(body, command.flags, command.date)
        result = await session.owner.append(command.mailbox, (message,))
    except MailError as error:
        refuse(session, command, error)
        return
    finally:
        body.discard()
    uid = result.target[0] if result.target else 0
    session.ok(
        command, code=f"APPENDUID {result.uidvalidity} {uid}" if uid and session.has("UIDPLUS") else ""
    )


def refuse(session: Session, command: Append, error: MailError) -> None:
    """NO; TRYCREATE where creating the mailbox would help (RFC 3501, 6.3.11)."""
    code = "TRYCREATE" if isinstance(error, NoSuchMailbox) else error.imap or ""
    session.no(command, error.text, code)


TABLE: dict[type[Command], Handler] = {Append: append}
