"""Delivery status notifications: multipart/report of RFC 6522 with message/delivery-status of RFC 3464. Pure.

Everything that a report says is ASCII and every line short, whatever a remote server or a sender wrote. The
third part holds the original's header; the original itself only where the sender asked for it by RET=FULL
and it is small: what bounced may be large, or forged.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from email.utils import formatdate

from attrs import frozen

WHOLE_OCTETS = 64 * 1024  # up to this size the original is returned, where that was asked for
HEADER_OCTETS = 32 * 1024  # of the original's header that are returned
DIAGNOSTIC_CHARACTERS = 900
_FOLD = 76
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*(?:\n[ \t]+)?(<[!-;=?-~]{1,250}>)[ \t]*$", re.I | re.M)

_SUBJECTS = {
    "failed": "Undelivered mail returned to sender",
    "delayed": "Delayed mail (will be retried)",
    "delivered": "Mail was delivered",
    "relayed": "Mail was passed on",
    "expanded": "Mail was passed on to the members of a list",
}
_INTRODUCTIONS = {
    "failed": "your message could not be delivered to one or more recipients. It is not tried again.\n\n"
    "The reason is given below for each recipient. The header of your message\nis attached.",
    "delayed": "your message could not be delivered yet to one or more recipients.\n\n"
    "You do not need to send it again: it will be tried until {until}.\n"
    "If it cannot be delivered by then, you will be told.",
    "delivered": "your message was delivered to the recipients below, as you asked to be told.",
    "relayed": "your message was passed on to the mail servers below. Nothing more will be\n"
    "reported by this server; these may or may not confirm the delivery.",
    "expanded": "your message was delivered to the addresses below, each of which stands for several\n"
    "others. It goes to all of these; their success is not reported.",
}


@frozen
class ReportedRecipient:
    """One recipient. action: failed, delayed, delivered, relayed or expanded (RFC 3464, 2.3.3).

    diagnostic: the server's reply with its codes; from_smtp says that it is one and not our own words.
    remote: who said so. orcpt: the ORCPT parameter as it came, xtext (RFC 3461, 4.2).
    """

    address: str
    action: str
    status: str
    diagnostic: str = ""
    from_smtp: bool = True
    remote: str = ""
    last_attempt: float = 0.0
    retry_until: float = 0.0
    orcpt: str = ""


@frozen
class Report:
    """A notification to `to`. id: unique, of letters, digits, "." and "-". Times since the epoch.

    header: the beginning of the original message, LF line ends. envid: as it came, xtext.
    deliver_by: when it was to be delivered (RFC 2852).
    whole: the original, where it is to be returned as a whole (RFC 3461, 6.2) and in memory.
    """

    id: str
    hostname: str
    to: str
    now: float
    arrival: float
    recipients: Sequence[ReportedRecipient]
    header: bytes = b""
    envid: str = ""
    hold: str = ""
    whole: bytes | None = None
    deliver_by: float | None = None


def render(report: Report) -> bytes:
    """The whole message, LF line ends. All recipients must have one action."""
    action = report.recipients[0].action
    boundary = f"=_report_{report.id}"
    parts = [
        b"Content-Type: text/plain; charset=us-ascii\nContent-Description: Notification\n\n"
        + _explain(report, action).encode("ascii", "replace"),
        b"Content-Type: message/delivery-status\nContent-Description: Delivery report\n\n"
        + _machine_part(report).encode("ascii", "replace"),
        _original(report),
    ]
    delimiter = f"\n--{boundary}".encode("ascii")
    head = _head(report, action, boundary).encode("utf-8")
    body = b"".join([delimiter + b"\n" + part for part in parts])
    return b"%b\nThis is a MIME-encapsulated message.\n%b%b--\n" % (head, body, delimiter)


def _head(report: Report, action: str, boundary: str) -> str:
    original = _MESSAGE_ID.search(report.header.partition(b"\n\n")[0])
    thread = f"In-Reply-To: {original[1].decode()}\nReferences: {original[1].decode()}\n" if original else ""
    return (
        f"From: Mail Delivery System <MAILER-DAEMON@{report.hostname}>\n"
        f"To: <{_CONTROLS.sub('?', report.to)}>\n"  # RFC 6532: the address itself, where it is not ASCII
        f"Subject: {_SUBJECTS[action]}\n"
        f"Date: {formatdate(report.now)}\n"
        f"Message-ID: <{report.id}@{report.hostname}>\n"
        f"{thread}"
        f"Auto-Submitted: auto-replied\n"
        f"MIME-Version: 1.0\n"
        f"Content-Type: multipart/report; report-type=delivery-status;\n"
        f' boundary="{boundary}"\n'
    )


def _explain(report: Report, action: str) -> str:
    """The part that people read."""
    until = formatdate(max(recipient.retry_until for recipient in report.recipients))
    lines = [f"This is the mail server {report.hostname}.\n\nI am sorry to tell you: "]
    if action in ("delivered", "relayed", "expanded"):
        lines = [f"This is the mail server {report.hostname}.\n\nFor your information: "]
    lines.append(_INTRODUCTIONS[action].format(until=until) + "\n")
    if report.deliver_by is not None:
        lines.append(f"\nYou wanted it delivered by {formatdate(report.deliver_by)}.\n")
    for recipient in report.recipients:
        lines.append(f"\n<{_plain(recipient.address)}>:\n")
        if recipient.remote and recipient.from_smtp:
            lines.append(f"    the server {_plain(recipient.remote)} said:\n")
        said = _plain(recipient.diagnostic)[:DIAGNOSTIC_CHARACTERS] or f"status {recipient.status}"
        lines += [f"    {line}\n" for line in _wrap(said, 70)]
    return "".join(lines)


def _machine_part(report: Report) -> str:
    fields = []
    if report.envid:
        fields.append(_field("Original-Envelope-Id", decode_xtext(report.envid)))
    if report.hold:  # RFC 4865, 5.1.2
        fields.append(_field("Future-Release-Request", report.hold))
    fields.append(_field("Reporting-MTA", f"dns; {report.hostname}"))
    fields.append(_field("Arrival-Date", formatdate(report.arrival)))
    if report.deliver_by is not None:  # RFC 2852, 5
        fields.append(_field("Deliver-By-Date", formatdate(report.deliver_by)))
    groups = ["".join(fields)] + [_recipient_fields(recipient) for recipient in report.recipients]
    return "\n".join(groups)


def _recipient_fields(recipient: ReportedRecipient) -> str:
    """RFC 3464, 2.3; a field that has no value is left out."""
    kind, semicolon, original = recipient.orcpt.partition(";")
    fields = []
    if semicolon and original:
        fields.append(_field("Original-Recipient", f"{kind}; {_ascii_address(decode_xtext(original))}"))
    family = "rfc822" if recipient.address.isascii() else "utf-8"  # RFC 6533, 3
    fields.append(_field("Final-Recipient", f"{family}; {_ascii_address(recipient.address)}"))
    fields.append(_field("Action", recipient.action))
    fields.append(_field("Status", recipient.status))
    if recipient.remote and recipient.from_smtp:
        kind = "x-unix" if recipient.remote.startswith("unix:") else "dns"
        name = recipient.remote.removeprefix("unix:")
        fields.append(_field("Remote-MTA", f"{kind}; {name.partition('[')[0] or name}"))
    if recipient.diagnostic:
        kind = "smtp" if recipient.from_smtp else "x-local"
        fields.append(_field("Diagnostic-Code", f"{kind}; {recipient.diagnostic[:DIAGNOSTIC_CHARACTERS]}"))
    if recipient.last_attempt:
        fields.append(_field("Last-Attempt-Date", formatdate(recipient.last_attempt)))
    if recipient.retry_until and recipient.action == "delayed":
        fields.append(_field("Will-Retry-Until", formatdate(recipient.retry_until)))
    return "".join(fields)


def _field(name: str, value: str) -> str:
    """One field, folded (RFC 5322, 2.2.3), with nothing in it that ends it."""
    return "\n ".join(_wrap(f"{name}: {_plain(value)}", _FOLD)) + "\n"


def _plain(text: str) -> str:
    """Printable ASCII only."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)


def _wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters, cut at spaces where there are any."""
    lines = []
    while len(text) > width:
        cut = text.rfind(" ", width // 2, width + 1)
        if cut < 0:
            cut = width
        lines.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    lines.append(text)
    return lines


def decode_xtext(text: str) -> str:
    """RFC 3461, 4: `+2B` is "+". What is not xtext stays as it is."""
    return _XTEXT.sub(lambda match: chr(int(match[1], 16)), text)


def _ascii_address(address: str) -> str:
    """RFC 6533, 3: utf-8-addr-unitext in its ASCII form for what is not ASCII."""
    if address.isascii():
        return address
    return "".join(
        letter if letter.isascii() and letter not in "\\+=" else f"\\x{{{ord(letter):X}}}"
        for letter in address
    )


def _original(report: Report) -> bytes:
    """The third part (RFC 6522, 4): the message, or its header."""
    whole = report.whole
    if whole is not None and len(whole) <= WHOLE_OCTETS and b"\0" not in whole and b"\r" not in whole:
        encoding = b"7bit" if whole.isascii() else b"8bit"
        return (
            b"Content-Type: message/rfc822\nContent-Description: Undelivered message\n"
            b"Content-Transfer-Encoding: %b\n\n%b" % (encoding, whole)
        )
    header, encoded = _returned(report.header)
    return (
        b"Content-Type: text/rfc822-headers\nContent-Description: Header of the message\n"
        b"Content-Transfer-Encoding: %b\n\n%b" % (encoded.encode("ascii"), header.encode("ascii"))
    )


def _returned(head: bytes) -> tuple[str, str]:
    """The original's header as the third part, with its Content-Transfer-Encoding (RFC 6522, 4)."""
    block, found, _ = head.partition(b"\n\n")
    if len(block) > HEADER_OCTETS:
        block, found = block[:HEADER_OCTETS], b""
        block = block[: block.rfind(b"\n") + 1] or block
    if not found:
        block = block.rstrip(b"\n")
    block += b"\n"
    longest = max(len(line) for line in block.split(b"\n"))
    if block.isascii() and longest <= 998 and b"\0" not in block and b"\r" not in block:
        return block.decode("ascii"), "7bit"
    encoded = binascii.b2a_qp(block.replace(b"\r", b""), istext=True)
    return encoded.decode("ascii"), "quoted-printable"
