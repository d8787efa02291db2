"""XCLIENT (Postfix, XCLIENT_README): what it says, who may say it, and what a session is afterwards."""

from __future__ import annotations

import pytest
from twisted.trial.unittest import SynchronousTestCase

from mailserver.interfaces import Peer
from mailserver.smtp.commands import CommandError
from mailserver.smtp.xclient import ALWAYS, UNKNOWN, WITH_LOG_IN, Told, read

from .service import Client, World
from .talk import Talk

OWN = Peer("10.0.0.5", 1234, protocol="smtp")
SPIKE = "XCLIENT NAME=spike.porcupine.org ADDR=168.100.189.2"


def told(text: str, before: Told = Told()) -> Told:  # noqa: B008
    return read(text.encode(), WITH_LOG_IN, before)


def test_every_attribute() -> None:
    known = told(
        "name=a.example ADDR=IPV6:2001:db8::1 PORT=40000 PROTO=esmtp HELO=[192.0.2.1] "
        "LOGIN=al+69ce+40example.org DESTADDR=192.0.2.7 DESTPORT=25"
    )
    assert known == Told(
        *("a.example", "2001:db8::1", "40000", "ESMTP", "[192.0.2.1]", "alice@example.org", "192.0.2.7", "25")
    )
    assert known.peer(OWN) == Peer(
        "2001:db8::1", 40000, protocol="smtp", server_ip="192.0.2.7", server_port=25, name="a.example"
    )


def test_what_is_unavailable() -> None:
    """In any case of letters, also encoded."""
    known = told("NAME=[tempunavail] ADDR=+5BUNAVAILABLE+5D PORT=[Unavailable] HELO=[UNAVAILABLE]")
    assert known.peer(OWN) == Peer(UNKNOWN, 0, protocol="smtp")
    assert told("ADDR=::ffff:192.0.2.1".replace("ADDR=", "ADDR=ipv6:")).addr == "192.0.2.1"


def test_several_commands_add_up() -> None:
    """README, note 1."""
    known = told("HELO=c.example PROTO=SMTP", told("NAME=a.example ADDR=192.0.2.9"))
    assert (known.name, known.addr, known.helo, known.proto) == (
        "a.example",
        "192.0.2.9",
        "c.example",
        "SMTP",
    )
    assert known.peer(OWN).port == 1234
    assert told("NAME=[UNAVAILABLE]", known).peer(OWN).name == ""


@pytest.mark.parametrize(
    "text",
    [
        *("", "ADDR", "ADDR=", "=x", "ADDR =192.0.2.1", "FOO=bar", "ADDR=192.0.2.1 ADDR=192.0.2.1"),
        *("ADDR=192.0.2.256", "ADDR=2001:db8::1", "ADDR=IPV6:192.0.2.1", "ADDR=[192.0.2.1]"),
        *("ADDR=IPV6:fe80::1%eth0", "ADDR=192.0.2.01", "PORT=65536", "PORT=-1", "PORT=01", "PROTO=LMTP"),
        *("PROTO=[UNAVAILABLE]", "HELO=a+0D+0AX-Evil:+20b", "NAME=a+00", "NAME=a+2", "NAME=a+zz", "HELO=a=b"),
        *("LOGIN=al+0Aice", "LOGIN=+FF", "NAME=" + "a" * 256, "DESTADDR=x", "DESTPORT=x", "NAME=\u00e9"),
    ],
)
def test_C6_C7_what_is_not_right(text: str) -> None:
    with pytest.raises(CommandError) as caught:
        told(text)
    assert (caught.value.code, caught.value.enhanced) == (501, "5.5.4")


def test_log_in_is_unknown_where_there_is_none() -> None:
    with pytest.raises(CommandError):
        read(b"LOGIN=alice", ALWAYS, Told())


def test_nobody_else_may() -> None:
    talk = Talk().hello()
    assert talk.line("XCLIENT ADDR=192.0.2.1") == "550 5.7.0 Insufficient authorization"
    assert talk.line("XCLIENT nonsense") == "550 5.7.0 Insufficient authorization"
    assert talk.line("MAIL FROM:<a@b>")[:4] == "250 "


def proxy(service: str = "smtp", **settings: object) -> tuple[World, Client]:
    """A client in proxy.xclient."""
    world = World(service, proxy={"xclient": ("127.0.0.1/32",)}, **settings)
    return world, world.connect()


def announced(said: list[str]) -> str:
    (line,) = (line for line in said if line[4:].startswith("XCLIENT "))
    return line[len("250 XCLIENT ") :]


class SessionTests(SynchronousTestCase):
    def test_the_example_of_the_readme(self) -> None:
        world, client = proxy()
        said = client.say(b"EHLO client.example.com\r\n")
        self.assertEqual(announced(said), "NAME ADDR PORT PROTO HELO DESTADDR DESTPORT")
        self.assertEqual(client.line(SPIKE), "220 mail.example.org ESMTP ready")
        self.assertEqual(client.line("MAIL FROM:<>"), "503 5.5.1 Send EHLO first")
        said = client.say(b"EHLO spike.porcupine.org\r\n")
        self.assertEqual(announced(said), "NAME ADDR PORT PROTO HELO DESTADDR DESTPORT")
        reply = client.send("w@porcupine.org", ["alice@example.org"], b"Subject: x\r\n\r\n")
        self.assertEqual(reply[:4], "250 ")
        ((envelope, trace, _),) = world.acceptor.messages
        self.assertEqual(envelope.peer.ip, "168.100.189.2")
        self.assertIn(b"from spike.porcupine.org (spike.porcupine.org [168.100.189.2])\n", trace)
        self.assertEqual(
            [event["ip"] for event in world.audit.named("connected")], ["127.0.0.1", "168.100.189.2"]
        )

    def test_helo_and_proto_outlive_the_new_beginning(self) -> None:
        """README: attributes of the last XCLIENT must not be reset."""
        world, client = proxy()
        client.line("XCLIENT HELO=real.example PROTO=SMTP ADDR=192.0.2.9")
        client.hello().send("", ["alice@example.org"], b"Subject: x\r\n\r\n")
        self.assertIn(b"from real.example ([192.0.2.9])", world.acceptor.messages[0][1])
        self.assertIn(b" with SMTP id ", world.acceptor.messages[0][1])

    def test_not_within_a_transaction(self) -> None:
        _, client = proxy()
        client.hello().line("MAIL FROM:<>")
        self.assertEqual(client.line(SPIKE)[:9], "503 5.5.1")
        client.line("RCPT TO:<alice@example.org>")
        self.assertEqual(client.line(SPIKE)[:9], "503 5.5.1")
        client.line("RSET")
        self.assertEqual(client.line(SPIKE)[:4], "220 ")

    def test_what_is_wrong_changes_nothing(self) -> None:
        world, client = proxy()
        client.hello()
        self.assertEqual(client.line("XCLIENT ADDR=x"), "501 5.5.4 Bad ADDR value")
        self.assertEqual(client.send("", ["alice@example.org"], b"Subject: x\r\n\r\n")[:4], "250 ")
        self.assertEqual(world.acceptor.messages[0][0].peer.ip, "127.0.0.1")

    def test_pipelined(self) -> None:
        _, client = proxy()
        said = client.say(b"EHLO a\r\nXCLIENT ADDR=192.0.2.9\r\n".partition(b"XC")[0])
        self.assertTrue(said)
        said = client.say(b"RSET\r\nXCLIENT ADDR=192.0.2.9\r\n")
        self.assertEqual([line[:4] for line in said], ["250 ", "220 "])

    def test_E9_limits_are_the_clients(self) -> None:
        world, client = proxy(limits={"connections_per_ip": 2})
        self.assertEqual(client.line("XCLIENT ADDR=192.0.2.9")[:4], "220 ")
        others = [world.connect() for _ in range(2)]
        self.assertEqual(others[0].line("XCLIENT ADDR=192.0.2.9")[:4], "220 ")
        self.assertEqual(others[1].line("XCLIENT ADDR=192.0.2.9")[:9], "421 4.7.0")
        counter = world.factory.counter
        others[1].drop()
        self.assertEqual((counter.of("192.0.2.9"), counter.of("127.0.0.1")), (2, 0))
        client.drop()
        others[0].drop()
        self.assertEqual((counter.total, counter.of("192.0.2.9")), (0, 0))

    def test_relaying_is_judged_by_the_client(self) -> None:
        world, client = proxy()
        world.authenticator.strangers_relay = False
        client.line("XCLIENT ADDR=192.0.2.9")
        client.hello().line("MAIL FROM:<>")
        self.assertEqual(client.line("RCPT TO:<x@elsewhere.example>")[:9], "550 5.7.1")

    def test_who_may_stays_who_may(self) -> None:
        world, client = proxy()
        client.line("XCLIENT ADDR=192.0.2.9")
        self.assertEqual(client.line("XCLIENT ADDR=192.0.2.10")[:4], "220 ")
        world.settings.change(proxy={"xclient": ()})
        self.assertEqual(client.line("XCLIENT ADDR=192.0.2.10")[:9], "550 5.7.0")

    def test_log_in(self) -> None:
        world, client = proxy("submission")
        said = client.say(b"EHLO proxy\r\n")
        self.assertEqual(announced(said), "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT")
        self.assertEqual(client.line("XCLIENT ADDR=192.0.2.9 LOGIN=alice@example.org")[:4], "220 ")
        self.assertNotIn("AUTH", " ".join(client.say(b"EHLO proxy\r\n")))
        self.assertEqual(client.line("MAIL FROM:<bob@example.org>")[:9], "553 5.7.1")
        reply = client.send(
            "alice@example.org", ["x@elsewhere.example"], b"From: <alice@example.org>\r\n\r\n"
        )
        self.assertEqual(reply[:4], "250 ")
        self.assertEqual(world.acceptor.messages[0][0].user, "alice@example.org")
        self.assertIn(b" with ESMTPA id ", world.acceptor.messages[0][1])

    def test_log_in_of_nobody(self) -> None:
        _, client = proxy("submission")
        client.log_in()
        self.assertEqual(client.line("XCLIENT LOGIN=mallory")[:9], "535 5.7.8")
        self.assertEqual(client.line("XCLIENT LOGIN=[UNAVAILABLE]")[:4], "220 ")
        client.hello()
        self.assertEqual(client.line("MAIL FROM:<alice@example.org>")[:9], "530 5.7.0")

    def test_a_log_in_of_the_proxy_itself_is_void(self) -> None:
        _, client = proxy("submission")
        client.log_in()
        self.assertEqual(client.line("XCLIENT ADDR=192.0.2.9")[:4], "220 ")
        client.hello()
        self.assertEqual(client.line("MAIL FROM:<alice@example.org>")[:9], "530 5.7.0")

    def test_B5_starttls_makes_it_void(self) -> None:
        world, client = proxy("submission")
        client.line("XCLIENT ADDR=192.0.2.9 LOGIN=alice@example.org")
        client.hello()
        self.assertEqual(client.line("STARTTLS")[:4], "220 ")
        client.connection.handshakeCompleted()
        client.hello()
        self.assertEqual(client.line("MAIL FROM:<alice@example.org>")[:9], "530 5.7.0")
        self.assertEqual(client.connection.peer.ip, "127.0.0.1")
        self.assertEqual(world.factory.counter.of("127.0.0.1"), 1)

    def test_no_lmtp(self) -> None:
        _, client = proxy("lmtp")
        self.assertNotIn("XCLIENT", " ".join(client.say(b"LHLO c\r\n")))
        self.assertEqual(client.line("XCLIENT ADDR=192.0.2.9")[:9], "550 5.7.0")
