"""FUTURERELEASE (RFC 4865): users may have their messages held back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mailserver.queue.values import waits_since
from tests.smtp.service import NOW, World

DAY = 86400


def world(**limits: object) -> World:
    return World("submission", limits=limits)


def at(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def test_it_is_for_users_only() -> None:
    """RFC 4865, 4.2: submission alone, and nothing that strangers could fill the disk with."""
    assert "FUTURERELEASE" not in "".join(World("smtp").connect().say(b"EHLO a\r\n"))
    assert "FUTURERELEASE" not in "".join(World("lmtp").connect().say(b"LHLO a\r\n"))
    client = World("submission").connect()
    said = [line for line in client.say(b"EHLO a\r\n") if "FUTURERELEASE" in line]
    assert client.line("MAIL FROM:<alice@example.org> HOLDFOR=1")[:4] == "530 "
    client.log_in()
    (line,) = [line for line in client.say(b"EHLO a\r\n") if "FUTURERELEASE" in line]
    assert said == [line], "told before the log-in too"
    _, longest, latest = line.split()
    assert int(longest) == 30 * DAY
    assert NOW + 30 * DAY - 3600 < datetime.fromisoformat(latest).timestamp() <= NOW + 30 * DAY
    stranger = World("smtp").connect().hello()
    assert stranger.line("MAIL FROM:<a@b.example> HOLDFOR=1")[:4] == "555 "


def test_for_and_until() -> None:
    for parameter, release_at, hold in (
        ("HOLDFOR=3600", NOW + 3600, "for;3600"),
        (f"HOLDUNTIL={at(NOW + 7200)}", NOW + 7200, f"until;{at(NOW + 7200)}"),
        (f"HOLDUNTIL={at(NOW - 60).lower()}", NOW - 60, f"until;{at(NOW - 60)}"),
    ):
        made = world()
        client = made.connect().log_in()
        assert client.line(f"MAIL FROM:<alice@example.org> {parameter}")[:4] == "250 "
        client.line("RCPT TO:<bob@example.org>")
        client.line("DATA")
        assert client.line("Subject: later\r\n\r\nx\r\n.")[:4] == "250 "
        ((envelope, _, _),) = made.acceptor.messages
        assert (envelope.release_at, envelope.hold) == (release_at, hold)
        assert waits_since(envelope) == max(NOW, release_at)


@pytest.mark.parametrize(
    "parameter",
    [
        "HOLDFOR",
        "HOLDFOR=",
        "HOLDFOR=-1",
        "HOLDFOR=0",
        "HOLDFOR=01",
        f"HOLDUNTIL={at(NOW + 30 * DAY)}",  # later than announced, which is by the hour
        "HOLDFOR=1000000000",
        f"HOLDFOR={30 * DAY + 1}",
        "HOLDFOR=1 HOLDUNTIL=2026-12-31T00:00:00Z",
        "HOLDUNTIL=2026-12-31",
        "HOLDUNTIL=2026-02-30T00:00:00Z",
        "HOLDUNTIL=2026-12-31T00:00:00+01:00",
        "HOLDUNTIL=9999-12-31T23:59:59Z",
        "HOLDUNTIL=0000-00-00T00:00:00Z",
    ],
)
def test_what_is_refused(parameter: str) -> None:
    """RFC 4865, 4.2: both together, nonsense, and what is later than announced."""
    client = world().connect().log_in()
    assert client.line(f"MAIL FROM:<alice@example.org> {parameter}")[:10] == "501 5.5.4 "


def test_it_can_be_turned_off() -> None:
    client = world(future_release=0.0).connect().log_in()
    assert "FUTURERELEASE" not in "".join(client.say(b"EHLO a\r\n"))
    assert client.line("MAIL FROM:<alice@example.org> HOLDFOR=1")[:4] == "555 "
