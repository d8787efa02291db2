"""SASL mechanisms and their base64 (RFC 4422, RFC 4616, RFC 4954)."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mailserver.errors import AuthenticationFailed, BadSasl, MailError
from mailserver.wire.sasl import (
    MAX_ENCODED,
    Challenge,
    Login,
    Mechanism,
    Plain,
    WantsPassword,
    decode_base64,
    encode_base64,
    start,
)
from mailserver.wire.scram import Proven, WantsKeys, derive_keys


def test_examples_of_rfc_4616() -> None:
    plain = Plain()
    assert plain.respond(None) == Challenge(b"")
    assert plain.respond(b"\0tim\0tanstaaftanstaaf") == WantsPassword("tim", b"tanstaaftanstaaf")
    with pytest.raises(AuthenticationFailed):
        Plain().respond(b"Ursel\0Kurt\0xipj3plmq")


@pytest.mark.parametrize("data", [b"b\0a\0pw", b"b\0ab\0pw", b"\xc3\xa4\0a\0pw", b"a \0a\0pw"])
def test_D5_an_authorization_identity_of_another(data: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        Plain().respond(data)


@pytest.mark.parametrize("data", [b"a\0a\0pw", b"A\0a\0pw", b"\0a\0pw"])
def test_D5_ones_own_authorization_identity(data: bytes) -> None:
    assert Plain().respond(data) == WantsPassword("a", b"pw")


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"\0\0", b"\0\0pw", b"a\0\0pw", b"\0a", b"a", b"\0a\0pw\0", b"\0\0a\0pw", b"\0\xff\0p"],
)
def test_D5_malformed(data: bytes) -> None:
    with pytest.raises(BadSasl):
        Plain().respond(data)


def test_D5_an_empty_password_is_handed_on_to_be_refused() -> None:
    assert Plain().respond(b"\0a\0") == WantsPassword("a", b"")


def test_plain_255_octets_each() -> None:
    step = Plain().respond(b"\0" + b"u" * 255 + b"\0" + b"p" * 255)
    assert step == WantsPassword("u" * 255, b"p" * 255)


def test_login_dialog() -> None:
    login = Login()
    assert login.respond(None) == Challenge(b"Username:")
    assert login.respond(b"alice") == Challenge(b"Password:")
    assert login.respond(b"a b\0c") == WantsPassword("alice", b"a b\0c")


def test_login_with_the_name_at_once() -> None:
    login = Login()
    assert login.respond(b"alice") == Challenge(b"Password:")
    assert login.respond(b"secret") == WantsPassword("alice", b"secret")


@pytest.mark.parametrize("name", [b"", b"\xff", b"a\0b"])
def test_login_bad_names(name: bytes) -> None:
    with pytest.raises(BadSasl):
        Login().respond(name)


@pytest.mark.parametrize("mechanism", [Plain(), Login()])
def test_nothing_after_the_end(mechanism: Mechanism) -> None:
    for _ in range(3):
        try:
            mechanism.respond(b"\0alice\0secret" if isinstance(mechanism, Plain) else b"alice")
        except BadSasl:
            return
    pytest.fail("an exchange went on after its end")


def test_scram_by_name() -> None:
    mechanism = start("scram-sha-256", "nonce")
    assert mechanism is not None
    assert mechanism.respond(None) == Challenge(b"")
    assert mechanism.respond(b"n,,n=user,r=abc") == WantsKeys("user")
    challenge = mechanism.keys(derive_keys(b"pencil", b"salt", 4096))
    assert challenge == Challenge(b"r=abcnonce,s=c2FsdA==,i=4096")
    with pytest.raises(BadSasl):
        mechanism.respond(None)


@pytest.mark.parametrize("name", ["", "CRAM-MD5", "PLAIN ", "SCRAM-SHA-1-PLUS", "__init__"])
def test_unknown_mechanisms(name: str) -> None:
    assert start(name, "nonce") is None


@pytest.mark.parametrize("mechanism", [Plain(), Login()])
def test_keys_that_nobody_asked_for(mechanism: Mechanism) -> None:
    with pytest.raises(BadSasl):
        mechanism.keys(derive_keys(b"pencil", b"salt", 4096))


@pytest.mark.parametrize(
    "line",
    [b"A", b"AA", b"AAA", b"AA=", b"A===", b"====", b"==", b"AA=A", b"AA==AA==", b"AAA*", b"AAAA\r", b" AAA",
     b"AA A", b"AAA\n", b"AA-_", b"\xff\xff\xff\xff", b"AA\0=", b"**", b"AAAA===="],
)  # fmt: skip
def test_D6_not_base64(line: bytes) -> None:
    with pytest.raises(BadSasl) as caught:
        decode_base64(line)
    assert (caught.value.code, caught.value.enhanced) == (501, "5.5.2")


@pytest.mark.parametrize("size", [MAX_ENCODED + 1, 1_000_000])
def test_D6_too_long(size: int) -> None:
    with pytest.raises(BadSasl) as caught:
        decode_base64(b"A" * size)
    assert (caught.value.code, caught.value.enhanced) == (500, "5.5.6")


def test_D6_the_longest() -> None:
    assert decode_base64(b"A" * MAX_ENCODED) == bytes(MAX_ENCODED // 4 * 3)


def test_D6_empty_and_cancelled() -> None:
    assert decode_base64(b"") == b""
    for line in (b"=", b"*"):
        with pytest.raises(BadSasl):
            decode_base64(line)


def test_D12_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Plain().respond(b"\0alice\0secret"))


@given(st.binary(max_size=200))
def test_base64_there_and_back(data: bytes) -> None:
    assert decode_base64(encode_base64(data)) == data


@given(st.binary(max_size=100))
def test_D6_any_line(line: bytes) -> None:
    try:
        data = decode_base64(line)
    except MailError:
        return
    assert len(data) <= len(line)


@hypothesis_settings(max_examples=300)
@given(
    st.sampled_from(["PLAIN", "LOGIN", "SCRAM-SHA-256"]),
    st.lists(
        st.none() | st.binary(max_size=60) | st.text("\0ab,=ncr", max_size=20).map(str.encode), max_size=5
    ),
)
def test_any_responses(name: str, responses: list[bytes | None]) -> None:
    mechanism = start(name, "nonce")
    assert mechanism is not None
    for response in responses:
        try:
            step = mechanism.respond(response)
        except MailError:
            return
        if isinstance(step, WantsKeys):
            assert isinstance(mechanism.keys(derive_keys(b"x", b"salt", 1)), Challenge)
        elif isinstance(step, WantsPassword):
            assert step.user
        assert not isinstance(step, Proven)


def test_base64_helper_agrees_with_the_library() -> None:
    assert encode_base64(b"\0alice\0secret") == b64encode(b"\0alice\0secret")
