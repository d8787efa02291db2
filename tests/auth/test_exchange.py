"""SASL exchanges through the authenticator, with another implementation as the client."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from scramp import ScramClient

from mailserver.auth.passwords import hash_password
from mailserver.errors import AuthenticationFailed, BadSasl, Busy, EncryptionRequired, MailError
from mailserver.interfaces import Challenge, IAccount, ISender, Peer, Success
from tests.auth.support import CLEAR_PEER, TLS_PEER, Outcome, World

SCRAM_USERS = {
    "alice@example.org": "{PLAIN}sécret",
    "bob@example.org": hash_password("sécret", "scram-sha-256"),
    "carol@example.org": hash_password("sécret"),
    "locked@example.org": {"password": "{PLAIN}sécret", "disabled": True},
}


def begin(world: World, mechanism: str, peer: Peer = TLS_PEER) -> Any:
    return world.authenticator.exchange(mechanism, peer, IAccount)


def scram(world: World, user: str, password: str) -> Outcome:
    """A whole exchange; the client checks the server's last word."""
    exchange = begin(world, "SCRAM-SHA-256")
    client = ScramClient(["SCRAM-SHA-256"], user, password)
    challenge = Outcome(exchange.respond(client.get_client_first().encode())).value
    client.set_server_first(challenge.data.decode())
    outcome = Outcome(exchange.respond(client.get_client_final().encode()))
    world.clock.advance(2)
    if isinstance(outcome.value, Success):
        assert outcome.value.data is not None
        client.set_server_final(outcome.value.data.decode())
    return outcome


def test_plain_with_and_without_initial_response() -> None:
    world = World()
    outcome = Outcome(begin(world, "PLAIN").respond(b"\0alice\0secret"))
    assert outcome.value == Success(outcome.value.avatar, "alice@example.org", None)
    exchange = begin(world, "plain")
    assert Outcome(exchange.respond(None)).value == Challenge(b"")
    assert Outcome(exchange.respond(b"\0alice\0secret")).value.avatar.user == "alice@example.org"
    assert [event["mechanism"] for event in world.audit.events] == ["PLAIN", "PLAIN"]


def test_login() -> None:
    exchange = begin(World(), "LOGIN")
    assert Outcome(exchange.respond(None)).value == Challenge(b"Username:")
    assert Outcome(exchange.respond(b"alice@example.org")).value == Challenge(b"Password:")
    assert Outcome(exchange.respond(b"secret")).value.user == "alice@example.org"


@pytest.mark.parametrize("data", [b"b\0alice\0secret", b"bob@example.org\0alice\0secret"])
def test_D5_an_authorization_identity_of_another(data: bytes) -> None:
    world = World()
    outcome = Outcome(begin(world, "PLAIN").respond(data))
    assert not outcome.fired
    world.clock.advance(2)
    assert isinstance(outcome.error, AuthenticationFailed)
    assert world.results() == ["failed"]


@pytest.mark.parametrize("data", [b"\0\0secret", b"\0alice\0secret\0", b"\0alice", b"alice", b""])
def test_D5_malformed(data: bytes) -> None:
    assert isinstance(Outcome(begin(World(), "PLAIN").respond(data)).error, BadSasl)


def test_D5_an_empty_password() -> None:
    world = World({"alice@example.org": hash_password("x")})
    outcome = Outcome(begin(world, "PLAIN").respond(b"\0alice\0"))
    world.clock.advance(2)
    assert isinstance(outcome.error, AuthenticationFailed)


@pytest.mark.parametrize("user", ["alice", "alice@example.org", "ALICE@example.org", "bob"])
def test_scram(user: str) -> None:
    world = World(SCRAM_USERS)
    outcome = scram(world, user, "sécret")
    assert outcome.value.user.partition("@")[0] == user.lower().partition("@")[0]
    assert outcome.value.avatar.user == outcome.value.user
    assert world.results() == ["ok"]


@pytest.mark.parametrize("user", ["alice", "bob", "carol", "locked", "nobody", "nobody@elsewhere.example"])
def test_scram_with_a_wrong_password(user: str) -> None:
    """Known or not, with keys or without: the same steps, and the same end."""
    world = World(SCRAM_USERS)
    outcome = scram(world, user, "wrong")
    assert isinstance(outcome.error, AuthenticationFailed)
    assert world.results() == ["failed"]


@pytest.mark.parametrize("user", ["carol", "locked"])
def test_scram_of_users_without_keys(user: str) -> None:
    assert isinstance(scram(World(SCRAM_USERS), user, "sécret").error, AuthenticationFailed)


def test_D1_salts_stay_and_each_name_costs_one_derivation() -> None:
    world = World(SCRAM_USERS)
    seen: dict[str, set[bytes]] = {}
    for user in ("alice", "bob", "carol", "locked", "nobody", "alice@example.org", "Nobody@example.org"):
        for _ in range(2):
            challenge = Outcome(begin(world, "SCRAM-SHA-256").respond(f"n,,n={user},r=abc".encode())).value
            name = user.lower().partition("@")[0]
            seen.setdefault(name, set()).add(challenge.data.partition(b",")[2])
    assert all(len(salts) == 1 for salts in seen.values())
    assert len({salts.pop() for salts in seen.values()}) == 5
    assert world.threads.calls == 5


def test_D11_a_failed_proof_costs_the_penalty() -> None:
    world = World()
    exchange = begin(world, "SCRAM-SHA-256")
    client = ScramClient(["SCRAM-SHA-256"], "alice", "wrong")
    client.set_server_first(Outcome(exchange.respond(client.get_client_first().encode())).value.data.decode())
    outcome = Outcome(exchange.respond(client.get_client_final().encode()))
    world.clock.advance(1.9)
    assert not outcome.fired
    world.clock.advance(0.2)
    assert isinstance(outcome.error, AuthenticationFailed)


def test_D13_the_password_changes_during_the_exchange() -> None:
    world = World(SCRAM_USERS)
    exchange = begin(world, "SCRAM-SHA-256")
    client = ScramClient(["SCRAM-SHA-256"], "alice", "sécret")
    client.set_server_first(Outcome(exchange.respond(client.get_client_first().encode())).value.data.decode())
    world.settings.change({"alice@example.org": "{PLAIN}other"})
    outcome = Outcome(exchange.respond(client.get_client_final().encode()))
    world.clock.advance(2)
    assert isinstance(outcome.error, AuthenticationFailed)
    assert scram(world, "alice", "other").value


def test_D11_each_exchange_has_a_nonce_of_its_own() -> None:
    world = World()
    nonces = {
        Outcome(begin(world, "SCRAM-SHA-256").respond(b"n,,n=alice,r=abc")).value.data for _ in range(20)
    }
    assert len(nonces) == 20


@pytest.mark.parametrize("mechanism", ["CRAM-MD5", "", "SCRAM-SHA-1", "PLAIN\r\n"])
def test_unknown_mechanisms(mechanism: str) -> None:
    with pytest.raises(MailError) as caught:
        begin(World(), mechanism)
    assert (caught.value.code, caught.value.enhanced) == (504, "5.5.4")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "SCRAM-SHA-256"])
def test_nothing_without_tls(mechanism: str) -> None:
    world = World()
    with pytest.raises(EncryptionRequired):
        begin(world, mechanism, CLEAR_PEER)
    assert world.results() == ["refused"]


def test_an_exchange_that_is_over() -> None:
    exchange = begin(World(), "PLAIN")
    assert isinstance(Outcome(exchange.respond(b"nonsense")).error, BadSasl)
    assert isinstance(Outcome(exchange.respond(b"\0alice\0secret")).error, BadSasl)


def test_one_response_at_a_time() -> None:
    world = World({"alice@example.org": hash_password("x")}, automatic=False)
    exchange = begin(world, "PLAIN")
    first = Outcome(exchange.respond(b"\0alice\0x"))
    assert isinstance(Outcome(exchange.respond(b"\0alice\0x")).error, BadSasl)
    world.threads.work()
    assert first.value.user == "alice@example.org"


def test_D4_busy() -> None:
    world = World(automatic=False, auth={"threads": 1, "backlog": 0})
    exchanges = [begin(world, "SCRAM-SHA-256") for _ in range(2)]
    outcomes = [
        Outcome(exchange.respond(b"n,,n=user%d,r=abc" % number)) for number, exchange in enumerate(exchanges)
    ]
    assert not outcomes[0].fired
    assert isinstance(outcomes[1].error, Busy)


@pytest.mark.parametrize("moment", ["before", "hash", "penalty"])
def test_D7_abandoned(moment: str) -> None:
    """No callback, nothing left behind, whenever the client goes."""
    world = World({"alice@example.org": hash_password("x")}, automatic=False)
    exchange = begin(world, "LOGIN", Peer("10.0.0.1", tls="x", protocol="submission"))
    assert Outcome(exchange.respond(b"alice")).value == Challenge(b"Password:")
    outcome = None
    if moment != "before":
        outcome = Outcome(exchange.respond(b"wrong"))
    if moment == "penalty":
        world.threads.work()
    exchange.abandon()
    exchange.abandon()
    world.threads.work()
    world.clock.advance(100)
    assert outcome is None or outcome.fired == 0
    assert world.clock.getDelayedCalls() == []
    assert isinstance(Outcome(exchange.respond(b"x")).error, BadSasl)


def test_D7_ten_thousand_disconnects() -> None:
    world = World({"alice@example.org": hash_password("x")}, automatic=False, auth={"backlog": 20_000})
    outcomes: list[Outcome] = []
    left: list[weakref.ref[Any]] = []
    for number in range(10_000):
        exchange = world.authenticator.exchange(
            ("PLAIN", "LOGIN", "SCRAM-SHA-256")[number % 3], Peer("10.0.0.1", tls="x"), ISender
        )
        data = (b"\0alice\0%d" % number, b"alice", b"n,,n=u%d,r=abc" % number)[number % 3]
        outcomes.append(Outcome(exchange.respond(data)))
        left.append(weakref.ref(exchange))
        exchange.abandon()
    assert sum(outcome.fired for outcome in outcomes) == 3333  # LOGIN's challenges, before the end
    world.threads.work()
    world.clock.advance(100)
    assert sum(outcome.fired for outcome in outcomes) == 3333
    assert world.pool.busy == 0
    assert not world.pool._shared
    assert world.clock.getDelayedCalls() == []
    del exchange, outcomes
    gc.collect()
    assert sum(ref() is not None for ref in left) == 0


def test_cancelling_the_deferred_abandons() -> None:
    world = World({"alice@example.org": hash_password("x")}, automatic=False)
    exchange = begin(world, "PLAIN")
    outcome = Outcome(exchange.respond(b"\0alice\0x"))
    outcome.deferred.cancel()
    world.threads.work()
    assert outcome.fired == 1
    assert world.audit.events == []
