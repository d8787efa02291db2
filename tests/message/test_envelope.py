"""ENVELOPE, BODY and BODYSTRUCTURE as RFC 3501, 7.4.2 wants them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.message.addresses import MAX_ADDRESSES, parse_addresses
from mailserver.message.envelope import string
from mailserver.message.parameters import joined, parse, parse_content_type
from mailserver.message.render import render

RFC_3501_EXAMPLE = b"""\
Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)
From: Terry Gray <gray@cac.washington.edu>
Subject: IMAP4rev1 WG mtg summary and minutes
To: imap@cac.washington.edu
cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>
Message-Id: <B27397-0100000@cac.washington.edu>
MIME-Version: 1.0
Content-Type: TEXT/PLAIN; CHARSET=US-ASCII

"""


def test_the_envelope_of_the_example_in_rfc_3501_section_8() -> None:
    gray = b'(("Terry Gray" NIL "gray" "cac.washington.edu"))'

    assert render(RFC_3501_EXAMPLE).envelope == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes" '
        + gray + b" " + gray + b" " + gray
        + b' ((NIL NIL "imap" "cac.washington.edu")) '
        b'((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) '
        b'NIL NIL "<B27397-0100000@cac.washington.edu>")'
    )  # fmt: skip


def test_the_body_of_the_example_in_rfc_3501_section_7_4_2() -> None:
    raw = RFC_3501_EXAMPLE + b"x" * 30 + b"\n" + b"\n" * 91

    assert render(raw).body == b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7bit" 214 92)'


def test_header_has_crlf_and_the_empty_line() -> None:
    assert render(b"Subject: x\nTo: y\n\nz\n").header == b"Subject: x\r\nTo: y\r\n\r\n"
    assert render(b"Subject: x\r\n\r\nz\r\n").header == b"Subject: x\r\n\r\n"


def test_lines_that_are_crlf_on_disk_are_counted_once() -> None:
    assert render(b"A: b\r\n\r\nx\r\ny\r\n") == render(b"A: b\n\nx\ny\n")


def test_extension_data() -> None:
    """body-ext-1part: md5, disposition, language, location (RFC 3501, 9)."""
    raw = (
        b"Content-Type: image/png; name*0*=utf-8''%e2%82; name*1*=%ac.png\n"
        b"Content-ID: <id@x>\nContent-Description: a\n picture\nContent-MD5: Q2hlY2s=\n"
        b'Content-Disposition: inline (c); filename="a \\"b\\".png"; size=3\n'
        b"Content-Language: de, en (x)\nContent-Location: http://x/y\n"
        b"Content-Transfer-Encoding: base64 (c)\n\nAAAA\n"
    )

    assert render(raw).bodystructure == (
        b'("image" "png" ("name*" "utf-8\'\'%e2%82%ac.png") "<id@x>" "a picture" "base64" 6 '
        b'"Q2hlY2s=" ("inline" ("filename" "a \\"b\\".png" "size" "3")) ("de" "en") "http://x/y")'
    )


def test_a_multipart_with_a_message() -> None:
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\nContent-Language: fr\n\n"
        b"--b\n\none\n--b\nContent-Type: message/rfc822\n\nSubject: in\n\nx\ny\n\n--b--\n"
    )
    text = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" %b)'

    inner = b'NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL'
    assert render(raw).body == (
        b"("
        + text % b"3 0"
        + b'("message" "rfc822" NIL NIL NIL "7bit" 21 ('
        + inner
        + b") "
        + text % b"6 2"
        + b' 4) "mixed")'
    )
    assert render(raw).bodystructure.endswith(b' 4 NIL NIL NIL NIL) "mixed" ("boundary" "b") NIL "fr" NIL)')


def test_eight_bit_text_goes_out_as_literal() -> None:
    subject = "Grüße".encode()

    assert render(b"Subject: " + subject + b"\n\n").envelope.startswith(b"(NIL {7}\r\n" + subject + b" NIL")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", b'""'),
        (b'a "b" \\', b'"a \\"b\\" \\\\"'),
        (b"a\0b", b'"ab"'),
        (b"a\r\nb", b"{4}\r\na\r\nb"),
        (b"x" * 5000, b"{5000}\r\n" + b"x" * 5000),
    ],
)
def test_strings(value: bytes, expected: bytes) -> None:
    assert string(value) == expected


GROUP_END = (None, None, None, None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a@b", [(None, None, b"a", b"b")]),
        (b'"A, B" <a@b>, C  D\t<c@d>', [(b"A, B", None, b"a", b"b"), (b"C D", None, b"c", b"d")]),
        (
            b"G: a@b, C <c@d>;, e@f",
            [
                (None, None, b"G", None),
                (None, None, b"a", b"b"),
                (b"C", None, b"c", b"d"),
                GROUP_END,
                (None, None, b"e", b"f"),
            ],
        ),
        (b"undisclosed-recipients:;", [(None, None, b"undisclosed-recipients", None), GROUP_END]),
        (b"G: a@b", [(None, None, b"G", None), (None, None, b"a", b"b"), GROUP_END]),
        (b"<@x,@y:a@b>", [(None, b"@x,@y", b"a", b"b")]),
        (b"a@b (Joe (the \\) nested) X)", [(b"Joe (the ) nested) X", None, b"a", b"b")]),
        (b"Pete(A nice \\) chap) <pete(his)@silly.test(host)>", [(b"Pete", None, b"pete", b"silly.test")]),
        (b'"Giant; \\"Big\\" Box" <s@e.n>', [(b'Giant; "Big" Box', None, b"s", b"e.n")]),
        (b'"a b"@c.d', [(None, None, b"a b", b"c.d")]),
        (b"Joe Q. Public <j . q @ e . com>", [(b"Joe Q. Public", None, b"j.q", b"e.com")]),
        (b"a@[192.0.2.1]", [(None, None, b"a", b"[192.0.2.1]")]),
        (b"=?utf-8?q?a?= =?utf-8?q?b?= <a@b>", [(b"=?utf-8?q?a?= =?utf-8?q?b?=", None, b"a", b"b")]),
        (b"J\xc3\xb6rg <j@x>", [(b"J\xc3\xb6rg", None, b"j", b"x")]),
        # what is broken gives something sensible
        (b"a@b <a@b>", [(b"a@b", None, b"a", b"b")]),
        (b"Joe <a@b> trailing", [(b"Joe", None, b"a", b"b")]),
        (b"Joe", [(None, None, b"Joe", b"MISSING_DOMAIN")]),
        (b"<a>", [(None, None, b"a", b"MISSING_DOMAIN")]),
        (b"<>", [(None, None, b"MISSING_MAILBOX", b"MISSING_DOMAIN")]),
        (b"@b", [(None, None, b"MISSING_MAILBOX", b"b")]),
        (b"<a@b", [(None, None, b"a", b"b")]),
        (b'"Joe <a@b>', [(None, None, b"Joe <a@b>", b"MISSING_DOMAIN")]),
        (b",, a@b ,,", [(None, None, b"a", b"b")]),
        (b"a@b; c@d", [(None, None, b"a", b"b"), (None, None, b"c", b"d")]),
        (b"", []),
    ],
)  # fmt: skip
def test_addresses(value: bytes, expected: list[tuple[bytes | None, ...]]) -> None:
    assert [tuple(address) for address in parse_addresses(value)] == expected


def test_sender_and_reply_to_stand_in_for_from_also_when_empty() -> None:
    envelope = render(b"From: a@b\nReply-To:\nSender: ,\n\n").envelope

    assert envelope.count(b'((NIL NIL "a" "b"))') == 3


def test_to_that_stands_twice_is_joined_and_of_two_subjects_the_first_counts() -> None:
    envelope = render(b"To: a@b\nSubject: 1\nTo: c@d\nSubject: 2\n\n").envelope

    assert b'((NIL NIL "a" "b")(NIL NIL "c" "d"))' in envelope
    assert envelope.startswith(b'(NIL "1" ')


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"text/plain", (b"text", b"plain", ())),
        (b"Text / HTML ; Charset = UTF-8", (b"Text", b"HTML", ((b"Charset", b"UTF-8"),))),
        (b'a/b; x="1;2"; y=3;', (b"a", b"b", ((b"x", b"1;2"), (b"y", b"3")))),
        (b'a/b (c; d="e"); x=(c)1', (b"a", b"b", ((b"x", b"1"),))),
        (b'a/b; x="open', (b"a", b"b", ((b"x", b"open"),))),
        (b"a/b; name=two words.pdf; y=z", (b"a", b"b", ((b"name", b"two words.pdf"), (b"y", b"z")))),
        (b'a/b; junk; ;; x="y"z; q=r', (b"a", b"b", ((b"x", b"y"), (b"q", b"r")))),
        (b"text", None),
        (b"/plain", None),
        (b"", None),
    ],
)
def test_content_types(value: bytes, expected: object) -> None:
    assert parse_content_type(value) == expected


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (b"x; a=b; c=d", ((b"a", b"b"), (b"c", b"d"))),
        (b'x; URL*0="ftp://"; URL*1="cs.utk.edu/pub/"', ((b"URL", b"ftp://cs.utk.edu/pub/"),)),
        (b"x; name*1=b; size=3; NAME*0=a", ((b"size", b"3"), (b"NAME", b"ab"))),
        (
            b"x; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20;"
            b' title*2="isn\'t it!"',
            (
                (
                    b"title*",
                    b"us-ascii'en'This%20is%20even%20more%20%2A%2A%2Afun%2A%2A%2A%20isn%27t%20it!",
                ),
            ),
        ),
        (b"x; a*0=b; a*1*=%E4", ((b"a*", b"''b%E4"),)),
        (b"x; a*=utf-8''%C3%A4; b*1=c", ((b"a*", b"utf-8''%C3%A4"), (b"b*1", b"c"))),
        (b"x; a*0=b; a*0=c; a*2=d; a*1*2=e", ((b"a", b"b"), (b"a*2", b"d"), (b"a*1*2", b"e"))),
        (b"x; filename=plain; filename*0*=utf-8''%C3; filename*1*=%A4", None),
    ],
)
def test_values_in_pieces(written: bytes, told: object) -> None:
    """RFC 2231, 3 and 4.1 with their examples."""
    found = joined(parse(written)[1])
    assert found == (told or ((b"filename", b"plain"), (b"filename*", b"utf-8''%C3%A4")))


@settings(max_examples=300, deadline=None)
@given(st.text('a@<>,;:()"\\ .[]', max_size=40).map(str.encode) | st.binary(max_size=60))
def test_no_value_makes_the_parsers_raise(value: bytes) -> None:
    assert len(parse_addresses(value)) <= MAX_ADDRESSES
    parse(value)
    parse_content_type(value)
    envelope = render(b"From: " + value.replace(b"\n", b"") + b"\n\n").envelope
    assert envelope.startswith(b"(")
