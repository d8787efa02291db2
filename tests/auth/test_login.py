"""Log-in with name and password: who gets in, what the others are told, when, and what the log says."""

from __future__ import annotations

import gc
import traceback
from base64 import b64encode
from io import StringIO

import pytest
from twisted.internet.defer import CancelledError
from twisted.logger import FileLogObserver, formatEventAsClassicLogText, globalLogPublisher
from zope.interface.verify import verifyClass, verifyObject

from mailserver.audit import text_line
from mailserver.auth import checkers
from mailserver.auth.exchange import Exchange
from mailserver.auth.login import Authenticator
from mailserver.auth.passwords import DUMMY, hash_password, is_possible
from mailserver.errors import AuthenticationFailed, Busy, EncryptionRequired, OverQuota, TemporaryFailure
from mailserver.interfaces import IAccount, IAuthenticator, IExchange, ISender, Peer
from tests.auth.support import CLEAR_PEER, TLS_PEER, Outcome, World

HASHED = hash_password("secret")
ARGON = {"alice@example.org": HASHED, "locked@example.org": {"password": HASHED, "disabled": True}}


def test_the_interfaces_are_kept() -> None:
    verifyClass(IAuthenticator, Authenticator)
    verifyClass(IExchange, Exchange)
    verifyObject(IAuthenticator, World().authenticator)


def test_a_user_gets_its_account() -> None:
    world = World()
    outcome = world.login("Alice", b"secret")
    assert outcome.value.user == "alice@example.org"
    assert world.threads.calls == 0  # {PLAIN} needs no thread
    assert world.audit.events == [
        {"event": "login", "service": "imaps", "ip": "192.0.2.1", "user": "alice@example.org",
         "mechanism": "LOGIN", "result": "ok", "reason": ""}
    ]  # fmt: skip


def test_a_user_becomes_a_sender() -> None:
    sender = World().login("alice@example.org", b"secret", interface=ISender).value
    assert (sender.user, sender.may_relay()) == ("alice@example.org", True)
    assert sender.owns("alice@example.org")
    assert not sender.owns("bob@example.org")


def vouched(world: World, user: str) -> Outcome:
    outcome = Outcome(world.authenticator.vouched(user, Peer("192.0.2.1", protocol="submission"), ISender))
    world.clock.advance(60)
    return outcome


def test_somebody_for_whom_a_trusted_proxy_speaks() -> None:
    """XCLIENT LOGIN: no password, and no TLS is asked for; the log says how."""
    world = World(users=ARGON)
    assert vouched(world, "ALICE").value.user == "alice@example.org"
    assert world.threads.calls == 0
    (event,) = world.audit.events
    assert (event["mechanism"], event["result"], event["ip"]) == ("XCLIENT", "ok", "192.0.2.1")
    for user in ("locked@example.org", "nobody@example.org", ""):
        assert isinstance(vouched(world, user).error, AuthenticationFailed)
        assert world.audit.events[-1]["result"] == "failed"


def test_the_anonymous_sender() -> None:
    world = World(relay={"networks": ["10.0.0.0/8"]})
    stranger = world.authenticator.anonymous(Peer("192.0.2.1"))
    assert (stranger.user, stranger.may_relay(), stranger.owns("alice@example.org")) == ("", False, False)
    assert world.authenticator.anonymous(Peer("::ffff:10.1.2.3")).may_relay()


def test_nobody_is_anonymous_on_a_mailbox() -> None:
    with pytest.raises(NotImplementedError):
        World().authenticator._portal.realm.requestAvatar((), TLS_PEER, IAccount)


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("alice@example.org", b"Secret"),
        ("alice@example.org", b""),
        ("alice@example.org", b"secret\0"),
        ("alice@example.org", b"x" * 100_000),
        ("nobody@example.org", b"secret"),
        ("locked@example.org", b"secret"),
        ("", b"secret"),
    ],
)
@pytest.mark.parametrize("stored", ["{PLAIN}secret", HASHED], ids=["plain", "argon2id"])
def test_D1_all_failures_look_the_same(
    user: str, password: bytes, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One text, one time, one hash of the same cost."""
    hashed: list[str] = []

    def verify(stored: str, password: bytes) -> bool:
        if stored.startswith("$") and is_possible(password):  # else no hash would be run
            hashed.append(stored)
        return False

    monkeypatch.setattr(checkers, "verify", verify)
    world = World(
        {"alice@example.org": stored, "locked@example.org": {"password": stored, "disabled": True}},
        automatic=False,
    )
    outcome = world.login(user, password)
    world.clock.advance(0.5)
    world.threads.work()
    world.clock.advance(1.4)
    assert not outcome.fired
    world.clock.advance(0.11)
    assert isinstance(outcome.error, AuthenticationFailed)
    assert outcome.error.text == "Authentication credentials invalid"
    assert [text.split("$")[1:4] for text in hashed] == [DUMMY.split("$")[1:4]]
    assert world.results() == ["failed"]


def test_a_failure_after_a_long_hash_is_told_at_once() -> None:
    world = World(ARGON, automatic=False)
    outcome = world.login("alice@example.org", b"wrong")
    world.clock.advance(5)
    world.threads.work()
    assert isinstance(outcome.error, AuthenticationFailed)


def test_a_hash_is_checked_in_a_thread_once() -> None:
    world = World(ARGON, automatic=False)
    first = world.login("alice@example.org", b"secret")
    assert not first.fired
    world.threads.work()
    assert first.value.user == "alice@example.org"
    again = world.login("alice@example.org", b"secret")
    assert again.value.user == "alice@example.org"
    assert world.threads.calls == 1


def test_the_cache_forgets() -> None:
    world = World(ARGON, auth={"cache": 60.0})
    world.login("alice@example.org", b"secret")
    world.clock.advance(61)
    assert world.login("alice@example.org", b"secret").value
    assert world.threads.calls == 2


def test_a_wrong_password_after_a_right_one() -> None:
    world = World(ARGON)
    world.login("alice@example.org", b"secret")
    outcome = world.login("alice@example.org", b"secret2")
    world.clock.advance(2)
    assert isinstance(outcome.error, AuthenticationFailed)


@pytest.mark.parametrize("old", ["{PLAIN}old", hash_password("old")], ids=["plain", "argon2id"])
def test_D13_an_old_password_is_dead_at_once(old: str) -> None:
    world = World({"alice@example.org": old})
    assert world.login("alice@example.org", b"old").value
    world.settings.change({"alice@example.org": hash_password("new")})
    outcome = world.login("alice@example.org", b"old")
    world.clock.advance(2)
    assert isinstance(outcome.error, AuthenticationFailed)
    assert world.login("alice@example.org", b"new").value


@pytest.mark.parametrize(
    "after", [{}, {"alice@example.org": DUMMY}, {"alice@example.org": {"password": HASHED, "disabled": True}}]
)
def test_D13_a_change_while_the_hash_runs(after: dict[str, object]) -> None:
    world = World(ARGON, automatic=False)
    outcome = world.login("alice@example.org", b"secret")
    world.settings.change(after)
    world.threads.work()
    world.clock.advance(2)
    assert isinstance(outcome.error, AuthenticationFailed)


def test_D13_another_change_while_the_hash_runs() -> None:
    world = World(ARGON, automatic=False)
    outcome = world.login("alice@example.org", b"secret")
    world.settings.change({"alice@example.org": {"password": HASHED, "quota": 5}})
    world.threads.work()
    assert outcome.value.user == "alice@example.org"


def test_a_disabled_user_loses_the_cache() -> None:
    world = World(ARGON)
    world.login("alice@example.org", b"secret")
    world.settings.change({"alice@example.org": {"password": HASHED, "disabled": True}})
    outcome = world.login("alice@example.org", b"secret")
    world.clock.advance(2)
    assert isinstance(outcome.error, AuthenticationFailed)


def test_no_password_in_clear() -> None:
    world = World()
    assert isinstance(world.login("alice@example.org", b"secret", CLEAR_PEER).error, EncryptionRequired)
    assert world.results() == ["refused"]
    assert world.authenticator.mechanisms(CLEAR_PEER) == ()
    assert world.login("alice@example.org", b"secret", TLS_PEER).value


def test_clear_text_where_it_is_allowed() -> None:
    world = World(auth={"allow_cleartext": True})
    assert world.login("alice@example.org", b"secret", CLEAR_PEER).value
    assert "PLAIN" in world.authenticator.mechanisms(CLEAR_PEER)


def test_mechanisms_that_are_announced() -> None:
    assert tuple(World().authenticator.mechanisms(TLS_PEER)) == ("PLAIN", "LOGIN", "SCRAM-SHA-256")
    assert tuple(World(ARGON).authenticator.mechanisms(TLS_PEER)) == ("PLAIN", "LOGIN")


def test_D3_too_many_failures_on_a_connection() -> None:
    authenticator = World(auth={"max_failures": 3}).authenticator
    assert [authenticator.refuse(TLS_PEER, failures) for failures in (1, 2, 3)] == [False, False, True]


def test_D3_a_guesser_waits_whether_it_guesses_right_or_wrong() -> None:
    """Hanging up on what is not answered at once must not pay."""
    world = World()
    world.login("alice@example.org", b"wrong")
    right = world.login("alice@example.org", b"secret")
    other = world.login("alice@example.org", b"secret", Peer("192.0.2.2", tls="x"))
    assert other.value
    assert not right.fired
    world.clock.advance(2)
    assert right.value


def test_D3_a_client_that_was_right_a_moment_ago_does_not_wait() -> None:
    world = World()
    world.login("alice@example.org", b"secret")
    world.login("bob@example.org", b"wrong")
    assert world.login("alice@example.org", b"secret").value


def test_D3_a_hundred_users_from_one_address() -> None:
    world = World({f"u{number}@example.org": "{PLAIN}x" for number in range(100)})
    outcomes = []
    started = world.clock.seconds()
    for number in range(20):
        outcomes.append(world.login(f"u{number}@example.org", b"guess"))
        while not outcomes[-1].fired:
            world.clock.advance(1)
    assert world.clock.seconds() - started > 200
    assert all(isinstance(outcome.error, AuthenticationFailed) for outcome in outcomes)


def test_D4_beyond_the_backlog() -> None:
    world = World(ARGON, automatic=False, auth={"threads": 2, "backlog": 10})
    outcomes = [
        world.login("alice@example.org", b"guess %d" % n, Peer(f"10.0.0.{n}", tls="x")) for n in range(40)
    ]
    refused = [outcome for outcome in outcomes if isinstance(outcome.error, Busy)]
    assert len(refused) == 28
    assert (refused[0].error.code, refused[0].error.enhanced) == (454, "4.7.0")
    assert world.results() == ["unavailable"] * 28
    world.threads.work()
    assert world.login("alice@example.org", b"secret").fired == 0


def test_D7_ten_thousand_clients_that_leave() -> None:
    world = World(ARGON, automatic=False, auth={"backlog": 20_000})
    outcomes = []
    for number in range(10_000):
        outcome = world.login("alice@example.org", b"%d" % number, Peer(f"10.{number // 250}.0.1", tls="x"))
        outcome.deferred.cancel()
        outcomes.append(outcome)
    world.threads.work()
    world.clock.advance(100)
    assert all(isinstance(outcome.error, CancelledError) and outcome.fired == 1 for outcome in outcomes)
    assert world.pool.busy == 0
    assert not world.pool._shared
    assert world.clock.getDelayedCalls() == []
    assert world.audit.events == []


def test_D7_clients_that_leave_during_the_penalty() -> None:
    world = World()
    outcomes = [world.login("alice@example.org", b"wrong") for _ in range(100)]
    for outcome in outcomes:
        outcome.deferred.cancel()
    assert world.clock.getDelayedCalls() == []
    assert all(outcome.fired == 1 for outcome in outcomes)
    del outcomes, outcome
    gc.collect()


def test_the_store_has_a_fault() -> None:
    world = World()
    world.store.failure = OverQuota()
    assert isinstance(world.login("alice@example.org", b"secret").error, OverQuota)
    assert world.results() == ["unavailable"]


def test_a_fault_of_ours_is_told_to_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    world = World()
    world.store.failure = ValueError("/var/lib/secret/path")
    outcome = world.login("alice@example.org", b"secret")
    assert isinstance(outcome.error, TemporaryFailure)
    assert "/var" not in outcome.error.text


def test_D12_no_password_in_logs_and_tracebacks() -> None:
    secret = "t0p-s3cret"
    seen = StringIO()
    observer = FileLogObserver(seen, lambda event: (formatEventAsClassicLogText(event) or "") + repr(event))
    globalLogPublisher.addObserver(observer)
    try:
        world = World({"alice@example.org": "{PLAIN}" + secret})
        world.store.failure = ValueError("fault")
        outcomes = [world.login("alice@example.org", secret.encode()), world.login("bob", secret.encode())]
        exchange = world.authenticator.exchange("PLAIN", TLS_PEER, ISender)
        outcomes.append(Outcome(exchange.respond(b"\0alice\0" + secret.encode() + b"x")))
        world.clock.advance(30)
        for outcome in outcomes:
            seen.write("".join(traceback.format_exception(outcome.error)) + repr(outcome.error))
        seen.write(repr(world.audit.events) + repr(exchange) + repr(vars(exchange)))
        seen.write(repr(checkers.PasswordCredentials("alice", secret.encode())))
        seen.write(repr(world.settings.users))
    finally:
        globalLogPublisher.removeObserver(observer)
    text = seen.getvalue()
    assert "fault" in text
    assert "failed" in text
    assert secret not in text
    assert b64encode(secret.encode()).decode() not in text


def test_D14_a_name_cannot_forge_a_line() -> None:
    world = World()
    world.login("alice\r\n2026 login result=ok\x1b[2J" + "x" * 5000, b"secret")
    event = dict(world.audit.events[0])
    line = text_line(0.0, str(event.pop("event")), event)
    assert line.isprintable()
    assert len(line) < 600


@pytest.mark.parametrize("user", ["%u", "*", "alice)(uid=*", "' OR 1=1", "\\", "%{x}", "{alice}"])
def test_D10_names_are_taken_as_they_stand(user: str) -> None:
    world = World()
    outcome = world.login(user, b"secret")
    world.clock.advance(2)
    assert isinstance(outcome.error, AuthenticationFailed)
    assert world.audit.events[0]["user"] == user


def test_pop3_is_noted_as_such() -> None:
    world = World()
    world.login("alice", b"secret", Peer("192.0.2.1", tls="x", protocol="pop3s"))
    assert world.audit.events[0]["mechanism"] == "USER"


def test_D3_a_name_that_many_guess_at_waits_for_everyone_but_who_was_right_just_now() -> None:
    world = World()
    home, away = Peer("198.51.100.1", tls="x"), Peer("198.51.100.2", tls="x")
    world.login("alice@example.org", b"secret", home)
    for number in range(30):
        world.login("alice@example.org", b"wrong", Peer(f"192.0.2.{number}", tls="x"))
        world.clock.advance(1)
    assert world.login("alice@example.org", b"secret", home).value
    assert world.login("bob@example.org", b"secret", away).value
    waiting = world.login("alice@example.org", b"secret", away)
    assert not waiting.fired
    world.clock.advance(15)
    assert waiting.value
