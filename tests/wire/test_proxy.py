"""PROXY headers: examples of the specification, everything that is not quite one, and any way of cutting."""

from __future__ import annotations

import random
import struct
from ipaddress import ip_address

import pytest

from mailserver.wire.proxy import V2, Addresses, BadHeader, Header, HeaderReader, NoHeader

REST = b"a NOOP\r\n"
FOUR = Addresses("192.168.0.1", 56324, "192.168.0.11", 443)
SIX = Addresses("2001:db8::1", 1, "2001:db8::2", 65535)


def version_2(command: int, kind: int, block: bytes, length: int | None = None) -> bytes:
    return V2 + struct.pack(">BBH", command, kind, len(block) if length is None else length) + block


def block(addresses: Addresses) -> bytes:
    packed = ip_address(addresses.ip).packed + ip_address(addresses.server_ip).packed
    return packed + struct.pack(">HH", addresses.port, addresses.server_port)


TLVS = b"\x02\x00\x0bexample.org" + b"\x04\x00\x64" + b"x" * 100
HEADERS: dict[str, tuple[bytes, Addresses | None]] = {
    "the specification's example": (b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", FOUR),
    "version 1 IPv6": (b"PROXY TCP6 2001:DB8::1 2001:db8:0::2 1 65535\r\n", SIX),
    "version 1 unknown": (b"PROXY UNKNOWN\r\n", None),
    "version 1 unknown with more": (b"PROXY UNKNOWN ffff::1 ? 99999\r\n", None),
    "version 2": (version_2(0x21, 0x11, block(FOUR)), FOUR),
    "version 2 IPv6": (version_2(0x21, 0x21, block(SIX)), SIX),
    "version 2 extensions": (version_2(0x21, 0x21, block(SIX) + TLVS), SIX),
    "version 2 local": (version_2(0x20, 0x00, b""), None),
    "version 2 local with more": (version_2(0x20, 0xFF, b"what?"), None),
    "version 2 unspecified": (version_2(0x21, 0x00, b"xyz"), None),
    "version 2 Unix": (version_2(0x21, 0x31, b"/" * 216 + TLVS), None),
    "version 2 at its longest": (version_2(0x21, 0x11, block(FOUR) + b"x" * (65535 - 12)), FOUR),
}
BAD = {
    "TCP5": b"PROXY TCP5 192.168.0.1 192.168.0.11 1 2\r\n",
    "two blanks": b"PROXY TCP4  192.168.0.1 192.168.0.11 1 2\r\n",
    "a blank at the end": b"PROXY TCP4 192.168.0.1 192.168.0.11 1 2 \r\n",
    "lower case": b"PROXY tcp4 192.168.0.1 192.168.0.11 1 2\r\n",
    "a port too large": b"PROXY TCP4 192.168.0.1 192.168.0.11 1 65536\r\n",
    "a port with zeros": b"PROXY TCP4 192.168.0.1 192.168.0.11 01 2\r\n",
    "an address with zeros": b"PROXY TCP4 192.168.00.1 192.168.0.11 1 2\r\n",
    "the wrong family": b"PROXY TCP4 ::1 ::1 1 2\r\n",
    "the other wrong family": b"PROXY TCP6 192.168.0.1 192.168.0.1 1 2\r\n",
    "a zone": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "no ports": b"PROXY TCP4 192.168.0.1 192.168.0.11\r\n",
    "a bare line feed": b"PROXY TCP4 192.168.0.1 192.168.0.11 1 2\nEHLO x\r\n",
    "nothing": b"PROXY \r\n",
    "UNKNOWNS": b"PROXY UNKNOWNS\r\n",
    "108 octets": b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    "no end": b"PROXY UNKNOWN " + b"x" * 1000,
    "version 1 in version 2": version_2(0x11, 0x11, block(FOUR)),
    "another command": version_2(0x22, 0x11, block(FOUR)),
    "datagrams": version_2(0x21, 0x12, block(FOUR)),
    "another family": version_2(0x21, 0x41, block(FOUR)),
    "too short": version_2(0x21, 0x11, block(FOUR)[:-1]),
    "too short for IPv6": version_2(0x21, 0x21, block(FOUR)),
}
NONE = [b"EHLO x\r\n", b"\x16\x03\x01", b"\r\n\r\n\x00\r\nQUIT\r", b"proxy TCP4", b"P ", b"\0"]


def fed(*segments: bytes) -> Header | None:
    reader = HeaderReader()
    for number, segment in enumerate(segments):
        header = reader.feed(segment)
        if header is not None:
            return Header(header.addresses, header.rest + b"".join(segments[number + 1 :]))
    return None


def by_byte(data: bytes) -> list[bytes]:
    return [data[n : n + 1] for n in range(len(data))]


def cuts(data: bytes, rng: random.Random) -> list[bytes]:
    at = sorted(rng.sample(range(1, len(data)), 3))
    return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


@pytest.mark.parametrize("name", [name for name in HEADERS if "1" in name or "example" in name])
def test_version_1(name: str) -> None:
    data, addresses = HEADERS[name]
    assert fed(data) == Header(addresses, b"")


@pytest.mark.parametrize("name", HEADERS)
def test_K7_how_it_is_cut_does_not_matter(name: str) -> None:
    data, addresses = HEADERS[name]
    expected = Header(addresses, REST)
    assert fed(data + REST) == expected
    assert fed(*by_byte(data + REST)) == expected
    rng = random.Random(name)
    for _ in range(50):
        assert fed(*cuts(data + REST, rng)) == expected
    assert fed(data[:-1]) is None


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_quite_a_header(name: str) -> None:
    for segments in ([BAD[name]], by_byte(BAD[name])):
        with pytest.raises(BadHeader):
            fed(*segments)


@pytest.mark.parametrize("data", NONE)
def test_what_is_none_is_known_at_its_first_wrong_octet(data: bytes) -> None:
    with pytest.raises(NoHeader):
        fed(*by_byte(data))


def test_an_IPv4_address_in_an_IPv6_one_is_that() -> None:
    data = b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n"
    assert fed(data) == Header(Addresses("192.0.2.1", 1, "192.0.2.2", 2), b"")


def test_extensions_are_not_kept() -> None:
    reader = HeaderReader()
    reader.feed(version_2(0x21, 0x11, block(FOUR), length=65535))
    for _ in range(65):
        assert reader.feed(b"x" * 1000) is None
    assert len(reader._data) < 100


def test_K6_random_octets() -> None:
    rng = random.Random(7)
    for _ in range(3000):
        data = bytearray(rng.choice([*(one for one, _ in HEADERS.values() if len(one) < 500), *BAD.values()]))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            whole: object = fed(bytes(data))
        except BadHeader:
            whole = BadHeader
        try:
            apart: object = fed(*by_byte(bytes(data)))
        except BadHeader:
            apart = BadHeader
        assert whole == apart
