"""All that is made of a message: structure, ENVELOPE, BODYSTRUCTURE, texts, preview, sort keys, surrogate."""

from __future__ import annotations

from mailserver.message.addresses import MAX_ADDRESSES, parse_addresses
from mailserver.message.digest import GROUPS, digest
from mailserver.message.downgrade import surrogate
from mailserver.message.envelope import BodyWriter
from mailserver.message.preview import preview
from mailserver.message.render import render, render_header
from mailserver.message.structure import MAX_DEPTH, MAX_PARTS, Part, find_part, scan
from mailserver.message.text import body_texts, decode_words, header_text

TOKENS = [
    *(b"Content-Type: multipart/mixed; boundary=b\n", b"Content-Type: message/rfc822\n", b"multipart/digest"),
    *(
        b"Content-Type: text/html; charset=iso-2022-jp\n",
        b"\n--b\n",
        b"\n--b--\n",
        b"--bb\n",
        b'boundary="bb"',
        b"\n\n",
    ),
    *(
        b"Content-Transfer-Encoding: base64\n",
        b"quoted-printable",
        b'From: a <a@b>, "c" <@d:e@f>;\n',
        b"To: g: a@b;\n",
    ),
    *(
        b"Subject: =?utf-8?b?w6k=?= =?utf-8?q?=C3=A9?=\n",
        b"; name*0*=utf-8''%e2; name*1=x",
        b"Date: Wed, 1 Jan 2020",
    ),
    *(
        b"References: <a@b> <c@d>\n",
        b'Message-ID: <"a"@b>\n',
        b"Content-Disposition: attachment; filename=x\n",
    ),
    *(
        b"(c)",
        b"\\",
        b'"',
        b"\r\n",
        b"\r",
        b"\0",
        b"\xff",
        b"\xc3\xa9",
        b"=?",
        b"?=",
        b"=",
        b"&lt;",
        b"<script>",
        b"\t",
    ),
]
_ALL = tuple(GROUPS)


def _flat(part: Part, depth: int = 1) -> list[tuple[Part, int]]:
    return [(part, depth)] + [found for inner in part.parts for found in _flat(inner, depth + 1)]


def check(data: bytes) -> None:
    parts = _flat(scan(data))
    assert len(parts) <= MAX_PARTS
    for part, depth in parts:
        assert depth <= MAX_DEPTH
        assert part.start <= part.body <= part.end <= len(data)
        assert all(part.body <= inner.start and inner.end <= part.end for inner in part.parts)
    _derived(data)
    bare = data.replace(b"\r", b"")
    wire = bare.replace(b"\n", b"\r\n")
    _same(bare, wire)


def _derived(data: bytes) -> None:
    """Nothing raises, and what is made is not much more than what it is made of."""
    made = render(data)
    room = 4096 + 40 * len(data)
    assert max(len(made.envelope), len(made.body), len(made.bodystructure)) <= room
    for text in (made.envelope, made.body, made.bodystructure):
        _balanced(text)
    assert len(preview(data)) <= 256
    values = digest(render_header(data), _ALL)
    assert len(values) == len(_ALL)
    root = scan(data)
    total = sum(len(text) for _, text in body_texts(data, root, True))
    assert total <= room
    assert len(header_text(data)) + len(decode_words(data)) <= room
    assert len(parse_addresses(data)) <= MAX_ADDRESSES + 2
    find_part(root, (1, 2, 1))
    wire = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    lowered = surrogate(wire)
    end = wire.find(b"\r\n\r\n")
    assert lowered.endswith(wire[end + 2 :] if end >= 0 else b"")


def _balanced(text: bytes) -> None:
    """A list in the syntax of RFC 3501: parentheses outside of strings match, and no octet is NUL."""
    assert b"\0" not in text
    at = depth = 0
    while at < len(text):
        octet = text[at : at + 1]
        if octet == b'"':
            at += 1
            while text[at : at + 1] != b'"':
                assert at < len(text), "a string without end"
                at += 2 if text[at : at + 1] == b"\\" else 1
        elif octet == b"{":
            end = text.index(b"}\r\n", at)
            at = end + 2 + int(text[at + 1 : end])
        else:
            depth += (octet == b"(") - (octet == b")")
            assert depth >= 0
        at += 1
    assert depth == 0
    assert at == len(text)


def _same(bare: bytes, wire: bytes) -> None:
    """LF and CRLF line ends give the same."""
    from_bare, from_wire = scan(bare), scan(wire)
    assert BodyWriter(bare, True).write(from_bare) == BodyWriter(wire, False).write(from_wire)
    assert render(bare) == render(wire)
    assert [bare[p.body : p.end].replace(b"\n", b"\r\n") for p, _ in _flat(from_bare)] == [
        wire[p.body : p.end] for p, _ in _flat(from_wire)
    ]
