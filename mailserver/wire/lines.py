"""Line ends: CRLF on the wire, LF as messages are kept.

Every octet of every message passes here, so all is done by `replace` of a single octet, which the C library
searches ten times as fast as Python counts or replaces pairs.
"""

from __future__ import annotations


def ends_in_pairs(data: bytes) -> bool:
    """No CR or LF stands alone (RFC 5321, 2.3.8)."""
    return data.replace(b"\r", b"").replace(b"\n", b"\r\n") == data


def to_kept(data: bytes) -> tuple[bytes, int]:
    """Octets with CRLF line ends, LF alone, or both: with LF, and how many they are with CRLF. A CR that
    stands alone stays."""
    kept = data.replace(b"\r", b"")
    if len(kept) < len(data):
        if kept.replace(b"\n", b"\r\n") == data:
            return kept, len(data)
        kept = data.replace(b"\r\n", b"\n")
    return kept, size_on_wire(kept)


def size_on_wire(kept: bytes) -> int:
    """Octets that a text with LF line ends has with CRLF."""
    return len(kept) + kept.count(b"\n")
