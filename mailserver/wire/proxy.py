"""The PROXY protocol, versions 1 and 2: what a load balancer says before a connection it passes on.

As HAProxy's specification has it (its doc/proxy-protocol.txt). Strict: what is not exactly a header ends the
connection, for it would be taken for a client's word. Version 1 is one line of at most 107 octets; version 2
says how long it is, and its extensions (TLVs) are skipped as they come, so that nothing of them is kept.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from attrs import frozen

from mailserver.wire.networks import unmapped

V1 = b"PROXY "
V2 = b"\r\n\r\n\x00\r\nQUIT\n"
MAX_V1 = 107  # octets with CRLF (2.1)
_FIXED = 16  # octets of version 2 before the addresses (2.2)
_LINE = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45}) ([0-9]{1,5}) ([0-9]{1,5})")
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?")
_LOCAL, _PROXY = 0x20, 0x21
_INET, _INET6, _UNIX, _UNSPECIFIED = 0x11, 0x21, 0x31, 0x00
_ADDRESSES = {_UNSPECIFIED: 0, _INET: 12, _INET6: 36, _UNIX: 216}  # octets, by family and transport


class BadHeader(ValueError):
    """Not a header; the text says why."""


class NoHeader(BadHeader):
    """Something else has begun."""


@frozen
class Addresses:
    """Who connected to the proxy, and where."""

    ip: str
    port: int
    server_ip: str
    server_port: int


@frozen
class Header:
    """A whole header. addresses: None where the connection is the proxy's own (a health check), or where it
    does not know. rest: what came behind the header."""

    addresses: Addresses | None
    rest: bytes


class HeaderReader:
    """`feed` until it answers; the same octets give the same answer, however they are cut."""

    def __init__(self) -> None:
        self._data = b""
        self._addresses: Addresses | None = None
        self._skip: int | None = None  # octets of version 2 that are still to come, once it is understood

    def feed(self, data: bytes) -> Header | None:
        """The header, or None where more is needed. Raises BadHeader."""
        if self._skip is None:
            self._data += data
            data = b""
            if not self._is_begun(V1) and not self._is_begun(V2):
                raise NoHeader("no PROXY header")
            if self._data[:1] == V1[:1]:
                return self._version_1()
            if not self._version_2():
                return None
            data, self._data = self._data, b""
        assert self._skip is not None
        taken = min(self._skip, len(data))
        self._skip -= taken
        return None if self._skip else Header(self._addresses, data[taken:])

    def _is_begun(self, signature: bytes) -> bool:
        return self._data[: len(signature)] == signature[: len(self._data)]

    # --- version 1 --------------------------------------------------------------------------------

    def _version_1(self) -> Header | None:
        end = self._data.find(b"\r\n", 0, MAX_V1)
        if end < 0:
            if len(self._data) >= MAX_V1:
                raise BadHeader(f"a PROXY line longer than {MAX_V1} octets")
            return None
        line, rest = self._data[:end], self._data[end + 2 :]
        if _UNKNOWN.fullmatch(line):
            return Header(None, rest)
        match = _LINE.fullmatch(line)
        if match is None:
            raise BadHeader("not a PROXY line")
        family, source, destination, *ports = (part.decode("ascii") for part in match.groups())
        kind = IPv4Address if family == "4" else IPv6Address
        ends = _address(kind, source), _address(kind, destination)
        return Header(Addresses(ends[0], _port(ports[0]), ends[1], _port(ports[1])), rest)

    # --- version 2 --------------------------------------------------------------------------------

    def _version_2(self) -> bool:
        """True where all that counts is there; then `_skip` octets from the beginning are the header."""
        data = self._data
        if len(data) < _FIXED:
            return False
        command, kind, length = data[12], data[13], int.from_bytes(data[14:16], "big")
        if command not in (_LOCAL, _PROXY):
            raise BadHeader(f"a PROXY header with version and command 0x{command:02x}")
        if command == _PROXY:
            wanted = _ADDRESSES.get(kind)
            if wanted is None:
                raise BadHeader(f"a PROXY header for family and transport 0x{kind:02x}")
            if length < wanted:
                raise BadHeader("a PROXY header too short for its addresses")
            if len(data) < _FIXED + wanted:
                return False
            self._addresses = _binary(kind, data[_FIXED : _FIXED + wanted])
        self._skip = _FIXED + length
        return True


def _binary(kind: int, block: bytes) -> Addresses | None:
    if kind not in (_INET, _INET6):
        return None
    size = 4 if kind == _INET else 16
    ports = block[2 * size :]
    source, destination = block[:size], block[size : 2 * size]
    read = IPv4Address if kind == _INET else IPv6Address
    return Addresses(
        str(unmapped(read(source))),
        int.from_bytes(ports[:2], "big"),
        str(unmapped(read(destination))),
        int.from_bytes(ports[2:], "big"),
    )


def _address(kind: type[IPv4Address] | type[IPv6Address], text: str) -> str:
    try:
        return str(unmapped(kind(text)))
    except AddressValueError:
        raise BadHeader("a PROXY line with a bad address") from None


def _port(text: str) -> int:
    if int(text) > 65535 or str(int(text)) != text:
        raise BadHeader("a PROXY line with a bad port")
    return int(text)
