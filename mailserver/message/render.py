"""What the store keeps of a message for FETCH: made once, sent as it stands.

Of a message with LF line ends as on the disk, or CRLF; all sizes are those of the CRLF form. Never raises;
linear in the length (a few ms a MiB at the very worst).
"""

from __future__ import annotations

from attrs import frozen

from mailserver.message.envelope import BodyWriter, envelope
from mailserver.message.headers import values_by_name
from mailserver.message.structure import ADDRESS_FIELDS, FIELDS, MAX_HEADER, scan


@frozen
class Rendered:
    """Values of the FETCH items of these names (RFC 3501, 7.4.2), and the header block with CRLF line
    ends and its empty line."""

    envelope: bytes
    bodystructure: bytes
    body: bytes
    header: bytes


def render(raw: bytes) -> Rendered:
    """Everything of a whole message."""
    header = render_header(raw)
    body, structure = render_structure(raw)
    return Rendered(render_envelope(header), structure, body, header)


def render_header(raw: bytes) -> bytes:
    """The header block with its empty line, of a message or of its beginning."""
    if b"\r" in raw:  # lines that came with CRLF count like the others
        raw = raw.replace(b"\r\n", b"\n")
    if raw.startswith(b"\n"):
        return b"\r\n"
    blank = raw.find(b"\n\n")
    return (raw if blank < 0 else raw[: blank + 2]).replace(b"\n", b"\r\n")


def render_envelope(header: bytes) -> bytes:
    """ENVELOPE, of a header block."""
    if header.startswith(b"\r\n"):
        header = b""
    return envelope(values_by_name(header[:MAX_HEADER], FIELDS, ADDRESS_FIELDS))


def render_structure(raw: bytes) -> tuple[bytes, bytes]:
    """(BODY, BODYSTRUCTURE)"""
    if b"\r" in raw:
        raw = raw.replace(b"\r\n", b"\n")
    return BodyWriter(raw, bare=True).write(scan(raw))
