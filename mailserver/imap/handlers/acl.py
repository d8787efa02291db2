"""Access control lists: SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314).

Which right a command needs is the account's matter (`IAccount`), for these commands as for all others.
"""

from __future__ import annotations

from mailserver.errors import BadAddress
from mailserver.imap import replies
from mailserver.imap.commands import Command, DeleteAcl, GetAcl, ListRights, MyRights, SetAcl
from mailserver.imap.session import Handler, Session
from mailserver.rights import ALL, EVERYBODY, ordered
from mailserver.wire.address import normalise


def canonical(session: Session, identifier: str) -> str:
    """A user's log-in name in any of its forms to the address of the user; other identifiers as they are."""
    sign = "-" if identifier.startswith("-") else ""
    plain = identifier[len(sign) :]
    if plain in EVERYBODY:
        return identifier
    domains = session.settings.now.domains
    if "@" not in plain and len(domains) == 1:
        plain = f"{plain}@{next(iter(domains))}"
    try:
        return sign + normalise(plain)
    except BadAddress:
        return identifier


async def set_acl(session: Session, command: SetAcl) -> None:
    """RFC 4314, 3.1"""
    wanted, sign = set(command.rights), command.sign

    def edit(present: str) -> str:
        if sign:
            return ordered(set(present) | wanted if sign == "+" else set(present) - wanted)
        return command.rights

    await session.owner.set_acl(command.mailbox, canonical(session, command.identifier), edit)
    session.ok(command)


async def delete_acl(session: Session, command: DeleteAcl) -> None:
    """RFC 4314, 3.2"""
    await session.owner.set_acl(command.mailbox, canonical(session, command.identifier), lambda present: "")
    session.ok(command)


async def get_acl(session: Session, command: GetAcl) -> None:
    """RFC 4314, 3.3"""
    session.send(replies.acl(command.mailbox, await session.owner.acl(command.mailbox), session.utf8))
    session.ok(command)


async def list_rights(session: Session, command: ListRights) -> None:
    """RFC 4314, 3.4: no rights are tied together; the owner has all of them in any case."""
    owner = (await session.owner.acl(command.mailbox))[0][0]
    always = ALL if canonical(session, command.identifier) == owner else ""
    session.send(replies.list_rights(command.mailbox, command.identifier, always, session.utf8))
    session.ok(command)


async def my_rights(session: Session, command: MyRights) -> None:
    """RFC 4314, 3.5"""
    session.send(
        replies.my_rights(command.mailbox, await session.owner.rights(command.mailbox), session.utf8)
    )
    session.ok(command)


TABLE: dict[type[Command], Handler] = {
    SetAcl: set_acl,
    DeleteAcl: delete_acl,
    GetAcl: get_acl,
    ListRights: list_rights,
    MyRights: my_rights,
}
