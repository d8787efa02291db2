"""The MAIL and RCPT commands that our client sends, with the parameters that the server understands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from attrs import frozen

from mailserver.interfaces import By
from mailserver.smtp.client.answers import Reply, local_reply
from mailserver.smtp.client.values import Mail, Wishes

_LIMIT = re.compile(r"[1-9][0-9]{0,5}")
_LIMIT_WORD = re.compile(r"[A-Za-z0-9_-]+(=[\x21-\x3a\x3c-\x7e]+)?")  # RFC 9422, 3


def mail_command(mail: Mail, extensions: Mapping[str, str]) -> bytes:
    """MAIL with SIZE (RFC 1870), BODY (RFC 6152, RFC 3030), SMTPUTF8 (RFC 6531), REQUIRETLS (RFC 8689), RET
    and ENVID (RFC 3461), BY (RFC 2852), MT-PRIORITY (RFC 6710)."""
    line = b"MAIL FROM:<" + mail.reverse_path.encode() + b">"
    if "SIZE" in extensions and mail.size:
        line += b" SIZE=%d" % mail.size
    if mail.binary:
        line += b" BODY=BINARYMIME"
    elif mail.eight_bit:
        line += b" BODY=8BITMIME"
    if "SMTPUTF8" in extensions and needs_utf8(mail):
        line += b" SMTPUTF8"
    if mail.require_tls:
        line += b" REQUIRETLS"
    if "DSN" in extensions:
        line += _parameter(b"RET", mail.ret) + _parameter(b"ENVID", mail.envid)
    if mail.by is not None and "DELIVERBY" in extensions:
        line += _parameter(b"BY", str(mail.by))
    if "MT-PRIORITY" in extensions:  # RFC 6710, 4.2: also what nobody asked for
        line += b" MT-PRIORITY=%d" % mail.priority
    return line


def rcpt_command(mail: Mail, index: int, extensions: Mapping[str, str]) -> bytes:
    """RCPT for one of the recipients, with NOTIFY and ORCPT (RFC 3461)."""
    line = b"RCPT TO:<" + mail.recipients[index].encode() + b">"
    if "DSN" in extensions:
        wishes = mail.wishes[index] if mail.wishes else Wishes()
        notify = wishes.notify
        if mail.by is not None and loses_by(mail.by, extensions) and "NEVER" not in notify:
            notify = (notify or frozenset(("FAILURE",))) | {"DELAY"}  # RFC 2852, 4.1.4.2
        line += _parameter(b"NOTIFY", ",".join(sorted(notify)))
        line += _parameter(b"ORCPT", wishes.orcpt)
    return line


def loses_by(by: By, extensions: Mapping[str, str]) -> bool:
    """True where nobody watches over the time any more once the server has the message."""
    return "DELIVERBY" not in extensions and not by.returns and by.seconds > 0


def refuse_by(by: By, extensions: Mapping[str, str]) -> Reply | None:
    """Why this server is not given a message that must arrive in time or come back (RFC 2852, 4.1.4.1)."""
    if by.seconds <= 0:
        return local_reply(554, "5.4.7", "Delivery time expired")
    if "DELIVERBY" not in extensions:
        return local_reply(554, "5.3.3", "The next host does not support DELIVERBY (RFC 2852)")
    least = extensions["DELIVERBY"].partition(",")[0]
    if least.isdecimal() and len(least) < 10 and by.seconds < int(least):
        text = f"{by.seconds} s are left for delivery, and the next host wants at least {least}"
        return local_reply(554, "5.4.7", text)
    return None


@frozen
class Limits:
    """What a server said it would refuse beyond (RFC 9422, 4), 0 where it said nothing."""

    transactions: int = 0  # MAILMAX, of a session
    recipients: int = 0  # RCPTMAX, of a transaction
    domains: int = 0  # RCPTDOMAINMAX, of a session


@lru_cache(maxsize=256)
def read_limits(text: str) -> Limits:
    """The parameters of LIMITS. A limit that makes no sense is passed over, and all of them where the syntax
    is broken (RFC 9422, 3.7)."""
    said: dict[str, int] = {}
    words = text.split()
    if not all(map(_LIMIT_WORD.fullmatch, words)):
        return Limits()
    for word in words:
        name, _, value = word.partition("=")
        if _LIMIT.fullmatch(value):
            said[name.upper()] = int(value)
    return Limits(said.get("MAILMAX", 0), said.get("RCPTMAX", 0), said.get("RCPTDOMAINMAX", 0))


def needs_utf8(mail: Mail) -> bool:
    """True where the message cannot be sent without SMTPUTF8 (RFC 6531, 3.2)."""
    return mail.utf8 or not all(path.isascii() for path in (mail.reverse_path, *mail.recipients))


def _parameter(name: bytes, value: str) -> bytes:
    return b" %b=%b" % (name, value.encode()) if value else b""
