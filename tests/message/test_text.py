"""Encoded words, transfer encodings and charsets undone."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.message import charsets, text
from mailserver.message.structure import scan
from tests.helpers.cost import cheaper_than


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?q?J=C3=BCrgen_M?= x", "Jürgen M x"),
        (b"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?= =?ISO-8859-2?B?dSB1bmRlcnN0YW5kLg==?=",
         "If you can read this you understand."),
        (b"=?utf-8?b?w7w=?=  =?utf-8?q?=C3?= =?utf-8?q?=BC?=.", "üü."),  # a character cut in two
        (b"=?us-ascii*en?q?a?=", "a"),
        (b"=?x-unknown?q?=FC?=", "ü"),
        (b"=?utf-8?q?=zz?=", "=zz"),
        (b"=?utf-8?b?!!!?=", ""),
        (b"=?broken", "=?broken"),
        ("grün".encode(), "grün"),
        (b"gr\xfcn", "grün"),
    ],
)  # fmt: skip
def test_encoded_words(value: bytes, expected: str) -> None:
    assert text.decode_words(value) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("UTF-8", "utf-8"),
        ("windows-874", "cp874"),
        ("x-sjis", "cp932"),
        ("iso-8859-8-i", "iso8859-8"),
        ("cp-850", "cp850"),
        ("windows-31j", "cp932"),
        ("base64", None),
        ("rot13", None),
        ("idna", None),
        ("no-such-charset", None),
        ("../utf8", None),
        ("", None),
    ],
)
def test_charset_names(name: str, expected: str | None) -> None:
    assert charsets.codec(name) == expected


def test_body_texts_of_a_message_with_everything() -> None:
    raw = (
        b"Subject: not the body\nContent-Type: multipart/mixed; boundary=b\n\npreamble\n"
        b"--b\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n"
        b"Gr=FC=\n=DFe\n"
        b"--b\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
        b"PGI+JnV1bWw7\nPC9iPg\n"
        b"--b\nContent-Type: image/png\n\nhidden\n"
        b"--b\nContent-Type: message/rfc822\n\nSubject: =?utf-8?q?inn=C3=A9r?=\n\ndeep\n--b--\n"
    )
    found = "|".join(piece for _, piece in text.body_texts(raw, scan(raw)))

    for wanted in ("Grüße", "<b>ü</b>", "Subject: innér", "deep"):
        assert wanted in found
    for unwanted in ("not the body", "hidden", "preamble"):
        assert unwanted not in found


def test_long_texts_come_in_pieces() -> None:
    line = b"x" * 75 + b"\n"
    plain = b"Subject: y\n\n" + line * 5_000
    coded = b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(line * 5_000)

    for raw in (plain, coded):
        pieces = list(text.body_texts(raw, scan(raw)))
        assert "".join(piece for _, piece in pieces) == (line * 5_000).decode()
        assert [fresh for fresh, _ in pieces] == [True] + [False] * (len(pieces) - 1)
        assert 3 <= len(pieces) <= 6


def test_fold() -> None:
    assert text.fold("straße") == text.fold("STRAßE") != text.fold("STRASSE")
    assert text.fold("u\u0308") == text.fold("Ü")


def test_E10_20_000_encoded_words() -> None:
    with cheaper_than(1.0):
        decoded = text.decode_words(b" ".join([b"=?utf-8?q?x=C3=BC?="] * 20_000))

    assert decoded == "xü" * 20_000


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [b"=?", b"utf-8", b"?q?", b"?b?", b"?=", b" ", b"=C3", b"w7w=", b"x", b"\xff", b"utf-16"]
        )
    ).map(b"".join)
    | st.binary(max_size=80)
)
def test_nothing_raises(value: bytes) -> None:
    text.decode_words(value)
    text.base64_bytes(value)
    for charset in ("utf-7", "utf-16", "iso-2022-jp", "hz", "gb2312", "utf-32"):
        charsets.decode(value, charset)
    raw = b"Content-Type: text/html; charset=" + value + b"\nContent-Transfer-Encoding: base64\n\n" + value
    assert list(text.body_texts(raw, scan(raw))) is not None
