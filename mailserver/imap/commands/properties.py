"""What mailboxes have beside messages: quota, rights of others, annotations."""

from __future__ import annotations

from attrs import frozen

from mailserver.imap.commands.base import Command


@frozen
class GetQuota(Command):
    NAME = "GETQUOTA"
    root: str


@frozen
class GetQuotaRoot(Command):
    NAME = "GETQUOTAROOT"
    mailbox: str


@frozen
class SetQuota(Command):
    NAME = "SETQUOTA"
    root: str
    limits: tuple[tuple[str, int], ...]


@frozen
class SetAcl(Command):
    """RFC 4314, 3.1. sign: "+", "-" or "" for rights that replace those there are."""

    NAME = "SETACL"
    mailbox: str
    identifier: str
    sign: str
    rights: str


@frozen
class DeleteAcl(Command):
    NAME = "DELETEACL"
    mailbox: str
    identifier: str


@frozen
class GetAcl(Command):
    NAME = "GETACL"
    mailbox: str


@frozen
class ListRights(Command):
    NAME = "LISTRIGHTS"
    mailbox: str
    identifier: str


@frozen
class MyRights(Command):
    NAME = "MYRIGHTS"
    mailbox: str


@frozen
class GetMetadata(Command):
    """RFC 5464, 4.2; `mailbox` is empty for the server. depth: None for infinity."""

    NAME = "GETMETADATA"
    mailbox: str
    entries: tuple[str, ...]
    depth: int | None = 0
    maxsize: int | None = None


@frozen
class SetMetadata(Command):
    """RFC 5464, 4.3; None removes an entry."""

    NAME = "SETMETADATA"
    mailbox: str
    values: tuple[tuple[str, bytes | None], ...]
