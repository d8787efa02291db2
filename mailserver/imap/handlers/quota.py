"""QUOTA (RFC 9208). An account has one quota root: "" for its owner, "Other Users/ADDRESS" for all others.

`[imap] administrators` may look at and change the quota of every user, whatever access control lists say.
"""

from __future__ import annotations

from attrs import evolve

from mailserver.errors import MailError, NoSuchUser, NotPermitted
from mailserver.imap import replies
from mailserver.imap.commands import Command, GetQuota, GetQuotaRoot, SetQuota
from mailserver.imap.session import Handler, Session
from mailserver.interfaces import Quota, QuotaUsage
from mailserver.rights import OTHERS

UNIT = 1024  # octets of STORAGE (RFC 9208, 5.1)
_LARGEST = (2**63 - 1) // UNIT


async def get_quota(session: Session, command: GetQuota) -> None:
    """Another user's is told to who may read a mailbox of that user."""
    if not command.root:
        usage = await session.owner.quota()
    elif session.administers:
        usage = await _of_any(session, command.root)
    else:
        folders = await session.owner.folders()
        readable = [folder.name for folder in folders if "r" in folder.rights]
        name = next((one for one in readable if one.startswith(f"{command.root}/")), "")
        if not (name and command.root.startswith(OTHERS) and command.root.count("/") == 1):
            raise _no_such_root()
        usage = await session.owner.quota(name)
    _tell(session, usage, command.root)
    session.ok(command)


async def get_quota_root(session: Session, command: GetQuotaRoot) -> None:
    """The mailbox need not exist (RFC 9208, 4.1.2)."""
    root = replies.root_of(command.mailbox)
    if root and session.administers:
        usage = await _of_any(session, root)
    else:
        usage = await session.owner.quota(command.mailbox)
    session.send(replies.quota_root(command.mailbox, session.utf8))
    _tell(session, usage, root)
    session.ok(command)


async def set_quota(session: Session, command: SetQuota) -> None:
    """What is not named is not limited any more (RFC 9208, 4.1.3); what the session does not know stays."""
    if not session.administers:
        raise NotPermitted
    user = _user(session, command.root)
    usage = await _of_any(session, command.root)
    wanted = dict(command.limits)
    fields = {"QUOTA=RES-STORAGE": ("STORAGE", "octets"), "QUOTA=RES-MESSAGE": ("MESSAGE", "messages")}
    limit = usage.limit
    for capability, (resource, field) in fields.items():
        if session.has(capability):
            limit = evolve(limit, **{field: _limit(resource, wanted.pop(resource, None))})
    if wanted:
        raise MailError(f"No limit is possible for {min(wanted)}", imap="CANNOT")
    await session.owner.set_quota(user, limit)
    _tell(session, evolve(usage, limit=limit), command.root)
    session.ok(command)


def _limit(resource: str, number: int | None) -> int:
    """As `Quota` has it: there 0 means no limit, here that nothing may be kept (RFC 9208, 3.1.2)."""
    if number is None:
        return 0
    if not 0 < number <= _LARGEST:
        raise MailError(f"{resource} cannot be limited to that", imap="CANNOT")
    return number * UNIT if resource == "STORAGE" else number


async def _of_any(session: Session, root: str) -> QuotaUsage:
    try:
        return await session.owner.quota_of(_user(session, root))
    except NoSuchUser as error:
        raise _no_such_root() from error


def _user(session: Session, root: str) -> str:
    """Whose quota root it is."""
    if not root:
        return session.user
    user = root.removeprefix(OTHERS)
    if user == root or "/" in user:
        raise _no_such_root()
    return user


def _no_such_root() -> MailError:
    return MailError("No such quota root", imap="NONEXISTENT")


def _tell(session: Session, usage: QuotaUsage, root: str) -> None:
    limit = Quota(
        usage.limit.octets if session.has("QUOTA=RES-STORAGE") else 0,
        usage.limit.messages if session.has("QUOTA=RES-MESSAGE") else 0,
    )
    session.send(replies.quota(evolve(usage, limit=limit), root, session.utf8))


TABLE: dict[type[Command], Handler] = {
    GetQuota: get_quota,
    GetQuotaRoot: get_quota_root,
    SetQuota: set_quota,
}
