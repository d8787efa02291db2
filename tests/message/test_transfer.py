"""Transfer encodings undone, and binary content made storable (RFC 2045, 6; RFC 3516)."""

from __future__ import annotations

import base64
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.message.structure import find_part, scan
from mailserver.message.transfer import UnknownEncoding, decode, decoder, encoding_of, storable

LINES = st.lists(st.binary(max_size=120).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b"")))


def in_slices(encoding: bytes, data: bytes, size: int) -> bytes:
    made = decoder(encoding)
    slices = [made.feed(data[at : at + size]) for at in range(0, len(data), size)]
    return b"".join(slices) + made.finish()


@given(st.binary(max_size=500), st.integers(1, 70))
def test_base64(data: bytes, size: int) -> None:
    text = base64.encodebytes(data).replace(b"\n", b"\r\n")
    assert in_slices(b"base64", text, size) == data


@given(LINES, st.integers(1, 70))
def test_quoted_printable(lines: list[bytes], size: int) -> None:
    data = b"\r\n".join(lines)
    text = quopri.encodestring(data.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    assert in_slices(b"quoted-printable", text, size) == data


@given(st.binary(max_size=300).filter(lambda data: b"\r" not in data), st.integers(1, 40))
def test_any_octets_decode_the_same_in_slices(data: bytes, size: int) -> None:
    for encoding in (b"base64", b"quoted-printable", b"8bit"):
        assert in_slices(encoding, data, size) == decode(encoding, data)


def test_what_is_not_known() -> None:
    with pytest.raises(UnknownEncoding):
        decoder(b"x-uuencode")


def test_names() -> None:
    part = scan(b"Content-Transfer-Encoding: (really) Base64 \r\n\r\n")
    assert encoding_of(part) == b"base64"
    multipart = b"Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: y\r\n\r\n"
    assert encoding_of(scan(multipart + b"--x\r\n\r\n")) == b""


# --- storable --------------------------------------------------------------------------------------

HEAD = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
TEXT = b"--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n"


def binary(data: bytes, encoding: bytes = b"Content-Transfer-Encoding: binary\r\n") -> bytes:
    part = b"--b\r\nContent-Type: image/png\r\n%b\r\n%b\r\n--b--\r\n" % (encoding, data)
    return HEAD + TEXT + part


def content(message: bytes, *numbers: int) -> bytes:
    part = find_part(scan(message), numbers)
    assert part is not None
    return decode(encoding_of(part), message[part.body : part.end])


@given(st.binary(max_size=300).filter(lambda data: b"\r\n--b" not in b"\r\n" + data))
def test_nothing_is_lost(data: bytes) -> None:
    """Whatever a binary part holds, it comes back from what is stored: LF line ends, read as CRLF."""
    made = b"".join(storable(binary(data)))
    assert b"\0" not in made
    kept = made.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert content(kept, 2) == data
    assert content(kept, 1) == b"hello"


def test_what_needs_no_change_gets_none() -> None:
    for data in (b"", b"text\r\nand more\r\n", b"\xff\xfe 8-bit\r\n"):
        assert b"".join(storable(binary(data))) == binary(data)


def test_the_header_says_base64() -> None:
    made = b"".join(storable(binary(b"\0\n\r")))
    assert made == HEAD + TEXT + (
        b"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAoN\r\n--b--\r\n"
    )


def test_a_message_that_is_one_part() -> None:
    made = b"".join(storable(b"Subject: x\r\nContent-Transfer-Encoding:\r\n binary\r\n\r\na\0b"))
    assert made == (
        b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.b64encode(b"a\0b")
    )
    assert b"".join(storable(b"\r\n\0")).endswith(b"Content-Transfer-Encoding: base64\r\n\r\nAA==")


def test_nul_in_a_part_with_another_encoding() -> None:
    made = b"".join(storable(binary(b"=00\0", b"Content-Transfer-Encoding: quoted-printable\r\n")))
    assert content(made, 2) == b"\0\0"
    with pytest.raises(UnknownEncoding):
        b"".join(storable(binary(b"\0", b"Content-Transfer-Encoding: x-own\r\n")))


@pytest.mark.parametrize("message", [b"Subject: \0\r\n\r\nx", HEAD + b"\0\r\n" + TEXT + b"--b--\r\n"])
def test_nul_outside_the_parts_cannot_be_kept(message: bytes) -> None:
    with pytest.raises(UnknownEncoding):
        b"".join(storable(message))


def test_a_part_of_a_message_in_it() -> None:
    inner = binary(b"\0\1\2")
    made = b"".join(
        storable(
            HEAD.replace(b"=b", b"=c") + b"--c\r\nContent-Type: message/rfc822\r\n\r\n" + inner + b"--c--\r\n"
        )
    )
    assert content(made, 1, 2) == b"\0\1\2"
