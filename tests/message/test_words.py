"""An index of words finds what reading finds: no more, and above all no less."""

from __future__ import annotations

import base64
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.message import text as message_text
from mailserver.message import words
from mailserver.message.matching import Matcher
from mailserver.message.words import pieces, words_of

# Few different characters, so that what is looked for is often nearly there: marks of all kinds, letters that
# change their length when folded, accents to compose, kana, surrogates of bad UTF-7, what no encoding has.
LETTERS = (
    "aAbB0 -_.\u00df\u0130\u01c5e\u0301\u00c9\u03a3\u03c2\u3042\u3002\u00a0\u2014\ufb01\U0001f600\ud800\r\n"
)
TEXTS = st.text(st.sampled_from(LETTERS), max_size=30)


def indexed(wire: bytes, wanted: str, header: bool) -> bool | None:
    """What the words of a message say; None where it would be read."""
    made = words_of(wire)
    assert made is not None
    parts, certain = pieces(wanted)
    if not parts:
        return None
    head, body = made
    found = all(part in body for part in parts) or (header and all(part in head for part in parts))
    return found if certain or not found else None


def agrees(wire: bytes, wanted: str) -> None:
    for header in (True, False):
        answer = indexed(wire, wanted, header)
        assert answer is None or answer is Matcher(wanted, header).fits(wire), (wanted, header)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    body = draw(TEXTS)
    charset = draw(
        st.sampled_from(["utf-8", "utf-8", "utf-7", "iso-8859-1", "us-ascii", "nonsense", "hz", "cp037"])
    )
    codec = {"utf-7": "utf-7", "iso-8859-1": "latin-1"}.get(charset, "utf-8")
    data = body.encode(codec, "replace" if codec == "latin-1" else "surrogatepass")
    how = draw(st.sampled_from(["7bit", "base64", "quoted-printable"]))
    if how == "base64":
        data = base64.encodebytes(data).replace(b"\n", b"\r\n")
    elif how == "quoted-printable":
        data = quopri.encodestring(data)
    kind = draw(st.sampled_from(["plain", "html", "none"]))
    subject = draw(TEXTS).encode("utf-8", "replace").replace(b"\r", b"").replace(b"\n", b"")
    head = b"Subject: %b\r\n" % subject
    if kind == "none":
        return head + b"\r\n" + data
    leaf = f"Content-Type: text/{kind}; charset={charset}\r\nContent-Transfer-Encoding: {how}\r\n\r\n"
    if draw(st.booleans()):
        return head + leaf.encode() + data
    inner = b"--x\r\nContent-Description: aB-b\r\n" + leaf.encode() + data
    nested = b"\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: b0 a\r\n\r\nAb\r\n--x--\r\n"
    return head + b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + inner + nested


@given(messages(), TEXTS)
def test_words_say_what_reading_says(wire: bytes, wanted: str) -> None:
    agrees(wire, wanted)


@given(messages(), st.data())
def test_no_part_of_a_text_is_missed(wire: bytes, data: st.DataObject) -> None:
    root = message_text  # what is looked for stands in the message, in some case
    whole = root.header_text(wire)
    start = data.draw(st.integers(0, len(whole)))
    wanted = whole[start : start + data.draw(st.integers(1, 8))]
    agrees(wire, wanted)
    agrees(wire, wanted.upper())


@pytest.mark.parametrize(
    ("wanted", "answer"),
    [
        ("brown", True),
        ("BROW", True),
        ("row", True),
        ("yellow", False),
        ("quick brown", None),  # to be read: the words may stand elsewhere
        ("quick red", False),
        ("rick brown", False),
        ("-", None),
        ("stra\u00dfe", True),
        ("STRASSE", False),  # RFC 5051 knows no special casing
        ("STRA\u00dfE", True),
    ],
)
def test_single_words_are_certain(wanted: str, answer: bool | None) -> None:
    wire = "Subject: x\r\n\r\nThe quick brown fox, Stra\u00dfe 1\r\n".encode()
    assert indexed(wire, wanted, header=False) is answer


def test_body_and_header_are_told_apart() -> None:
    wire = (
        b"Subject: outer\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n"
        b"Content-Disposition: attachment; filename=report\r\n\r\nwithin\r\n--x\r\n"
        b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nhello\r\n--x--\r\n"
    )
    for word, in_body in (
        ("outer", False),
        ("report", False),
        ("within", True),
        ("inner", True),
        ("hello", True),
    ):
        assert indexed(wire, word, header=True) is True
        assert indexed(wire, word, header=False) is in_body, word


def test_words_that_go_over_the_end_of_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_text, "PIECE", 8)
    wire = b"Subject: x\r\n\r\nabcdefghijklmnopqrstuvwxyz \xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9 end"
    made = words_of(wire)
    assert made is not None and b"\nABCDEFGHIJKLMNOPQRSTUVWXYZ\n" in made[1]


def test_E10_a_message_that_says_too_much_has_no_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "MAX_WORDS", 1000)
    assert words_of(b"Subject: x\r\n\r\n" + b"same old words " * 1000) is not None
    assert words_of(b"Subject: x\r\n\r\n" + b"".join(b"word%d " % n for n in range(1000))) is None
