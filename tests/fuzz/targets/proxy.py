"""PROXY headers, and what XCLIENT tells: the same however they are cut, and addresses come out."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress

from mailserver.interfaces import Peer
from mailserver.smtp.commands import CommandError
from mailserver.smtp.xclient import WITH_LOG_IN, Told, read
from mailserver.wire.proxy import V2, BadHeader, Header, HeaderReader

TOKENS = [
    *(b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN", b"192.0.2.1 ", b"2001:db8::1 ", b"40000 ", b"25\r\n"),
    *(V2, b"\x21\x11\x00\x0c", b"\x21\x21\x00\x24", b"\x20\x00\x00\x00", b"\x21\x31\x00\xd8", b"\0" * 12),
    *(
        b"NAME=",
        b"ADDR=",
        b"PORT=",
        b"PROTO=ESMTP",
        b"HELO=",
        b"LOGIN=",
        b"DESTADDR=",
        b"DESTPORT=",
        b"IPV6:",
    ),
    *(b"DESTADDR=", b"DESTPORT=", b"[UNAVAILABLE]", b"+0D", b"+5B", b" ", b"\r\n", b"\0", b"\xff"),
]
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check(data: bytes) -> None:
    whole, single = _fed(data, len(data) or 1), _fed(data, 1)
    assert whole == single
    if isinstance(whole, Header):
        assert data.endswith(whole.rest)
        if whole.addresses is not None:
            for ip in (whole.addresses.ip, whole.addresses.server_ip):
                assert str(ipaddress.ip_address(ip)) == ip
    with suppress(CommandError):
        told = read(data, WITH_LOG_IN, Told())
        peer = told.peer(Peer("192.0.2.1"))
        ipaddress.ip_address(peer.ip)
        assert not _CONTROL.search(f"{peer}{told}")


def _fed(data: bytes, step: int) -> Header | type[BadHeader] | None:
    """What came of it, with all that followed as the rest."""
    reader = HeaderReader()
    try:
        for at in range(0, len(data), step):
            header = reader.feed(data[at : at + step])
            if header is not None:
                return Header(header.addresses, header.rest + data[at + step :])
    except BadHeader:
        return BadHeader
    return None
