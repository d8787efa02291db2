"""The MIME scanner: offsets, boundaries, nesting, hostile input."""

from __future__ import annotations

import email
from email.message import Message
from email.mime.base import MIMEBase
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.message.envelope import BodyWriter
from mailserver.message.render import render
from mailserver.message.structure import MAX_DEPTH, MAX_PARTS, Part, find_part, scan
from tests.helpers.cost import cheaper_than

MIXED = b"""\
Subject: two parts
Content-Type: multipart/mixed; boundary=b

preamble
--b
Content-Type: text/plain

one
--b
Content-Type: message/rfc822

Subject: inner
Content-Type: multipart/alternative; boundary=bb

--bb

in a
--bb
Content-Type: text/html

<p>
--bb--
--b--
epilogue
"""


def body(data: bytes, part: Part | None) -> bytes:
    assert part is not None
    return data[part.body : part.end]


def header(data: bytes, part: Part | None) -> bytes:
    assert part is not None
    return data[part.start : part.body]


@pytest.mark.parametrize("data", [MIXED, MIXED.replace(b"\n", b"\r\n")], ids=["lf", "crlf"])
def test_offsets_of_headers_and_bodies(data: bytes) -> None:
    """The line end before a delimiter belongs to the delimiter (RFC 2046, 5.1.1)."""
    eol = b"\r\n" if b"\r" in data else b"\n"
    root = scan(data)

    assert body(data, find_part(root, (1,))) == b"one"
    assert header(data, find_part(root, (1,))) == b"Content-Type: text/plain" + eol + eol
    assert header(data, find_part(root, (2,))) == b"Content-Type: message/rfc822" + eol + eol
    assert body(data, find_part(root, (2, 1))) == b"in a"
    assert body(data, find_part(root, (2, 2))) == b"<p>"
    assert header(data, find_part(root, (2, 1))) == eol
    assert root.end == len(data)
    assert [find_part(root, numbers) for numbers in ((3,), (2, 3), (1, 1), (2, 1, 1), (0,))] == [None] * 5


def test_a_message_without_parts_has_part_1() -> None:
    data = b"Subject: x\n\nhello\n"
    root = scan(data)

    assert body(data, find_part(root, (1,))) == b"hello\n"
    assert find_part(root, (1, 1)) is None
    assert find_part(root, (2,)) is None


def test_a_message_that_is_a_message() -> None:
    """Part 1 of a top-level message/rfc822 is its body, 1.1 the body of the message in it."""
    data = b"Content-Type: message/rfc822\n\nSubject: in\n\ntext\n"
    root = scan(data)

    assert body(data, find_part(root, (1,))) == b"Subject: in\n\ntext\n"
    assert body(data, find_part(root, (1, 1))) == b"text\n"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (b"--b\n\na\n--b\n\nb\n--b--\n", 2),
        (b"--b  \t\n\na\n--b--  \n\n--b\n", 1),  # padding; nothing counts behind the end
        (b"--b\n\na\n--b\n\nb\n", 2),  # never closed
        (b"--b\n--b\n--b--\n", 2),  # empty parts
        (b"--b\nContent-Type: text/html\n--b--\n", 1),  # a header that is cut off
        (b"x--b\n\na\n", 0),
        (b"--c\n\na\n", 0),
        (b"", 0),
        (b"--b--\n", 0),
    ],
)
def test_delimiter_lines(text: bytes, count: int) -> None:
    root = scan(b"Content-Type: multipart/mixed; boundary=b\n\n" + text)

    assert len(root.parts) == count


def test_among_nested_boundaries_the_longest_that_fits_wins() -> None:
    data = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n"
        b"Content-Type: multipart/mixed; boundary=b1\n\n--b1\n\nx\n--b1\n\ny\n--b1--\n--b\n\nz\n--b--\n"
    )
    root = scan(data)

    assert [len(part.parts) for part in root.parts] == [2, 0]


def test_a_delimiter_of_the_outer_multipart_ends_the_inner_one() -> None:
    data = (
        b"Content-Type: multipart/mixed; boundary=o\n\n--o\n"
        b"Content-Type: multipart/mixed; boundary=i\n\n--i\n\nnever closed\n--o\n\nz\n--o--\n"
    )
    root = scan(data)

    assert body(data, find_part(root, (1, 1))) == b"never closed"
    assert body(data, find_part(root, (2,))) == b"z"


def test_parts_of_a_digest_are_messages() -> None:
    """RFC 2046, 5.1.5"""
    root = scan(b"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\nhi\n--b--\n")

    assert root.parts[0].is_message
    assert root.parts[0].parts[0].fields == {b"subject": b"x"}


def test_E11_an_encoded_message_stays_a_leaf_that_can_be_read() -> None:
    data = b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeAo=\n"
    root = scan(data)

    assert (root.main, root.sub, root.is_message) == (b"application", b"octet-stream", False)
    assert body(data, find_part(root, (1,))) == b"U3ViamVjdDogeAo=\n"


@pytest.mark.parametrize("text", [b"", b"\n", b"Subject", b"Subject: x\n", b"\nFrom: a\n\nx", b"\0\0"])
def test_E11_a_truncated_message_part(text: bytes) -> None:
    data = b"Content-Type: message/rfc822\n\n" + text
    root = scan(data)

    assert root.is_message
    assert body(data, root) == text
    assert render(data)


def test_a_multipart_without_parts_stays_readable_as_text() -> None:
    data = b"Content-Type: multipart/mixed\n\nhello\n"

    assert render(data).body == b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 7 1)'


def nested(count: int) -> bytes:
    opening = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(count)
    )
    return opening + b"\nx\n" + b"".join(b"--b%d--\n" % i for i in reversed(range(count)))


def prefix_chain(count: int) -> bytes:
    names = [b"a" * i for i in range(1, count + 1)]
    opening = b"".join(b"Content-Type: multipart/mixed; boundary=%b\n\n--%b\n" % (n, n) for n in names)
    return opening + b"\nx\n" + b"".join(b"--%b--\n" % n for n in reversed(names))


SIBLINGS = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 20_000 + b"--b--\n"
BOMBS = {
    "nested": nested(1_000),
    "nested messages": b"Content-Type: message/rfc822\n\n" * 1_000 + b"x\n",
    "siblings": SIBLINGS,
    "siblings without headers": SIBLINGS.replace(b"--b\n\n", b"--b\n"),
    "prefixes": prefix_chain(1_000),
    "parameters": b"Content-Type: text/plain" + b";\n name*9*=x" * 5_000 + b"\n\nx",
    "semicolons": b"Content-Type: text/plain" + b";" * 250_000 + b"\n\nx",
    "quotes": b'Content-Type: text/plain; x="' + b'"a=b;' * 50_000 + b"\n\nx",
    "comments in type": b"Content-Type: text/plain " + b'("' * 50_000 + b"\n\nx",
    "encoded words": b"Subject:" + b" =?utf-8?q?x=C3=BC?=\n" * 20_000 + b"\n\nx",
    "encoded words in From": b"From:" + b" =?utf-8?q?x=C3=BC?=\n" * 20_000 + b" <a@b>\n\nx",
    "addresses": b"To: " + b"a@b," * 20_000 + b"\n\nx",
    "quoted addresses": b'To: (c) "' + b'\\"a" <a@b>, (' * 20_000 + b"\n\nx",
    "groups": b"To: " + b"g: a@b;" * 20_000 + b"\n\nx",
    "comments": b"To: " + b"(" * 5_000 + b"a" + b")" * 5_000 + b" a@b\n\nx",
    "open comments": b"To: " + b'("' * 50_000 + b"\n\nx",
    "at signs": b"To: " + b"a@b " * 60_000 + b"\n\nx",
    "angles": b"To: " + b"<@a:" * 60_000 + b"\n\nx",
    "spaces": b"To: a" + b" " * 250_000 + b"x\n\nx",
    "one field very often": b"To:a\n" * 50_000 + b"\nx",
    "lines like delimiters": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--\n" * 300_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_E10_bombs_take_little_time_and_space(name: str) -> None:
    """Each under a second (in fact 1 to 200 ms), with bounded depth and parts."""
    with cheaper_than(1.0):
        rendered = render(BOMBS[name])

    assert len(rendered.bodystructure) < 1_000_000


def test_E10_depth_and_parts_are_bounded_and_nothing_is_lost() -> None:
    deepest, depth = scan(nested(1_000)), 1
    while deepest.parts:
        deepest, depth = deepest.parts[0], depth + 1
    siblings = scan(SIBLINGS)

    assert depth == MAX_DEPTH
    assert len(siblings.parts) == MAX_PARTS - 1
    assert siblings.parts[-1].end == len(SIBLINGS)


# --- against the standard library ------------------------------------------------------------------


def leaf(draw: st.DrawFn) -> Message:
    kind = draw(st.sampled_from(["plain", "html", "binary", "message"]))
    if kind == "message":
        inner = MIMEText(draw(st.text(st.characters(codec="ascii", exclude_characters="\r\x0b\x0c"))))
        inner["Subject"] = "inner"
        return MIMEMessage(inner)
    if kind == "binary":
        part = MIMEBase("application", "octet-stream")
        part.set_payload(draw(st.text("abc-=\n", max_size=200)))
        return part
    return MIMEText(draw(st.text("ab -\n", max_size=200)), kind)


@st.composite
def messages(draw: st.DrawFn, depth: int = 0) -> Message:
    if depth == 3 or draw(st.booleans()):
        return leaf(draw)
    outer = MIMEMultipart(draw(st.sampled_from(["mixed", "alternative", "related"])))
    for _ in range(draw(st.integers(1, 4))):
        outer.attach(draw(messages(depth + 1)))
    return outer


def shape(part: Part) -> object:
    kind = (part.main + b"/" + part.sub).decode().lower()
    return [kind, *(shape(inner) for inner in part.parts)]


def stdlib_shape(part: Message) -> object:
    payload = part.get_payload()
    inner = payload if isinstance(payload, list) else []
    return [part.get_content_type(), *(stdlib_shape(p) for p in inner)]


@settings(max_examples=60, deadline=None)
@given(messages())
def test_sane_messages_have_the_parts_that_the_standard_library_finds(message: Message) -> None:
    raw = message.as_bytes()

    assert shape(scan(raw)) == stdlib_shape(email.message_from_bytes(raw))


def flat(part: Part) -> list[Part]:
    return [part, *(p for inner in part.parts for p in flat(inner))]


PIECES = [
    b"\n", b"\n\n", b"--b\n", b"--b--\n", b"--bb\n", b"--bb--", b"Content-Type: ", b"multipart/mixed", b"; ",
    b"boundary=b", b'boundary="bb"', b"message/rfc822", b"text/html", b"\n ", b"From: ", b"a@b", b"<", b">",
    b",", b":", b";", b"(", b")", b'"', b"\\", b"\0", b"\xff", b"To: x <y@z>\n", b"x",
    b"Content-Disposition: attachment",
    b"multipart/digest", b"\r",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join) | st.binary(max_size=200))
def test_anything_is_scanned_within_its_bounds_and_lf_equals_crlf(junk: bytes) -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\n\n" + junk
    bare = raw.replace(b"\r", b"")
    wire = bare.replace(b"\n", b"\r\n")

    for part in flat(scan(raw)):
        assert part.start <= part.body <= part.end <= len(raw)
    assert render(junk)
    assert render(raw)
    from_bare, from_wire = scan(bare), scan(wire)
    for part in flat(from_bare):
        assert all(part.body <= inner.start and inner.end <= part.end for inner in part.parts)
    assert BodyWriter(bare, True).write(from_bare) == BodyWriter(wire, False).write(from_wire)
    assert [header(bare, p).replace(b"\n", b"\r\n") for p in flat(from_bare)] == [
        header(wire, p) for p in flat(from_wire)
    ]
    assert [body(bare, p).replace(b"\n", b"\r\n") for p in flat(from_bare)] == [
        body(wire, p) for p in flat(from_wire)
    ]
    assert render(bare) == render(wire)
