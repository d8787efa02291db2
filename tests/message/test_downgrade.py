"""The surrogate of an internationalized message."""

from __future__ import annotations

from email import message_from_bytes, policy

from hypothesis import given
from hypothesis import strategies as st

from mailserver.message.downgrade import surrogate
from tests.helpers.cost import cheaper_than

BODY = b"\r\nGr\xc3\xbc\xc3\x9fe\r\n"


def made(header: str) -> bytes:
    return header.replace("\n", "\r\n").encode() + BODY


def test_an_ascii_header_is_left_alone() -> None:
    message = made("From: a@b.example\nSubject: x\n")

    assert surrogate(message) is message


def test_a_header_that_is_not_utf8_is_left_alone() -> None:
    message = b"Subject: caf\xe9\r\n" + BODY

    assert surrogate(message) is message


def test_names_subject_and_addresses() -> None:
    """RFC 6858: what the reader needs is there, what cannot be answered cannot be answered."""
    message = surrogate(
        made(
            "Received: from bücher.example by x\n"
            "From: Jürgen <jürgen@bücher.example>\n"
            "To: Bob <bob@b.example>, Zoë <zoe@b.example>,\n\tõ@example.org\n"
            "Cc: Freunde: rené@b.example;\n"
            "X-Spaß: ja\n"
            "Subject: Grüße und sehr lange Wörter, die in eine einzige Zeile nicht hineinpaßten\n"
            'Content-Type: text/plain; charset=utf-8; name="büro.txt"; format=flowed\n'
            "Message-ID: <1@b.example>\n"
        )
    )
    head = message[: message.index(b"\r\n\r\n") + 2]
    parsed = message_from_bytes(message, policy=policy.SMTP)

    assert head.isascii()
    assert message.endswith(BODY)
    assert max(map(len, head.split(b"\r\n"))) <= 78
    assert parsed["Subject"] == "Grüße und sehr lange Wörter, die in eine einzige Zeile nicht hineinpaßten"
    assert parsed["From"] == "Jürgen <invalid@internationalized-address.invalid>"
    assert parsed["To"].addresses[1].display_name == "Zoë"
    assert [address.addr_spec for address in parsed["To"].addresses] == [
        "bob@b.example",
        "zoe@b.example",
        "invalid@internationalized-address.invalid",
    ]
    assert parsed["To"].addresses[2].display_name == "õ@example.org"
    assert parsed["Cc"].addresses[0].addr_spec == "invalid@internationalized-address.invalid"
    assert parsed["Content-Type"].params == {"charset": "utf-8", "format": "flowed"}
    assert parsed["Message-ID"] == "<1@b.example>"
    assert parsed["Received"] is None
    assert b"X-Spa" not in head


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["From", "To", "Subject", "Content-Type", "X-Other", "Ünsinn", ""]),
            st.text(alphabet=st.sampled_from('aé,;:<>@"\\()[] \t\r\n=€'), max_size=60),
        ),
        max_size=5,
    )
)
def test_any_utf8_header_becomes_ascii(fields: list[tuple[str, str]]) -> None:
    lines = [f"{name}: {value}\n" for name, value in fields]
    header = "".join(lines).replace("\n", "\r\n").encode()  # a bare LF is not of the wire form
    result = surrogate(header + BODY)
    block = b"" if header.startswith(b"\r\n") or not header else (header + BODY).partition(b"\r\n\r\n")[0]

    assert result.endswith(BODY)
    if not block.isascii():
        assert result[: -len(BODY)].isascii() or b"\r\n\r\n" in header


def test_E10_a_hostile_header_costs_little_time() -> None:
    for value in ("é," * 60_000, "é <" * 60_000, '"é' * 60_000, ';"é' * 60_000, "é\r\n " * 40_000):
        for name in ("To", "Subject", "Content-Type"):
            with cheaper_than(0.5):
                surrogate(made(f"{name}: {value}\n"))
