"""SCRAM-SHA-256 (RFC 5802, RFC 7677): the RFC's exchange, another implementation as client, and attacks."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scramp import ScramClient
from scramp.core import ScramException

from mailserver.errors import AuthenticationFailed, BadSasl, MailError
from mailserver.wire.scram import (
    MIN_ITERATIONS,
    Binding,
    Proven,
    ScramKeys,
    ScramServer,
    WantsKeys,
    derive_keys,
    fake_keys,
)

SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
PENCIL = derive_keys(b"pencil", SALT, 4096)
NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
BOTH = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
FINAL = b"c=biws," + BOTH + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="


def asked(first: bytes = FIRST, keys: ScramKeys = PENCIL) -> ScramServer:
    """A server that has sent its first message."""
    server = ScramServer(NONCE)
    server.first(first)
    server.keys(keys)
    return server


def client_exchange(client: ScramClient, server: ScramServer, keys: ScramKeys) -> Proven:
    """Both sides to the end; the client checks the server too."""
    server.first(client.get_client_first().encode())
    client.set_server_first(server.keys(keys).decode())
    proven = server.final(client.get_client_final().encode())
    client.set_server_final(proven.final.decode())
    return proven


def test_exchange_of_rfc_7677() -> None:
    server = ScramServer(NONCE)
    assert server.first(FIRST) == WantsKeys("user")
    assert server.keys(PENCIL) == BOTH + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    proven = server.final(FINAL)
    assert proven == Proven("user", b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", PENCIL)


@pytest.mark.parametrize("user", ["user", "a=b,c", "ü@example.org"])
def test_another_client(user: str) -> None:
    client = ScramClient(["SCRAM-SHA-256"], user, "pencil")
    assert client_exchange(client, ScramServer(NONCE), PENCIL).user == user


def test_another_client_with_a_wrong_password() -> None:
    client = ScramClient(["SCRAM-SHA-256"], "user", "pen")
    with pytest.raises(AuthenticationFailed):
        client_exchange(client, ScramServer(NONCE), PENCIL)


def test_the_client_finds_out_a_server_without_the_keys() -> None:
    client = ScramClient(["SCRAM-SHA-256"], "user", "pencil")
    liar = ScramKeys(4096, SALT, PENCIL.stored_key, b"x" * 32)
    with pytest.raises(ScramException):
        client_exchange(client, ScramServer(NONCE), liar)


def test_D1_unknown_names_get_the_same_salt_each_time() -> None:
    one, again = fake_keys("nobody", b"secret", 4096), fake_keys("nobody", b"secret", 4096)
    other = fake_keys("somebody", b"secret", 4096)
    assert one == again
    assert one.salt != other.salt
    assert len(one.salt) == len(SALT)
    with pytest.raises(AuthenticationFailed):
        asked(keys=one).final(FINAL)


def test_D11_a_recorded_exchange_cannot_be_played_again() -> None:
    server = ScramServer("another-nonce")
    server.first(FIRST)
    server.keys(PENCIL)
    with pytest.raises(AuthenticationFailed):
        server.final(FINAL)


def proof_for(without_proof: bytes) -> bytes:
    """What somebody who knows the password can make of any final message."""
    server_first = asked()._server_first.encode()
    message = FIRST[3:] + b"," + server_first + b"," + without_proof
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", SALT, 4096)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(PENCIL.stored_key, message, "sha256")
    return (
        without_proof + b",p=" + b64encode(bytes(a ^ b for a, b in zip(client_key, signature, strict=True)))
    )


def test_D11_a_right_proof_over_another_nonce_or_binding() -> None:
    assert asked().final(proof_for(b"c=biws," + BOTH)).user == "user"
    for without_proof in (b"c=biws,r=rOprNGfwEbeRWgbNEkqO", b"c=eSws," + BOTH, b"c=biwsQQ==," + BOTH):
        with pytest.raises(AuthenticationFailed):
            asked().final(proof_for(without_proof))


def test_D11_one_proof_for_a_challenge() -> None:
    server = asked()
    server.final(FINAL)
    with pytest.raises(BadSasl):
        server.final(FINAL)


def test_D11_y_is_right_because_channel_binding_is_not_offered() -> None:
    client_first = FIRST.replace(b"n,,", b"y,,", 1)
    with pytest.raises(AuthenticationFailed):  # c= must tell the flag that was sent
        asked(client_first).final(FINAL)
    with pytest.raises(AuthenticationFailed):
        asked().final(FINAL.replace(b"biws", b64encode(b"y,,")))


def bound(find: dict[str, list[bytes]], plus: bool = True, offered: bool = True) -> ScramServer:
    return ScramServer(NONCE, Binding(plus, offered, lambda kind: find.get(kind, [])))


def test_plus_is_bound_to_the_channel() -> None:
    """With another implementation as the client (RFC 5802, 6)."""
    for data, works in ((b"our certificate", True), (b"another one of ours", True), (b"theirs", False)):
        client = ScramClient(
            ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"],
            "user",
            "pencil",
            channel_binding=("tls-server-end-point", data),
        )
        server = bound({"tls-server-end-point": [b"our certificate", b"another one of ours"]})
        first = client.get_client_first()
        assert first.startswith("p=tls-server-end-point,,")
        server.first(first.encode())
        client.set_server_first(server.keys(PENCIL).decode())
        final = client.get_client_final().encode()
        if works:
            client.set_server_final(server.final(final).final.decode())
        else:
            with pytest.raises(AuthenticationFailed):
                server.final(final)


@pytest.mark.parametrize("flag", [b"n", b"y", b"p=tls-unique", b"p=tls-exporter"])
def test_plus_is_nothing_without_a_binding_that_there_is(flag: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        bound({"tls-server-end-point": [b"x"]}).first(flag + b",,n=user,r=abc")


def test_y_where_plus_was_offered_is_a_downgrade() -> None:
    """RFC 5802, 6: somebody has taken -PLUS out of the list that the client saw."""
    find = {"tls-server-end-point": [b"x"]}
    with pytest.raises(AuthenticationFailed):
        bound(find, plus=False).first(b"y,,n=user,r=abc")
    bound(find, plus=False).first(b"n,,n=user,r=abc")
    bound(find, plus=False, offered=False).first(b"y,,n=user,r=abc")
    with pytest.raises(AuthenticationFailed):
        bound(find, plus=False).first(b"p=tls-server-end-point,,n=user,r=abc")


@pytest.mark.parametrize(
    "first",
    [
        b"p=tls-unique,,n=user,r=abc",
        b"n,,m=x,n=user,r=abc",
        b"n,,n=user,r=abc,m=x",
        b"n,a=other,n=user,r=abc",
    ],
)
def test_D11_refused(first: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        ScramServer(NONCE).first(first)


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"n,,",
        b"x,,n=user,r=abc",
        b"p=,,n=user,r=abc",
        b"n,b=user,n=user,r=",
        b"n,,r=abc,n=user",
        b"n,,n=,r=abc",
        b"n,,n=user,r=",
        b"n,,n=us=er,r=abc",
        b"n,,n=us\0er,r=abc",
        b"n,,n=user,r=a b",
        b"n,,n=user,r=abc,",
        b"n,,n=user,r=abc,r=def",
        b"n,,n=user,r=abc,i=1",
        b"n,,n=user,r=abc,x=",
        b"n,,n=user,r=\xff",
        b"n,,n=user,r=" + b"a" * 513,
    ],
)
def test_D11_malformed_first(first: bytes) -> None:
    with pytest.raises(BadSasl):
        ScramServer(NONCE).first(first)


@pytest.mark.parametrize(
    "final",
    [
        b"",
        b"p=AAAA",
        b"c=biws," + BOTH,
        BOTH + b",c=biws,p=" + b64encode(b"x" * 32),
        FINAL[:-1],
        FINAL + b",x=1",
        FINAL[:-4],
        FINAL.replace(b",p=", b",i=1,p="),
        FINAL.replace(b",p=", b",i=1000000000,p="),
        FINAL.replace(b",p=", b",,p="),
    ],
)
def test_D11_malformed_final(final: bytes) -> None:
    with pytest.raises(BadSasl):
        asked().final(final)


def test_D11_an_extension_is_skipped_but_signed() -> None:
    server = ScramServer(NONCE)
    assert server.first(FIRST + b",x=ignored") == WantsKeys("user")
    server.keys(PENCIL)
    with pytest.raises(AuthenticationFailed):
        server.final(FINAL)  # made for a first message without the extension


def test_an_authorization_identity_of_ones_own() -> None:
    assert ScramServer(NONCE).first(b"n,a=a=2Cb,n=a=2Cb,r=abc") == WantsKeys("a,b")


def test_keys_are_not_shown() -> None:
    assert "stored_key" not in repr(PENCIL)


@hypothesis_settings(max_examples=300)
@given(st.binary(max_size=80) | st.text("ncrpay=,\0aü+/", max_size=60).map(str.encode))
def test_any_octets_are_refused_with_a_mail_error(data: bytes) -> None:
    server = ScramServer(NONCE)
    with contextlib.suppress(MailError):
        server.first(data)
    with pytest.raises(MailError):
        asked().final(data)


@given(st.binary(min_size=1, max_size=40))
@hypothesis_settings(max_examples=30)
def test_any_password_derives(password: bytes) -> None:
    assert derive_keys(password, SALT, MIN_ITERATIONS).stored_key != PENCIL.stored_key
