"""PREVIEW: the words that a reader would see first."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.message.preview import LENGTH, preview
from tests.helpers.cost import cheaper_than

HTML = (
    b"<html><HEAD><title>No</title><style>p{}</style></HEAD><body><!-- no --><p>Dear <b>Al</b>ice,</p>"
    b"1 &lt; 2<br>caf&eacute; <script>no()</SCRIPT>end</body></html>"
)
SEEN = "Dear Alice, 1 < 2 café end"


def message(body: bytes, kind: bytes = b"text/plain; charset=utf-8", more: bytes = b"") -> bytes:
    return b"Subject: x\nContent-Type: %b\n%b\n%b" % (kind, more, body)


def multipart(sub: bytes, *parts: bytes) -> bytes:
    inside = b"".join(b"--b\n%b\n" % part for part in parts)
    return message(b"%b--b--\n" % inside, b"multipart/%b; boundary=b" % sub)


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        (b"Subject: x\n\nHello,\n\n  this is\tit.\n", "Hello, this is it."),
        (message(HTML, b"text/html; charset=utf-8"), SEEN),
        (multipart(b"alternative", message(HTML, b"text/html"), message(b"plain words")), "plain words"),
        (multipart(b"alternative", message(b" \n"), message(HTML, b"text/html")), SEEN),
        (multipart(b"mixed", message(b"", b"image/png"), message(b"below")), "below"),
        (
            multipart(
                b"mixed", message(b"a,b", more=b"Content-Disposition: attachment\n"), message(b"the letter")
            ),
            "the letter",
        ),
        (multipart(b"mixed", message(b"x", b"application/pdf")), ""),
        (multipart(b"encrypted", message(b"Version: 1"), message(b"secret")), ""),
        (multipart(b"mixed", message(b"\n"), message(message(b"forwarded"), b"message/rfc822")), "forwarded"),
        (message(b"> he said\n> much\nI agree.\n-- \nBob\n"), "I agree."),
        (message(b"> only\n> quoted\n"), "only quoted"),
        (message("Grüße, Jürgen".encode("latin-1"), b"text/plain; charset=iso-8859-1"), "Grüße, Jürgen"),
        (message("Grüße".encode("utf-16"), b"text/plain; charset=utf-16"), "Grüße"),
        (
            message(base64.b64encode("日本語".encode()), more=b"Content-Transfer-Encoding: base64\n"),
            "日本語",
        ),
        (message(b"na=C3=AFve=\n =3D", more=b"Content-Transfer-Encoding: quoted-printable\n"), "naïve ="),
        (message("a\u200b\u034f \u200c \u200c b\u202e\x00c".encode()), "a bc"),
        (message("👩\u200d🚀 flies".encode()), "👩\u200d🚀 flies"),
        (message(b"2 < 3 <3 <!doctype x>y", b"text/html"), "2 < 3 <3 y"),
        (b"", ""),
        (b"\n", ""),
    ],
)
def test_what_is_shown(raw: bytes, seen: str) -> None:
    assert preview(raw) == seen
    assert preview(raw.replace(b"\n", b"\r\n")) == seen or b"utf-16" in raw


def test_it_ends_between_words() -> None:
    shown = preview(message(b"word " * 200))
    assert 170 <= len(shown) <= LENGTH and shown.endswith("word")
    assert len(preview(message(("字" * 1000).encode()))) == LENGTH


@given(
    st.binary(max_size=300) | st.lists(st.sampled_from([b"<", b">", b"!--", b"script", b"</", b"&", b" "]))
)
def test_anything_gives_at_most_so_many_characters(data: bytes | list[bytes]) -> None:
    body = data if isinstance(data, bytes) else b"".join(data)
    for raw in (body, message(body), message(body, b"text/html")):
        shown = preview(raw)
        assert len(shown) <= LENGTH and "\n" not in shown
        shown.encode("utf-8")


@pytest.mark.parametrize("piece", [b"<", b"<!--", b"<style>", b"</", b"<a ", b"&", b"&#", b"> ", b"-- "])
def test_hostile_text_costs_no_more_than_its_length(piece: bytes) -> None:
    raw = message(piece * (1_000_000 // len(piece)), b"text/html")
    with cheaper_than(0.5):
        preview(raw)
        preview(raw.replace(b"html", b"plain"))
