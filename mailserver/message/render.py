"""What the store keeps of a message for FETCH: made once, sent as it stands."""

from __future__ import annotations

from attrs import frozen

from mailserver.message.envelope import BodyWriter, envelope
from mailserver.message.structure import scan


@frozen
class Rendered:
    """Values of the FETCH items of these names (RFC 3501, 7.4.2), and the header block with CRLF line
    ends and its empty line."""

    envelope: bytes
    bodystructure: bytes
    body: bytes
    header: bytes


def render(raw: bytes) -> Rendered:
    """Of a message with LF line ends as on the disk; all sizes are those of the CRLF form.

    Never raises; linear in the length of the message (a few ms a MiB at the very worst).
    """
    if b"\r" in raw:  # lines that came with CRLF count like the others
        raw = raw.replace(b"\r\n", b"\n")
    root = scan(raw)
    body, structure = BodyWriter(raw, bare=True).write(root)
    return Rendered(
        envelope(root.fields),
        structure,
        body,
        raw[: root.body].replace(b"\n", b"\r\n"),
    )
