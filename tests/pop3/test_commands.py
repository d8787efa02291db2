"""Lines to commands, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.pop3.commands import (
    MAX_SASL,
    Auth,
    Capa,
    CommandError,
    Dele,
    Lang,
    List,
    Mechanisms,
    Pass,
    Retr,
    Stat,
    Top,
    Uidl,
    User,
    decode_sasl,
    parse,
)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"USER mrose", User("mrose")),
        (b"user  mrose ", User("mrose")),
        (b"USER mr:ose@example.org", User("mr:ose@example.org")),
        ("USER jürgen@exämple.org".encode(), User("jürgen@exämple.org")),
        (b"PASS secret", Pass(b"secret")),
        (b"PASS  a  b ", Pass(b" a  b ")),
        (b"pass ", Pass(b"")),
        (b"AUTH PLAIN", Auth("PLAIN")),
        (b"AUTH plain =", Auth("PLAIN", b"")),
        (b"AUTH PLAIN AGEAYg==", Auth("PLAIN", b"\0a\0b")),
        (b"AUTH", Mechanisms()),
        (b"STAT", Stat()),
        (b"stat ", Stat()),
        (b"LIST", List()),
        (b"LIST 2", List(2)),
        (b"UIDL 007", Uidl(7)),
        (b"RETR 1", Retr(1)),
        (b"RETR 99999999999999999999", Retr(99999999999999999999)),
        (b"TOP 1 10", Top(1, 10)),
        (b"TOP 1  0", Top(1, 0)),
        (b"DELE 3", Dele(3)),
        (b"CAPA", Capa()),
        (b"LANG", Lang()),
        (b"LANG *", Lang("*")),
        (b"LANG de-AT", Lang("de-AT")),
    ],
)
def test_a_line_is_a_command(line: bytes, command: object) -> None:
    assert parse(line) == command


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b"RETR",
        b"RETR -1",
        b"RETR 1 2",
        b"RETR 1.5",
        b"RETR " + b"9" * 5000,
        b"RETR \xb2",
        b"TOP 1",
        b"TOP 1 -1",
        b"TOP 1 2 3",
        b"TOP x 1",
        b"LIST x",
        b"DELE",
        b"USER",
        b"USER ",
        b"PASS",
        b"STAT 1",
        b"NOOP x",
        b"QUIT now",
        b"LANG english!",
        b"LANG " + b"x" * 9,
        b"APOP mrose c4c9334bac560ecc979e58001b3e22fb",
        b"LAST",
    ],
)
def test_J5_wrong_arguments_are_no_command(line: bytes) -> None:
    with pytest.raises(CommandError):
        parse(line)


@pytest.mark.parametrize(
    "line",
    [
        b"USER a\xff",
        b"USER a\x00b",
        b"USER a\nPASS b",
        b"PASS a\rb",
        b"PASS caf\xe9",
        b"USER " + "a\u200e".encode(),  # RFC 4013, 2.3
        b"R\xc9TR 1",
        b"RETR 1\x00",
        b"LIST " + b" " * 600 + b"1",
        b"USER " + b"a" * 600,
    ],
)
def test_J6_8_bit_control_characters_and_long_lines_are_no_command(line: bytes) -> None:
    with pytest.raises(CommandError):
        parse(line)


@pytest.mark.parametrize(
    "text", [b"a", b"AA=A", b"====", b"AAA= ", b" ", b"A" * (MAX_SASL + 4), b"\xff\xff\xff\xff"]
)
def test_D6_bad_base64_is_refused(text: bytes) -> None:
    with pytest.raises(CommandError):
        decode_sasl(text)


def test_D12_no_repr_shows_a_secret() -> None:
    assert "secret" not in repr(parse(b"PASS secret"))
    assert (
        "c2Vj" not in repr(parse(b"AUTH PLAIN c2VjcmV0"))
        and b"secret" not in repr(parse(b"AUTH PLAIN c2VjcmV0")).encode()
    )


@given(
    st.binary(max_size=600)
    | st.from_regex(rb"(RETR|TOP|LIST|AUTH|LANG|USER|PASS) [ -~]{0,40}", fullmatch=True)
)
def test_K6_any_line_is_a_command_or_a_command_error(line: bytes) -> None:
    try:
        parse(line)
    except CommandError as error:
        assert error.text
