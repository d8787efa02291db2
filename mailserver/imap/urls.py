"""IMAP URLs in CATENATE: messages of one's own, and parts of them (RFC 4469, 3; RFC 5092).

Only relative URLs are possible, and what they stand for is read with the rights of the session. "/a/;UID=1"
names a mailbox, ";UID=1" means the selected one.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from attrs import frozen

from mailserver.errors import MailError
from mailserver.imap.grammar.cursor import BadSyntax, Cursor, inbox_in_capitals
from mailserver.imap.grammar.fetch import section
from mailserver.imap.values import FetchItem, Section

_URL = re.compile(
    rb"(?:(?P<path>/?[^/;][^;]*?)(?:;UIDVALIDITY=(?P<validity>[1-9][0-9]{0,9}))?/)?"
    rb";UID=(?P<uid>[1-9][0-9]{0,9})"
    rb"(?:/;SECTION=(?P<section>[^;]+?))?"
    rb"(?:/;PARTIAL=(?P<origin>[0-9]{1,10})(?:\.(?P<count>[1-9][0-9]{0,9}))?)?",
    re.IGNORECASE,
)
_UNFINISHED = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f]")
_UNSAFE = re.compile(r'[^\x21-\x7e]|[\]"\\]')
MAX_SHOWN = 1000
ALL = (1 << 32) - 1


@frozen
class MessageUrl:
    """mailbox: None for the selected one; uidvalidity: None where any will do."""

    mailbox: str | None
    uidvalidity: int | None
    uid: int
    item: FetchItem


class BadUrl(MailError):
    """RFC 4469, 4.1"""

    def __init__(self, url: bytes) -> None:
        shown = _UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", url[:MAX_SHOWN].decode("latin-1"))
        super().__init__("That URL stands for nothing here", imap=f"BADURL {shown}" if shown else "BADURL")


def parse_url(url: bytes, selected: str | None = None) -> MessageUrl:
    """`selected`: the selected mailbox, to which a relative path is relative. Raises BadUrl."""
    match = _URL.fullmatch(url)
    if match is None or _UNFINISHED.search(url) is not None:
        raise BadUrl(url)
    try:
        mailbox = None if match["path"] is None else _mailbox(match["path"], selected or "")
        item = _item(match)
    except (BadSyntax, UnicodeDecodeError, ValueError):
        raise BadUrl(url) from None
    if mailbox is None and selected is None:
        raise BadUrl(url)
    validity = match["validity"]
    return MessageUrl(mailbox, None if validity is None else int(validity), int(match["uid"]), item)


def _mailbox(path: bytes, selected: str) -> str:
    """Raises ValueError. A colon in the first level would be the end of a scheme (RFC 3986, 4.2)."""
    if b":" in path.partition(b"/")[0]:
        raise ValueError(path)
    name = unquote_to_bytes(path).decode("utf-8")
    if _CONTROL.search(name) is not None:
        raise ValueError(name)
    if name.startswith("/"):
        return inbox_in_capitals(name[1:])
    above, separator, _ = selected.rpartition("/")
    return inbox_in_capitals(above + separator + name)


def _item(match: re.Match[bytes]) -> FetchItem:
    """What FETCH would have to give."""
    asked = Section()
    if match["section"] is not None:
        cursor = Cursor((unquote_to_bytes(match["section"]),))
        asked = section(cursor)
        cursor.end()
    partial = None
    if match["origin"] is not None:
        partial = int(match["origin"]), int(match["count"] or ALL)
    return FetchItem("BODY[]", asked, partial)
