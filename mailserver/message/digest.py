"""What SEARCH, SORT and THREAD want to know of a message's header, derived once (RFC 3501, 6.4.4; RFC 5256).

It comes in groups, each with what one kind of question needs, so that the first SORT by date does not pay for
addresses. Texts are folded (`casemap`), ready to be compared. Never raises; linear in the header.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from attrs import frozen

from mailserver.message.addresses import Address, first_address
from mailserver.message.casemap import fold
from mailserver.message.charsets import decode
from mailserver.message.dates import sent
from mailserver.message.subject import base_subject
from mailserver.message.text import decode_words

MAX_REFERENCES = 1000  # the last ones

_ID = re.compile(
    rb'<[ \t]*+(?:"((?:[^"\\\r\n]|\\.)*+)"|([^<>@"\s]++))[ \t]*+@[ \t]*+(\[[^\]<>]*+\]|[^<>@\s]++)[ \t]*+>'
)
_ESCAPED = re.compile(rb"\\(.)")

Fields = dict[bytes, list[bytes]]  # unfolded values by name in capitals


@frozen
class Group:
    """fields: names, each with its value where the header has nothing; reads: of header fields, in capitals;
    make: the values."""

    fields: dict[str, Any]
    reads: tuple[bytes, ...]
    make: Callable[[Fields], tuple[Any, ...]]


def _dates(found: Fields) -> tuple[Any, ...]:
    """sent, day: the moment and the day written in Date, both since the epoch; None where there is none."""
    values = found.get(b"DATE")
    moment = sent(values[0]) if values else None
    return (None, None) if moment is None else (moment.seconds, moment.day)


def _subjects(found: Fields) -> tuple[Any, ...]:
    """subject: all of it, for SEARCH; base, reply: base subject, and is it that of a reply or forward?"""
    values = found.get(b"SUBJECT")
    if not values:
        return None, "", False
    texts = [_decoded(value) for value in values]
    base, reply = base_subject(texts[0])
    return _joined(texts), fold(base), reply


def _senders(found: Fields) -> tuple[Any, ...]:
    """from_: the whole field; from_mailbox, from_name: of its first address (RFC 5256, 3; RFC 5957, 3)."""
    values = found.get(b"FROM")
    if not values:
        return None, "", ""
    address = first_address(values[0])
    return _text(values), _mailbox(address), _name(address)


def _recipients(found: Fields) -> tuple[Any, ...]:
    """to_, cc, bcc, to_mailbox, to_name, cc_mailbox: as of the sender."""
    tos, copies = found.get(b"TO"), found.get(b"CC")
    to = first_address(tos[0]) if tos else None
    copied = first_address(copies[0]) if copies else None
    return (
        *(_text(tos), _text(copies), _text(found.get(b"BCC"))),
        *(_mailbox(to), _name(to), _mailbox(copied)),
    )


def _threads(found: Fields) -> tuple[Any, ...]:
    """ids: the Message ID, then those of the ancestors with the oldest first, joined by LF; empty in front
    where it has none."""
    own = ids(found.get(b"MESSAGE-ID", [b""])[0])[:1] or [""]
    return ("\n".join(own + _references(found.get(b"REFERENCES"), found.get(b"IN-REPLY-TO"))),)


GROUPS = {
    "dates": Group({"sent": None, "day": None}, (b"DATE",), _dates),
    "subjects": Group({"subject": None, "base": "", "reply": False}, (b"SUBJECT",), _subjects),
    "senders": Group({"from_": None, "from_mailbox": "", "from_name": ""}, (b"FROM",), _senders),
    "recipients": Group(
        {"to_": None, "cc": None, "bcc": None, "to_mailbox": "", "to_name": "", "cc_mailbox": ""},
        (b"TO", b"CC", b"BCC"),
        _recipients,
    ),
    "threads": Group({"ids": ""}, (b"MESSAGE-ID", b"REFERENCES", b"IN-REPLY-TO"), _threads),
}
GROUP_OF = {field: name for name, group in GROUPS.items() for field in group.fields}
NOTHING = {field: value for group in GROUPS.values() for field, value in group.fields.items()}


def groups_of(fields: Iterable[str]) -> tuple[str, ...]:
    """The groups that these fields belong to."""
    return tuple(dict.fromkeys(GROUP_OF[field] for field in fields))


def digest(header: bytes, groups: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """The values of each of these groups, of a header block with either line ends."""
    found: Fields = {}
    for name, folded in _finder(groups)(b"\n" + header):
        value = folded.replace(b"\r", b"").replace(b"\n", b"") if b"\n" in folded else folded
        found.setdefault(name.upper(), []).append(value.strip())
    return [GROUPS[name].make(found) for name in groups]


@lru_cache(maxsize=64)
def _finder(groups: tuple[str, ...]) -> Callable[[bytes], list[tuple[bytes, bytes]]]:
    """A function from a header block to (name, folded value) of the fields that these groups read. Without
    IGNORECASE, so that the search goes from line to line at the speed of memory."""
    names = [name for group in groups for name in GROUPS[group].reads]
    either = b"|".join(
        [b"".join([_either_case(name[n : n + 1]) for n in range(len(name))]) for name in names]
    )
    return re.compile(rb"\n(" + either + rb")[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)").findall


def _either_case(letter: bytes) -> bytes:
    return b"[" + letter + letter.lower() + b"]" if letter.isalpha() else re.escape(letter)


def _decoded(value: bytes) -> str:
    if value.isascii() and b"=?" not in value:
        return value.decode("ascii")
    text = decode_words(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _text(values: Sequence[bytes] | None) -> str | None:
    return None if values is None else _joined([_decoded(value) for value in values])


def _joined(texts: list[str]) -> str:
    """Folded, one line each."""
    if len(texts) == 1:
        return fold(texts[0]).replace("\n", " ")
    return "\n".join([fold(text).replace("\n", " ") for text in texts])


def _mailbox(address: Address | None) -> str:
    return "" if address is None or address.mailbox is None else fold(_plain(address.mailbox))


def _plain(value: bytes) -> str:
    return value.decode("ascii") if value.isascii() else decode(value, "utf-8")


def _name(address: Address | None) -> str:
    """The DISPLAY sort value (RFC 5957, 3)."""
    if address is None:
        return ""
    name = "" if address.name is None else _decoded(address.name)
    if name:
        return fold(name)
    if address.mailbox is None or address.host is None:
        return _mailbox(address)
    return fold(_plain(address.mailbox + b"@" + address.host))


def _references(references: Sequence[bytes] | None, replied: Sequence[bytes] | None) -> list[str]:
    """RFC 5256, 3: References, or else the first Message ID of In-Reply-To."""
    found = ids(b" ".join(references)) if references else []
    if not found and replied:
        found = ids(b" ".join(replied))[:1]
    return found[-MAX_REFERENCES:]


def ids(value: bytes) -> list[str]:
    """The Message IDs in a field, normalized: quoted or not is the same (RFC 5256, 3)."""
    return [
        ((plain or _ESCAPED.sub(rb"\1", quoted)) + b"@" + domain).decode("latin-1")
        for quoted, plain, domain in _ID.findall(value)
    ]
