"""A text is found in a message wherever its pieces begin."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.message.casemap import fold
from mailserver.message.matching import Finder, Matcher


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("ab", max_size=4), max_size=8), st.text("ab", min_size=1, max_size=6))
def test_a_text_is_found_across_pieces(pieces: list[str], wanted: str) -> None:
    finder = Finder(fold(wanted))
    hits = [finder.feed(number == 0, piece) for number, piece in enumerate(pieces)]

    assert any(hits) == (wanted in "".join(pieces))


def test_texts_do_not_run_into_one_another() -> None:
    finder = Finder("AB")

    assert not finder.feed(True, "a")
    assert not finder.feed(True, "b")


MIME = (
    b"Subject: a long\r\n subject\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: inline; filename=name.txt\r\n\r\n"
    b"first line\r\n second line\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    ("wanted", "header", "found"),
    [
        ("FIRST", False, True),
        ("long subject", True, True),
        ("long subject", False, False),
        ("name.txt", True, True),
        ("name.txt", False, False),
        ("line second", True, False),
        ("line\r\n second", True, True),
        ("nowhere", True, False),
        ("st\u00e9", True, False),
        ("boundary", False, False),
    ],
)
def test_a_message_of_parts_without_encodings(wanted: str, header: bool, found: bool) -> None:
    assert Matcher(wanted, header).fits(MIME) is found


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (b"text/plain; charset=utf-7", b"+AHcAbwByAGQ-"),
        (b'text/plain; charset="u\\tf-7"', b"+AHcAbwByAGQ-"),
        (b"text/plain;\r\n charset\r\n =utf-7", b"+AHcAbwByAGQ-"),
        (b"text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64", b"d29yZA=="),
        (b"text/plain\r\nContent-Transfer-Encoding : quoted-printable", b"w=6Frd"),
        (b"text/plain\r\nContent-Transfer-Encoding:\r\n quoted-printable", b"w=\r\nord"),
        (b"text/plain\r\nContent-Transfer-Encoding: (7bit) base64", b"d29yZA=="),
        (b"text/html", b"w&#111;rd"),
        (b"text/plain\r\nX: =?utf-8?q?w=6Frd?=", b""),
    ],
)
def test_what_is_a_word_only_once_it_is_decoded(kind: bytes, data: bytes) -> None:
    wire = b"Content-Type: " + kind + b"\r\n\r\n" + data + b"\r\n"
    header, body = Matcher("word", True), Matcher("word", False)
    assert header.fits(wire) == header._decoded(wire)
    assert body.fits(wire) == body._decoded(wire)
    if b"(7bit)" not in kind:
        assert header.fits(wire)


LINES = (
    b"Subject: w", b" ord", b"\tword", b"Content-Type: text/html; charset=utf-8", b"Content-Type: text/plain",
    b"Content-Type: multipart/mixed; boundary=b", b"Content-Transfer-Encoding: 7bit", b"--b", b"--b--", b"",
    b"Content-Transfer-Encoding: base64", b"d29yZA==", b" charset=utf-7", b"+AHcAbwByAGQ-", b"w&#111;rd",
    b"Content-Type: message/rfc822", b"word w", b"ord", b"Content-Type: application/pdf; name=w",
    b"Content-Type: image/png", b"Content-Transfer-Encoding: base64",
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(LINES), max_size=14), st.sampled_from(["word", "w ord", "ord word", "w\r\nord"])
)
def test_the_short_way_says_what_the_long_one_says(lines: list[bytes], wanted: str) -> None:
    wire = b"\r\n".join(lines) + b"\r\n"
    for header in (True, False):
        matcher = Matcher(wanted, header)
        assert matcher.fits(wire) is matcher._decoded(wire)
