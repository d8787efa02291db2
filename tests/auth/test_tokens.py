"""OAUTHBEARER, XOAUTH2 and EXTERNAL through the authenticator; -PLUS and what is announced."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from scramp import ScramClient
from twisted.internet.defer import Deferred

from mailserver.auth.certificates import fingerprint
from mailserver.config.schema import OAuth
from mailserver.errors import AuthenticationFailed, CannotAuthenticate, MailError
from mailserver.interfaces import Challenge, IAccount, Peer
from tests.auth.support import CLEAR_PEER, TLS_PEER, Outcome, World

PROVIDER = OAuth("https://id.example.org/i", scope="mail", openid_configuration="https://id.example.org/c")
GOOD = {"active": True, "username": "alice@example.org", "scope": "mail openid"}


class Provider:
    """`answers` by token; a missing one is not active. `hold`: what an answer waits for."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []
        self.hold: Deferred[Any] | None = None

    async def __call__(self, oauth: OAuth, token: str) -> Mapping[str, Any]:
        self.asked.append(token)
        if self.hold is not None:
            await self.hold
        answer = self.answers.get(token, {"active": False})
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


class Channel:
    """A TLS connection that a test makes up."""

    def __init__(self, certificate: x509.Certificate | None = None, **bindings: Sequence[bytes]) -> None:
        self._certificate = certificate
        self._bindings = {name.replace("_", "-"): data for name, data in bindings.items()}

    def bindings(self, kind: str) -> Sequence[bytes]:
        return self._bindings.get(kind, ())

    def certificate(self) -> x509.Certificate | None:
        return self._certificate


def world(answers: Mapping[str, Any] | None = None, **overrides: Any) -> World:
    overrides.setdefault("auth", {"oauth": PROVIDER})
    return World(introspect=Provider(answers or {"good": GOOD}), **overrides)


def bearer(made: World, token: str, user: str = "", peer: Peer = TLS_PEER) -> tuple[Any, Outcome]:
    exchange = made.authenticator.exchange("OAUTHBEARER", peer, IAccount)
    authzid = f"a={user}" if user else ""
    return exchange, Outcome(exchange.respond(f"n,{authzid},\x01auth=Bearer {token}\x01\x01".encode()))


# --- tokens ----------------------------------------------------------------------------------------


def test_a_good_token_logs_its_user_in() -> None:
    made = world()
    for user in ("", "alice", "Alice@Example.org"):
        assert bearer(made, "good", user)[1].value.avatar.user == "alice@example.org"
    assert made.audit.events[0]["mechanism"] == "OAUTHBEARER"
    exchange = made.authenticator.exchange("XOAUTH2", TLS_PEER, IAccount)
    assert Outcome(exchange.respond(None)).value == Challenge(b"")
    outcome = Outcome(exchange.respond(b"user=alice@example.org\x01auth=Bearer good\x01\x01"))
    assert outcome.value.user == "alice@example.org"
    assert made.results() == ["ok"] * 4


@pytest.mark.parametrize(
    ("token", "user", "status"),
    [
        ("", "", "invalid_token"),
        ("unknown", "", "invalid_token"),
        ("good", "bob", "invalid_token"),
        ("good", "nobody", "invalid_token"),
        ("other", "", "insufficient_scope"),
        ("expired", "", "invalid_token"),
        ("stranger", "", "invalid_token"),
        ("nameless", "", "invalid_token"),
        ("truthy", "", "invalid_token"),
        ("locked", "", "invalid_token"),
    ],
)
def test_a_refusal_is_explained_and_then_it_fails(token: str, user: str, status: str) -> None:
    """RFC 7628, 3.2.3: the client answers the explanation, and has failed once."""
    made = world(
        {
            "good": GOOD,
            "other": {**GOOD, "scope": "calendar"},
            "expired": {**GOOD, "exp": 1},
            "stranger": {**GOOD, "username": "zoe@example.org"},
            "nameless": {"active": True, "scope": "mail", "sub": "alice@example.org"},
            "truthy": {**GOOD, "active": "true"},
            "locked": {**GOOD, "username": "locked"},
        },
        users={
            "alice@example.org": "{PLAIN}x",
            "bob@example.org": "{PLAIN}x",
            "locked@example.org": {"disabled": True},
        },
    )
    exchange, outcome = bearer(made, token, user)
    assert not outcome.fired  # before its time
    made.clock.advance(2)
    assert json.loads(outcome.value.data) == {
        "status": status,
        "scope": "mail",
        "openid-configuration": "https://id.example.org/c",
    }
    assert isinstance(Outcome(exchange.respond(b"\x01")).error, AuthenticationFailed)
    assert made.results() == ["failed"]


def test_a_provider_that_does_not_answer_is_no_failed_log_in() -> None:
    made = world({"good": CannotAuthenticate(cause="no route")})
    _, outcome = bearer(made, "good")
    assert isinstance(outcome.error, CannotAuthenticate)
    assert (outcome.error.code, outcome.error.imap) == (454, "UNAVAILABLE")
    assert made.results() == ["unavailable"]


def test_an_answer_is_believed_for_a_while() -> None:
    made = world()
    provider: Any = made.introspect
    for _ in range(3):
        assert bearer(made, "good")[1].value
    assert provider.asked == ["good"]
    made.clock.advance(61)
    assert bearer(made, "good")[1].value
    assert len(provider.asked) == 2
    made.settings.change(auth={"oauth": evolve(PROVIDER, cache=0.0)})
    for _ in range(2):
        assert bearer(made, "good")[1].value
    assert len(provider.asked) == 4


def test_a_token_that_was_refused_is_asked_about_again() -> None:
    made = world({})
    provider: Any = made.introspect
    bearer(made, "soon")
    made.clock.advance(2)
    provider.answers["soon"] = GOOD
    assert bearer(made, "soon")[1].value.user == "alice@example.org"


def test_no_answer_outlives_its_token() -> None:
    now = datetime.datetime.now(datetime.UTC).timestamp()
    made = world({"good": {**GOOD, "exp": now + 30}})
    assert bearer(made, "good")[1].value
    made.clock.advance(31)
    assert bearer(made, "good")[1].value  # the clock on the wall stands still in this test
    assert len(made.introspect.asked) == 2


def test_a_user_who_was_disabled_meanwhile() -> None:
    made = world()
    assert bearer(made, "good")[1].value
    made.settings.change(users={"alice@example.org": {"disabled": True}})
    _, outcome = bearer(made, "good")
    made.clock.advance(2)
    assert isinstance(outcome.value, Challenge)


def test_D7_a_client_that_goes_while_the_provider_is_asked() -> None:
    made = world()
    made.introspect.hold = Deferred()
    exchange, outcome = bearer(made, "good")
    exchange.abandon()
    made.clock.advance(100)
    assert outcome.fired == 0
    assert made.audit.events == []


def test_tokens_never_in_clear() -> None:
    """RFC 7628, 3: also where passwords may go in clear."""
    made = world(auth={"oauth": PROVIDER, "allow_cleartext": True})
    assert "OAUTHBEARER" not in made.authenticator.mechanisms(CLEAR_PEER)
    with pytest.raises(MailError) as caught:
        made.authenticator.exchange("OAUTHBEARER", CLEAR_PEER, IAccount)
    assert caught.value.code == 504


def test_only_where_a_provider_is_configured() -> None:
    made = world(auth={})
    assert list(made.authenticator.mechanisms(TLS_PEER))[:2] == ["PLAIN", "LOGIN"]
    assert not {"OAUTHBEARER", "XOAUTH2", "EXTERNAL"} & set(made.authenticator.mechanisms(TLS_PEER))
    for name in ("OAUTHBEARER", "XOAUTH2", "EXTERNAL", "SCRAM-SHA-256-PLUS"):
        with pytest.raises(MailError):
            made.authenticator.exchange(name, TLS_PEER, IAccount)
    assert set(world().authenticator.mechanisms(TLS_PEER)) > {"OAUTHBEARER", "XOAUTH2"}


# --- certificates ----------------------------------------------------------------------------------


def certificate(*addresses: str) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "alice@example.org")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    if addresses:
        names = x509.SubjectAlternativeName([x509.RFC822Name(address) for address in addresses])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256())


def external(made: World, peer: Peer, response: bytes) -> Outcome:
    outcome = Outcome(made.authenticator.exchange("EXTERNAL", peer, IAccount).respond(response))
    made.clock.advance(2)
    return outcome


def with_certificate(*addresses: str) -> Peer:
    return evolve(TLS_PEER, channel=Channel(certificate(*addresses)))


@pytest.mark.parametrize("response", [b"", b"alice", b"Alice@example.org"])
def test_a_certificate_with_the_users_address(response: bytes) -> None:
    made = World()
    peer = with_certificate("Alice@Example.ORG", "somebody@elsewhere.example")
    assert "EXTERNAL" in made.authenticator.mechanisms(peer)
    assert external(made, peer, response).value.avatar.user == "alice@example.org"
    assert made.audit.events[-1]["mechanism"] == "EXTERNAL"


@pytest.mark.parametrize("response", [b"bob", b"nobody", b"alice@elsewhere.example"])
def test_a_certificate_of_somebody_else(response: bytes) -> None:
    made = World()
    outcome = external(made, with_certificate("alice@example.org"), response)
    assert isinstance(outcome.error, AuthenticationFailed)
    assert made.results() == ["failed"]


def test_a_certificate_of_two_users_needs_to_be_told_which() -> None:
    made = World()
    peer = with_certificate("alice@example.org", "bob@example.org")
    assert isinstance(external(made, peer, b"").error, AuthenticationFailed)
    assert external(made, peer, b"bob").value.user == "bob@example.org"


def test_a_certificate_that_a_user_lists() -> None:
    shown = certificate()
    users = {
        "alice@example.org": {"certificates": (fingerprint(shown),)},
        "bob@example.org": {"certificates": (fingerprint(shown),), "disabled": True},
    }
    made = World(users)
    peer = evolve(TLS_PEER, channel=Channel(shown))
    assert external(made, peer, b"").value.user == "alice@example.org"
    assert isinstance(external(made, peer, b"bob").error, AuthenticationFailed)


@pytest.mark.parametrize("addresses", [(), ("zoe@example.org",), ("alice",), ("*@example.org",)])
def test_a_certificate_of_nobody_is_not_asked_for(addresses: tuple[str, ...]) -> None:
    made = World()
    peer = with_certificate(*addresses)
    assert "EXTERNAL" not in made.authenticator.mechanisms(peer)
    with pytest.raises(MailError):
        made.authenticator.exchange("EXTERNAL", peer, IAccount)


# --- channel binding -------------------------------------------------------------------------------

BOUND = evolve(TLS_PEER, channel=Channel(tls_server_end_point=[b"ours"]))


def scram(made: World, peer: Peer, data: bytes | None, withheld: Sequence[str] = ()) -> Outcome:
    binding = ("tls-server-end-point", data) if data is not None else None
    offers = [name for name in made.authenticator.mechanisms(peer) if name.startswith("SCRAM")]
    names = [name for name in offers if name not in withheld]
    client = ScramClient(names, "alice", "secret", channel_binding=binding)
    exchange = made.authenticator.exchange(client.mechanism_name, peer, IAccount, withheld)
    first = Outcome(exchange.respond(client.get_client_first().encode()))
    made.clock.advance(2)
    if first.error is not None:
        return first
    client.set_server_first(first.value.data.decode())
    outcome = Outcome(exchange.respond(client.get_client_final().encode()))
    made.clock.advance(2)
    return outcome


def test_plus_is_announced_inside_tls_only() -> None:
    made = World(auth={"allow_cleartext": True})
    assert "SCRAM-SHA-256-PLUS" in made.authenticator.mechanisms(BOUND)
    assert "SCRAM-SHA-256-PLUS" not in made.authenticator.mechanisms(CLEAR_PEER)


def test_plus() -> None:
    made = World()
    assert scram(made, BOUND, b"ours").value.user == "alice@example.org"
    assert made.audit.events[-1]["mechanism"] == "SCRAM-SHA-256-PLUS"
    assert isinstance(scram(made, BOUND, b"theirs").error, AuthenticationFailed)
    assert scram(made, BOUND, None).value.user == "alice@example.org"  # "n": it cannot


def test_y_is_a_downgrade_unless_plus_was_withheld() -> None:
    made = World()
    exchange = made.authenticator.exchange("SCRAM-SHA-256", BOUND, IAccount)
    outcome = Outcome(exchange.respond(b"y,,n=alice,r=abc"))
    made.clock.advance(2)
    assert isinstance(outcome.error, AuthenticationFailed)
    withheld = ["SCRAM-SHA-256-PLUS"]
    exchange = made.authenticator.exchange("SCRAM-SHA-256", BOUND, IAccount, withheld)
    assert isinstance(Outcome(exchange.respond(b"y,,n=alice,r=abc")).value, Challenge)
    with pytest.raises(MailError):
        made.authenticator.exchange("SCRAM-SHA-256-PLUS", BOUND, IAccount, withheld)


@pytest.mark.parametrize(
    ("aud", "good"),
    [
        ("mail.example.org", True),
        (["id", "mail.example.org"], True),
        ("id", False),
        (["id", 7], False),
        ({"mail.example.org": 1}, False),
        (None, False),
    ],
)
def test_for_whom_a_token_was_issued(aud: Any, good: bool) -> None:
    """RFC 7662, 2.2; asked again, from what is kept, the answer is the same."""
    answer = GOOD if aud is None else {**GOOD, "aud": aud}
    made = world({"one": answer}, auth={"oauth": evolve(PROVIDER, audience="mail.example.org")})
    for _ in range(2):
        _, outcome = bearer(made, "one", "")
        made.clock.advance(2)
        assert isinstance(outcome.value, Challenge) is not good
