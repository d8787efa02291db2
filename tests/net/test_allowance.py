"""Limits of one client and of one user, in each protocol as its client sees them."""

from __future__ import annotations

import contextlib  # trial takes a module's "suppress" for its own
import os
import resource
from typing import Any

import pytest
from twisted.internet.task import Clock

from mailserver.errors import TooManyOfUser
from mailserver.net.allowance import Allowance
from mailserver.net.counter import ConnectionCounter
from mailserver.net.factory import KEPT_DESCRIPTORS, room_for_connections
from mailserver.processes.table import SharedCounter, Table
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.settings import make_settings
from tests.net.test_connection import Echo, Transport, factory
from tests.pop3.session import Base
from tests.smtp.service import World

LOGIN = b"a LOGIN alice@example.org secret\r\n"


# --- IMAP ------------------------------------------------------------------------------------------


def test_E9_connections_of_one_user() -> None:
    server = ImapServer(limits={"connections_per_user": 2})
    first, second, third = (ImapClient(server) for _ in range(3))
    assert first.send(LOGIN).startswith(b"a OK")
    assert second.send(b"a AUTHENTICATE PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHNlY3JldA==\r\n").startswith(b"a OK")
    assert third.send(LOGIN) == b"a NO [LIMIT] Too many connections of this user\r\n"
    assert third.send(b"b SELECT INBOX\r\n").startswith(b"b BAD"), "nobody has logged in"
    first.lose()
    assert third.send(LOGIN).startswith(b"a OK")


def test_E9_a_user_that_is_gone_counts_no_more() -> None:
    """RFC 8437"""
    server = ImapServer(limits={"connections_per_user": 1})
    first, second = ImapClient(server, login=True), ImapClient(server)
    assert second.send(LOGIN).startswith(b"a NO")
    assert b"b OK" in first.send(b"b UNAUTHENTICATE\r\n")
    assert second.send(LOGIN).startswith(b"a OK")
    first.lose()
    second.lose()
    assert ImapClient(server).send(LOGIN).startswith(b"a OK")


def test_E12_octets_before_log_in() -> None:
    server = ImapServer(limits={"before_login": 1000})
    client = ImapClient(server)
    for _ in range(125):
        assert client.send(b"a NOOP\r\n") == b"a OK NOOP completed\r\n"
    assert client.send(b"a NOOP\r\n") == b"* BYE Too much was sent before a log-in\r\n"
    assert client.closed
    logged_in = ImapClient(server, login=True)
    for _ in range(200):
        assert logged_in.send(b"a NOOP\r\n") == b"a OK NOOP completed\r\n"


def test_E12_commands_of_a_session() -> None:
    client = ImapClient(ImapServer(limits={"commands": 3}), login=True)
    assert client.send(b"a NOOP\r\nb NOOP\r\nc NOOP\r\nd NOOP\r\n").splitlines() == [
        b"a OK NOOP completed",
        b"b OK NOOP completed",
        b"* BYE Too many commands in one session",
    ]
    assert client.closed


def test_E1_parts_of_a_command_are_no_sign_of_life() -> None:
    client = ImapClient(login=True)
    for _ in range(29):
        client.send(b"x")
        client.server.reactor.advance(60)
        assert not client.closed
    client.send(b"x")
    client.server.reactor.advance(60)
    assert client.take() == b"* BYE Idle for too long\r\n"


def test_E2_each_command_is_one() -> None:
    client = ImapClient(login=True)
    for _ in range(10):
        client.server.reactor.advance(29 * 60)
        assert client.send(b"a NOOP\r\n") == b"a OK NOOP completed\r\n"
    assert client.send(b"b IDLE\r\n") == b"+ idling\r\n"
    for _ in range(3):
        client.server.reactor.advance(29 * 60)
        client.send(b"DONE\r\n")
        client.send(b"b IDLE\r\n")
    assert not client.closed


def test_E1_a_message_that_trickles_in() -> None:
    """100 octets a second, on average over five minutes; and the time of idleness afterwards."""
    client = ImapClient(login=True)
    client.send(b"a APPEND INBOX {200000}\r\n")
    for _ in range(6):
        client.send(b"x" * 30_000)
        client.server.reactor.advance(299)
        assert not client.closed
    client.send(b"x" * 20_000 + b"\r\n")
    client.server.reactor.advance(1799)
    assert not client.closed
    client.send(b"a APPEND INBOX {200000}\r\n")
    for _ in range(30):
        client.send(b"x" * 900)
        client.server.reactor.advance(10)
    assert client.closed
    assert len(client.account.inbox.uids) == 1


# --- SMTP ------------------------------------------------------------------------------------------


def test_E9_submissions_of_one_user() -> None:
    world = World("submission", limits={"connections_per_user": 1})
    first = world.connect().log_in()
    second = world.connect().hello()
    token = "AGFsaWNlQGV4YW1wbGUub3JnAHNlY3JldA=="
    assert second.line(f"AUTH PLAIN {token}") == "454 4.7.0 Too many connections of this user"
    assert second.line("MAIL FROM:<alice@example.org>").startswith("530 ")
    first.line("QUIT")
    first.connection.connectionLost()
    assert second.line(f"AUTH PLAIN {token}").startswith("235 ")


def test_E12_octets_before_log_in_on_submission_only() -> None:
    limits = {"before_login": 2000, "junk_commands": 1000}
    lines = b"NOOP\r\n" * 400
    assert World("smtp", limits=limits).connect().say(lines)[-1].startswith("250 ")
    assert World("submission", limits=limits).connect().say(lines) == [
        "421 4.7.0 Too much was sent before a log-in"
    ]
    logged_in = World("submission", limits=limits).connect().log_in()
    assert logged_in.say(lines)[-1].startswith("250 ")


def test_E12_messages_of_a_session() -> None:
    world = World(limits={"commands": 5})
    client = world.connect().hello()
    for _ in range(2):
        assert client.line("MAIL FROM:<a@remote.example>").startswith("250 ")
        assert client.line("RCPT TO:<alice@example.org>").startswith("250 ")
        client.line("DATA")
        assert client.line("Subject: x\r\n\r\nx\r\n.").startswith("250 ")
    assert client.line("MAIL FROM:<a@remote.example>").startswith("250 ")
    assert client.line("RCPT TO:<alice@example.org>") == "421 4.7.0 Too many commands in one session"
    assert client.transport.disconnecting
    assert len(world.acceptor.messages) == 2


# --- POP3 ------------------------------------------------------------------------------------------


class Pop3Tests(Base):
    def test_E9_maildrops_of_one_user(self) -> None:
        self.factory.settings.change(limits={"connections_per_user": 1})
        self.log_in()
        connection, transport = self.connect()
        connection.dataReceived(b"USER mrose\r\nPASS secret\r\n")
        self.assertIn(b"-ERR [SYS/TEMP] Too many connections of this user", transport.value())
        self.connection.connectionLost()
        connection.dataReceived(b"USER mrose\r\nPASS secret\r\n")
        self.assertIn(b"+OK 2 messages", transport.value())

    def test_E12_octets_and_commands(self) -> None:
        self.factory.settings.change(limits={"before_login": 300, "commands": 5})
        self.log_in()
        stranger, transport = self.connect()
        stranger.dataReceived(b"CAPA\r\n" * 51)
        self.assertTrue(transport.value().endswith(b"-ERR Too much was sent before a log-in\r\n"))
        self.assertTrue(transport.disconnecting)
        said = self.say(*[b"NOOP"] * 5).splitlines()
        self.assertEqual([line[:3] for line in said], [b"+OK"] * 4 + [b"-ER"])
        self.assertEqual(said[-1], b"-ERR Too many commands in one session")


# --- what all share --------------------------------------------------------------------------------


def test_E6_a_client_that_does_not_read_is_cut_off() -> None:
    clock = Clock()
    connection: Any = factory(clock).buildProtocol(None)
    assert isinstance(connection, Echo)
    transport = Transport()
    connection.makeConnection(transport)
    connection.pauseProducing()
    clock.advance(599)
    connection.resumeProducing()
    connection.pauseProducing()
    clock.advance(599)
    assert not transport.aborted, "it has read something meanwhile"
    clock.advance(1)
    assert transport.aborted
    connection.connectionLost()
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("limit", "room"),
    [(1024, 768), (65536, 65536 - KEPT_DESCRIPTORS), (40, 30)],
)
def test_E4_descriptors_are_left_for_files(monkeypatch: pytest.MonkeyPatch, limit: int, room: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit, limit))
    assert room_for_connections() == room
    made: Any = factory(Clock(), connections_per_ip=100_000, connections=100_000)
    made.counter._total = room - 1
    assert isinstance(made.buildProtocol(None), Echo)
    assert not isinstance(made.buildProtocol(None), Echo)
    assert made.audit.events[0][0] == "refused"


def test_E4_no_limit_of_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY,) * 2)
    assert room_for_connections() > 1 << 30


def test_E9_users_count_over_all_processes() -> None:
    """Each worker counts its own, all see all; what a worker had is gone with it."""
    limits = make_settings(limits={"connections_per_user": 2}).now.limits
    table = Table(2)
    counters = [SharedCounter(table, number, b"key") for number in (1, 2)]
    places = [Allowance() for _ in range(3)]
    places[0].log_in("alice@example.org", counters[0], limits)
    places[1].log_in("alice@example.org", counters[1], limits)
    with pytest.raises(TooManyOfUser):
        places[2].log_in("alice@example.org", counters[1], limits)
    places[2].log_in("bob@example.org", counters[1], limits)
    assert [counter.total for counter in counters] == [0, 0], "these are no further connections"
    table.clear(1)
    places[2].log_in("alice@example.org", counters[1], limits)
    os.close(table.fd)


def test_E9_two_processes_never_take_the_last_place_both() -> None:
    """Each takes and leaves places for a moment; together they never have more than there are."""
    limits = make_settings(limits={"connections_per_user": 1}).now.limits
    table, (seen, told) = Table(2), os.pipe()

    def most(number: int) -> int:
        counter, place, found = SharedCounter(table, number, b"key"), Allowance(), 0
        for _ in range(20_000):
            with contextlib.suppress(TooManyOfUser):
                place.log_in("alice@example.org", counter, limits)
                found = max(found, counter.of("user alice@example.org"))
                place.log_out(counter)
        return found

    children = []
    for number in (1, 2):
        if not (child := os.fork()):
            try:
                os.write(told, b"%d " % most(number))
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert os.read(seen, 100).split() == [b"1", b"1"]
    for fd in (table.fd, seen, told):
        os.close(fd)


def test_E9_one_connection_counts_once() -> None:
    limits = make_settings(limits={"connections_per_user": 1}).now.limits
    counter, place = ConnectionCounter(), Allowance()
    for _ in range(3):
        place.log_in("alice@example.org", counter, limits)
    place.log_out(counter)
    place.log_out(counter)
    assert counter.of("user alice@example.org") == 0
