"""DELIVERBY (RFC 2852) as the server takes it: announced, read, refused, and kept with the message."""

from __future__ import annotations

import pytest

from mailserver.interfaces import By, DeliverBy
from tests.smtp.service import NOW, Client, World


def send(client: Client, parameters: str, sender: str = "eljefe@bigbiz.com", seconds: float = 0.0) -> str:
    """The reply to the end of the message, which takes so long to come."""
    assert client.line(f"MAIL FROM:<{sender}> {parameters}")[:4] == "250 "
    client.line("RCPT TO:<alice@example.org>")
    client.line("DATA")
    client.world.clock.advance(seconds)
    return client.line("Subject: urgent\r\n\r\nx\r\n.")


@pytest.mark.parametrize("service", ["smtp", "submission"])
def test_what_is_announced(service: str) -> None:
    """RFC 2852, 2: always; the least time where there is one."""
    said = World(service).connect().say(b"EHLO bigbiz.com\r\n")
    assert [line[4:] for line in said if "DELIVERBY" in line] == ["DELIVERBY 10"]
    any_time = World(service, limits={"min_deliver_by": 0.0}).connect().say(b"EHLO bigbiz.com\r\n")
    assert [line[4:] for line in any_time if "DELIVERBY" in line] == ["DELIVERBY"]


@pytest.mark.parametrize(
    ("parameter", "deliver_by"),
    [
        ("BY=120;R", DeliverBy(NOW + 120, By(120, True))),  # RFC 2852, 6
        ("by=+10;rt", DeliverBy(NOW + 10, By(10, True, True))),
        ("BY=1;N", DeliverBy(NOW + 1, By(1, False))),
        ("BY=0;NT", DeliverBy(NOW, By(0, False, True))),
        ("BY=-999999999;N", DeliverBy(NOW - 999999999, By(-999999999, False))),
    ],
)
def test_what_is_taken(parameter: str, deliver_by: DeliverBy) -> None:
    world = World()
    assert send(world.connect().hello(), parameter)[:4] == "250 "
    ((envelope, _, _),) = world.acceptor.messages
    assert envelope.deliver_by == deliver_by


@pytest.mark.parametrize(
    ("parameter", "reply"),
    [
        ("BY", "501 5.5.4"),
        ("BY=120", "501 5.5.4"),
        ("BY=120;", "501 5.5.4"),
        ("BY=120;X", "501 5.5.4"),
        ("BY=1000000000;R", "501 5.5.4"),
        ("BY=120;R BY=120;R", "501 5.5.4"),
        ("BY=0;R", "501 5.5.4"),  # RFC 2852, 4: a syntax error
        ("BY=-5;R", "501 5.5.4"),
        ("BY=9;R", "555 5.5.4"),  # 3: strictly less than what is announced
    ],
)
def test_what_is_refused(parameter: str, reply: str) -> None:
    client = World().connect().hello()
    assert client.line(f"MAIL FROM:<eljefe@bigbiz.com> {parameter}")[:9] == reply
    assert client.line("MAIL FROM:<eljefe@bigbiz.com>")[:4] == "250 "


def test_a_message_that_took_too_long_to_come() -> None:
    """RFC 2852, 3: then the end of the data is answered with an error; mode N goes on."""
    world = World()
    client = world.connect().hello()
    assert send(client, "BY=10;R", seconds=11)[:10] == "554 5.4.7 "
    assert world.acceptor.messages == []
    assert send(client, "BY=10;N", seconds=11)[:4] == "250 "


def test_not_before_it_is_released() -> None:
    """RFC 4865, 5.2.2: a release that is later than the time to deliver it by."""
    client = World("submission").connect().log_in()
    line = "MAIL FROM:<alice@example.org> HOLDFOR=3600 BY={};{}"
    for mode in "NR":
        assert client.line(line.format(3599, mode))[:10] == "501 5.5.4 "
        assert client.line(line.format(3600, mode))[:4] == "250 "
        client.line("RSET")
