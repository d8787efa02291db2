"""Messages of OAUTHBEARER (RFC 7628) and XOAUTH2."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mailserver.errors import AuthenticationFailed, BadSasl, MailError
from mailserver.wire import sasl
from mailserver.wire.bearer import (
    Refusal,
    WantsToken,
    oauthbearer,
    oauthbearer_refusal,
    xoauth2,
    xoauth2_refusal,
)

TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="


def test_the_example_of_RFC_7628() -> None:
    """4.1; host and port, and what is not known, are passed over (3.1)."""
    message = (
        "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer " + TOKEN + "\x01\x01"
    )
    assert oauthbearer(message.encode()) == WantsToken("user@example.com", TOKEN)
    assert oauthbearer(message.replace("port=143", "mtu=x y").encode()).token == TOKEN


def test_the_example_without_a_token_asks_where_to_get_one() -> None:
    """RFC 7628, 4.3"""
    message = b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01\x01"
    assert oauthbearer(message) == WantsToken("user@example.com", "")
    assert oauthbearer(message.replace(b"port=143", b"auth=Basic eA==")).token == ""


def test_an_authorization_identity_is_not_demanded() -> None:
    assert oauthbearer(b"n,,\x01auth=bearer abc\x01\x01") == WantsToken("", "abc")
    assert oauthbearer(b"y,a=a=2Cb@example.org,\x01auth=Bearer abc\x01\x01").user == "a,b@example.org"


def test_channel_binding_is_not_possible() -> None:
    with pytest.raises(AuthenticationFailed):
        oauthbearer(b"p=tls-exporter,,\x01auth=Bearer abc\x01\x01")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x01",
        b"n,,",
        b"n,,auth=Bearer abc\x01\x01",
        b"x,,\x01auth=Bearer abc\x01\x01",
        b"n,b=x,\x01auth=Bearer abc\x01\x01",
        b"n,a=,\x01auth=Bearer abc\x01\x01",
        b"n,a=x\x01auth=Bearer abc\x01\x01",
        b"n,,\x01auth=Bearer abc",
        b"n,,\x01auth=Bearer abc\x01auth=Bearer abc\x01\x01",
        b"n,,\x01auth\x01\x01",
        b"n,,\x01auth=\0\x01\x01",
        b"n,,\x01auth=Bearer \xff\x01\x01",
    ],
)
def test_malformed(message: bytes) -> None:
    with pytest.raises(BadSasl):
        oauthbearer(message)


def test_xoauth2() -> None:
    assert xoauth2(b"user=someuser@example.com\x01auth=Bearer abc.d-e_f\x01\x01") == WantsToken(
        "someuser@example.com", "abc.d-e_f"
    )
    for message in (
        b"user=\x01auth=Bearer a\x01\x01",
        b"auth=Bearer a\x01\x01",
        b"user=x",
        b"user=x\x01auth",
    ):
        with pytest.raises(BadSasl):
            xoauth2(message)


def test_refusals() -> None:
    """RFC 7628, 3.2.2; XOAUTH2 has statuses of HTTP."""
    refusal = Refusal("invalid_token", "mail", "https://id.example.org/c")
    assert json.loads(oauthbearer_refusal(refusal)) == {
        "status": "invalid_token",
        "scope": "mail",
        "openid-configuration": "https://id.example.org/c",
    }
    assert json.loads(oauthbearer_refusal(Refusal("invalid_token"))) == {"status": "invalid_token"}
    assert json.loads(xoauth2_refusal(refusal)) == {"status": "401", "schemes": "Bearer", "scope": "mail"}
    assert json.loads(xoauth2_refusal(Refusal("insufficient_scope")))["status"] == "403"


@pytest.mark.parametrize("name", sasl.TOKEN_MECHANISMS)
def test_as_mechanisms(name: str) -> None:
    machine = sasl.start(name, "nonce")
    assert machine is not None
    assert machine.respond(None) == sasl.Challenge(b"")
    with pytest.raises(BadSasl):
        machine.respond(b"nonsense")
    with pytest.raises(BadSasl):
        machine.respond(b"n,,\x01auth=Bearer abc\x01\x01")


def test_a_token_is_not_shown() -> None:
    assert "abc" not in repr(WantsToken("x", "abc"))


@hypothesis_settings(max_examples=300)
@given(st.binary(max_size=60) | st.text("nyp=,a\x01uthBer \0", max_size=60).map(str.encode))
def test_any_octets_are_refused_with_a_mail_error(data: bytes) -> None:
    for read in (oauthbearer, xoauth2):
        with contextlib.suppress(MailError):
            read(data)
