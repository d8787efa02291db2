"""Untagged responses outside FETCH and SEARCH: values to bytes (RFC 3501, 7)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mailserver.imap.listing import Listed
from mailserver.interfaces import QuotaUsage
from mailserver.message.envelope import nstring, string
from mailserver.rights import ALL, OTHERS, told
from mailserver.wire import utf7

_ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')


def astring(value: bytes) -> bytes:
    """As it is, quoted or as a literal, whatever holds it; NIL only in quotes."""
    if _ATOM.fullmatch(value) is not None and value.upper() != b"NIL":
        return value
    return string(value)


def mailbox(name: str, utf8: bool = False) -> bytes:
    """In modified UTF-7 (RFC 3501, 5.1.3), or in UTF-8 for clients that enabled it (RFC 9755, 3)."""
    if not utf8:
        return astring(utf7.encode(name))
    if name.isascii() or not name.isprintable():
        return astring(name.encode("utf-8"))
    return b'"%b"' % name.replace("\\", "\\\\").replace('"', '\\"').encode("utf-8")


def capability(names: Sequence[str]) -> bytes:
    return b"* CAPABILITY %b\r\n" % " ".join(names).encode("ascii")


def enabled(names: Iterable[str]) -> bytes:
    """RFC 5161, 3.2"""
    return b" ".join([b"* ENABLED", *(name.encode("ascii") for name in names)]) + b"\r\n"


def identity(fields: dict[str, str]) -> bytes:
    """RFC 2971, 3.2"""
    pairs = [b"%b %b" % (string(name.encode()), string(value.encode())) for name, value in fields.items()]
    return b"* ID (%b)\r\n" % b" ".join(pairs)


def listing(command: str, entry: Listed, utf8: bool = False) -> bytes:
    """A LIST or LSUB response."""
    attributes = " ".join(entry.attributes).encode("ascii")
    items: list[bytes] = []
    if entry.children:
        options = " ".join(f'"{option}"' for option in entry.children).encode("ascii")
        items.append(b'"CHILDINFO" (%b)' % options)
    if entry.old_name:
        items.append(b'"OLDNAME" (%b)' % mailbox(entry.old_name, utf8))
    more = b" (%b)" % b" ".join(items) if items else b""
    name = mailbox(entry.name, utf8)
    return b'* %b (%b) "/" %b%b\r\n' % (command.encode("ascii"), attributes, name, more)


def root(command: str) -> bytes:
    """LIST "" "": the separator and the root (RFC 3501, 6.3.8)."""
    return b'* %b (\\Noselect) "/" ""\r\n' % command.encode("ascii")


def status(name: str, values: Iterable[tuple[str, int | str]], utf8: bool = False) -> bytes:
    items = " ".join(f"{item} {value}" for item, value in values)
    return b"* STATUS %b (%b)\r\n" % (mailbox(name, utf8), items.encode("ascii"))


def metadata(name: str, values: Iterable[tuple[str, bytes | None]], utf8: bool = False) -> bytes:
    """Entries with their values (RFC 5464, 4.4.1)."""
    pairs = b" ".join(astring(entry.encode("ascii")) + b" " + _value(value) for entry, value in values)
    return b"* METADATA %b (%b)\r\n" % (mailbox(name, utf8) if name else b'""', pairs)


def _value(value: bytes | None) -> bytes:
    """nstring / literal8"""
    if value is not None and b"\0" in value:
        return b"~{%d}\r\n%b" % (len(value), value)
    return nstring(value)


def metadata_changed(name: str, entries: Iterable[str], utf8: bool = False) -> bytes:
    """Names of entries that were changed (RFC 5464, 4.4.2); the server's own where `name` is empty."""
    keys = b" ".join(astring(entry.encode("utf-8")) for entry in entries)
    return b"* METADATA %b %b\r\n" % (mailbox(name, utf8), keys)


def namespace(others: bool) -> bytes:
    """One personal namespace without a prefix, and that of other users (RFC 2342, 5)."""
    other = b'(("%b" "/"))' % OTHERS.encode("ascii") if others else b"NIL"
    return b'* NAMESPACE (("" "/")) %b NIL\r\n' % other


def acl(name: str, entries: Iterable[tuple[str, str]], utf8: bool = False) -> bytes:
    """RFC 4314, 3.6"""
    pairs = [b" %b %b" % (astring(who.encode("utf-8")), told(rights).encode()) for who, rights in entries]
    return b"* ACL %b%b\r\n" % (mailbox(name, utf8), b"".join(pairs))


def my_rights(name: str, rights: str, utf8: bool = False) -> bytes:
    """RFC 4314, 3.8"""
    return b"* MYRIGHTS %b %b\r\n" % (mailbox(name, utf8), told(rights).encode() or b'""')


def list_rights(name: str, identifier: str, always: str, utf8: bool = False) -> bytes:
    """RFC 4314, 3.7: each right by itself, but for those that are always granted."""
    optional = [letter for letter in ALL + "cd" if letter not in told(always)]
    rights = b" ".join([told(always).encode() or b'""', *(letter.encode() for letter in optional)])
    return b"* LISTRIGHTS %b %b %b\r\n" % (mailbox(name, utf8), astring(identifier.encode("utf-8")), rights)


def quota(usage: QuotaUsage, root: str = "", utf8: bool = False) -> bytes:
    """STORAGE in units of 1024 octets, rounded up; what has no limit is not there (RFC 9208, 4.2.1)."""
    told = []
    if usage.limit.octets:
        told.append(b"STORAGE %d %d" % (-(-usage.used // 1024), -(-usage.limit.octets // 1024)))
    if usage.limit.messages:
        told.append(b"MESSAGE %d %d" % (usage.messages, usage.limit.messages))
    return b"* QUOTA %b (%b)\r\n" % (_root(root, utf8), b" ".join(told))


def root_of(name: str) -> str:
    """The quota root of a mailbox: another user's is named after that user, one's own is ""."""
    if not name.startswith(OTHERS):
        return ""
    return OTHERS + name[len(OTHERS) :].partition("/")[0]


def _root(root: str, utf8: bool) -> bytes:
    return mailbox(root, utf8) if root else b'""'


def quota_root(name: str, utf8: bool = False) -> bytes:
    return b"* QUOTAROOT %b %b\r\n" % (mailbox(name, utf8), _root(root_of(name), utf8))
