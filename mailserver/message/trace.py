"""Trace fields: Received, and the count of hops (RFC 5321, 4.4 and 6.3; RFC 3848).

Whatever comes from the client is checked again here: a trace field is always the lines it should be and
nothing more (CASES C6, C16). LF line ends.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache

from mailserver.interfaces import Peer
from mailserver.message.headers import Headers

_UNSAFE_NAME = re.compile(r"[^A-Za-z0-9._:\[\]-]")
_UNSAFE_PATH = re.compile(r"[\x00-\x1f\x7f]")
_UNSAFE_COMMENT = re.compile(r"[^A-Za-z0-9._ -]")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def received(
    *,
    peer: Peer,
    helo: str,
    extended: bool,
    authenticated: bool,
    hostname: str,
    message_id: str,
    recipient: str,
    when: float,
    utf8: bool = False,
    lmtp: bool = False,
    priority: int | None = None,
) -> bytes:
    """One Received field. `recipient` is "" unless the message has exactly one: the others may be secret.
    priority: as MAIL had it (RFC 6710, 7)."""
    name = _UNSAFE_NAME.sub("?", helo)[:255] or "unknown"
    protocol = "LMTP" if lmtp else "SMTP"  # RFC 3848; RFC 6531, 4.3
    if utf8:
        protocol = f"UTF8{protocol}"
    elif extended and not lmtp:
        protocol = "ESMTP"
    protocol += ("S" if peer.tls else "") + ("A" if authenticated else "")
    found = f"{_UNSAFE_NAME.sub('?', peer.name)} " if peer.name else ""
    tls = f" ({_UNSAFE_COMMENT.sub('?', peer.tls)})" if peer.tls else ""
    to = f"\n\tfor <{_UNSAFE_PATH.sub('?', recipient)}>" if recipient else ""
    if priority is not None:
        to += f"\n\tPRIORITY {priority}"
    return (
        f"Received: from {name} ({found}{address_literal(peer.ip)})\n"
        f"\tby {hostname} with {protocol}{tls} id {message_id}{to};\n"
        f"\t{date(when)}\n"
    ).encode("utf-8", "replace")


def address_literal(ip: str) -> str:
    """`[192.0.2.1]`, `[IPv6:2001:db8::1]` (RFC 5321, 4.1.3)."""
    ip = _UNSAFE_NAME.sub("?", ip.partition("%")[0])
    return f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"


def date(when: float) -> str:
    """`Tue, 24 Nov 2026 03:46:53 +0000` (RFC 5322, 3.3); UTC, for a server's zone says nothing."""
    return _date(int(when))


@lru_cache(maxsize=4)
def _date(seconds: int) -> str:
    now = time.gmtime(seconds)
    return (
        f"{_DAYS[now.tm_wday]}, {now.tm_mday} {_MONTHS[now.tm_mon - 1]} {now.tm_year:04d} "
        f"{now.tm_hour:02d}:{now.tm_min:02d}:{now.tm_sec:02d} +0000"
    )


def hops(head: Headers) -> int:
    """How many servers the message has passed: its Received fields (RFC 5321, 6.3)."""
    return head.count(b"received")
