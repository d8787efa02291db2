"""Failures are answered late, and more so the more there are (CASES D3)."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from mailserver.auth.penalty import Penalties
from tests.helpers.settings import make_settings


def make(limit: int = 100) -> tuple[Penalties, Clock]:
    clock = Clock()
    return Penalties(make_settings(), clock.seconds, limit), clock


def fail(penalties: Penalties, clock: Clock, ip: str = "192.0.2.1") -> float:
    """Fail once and wait for the answer."""
    delay = penalties.failed(ip, clock.seconds())
    clock.advance(delay)
    return delay


def test_D3_the_delay_grows_to_its_limit() -> None:
    penalties, clock = make()
    assert [fail(penalties, clock) for _ in range(10)] == [2, 2, 2, 2, 2, 4, 8, 15, 15, 15]


def test_D3_other_addresses_are_unharmed() -> None:
    penalties, clock = make()
    penalties.failed("192.0.2.1", clock.seconds())
    assert penalties.wait("192.0.2.1") == 2
    assert penalties.wait("192.0.2.2") == 0


@pytest.mark.parametrize(
    ("other", "waits"), [("2001:db8::ffff", 2), ("2001:db8:0:1::1", 0), ("2001:db8::1%eth0", 2)]
)
def test_D3_an_ipv6_network_counts_as_one(other: str, waits: float) -> None:
    penalties, clock = make()
    penalties.failed("2001:db8::1", clock.seconds())
    assert penalties.wait(other) == waits


def test_D1_the_answer_is_due_from_the_beginning_on() -> None:
    penalties, clock = make()
    clock.advance(1.5)
    assert penalties.failed("192.0.2.1", 0.0) == 0.5
    clock.advance(10)
    assert penalties.failed("192.0.2.2", 0.0) == 0.0


def test_attempts_in_parallel_all_wait() -> None:
    penalties, clock = make()
    delays = [penalties.failed("192.0.2.1", clock.seconds()) for _ in range(20)]
    assert delays[-1] == 15
    assert penalties.wait("192.0.2.1") == 15
    clock.advance(15)
    assert penalties.wait("192.0.2.1") == 0


def test_a_success_halves_the_count() -> None:
    penalties, clock = make()
    for _ in range(8):
        fail(penalties, clock)
    penalties.succeeded("192.0.2.1")
    assert fail(penalties, clock) == 2
    for _ in range(5):
        penalties.succeeded("192.0.2.1")
    assert len(penalties) == 0


def test_it_is_forgotten() -> None:
    penalties, clock = make()
    for _ in range(8):
        fail(penalties, clock)
    clock.advance(601)
    assert fail(penalties, clock) == 2
    clock.advance(601)
    fail(penalties, clock, "192.0.2.9")
    assert len(penalties) == 1


def test_D3_the_table_is_bounded() -> None:
    penalties, clock = make(limit=100)
    for number in range(1000):
        penalties.failed(f"10.0.{number // 256}.{number % 256}", clock.seconds())
    assert len(penalties) == 100
    assert penalties.wait("10.0.3.231") == 2
    assert penalties.wait("10.0.0.1") == 0


def test_no_delay_at_all() -> None:
    clock = Clock()
    penalties = Penalties(make_settings(auth={"failure_delay": 0.0}), clock.seconds)
    assert penalties.failed("192.0.2.1", 0.0) == 0
    assert penalties.wait("192.0.2.1") == 0


def test_D3_one_name_from_many_addresses() -> None:
    """Guesses at a name, each from an address of its own; others are unharmed."""
    penalties, clock = make()
    delays = []
    for number in range(30):
        delays.append(penalties.failed(f"192.0.2.{number}", clock.seconds(), "Alice@example.org"))
        clock.advance(delays[-1])
    assert delays == [2] * 25 + [4, 8, 15, 15, 15]
    assert penalties.wait("198.51.100.1", "bob@example.org") == 0
    penalties.failed("192.0.2.99", clock.seconds(), "ALICE@example.org")
    assert penalties.wait("198.51.100.1", "alice@example.org") == 15, "nobody is locked out"


def test_D3_names_are_forgotten_and_bounded() -> None:
    penalties, clock = make(limit=50)
    for number in range(200):
        penalties.failed("192.0.2.1", clock.seconds(), f"{number}@example.org")
    assert len(penalties) == 50
    clock.advance(601)
    penalties.failed("192.0.2.2", clock.seconds(), "a" * 100_000)
    assert len(penalties) == 1


def test_D3_other_processes_count_names_too() -> None:
    one, clock = make()
    other = Penalties(make_settings(), clock.seconds, 100)
    one.told = other.failed_elsewhere
    for _ in range(26):
        one.failed("192.0.2.1", clock.seconds(), "alice@example.org")
    assert (
        other.wait("198.51.100.1", "alice@example.org") == one.wait("198.51.100.1", "alice@example.org") > 0
    )
