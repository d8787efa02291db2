"""The SMTP extensions as a table: what EHLO announces, and which parameters of MAIL and RCPT that brings.

An extension is complete when it stands here; the engine asks this table only. What depends on the
session (TLS, log-in) or on the settings is in `Options`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from attrs import field, frozen

from mailserver.errors import BadAddress
from mailserver.interfaces import By
from mailserver.smtp.commands import CommandError, Parameters, bad_arguments
from mailserver.smtp.dialects import SMTP, Dialect
from mailserver.wire.address import parse_mailbox

NO_PARAMETERS: Parameters = MappingProxyType({})
_XTEXT = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})+")
_HEX = re.compile(r"\+([0-9A-F]{2})")
_INTERVAL = re.compile(r"[1-9][0-9]{0,8}")
_DATE_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z")
_PRIORITY = re.compile(r"-?[1-9]|0")
_SIZE = re.compile(r"[0-9]{1,20}")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,40}")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
_NOTIFY = frozenset(("SUCCESS", "FAILURE", "DELAY"))
MAX_ENVID, MAX_ORCPT = 100, 500  # RFC 3461, 5.4


@frozen(cache_hash=True)
class Options:
    """What the server offers to this client now, and the limits of a session.

    max_size:   octets of a message (RFC 1870)
    recipients: of one message; transactions: of one session, 0: any (RFC 9422)
    hold:       seconds that a message may be held back, 0: not offered; hold_until: a time that is as late,
                since the epoch (RFC 4865)
    deliver_by: least seconds within which a message may have to be delivered or come back, 0: any (RFC 2852)
    priorities: the name of the policy by which priorities are given, "" for none to tell (RFC 6710)
    secure:     the connection is inside TLS
    starttls:   STARTTLS is possible (a certificate is there, and the connection is in clear)
    mechanisms: SASL mechanisms; empty where AUTH is not offered now
    needs_tls:  AUTH will be offered once TLS is on
    errors:     wrong or refused commands before the session ends with 421
    junk:       commands in a row that do not lead to a message, before the session ends with 421
    dialect:    SMTP or LMTP
    xclient:    the attributes of XCLIENT; empty where this client may not say anything of another
    """

    hostname: str
    max_size: int = 50 * 1024 * 1024
    recipients: int = 1000
    transactions: int = 0
    hold: int = 0
    hold_until: int = 0
    deliver_by: int = 0
    priorities: str = ""
    secure: bool = False
    starttls: bool = False
    mechanisms: tuple[str, ...] = ()
    needs_tls: bool = False
    errors: int = 20
    junk: int = 100
    dialect: Dialect = SMTP
    xclient: tuple[str, ...] = ()


@frozen
class Extension:
    """One row. `line`: the EHLO line, "" where it is not offered now."""

    line: Callable[[Options], str]
    mail: Parameters = field(default=NO_PARAMETERS)
    rcpt: Parameters = field(default=NO_PARAMETERS)


def _size(value: str | None) -> dict[str, Any]:
    """SIZE=1*20DIGIT (RFC 1870, 6)."""
    if value is None or not _SIZE.fullmatch(value):
        raise bad_arguments("SIZE needs a number")
    return {"size": int(value)}


def _body(value: str | None) -> dict[str, Any]:
    """BODY=7BIT, 8BITMIME (RFC 6152, 2) or BINARYMIME (RFC 3030, 3)."""
    kind = (value or "").upper()
    if kind not in ("7BIT", "8BITMIME", "BINARYMIME"):
        raise bad_arguments("BODY is 7BIT, 8BITMIME or BINARYMIME")
    return {"body": kind}


def _smtputf8(value: str | None) -> dict[str, Any]:
    """SMTPUTF8, without a value (RFC 6531, 3.4)."""
    if value is not None:
        raise bad_arguments("SMTPUTF8 takes no value")
    return {"smtputf8": True}


def _requiretls(value: str | None) -> dict[str, Any]:
    """REQUIRETLS, without a value (RFC 8689, 2)."""
    if value is not None:
        raise bad_arguments("REQUIRETLS takes no value")
    return {"require_tls": True}


def _limits(options: Options) -> str:
    """What is refused beyond, so that clients need not find out (RFC 9422, 4)."""
    most = f" MAILMAX={options.transactions}" if options.transactions else ""
    return f"LIMITS RCPTMAX={options.recipients}{most}"


def _hold_for(value: str | None) -> dict[str, Any]:
    """HOLDFOR=future-release-integer, 1 to 999999999 seconds (RFC 4865, 3)."""
    if value is None or not _INTERVAL.fullmatch(value):
        raise bad_arguments("HOLDFOR needs a number of seconds")
    return {"hold_for": int(value)}


def _hold_until(value: str | None) -> dict[str, Any]:
    """HOLDUNTIL=date-time in UTC (RFC 4865, 3; RFC 3339)."""
    if value is None or not _DATE_TIME.fullmatch(value.upper()):
        raise bad_arguments("HOLDUNTIL needs a time as 2030-12-31T23:59:59Z")
    try:
        when = datetime.fromisoformat(value.upper()).timestamp()
    except ValueError:
        raise bad_arguments("HOLDUNTIL needs a time that there is") from None
    return {"hold_until": when}


def date_time(when: float) -> str:
    """As `_hold_until` reads it."""
    return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _future_release(options: Options) -> str:
    if not options.hold:
        return ""
    return f"FUTURERELEASE {options.hold} {date_time(options.hold_until)}"


def _by(value: str | None) -> dict[str, Any]:
    """BY=by-time;by-mode[by-trace] (RFC 2852, 4): to be returned after no time at all makes no sense."""
    try:
        by = By.read(value or "")
    except ValueError:
        raise bad_arguments("BY needs seconds, a semicolon, and N or R, as 120;R") from None
    if by.returns and by.seconds <= 0:
        raise bad_arguments("BY with R needs a time that is not over")
    return {"by": by}


def _deliver_by(options: Options) -> str:
    return f"DELIVERBY {options.deliver_by}" if options.deliver_by else "DELIVERBY"


def _mt_priority(value: str | None) -> dict[str, Any]:
    """MT-PRIORITY=priority-value (RFC 6710, 4.1 and 7)."""
    if value is None or not _PRIORITY.fullmatch(value):
        raise CommandError("MT-PRIORITY is a number from -9 to 9", code=501, enhanced="5.5.2")
    return {"priority": int(value)}


def _auth(value: str | None) -> dict[str, Any]:
    """AUTH=<xtext mailbox> or `<>` (RFC 4954, 5): understood and not believed."""
    if value != "<>":
        try:
            parse_mailbox(from_xtext(value or ""))
        except BadAddress:
            raise bad_arguments("AUTH needs an address") from None
    return {}


def _ret(value: str | None) -> dict[str, Any]:
    """RET=FULL or HDRS (RFC 3461, 4.3)."""
    wanted = (value or "").upper()
    if wanted not in ("FULL", "HDRS"):
        raise bad_arguments("RET is FULL or HDRS")
    return {"ret": wanted}


def _envid(value: str | None) -> dict[str, Any]:
    """ENVID=xtext of printable ASCII, kept as it came (RFC 3461, 4.4)."""
    if value is None or len(value) > MAX_ENVID or not _PRINTABLE.fullmatch(from_xtext(value)):
        raise bad_arguments(f"ENVID is xtext of printable ASCII, at most {MAX_ENVID} characters")
    return {"envid": value}


def _notify(value: str | None) -> dict[str, Any]:
    """NOTIFY=NEVER or a list of SUCCESS, FAILURE, DELAY (RFC 3461, 4.1)."""
    wanted = (value or "").upper().split(",")
    if wanted != ["NEVER"] and not _NOTIFY.issuperset(wanted):
        raise bad_arguments("NOTIFY is NEVER, or of SUCCESS, FAILURE and DELAY")
    return {"notify": frozenset(wanted)}


def _orcpt(value: str | None) -> dict[str, Any]:
    """ORCPT=address-type;xtext, kept as it came (RFC 3461, 4.2); characters outside ASCII in the form that
    any server takes (RFC 6533, 3). What decodes to a control character gets no further (CASES C7)."""
    kind, semicolon, original = (value or "").partition(";")
    sane = len(value or "") <= MAX_ORCPT and semicolon and _ADDRESS_TYPE.fullmatch(kind) and original
    if sane and kind.lower() == "utf-8":
        original = "".join(c if c.isascii() else f"\\x{{{ord(c):X}}}" for c in original if c.isprintable())
    if not sane or not _PRINTABLE.fullmatch(from_xtext(original)):
        raise bad_arguments(f"ORCPT is a type, a semicolon, and xtext, at most {MAX_ORCPT} characters")
    return {"orcpt": f"{kind};{original}"}


def from_xtext(text: str) -> str:
    """Decode xtext (RFC 3461, 4); the caller checks what comes out. Raises CommandError."""
    if not _XTEXT.fullmatch(text):
        raise bad_arguments("Not xtext")
    return _HEX.sub(lambda match: chr(int(match[1], 16)), text)


EXTENSIONS: tuple[Extension, ...] = (
    Extension(lambda options: "PIPELINING"),  # RFC 2920
    Extension(lambda options: f"SIZE {options.max_size}", mail={"SIZE": _size}),  # RFC 1870
    Extension(lambda options: "8BITMIME", mail={"BODY": _body}),  # RFC 6152
    Extension(lambda options: "ENHANCEDSTATUSCODES"),  # RFC 2034
    Extension(lambda options: "CHUNKING"),  # RFC 3030
    Extension(lambda options: "BINARYMIME"),  # RFC 3030, 3: another value of BODY
    Extension(lambda options: "SMTPUTF8", mail={"SMTPUTF8": _smtputf8}),  # RFC 6531
    Extension(  # RFC 3461
        lambda options: "DSN",
        mail={"RET": _ret, "ENVID": _envid},
        rcpt={"NOTIFY": _notify, "ORCPT": _orcpt},
    ),
    Extension(_limits),  # RFC 9422
    Extension(  # RFC 4865
        _future_release, mail={"HOLDFOR": _hold_for, "HOLDUNTIL": _hold_until}
    ),
    Extension(_deliver_by, mail={"BY": _by}),  # RFC 2852
    Extension(  # RFC 6710
        lambda options: f"MT-PRIORITY {options.priorities}".rstrip(), mail={"MT-PRIORITY": _mt_priority}
    ),
    Extension(lambda options: "STARTTLS" if options.starttls else ""),  # RFC 3207
    Extension(lambda options: f"XCLIENT {' '.join(options.xclient)}" if options.xclient else ""),
    Extension(  # RFC 8689: only where the message does come by TLS
        lambda options: "REQUIRETLS" if options.secure else "", mail={"REQUIRETLS": _requiretls}
    ),
    Extension(  # RFC 4954
        lambda options: f"AUTH {' '.join(options.mechanisms)}" if options.mechanisms else "",
        mail={"AUTH": _auth},
    ),
)


@frozen
class Offer:
    """The table applied to `Options`."""

    ehlo: tuple[str, ...]
    mail: Parameters
    rcpt: Parameters


@lru_cache(maxsize=64)
def offer(options: Options) -> Offer:
    """What to announce and to understand after EHLO."""
    now = [(line, extension) for extension in EXTENSIONS if (line := extension.line(options))]
    mail = {name: parser for _, extension in now for name, parser in extension.mail.items()}
    rcpt = {name: parser for _, extension in now for name, parser in extension.rcpt.items()}
    return Offer((options.hostname, *(line for line, _ in now)), mail, rcpt)
