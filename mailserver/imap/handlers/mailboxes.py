"""Commands on mailboxes as such: CREATE, STATUS (RFC 3501, 6.3; RFC 2342)."""

from __future__ import annotations

from collections.abc import Sequence

from mailserver.errors import CannotName
from mailserver.imap import replies
from mailserver.imap.commands import (
    Command,
    Create,
    Delete,
    Namespace,
    Rename,
    Status,
    Subscribe,
    Unsubscribe,
)
from mailserver.imap.handlers.names import tell_normalised
from mailserver.imap.listing import SEPARATOR, SPECIAL_USES
from mailserver.imap.selected import Selected
from mailserver.imap.session import Handler, Session
from mailserver.interfaces import Flag, IMailboxListener, MailboxStatus

# --- names -----------------------------------------------------------------------------------------


async def create(session: Session, command: Create) -> None:
    """RFC 3501, 6.3.3: a separator at the end only says that names below are to come. A mailbox has one
    special use at most, and no other mailbox of the account has it; \\All and \\Flagged would be views of
    others, which there are none of (RFC 6154, 3)."""
    uses = {SPECIAL_USES.get(use.upper(), "") for use in command.uses}
    if len(uses) > 1 or "" in uses:
        raise CannotName("That special use is not possible here", imap="USEATTR")
    name = command.mailbox.removesuffix(SEPARATOR)
    if not name:
        raise CannotName
    mailboxid = await session.owner.create(name, *uses)
    await tell_normalised(session, command, name)
    session.ok(command, code=f"MAILBOXID ({mailboxid})" if session.has("OBJECTID") else "")  # RFC 8474, 4.1


async def delete(session: Session, command: Delete) -> None:
    await session.owner.delete(command.mailbox)
    _leave_what_is_gone(session)
    session.ok(command)


async def rename(session: Session, command: Rename) -> None:
    name = command.new.removesuffix(SEPARATOR)
    await session.owner.rename(command.mailbox, name)
    _leave_what_is_gone(session)
    await tell_normalised(session, command, command.mailbox, name)
    session.ok(command)


def _leave_what_is_gone(session: Session) -> None:
    """The client's own command took its selected mailbox away: it needs no BYE to know."""
    if session.selected is not None and session.selected.gone:
        session.unselect()


async def subscribe(session: Session, command: Subscribe) -> None:
    await session.owner.subscribe(command.mailbox, True)
    session.ok(command)


async def unsubscribe(session: Session, command: Unsubscribe) -> None:
    await session.owner.subscribe(command.mailbox, False)
    session.ok(command)


async def namespace(session: Session, command: Namespace) -> None:
    session.send(replies.namespace(session.has("ACL")))
    session.ok(command)


# --- STATUS ----------------------------------------------------------------------------------------


async def status(session: Session, command: Status) -> None:
    """RFC 3501, 6.3.10"""
    values = await status_values(session, command.mailbox, command.items)
    session.send(replies.status(command.mailbox, values, session.utf8))
    session.ok(command)


async def status_values(session: Session, name: str, items: Sequence[str]) -> list[tuple[str, int | str]]:
    """APPENDLIMIT: RFC 7889, 3.1; DELETED, DELETED-STORAGE: RFC 9208, 4.1.4; SIZE: RFC 8438, 3; MAILBOXID:
    RFC 8474, 4.3; HIGHESTMODSEQ: RFC 7162, 3.1.7."""
    if "HIGHESTMODSEQ" in items:
        session.enable_condstore()
    counters = await session.owner.status(name)
    values: dict[str, int | str] = {
        "MESSAGES": counters.messages,
        "RECENT": counters.recent,
        "UIDNEXT": counters.uidnext,
        "UIDVALIDITY": counters.uidvalidity,
        "UNSEEN": counters.unseen,
        "APPENDLIMIT": session.settings.now.limits.message_size,
        "DELETED": counters.deleted,
        "SIZE": counters.size,
        "MAILBOXID": f"({counters.mailboxid})",
        "HIGHESTMODSEQ": counters.highestmodseq,
    }
    if "DELETED-STORAGE" in items:
        values["DELETED-STORAGE"] = await _deleted_octets(session, name, counters)
    return [(item, values[item]) for item in items]


async def _deleted_octets(session: Session, name: str, counters: MailboxStatus) -> int:
    """What EXPUNGE would free; the mailbox is only opened where there is anything to free."""
    if not counters.deleted:
        return 0
    listener: IMailboxListener = Selected(read_only=True)
    mailbox = await session.owner.open(name, listener, True)
    try:
        deleted = Flag.DELETED.value
        return sum(size for size, flags in zip(mailbox.sizes, mailbox.flags, strict=False) if flags & deleted)
    finally:
        mailbox.close(listener)


TABLE: dict[type[Command], Handler] = {
    Create: create,
    Delete: delete,
    Rename: rename,
    Subscribe: subscribe,
    Unsubscribe: unsubscribe,
    Namespace: namespace,
    Status: status,
}
