"""Binary messages as text: no octet is lost, nothing is encoded twice, nothing signed is touched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.message.binary import NotConvertible, as_text
from mailserver.message.structure import find_part, scan
from mailserver.message.transfer import decode, encoding_of

HEAD = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
BINARY = b"Content-Transfer-Encoding: binary\r\n"


def mixed(data: bytes, label: bytes = BINARY, kind: bytes = b"image/png") -> bytes:
    """A message with a text, and a part of these octets."""
    return (
        HEAD
        + BINARY
        + b"\r\n--b\r\n\r\nhello\r\n--b\r\nContent-Type: %b\r\n%b\r\n%b\r\n--b--\r\n"
        % (*(kind, label, data),)
    )


def content(text: bytes, *numbers: int) -> bytes:
    """A part as a reader finds it who is given the text with CRLF."""
    wire = text.replace(b"\n", b"\r\n")
    part = find_part(scan(wire), numbers)
    assert part is not None
    return decode(encoding_of(part), wire[part.body : part.end])


def valid(text: bytes) -> None:
    assert b"\r" not in text
    assert b"\0" not in text
    assert max(map(len, text.split(b"\n"))) <= 998


@given(st.binary(max_size=400).filter(lambda data: b"\n--b" not in b"\n" + data))
def test_no_octet_is_lost(data: bytes) -> None:
    text = as_text(mixed(data))
    valid(text)
    assert content(text, 2) == data
    assert content(text, 1) == b"hello"


@given(st.binary(max_size=400), st.booleans())
def test_no_octet_of_a_message_of_one_part_is_lost(data: bytes, eight_bit: bool) -> None:
    text = as_text(
        b"Subject: x\r\nContent-Type: image/png\r\n" + BINARY + b"\r\n" + data, eight_bit=eight_bit
    )
    valid(text)
    found = content(text, 1)
    assert found == data
    assert eight_bit or text.isascii()


@given(st.binary(max_size=300))
def test_whatever_comes_it_is_text_or_refused(data: bytes) -> None:
    for message in (data, HEAD + b"\r\n--b" + data, mixed(data, b"", b"multipart/signed; boundary=c")):
        try:
            text = as_text(message)
        except NotConvertible:
            continue
        assert b"\0" not in text
        assert b"\r" not in text


def test_labels_say_what_is() -> None:
    """RFC 2045, 6.2 and 6.4: nothing claims to be binary that is not."""
    text = as_text(mixed(b"\0\1"))
    assert text == (
        HEAD.replace(b"\r\n", b"\n")
        + b"Content-Transfer-Encoding: 7bit\n\n--b\n\nhello\n"
        + b"--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAE=\n--b--\n"
    )
    text = as_text(mixed(b"caf\xe9 \r\nof lines"))
    assert text.count(b"Content-Transfer-Encoding: 8bit\n") == 2
    assert content(text, 2) == b"caf\xe9 \r\nof lines"
    text = as_text(mixed(b"caf\xe9 of lines"), eight_bit=False)
    assert text.isascii()
    assert b"7bit" in text
    assert content(text, 2) == b"caf\xe9 of lines"


def test_what_is_text_and_says_so_stays() -> None:
    """A DKIM signature over it survives (RFC 6376, 5.3)."""
    plain = mixed(b"lines\r\nof text", b"Content-Transfer-Encoding: 7bit\r\n").replace(BINARY, b"")
    assert as_text(plain) == plain.replace(b"\r\n", b"\n")


def test_an_encoding_is_never_put_on_another() -> None:
    """RFC 3030, 3: no nested base64."""
    text = as_text(mixed(b"AAEC\0\r\nAwQF", b"Content-Transfer-Encoding: base64\r\n"))
    assert content(text, 2) == bytes(range(6))
    with pytest.raises(NotConvertible):
        as_text(mixed(b"\0", b"Content-Transfer-Encoding: x-own\r\n"))


def signed(data: bytes, signature: bytes = b"seal") -> bytes:
    return (
        b"Content-Type: multipart/signed; boundary=s\r\n"
        + BINARY
        + b"\r\n--s\r\n"
        + mixed(data)
        + b"\r\n--s\r\nContent-Type: application/pkcs7-signature\r\n"
        + BINARY
        + b"\r\n"
        + signature
        + b"\r\n--s--\r\n"
    )


def test_what_is_signed_is_not_touched() -> None:
    """RFC 1847, 2.1: but the signature itself may be encoded."""
    with pytest.raises(NotConvertible, match="signed"):
        as_text(signed(b"\0"))
    text = as_text(signed(b"lines of text", b"\0\1"))
    assert content(text, 2) == b"\0\1"
    assert mixed(b"lines of text").replace(b"\r\n", b"\n") in text


def test_a_message_in_the_message() -> None:
    inner = mixed(b"\0\r\n\n")
    outer = HEAD.replace(b"=b", b"=o") + BINARY + b"\r\n--o\r\nContent-Type: message/rfc822\r\n" + BINARY
    text = as_text(outer + b"\r\n" + inner + b"\r\n--o--\r\n")
    assert b"binary" not in text
    assert content(text, 1, 2) == b"\0\r\n\n"


@pytest.mark.parametrize(
    "message",
    [
        b"Subject: \0\r\n\r\nx",
        b"Subject: a\rb\r\n\r\nx\r\n",
        HEAD + b"\r\n\0\r\n--b\r\n\r\nx\r\n--b--\r\n",
        HEAD + b"\r\n--b\r\n\r\nx\r\n--b--\r\nbare\n",
        b"Content-Type: message/delivery-status\r\n\r\n\0",
        b"Content-Type: multipart/mixed; boundary=q\r\n\r\n\0",
        mixed(b"cut\n--b"),
    ],
)
def test_no_text_form(message: bytes) -> None:
    with pytest.raises(NotConvertible):
        as_text(message)


def test_long_lines_are_encoded() -> None:
    assert b"base64" not in as_text(mixed(b"x" * 998))
    assert content(as_text(mixed(b"x" * 999)), 2) == b"x" * 999
