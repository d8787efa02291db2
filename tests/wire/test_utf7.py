"""Modified UTF-7: one name, one encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.errors import CannotName
from mailserver.wire import utf7


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("INBOX", b"INBOX"),
        ("Entwürfe", b"Entw&APw-rfe"),
        ("A&B", b"A&-B"),
        ("台北日本語", b"&U,BTF2XlZyyKng-"),
        ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
        ("☺!", b"&Jjo-!"),
        ("😀", b"&2D3eAA-"),
        ("ü&ü", b"&APw-&-&APw-"),
    ],
)
def test_names_of_the_rfc(name: str, encoded: bytes) -> None:
    assert utf7.encode(name) == encoded
    assert utf7.decode(encoded) == name


@pytest.mark.parametrize(
    "encoded",
    [
        b"&",
        b"a&b",
        b"&AGE-",  # "a" needs no shift
        b"&Jjo!",  # the shift never ends
        b"&U,BTFw-&ZeVnLIqe-",  # two shifts where one is canonical
        b"&2D0-",  # half a surrogate pair
        b"&APw=-",
        b"&AP-",
        b"&APx-",  # bits left over
        b"\xc3\xbc",
        b"a\x00b",
        b"a\nb",
        b"&A/w-",
    ],
)
def test_I3_not_canonical_is_refused(encoded: bytes) -> None:
    with pytest.raises(CannotName):
        utf7.decode(encoded)


def test_I3_lone_surrogate_has_no_encoding() -> None:
    with pytest.raises(CannotName):
        utf7.encode("\ud83d")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_there_and_back(name: str) -> None:
    encoded = utf7.encode(name)
    assert encoded.isascii()
    assert utf7.decode(encoded) == name


@given(st.binary(max_size=64))
def test_decode_accepts_only_what_encode_makes(data: bytes) -> None:
    try:
        name = utf7.decode(data)
    except CannotName:
        return
    assert utf7.encode(name) == data
