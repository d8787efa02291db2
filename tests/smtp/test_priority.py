"""MT-PRIORITY (RFC 6710): announced, granted, told in Received, and passed on."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mailserver.smtp.client.values import Mail
from mailserver.smtp.parameters import mail_command
from tests.smtp.service import Client, World


def send(client: Client, parameter: str, sender: str = "alice@example.org") -> str:
    """The reply to MAIL, after the message went through."""
    reply = client.line(f"MAIL FROM:<{sender}> {parameter}")
    client.line("RCPT TO:<bob@example.org>")
    client.line("DATA")
    assert client.line("Subject: x\r\n\r\nx\r\n.")[:4] == "250 "
    return reply


@pytest.mark.parametrize("service", ["smtp", "submission"])
def test_what_is_announced(service: str) -> None:
    """RFC 6710, 3 and 9.2."""
    for policy, line in ("MIXER", "MT-PRIORITY MIXER"), ("", "MT-PRIORITY"):
        said = World(service, limits={"priority_policy": policy}).connect().say(b"EHLO a\r\n")
        assert [one[4:] for one in said if "MT-PRIORITY" in one] == [line]


@pytest.mark.parametrize(
    ("asked", "highest", "granted"),
    [("3", 4, 3), ("4", 4, 4), ("9", 4, 4), ("1", 0, 0), ("0", 0, 0), ("-9", 0, -9), ("-3", 9, -3)],
)
def test_what_is_granted(asked: str, highest: int, granted: int) -> None:
    """RFC 6710, 4.1: users up to the limit, and the reply says what was made of it; anybody less than 0."""
    world = World("submission", limits={"priority": highest})
    reply = send(world.connect().log_in(), f"MT-PRIORITY={asked}")
    changed = f"250 2.3.6 {granted} is the new priority assigned to the message"
    assert reply == ("250 2.1.0 Sender ok" if int(asked) == granted else changed)
    ((envelope, trace, _),) = world.acceptor.messages
    assert envelope.priority == granted
    assert re.search(rb"for <bob@example.org>\n\tPRIORITY (-?\d);\n", trace)[1] == asked.encode()  # type: ignore[index]


def test_strangers_and_servers_that_are_trusted() -> None:
    """RFC 6710, 4.1 and 11."""
    for networks, granted in ((), 0), (("192.0.2.0/24", "127.0.0.0/8", "::1"), 7):
        world = World(limits={"priority": 7, "priority_networks": networks})
        client = world.connect().hello()
        send(client, "MT-PRIORITY=8", "x@elsewhere.example")
        send(client, "MT-PRIORITY=-2", "x@elsewhere.example")
        assert [envelope.priority for envelope, _, _ in world.acceptor.messages] == [granted, -2]


def test_who_asks_for_nothing() -> None:
    world = World("submission", limits={"priority": 9})
    assert send(world.connect().log_in(), "") == "250 2.1.0 Sender ok"
    ((envelope, trace, _),) = world.acceptor.messages
    assert envelope.priority == 0
    assert b"PRIORITY" not in trace


@pytest.mark.parametrize(
    "value", ["", "=", "=10", "=-10", "=+3", "=-0", "=00", "=3.5", "=x", "=3 MT-PRIORITY=3"]
)
def test_what_is_refused(value: str) -> None:
    client = World("submission").connect().log_in()
    assert client.line(f"MAIL FROM:<alice@example.org> MT-PRIORITY{value}")[:6] == "501 5."


@pytest.mark.parametrize(
    ("extensions", "priority", "parameter"),
    [
        ({"MT-PRIORITY": "STANAG4406"}, 3, b" MT-PRIORITY=3"),  # RFC 6710, 8
        ({"MT-PRIORITY": ""}, -9, b" MT-PRIORITY=-9"),
        ({"MT-PRIORITY": ""}, 0, b" MT-PRIORITY=0"),  # 4.2: MUST, whoever asked
        ({}, 3, b""),
    ],
)
def test_the_next_server_is_told(extensions: dict[str, Any], priority: int, parameter: bytes) -> None:
    mail = Mail("eljefe@example.com", ("topbanana@example.net",), priority=priority)
    assert mail_command(mail, extensions) == b"MAIL FROM:<eljefe@example.com>" + parameter
