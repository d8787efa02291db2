"""DELIVERBY (RFC 2852) on the way to another server: what it is asked for, and what it is not given."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor

from mailserver.config.schema import Smarthost
from mailserver.delivery.relay import Outcome, Parcel, Relay
from mailserver.interfaces import By, DeliverBy
from mailserver.smtp.client.values import Mail, Wishes
from tests.delivery.test_relay import RelayTestCase
from tests.helpers.bodies import Whole
from tests.helpers.smtp_peer import Peer

NOW = 1_700_000_000.0


class DeliverByTests(RelayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = NOW
        self.relay = Relay(self.settings, reactor, self.finder, clock=lambda: self.now)  # type: ignore[arg-type]
        self.addCleanup(self.relay.stop)

    async def send(self, by: str, *notify: str) -> Outcome:
        """To one recipient; `by` as it was asked for 22 seconds ago, which is the RFC's example."""
        mail = Mail("eljefe@bigbiz.com", ("topbanana@other.com",), wishes=(Wishes(frozenset(notify)),))
        asked = By.read(by)
        deliver_by = DeliverBy(NOW - 22 + asked.seconds, asked)
        parcel = Parcel("id", "other.com", mail, lambda: Whole(b"x\n"), deliver_by=deliver_by)
        (outcome,) = (await self.relay.deliver(parcel)).outcomes
        return outcome

    def said(self, peer: Peer, verb: str) -> str:
        return [line for line in peer.lines if line.startswith(verb)][-1]

    def told(self, outcome: Outcome) -> tuple[int, str, bool]:
        return outcome.reply.code, outcome.reply.status, outcome.relayed

    async def test_the_example_of_the_rfc(self) -> None:
        """RFC 2852, 6: what is left of the time."""
        peer = self.peer(extensions=["DELIVERBY 30"])
        self.assertEqual(self.told(await self.send("120;R")), (250, "2.0.0", False))
        self.assertEqual(self.said(peer, "MAIL"), "MAIL FROM:<eljefe@bigbiz.com> BY=98;R")

    async def test_a_server_that_wants_more_time(self) -> None:
        """RFC 2852, 6 and 7: nothing is sent, no other MX host is asked, and it is for good."""
        peer, other = self.peer(extensions=["DELIVERBY 240,X"]), self.peer(extensions=["DELIVERBY"])
        self.assertEqual(self.told(await self.send("120;R"))[:2], (554, "5.4.7"))
        self.assertEqual((peer.messages, other.connections), ([], 0))
        self.assertEqual(self.told(await self.send("120;N"))[0], 250)  # 2: the least time is of mode R alone

    async def test_a_server_without_it(self) -> None:
        """RFC 2852, 4.1.4.1: not in mode R."""
        peer = self.peer(extensions=["DSN"])
        self.assertEqual(self.told(await self.send("120;R"))[:2], (554, "5.3.3"))
        self.assertEqual(peer.messages, [])

    async def test_what_is_over_is_not_sent(self) -> None:
        peer = self.peer(extensions=["DELIVERBY"])
        self.assertEqual(self.told(await self.send("22;R"))[:2], (554, "5.4.7"))
        self.assertEqual(peer.messages, [])

    async def test_who_wants_to_be_told_only(self) -> None:
        """RFC 2852, 4.1.4.2: the sender is told of it, and the next server asked to tell of a delay."""
        peer = self.peer(extensions=["DSN"])
        for notify, asked_for in (
            ((), " NOTIFY=DELAY,FAILURE"),
            (("FAILURE",), " NOTIFY=DELAY,FAILURE"),
            (("SUCCESS",), " NOTIFY=DELAY,SUCCESS"),
            (("NEVER",), " NOTIFY=NEVER"),
        ):
            self.assertEqual(self.told(await self.send("120;N", *notify)), (250, "2.0.0", True))
            self.assertEqual(self.said(peer, "RCPT"), f"RCPT TO:<topbanana@other.com>{asked_for}")
        self.assertEqual(self.said(peer, "MAIL"), "MAIL FROM:<eljefe@bigbiz.com>")

    async def test_one_that_is_late_already(self) -> None:
        """RFC 2852, 4.1.4: a negative time goes along; and nobody is told twice."""
        peer = self.peer(extensions=["DELIVERBY", "DSN"])
        self.assertEqual(self.told(await self.send("-10;N")), (250, "2.0.0", False))
        self.assertEqual(self.said(peer, "MAIL"), "MAIL FROM:<eljefe@bigbiz.com> BY=-32;N")
        self.assertEqual(self.said(peer, "RCPT"), "RCPT TO:<topbanana@other.com>")
        self.finder.hosts.clear()
        self.relay.stop()
        self.relay._stopping = False
        other = self.peer(extensions=["DSN"])
        self.assertEqual(self.told(await self.send("-10;N")), (250, "2.0.0", False))
        self.assertEqual(self.said(other, "RCPT"), "RCPT TO:<topbanana@other.com>")

    async def test_a_trace(self) -> None:
        """RFC 2852, 4.1.4: told of each relay, whoever takes the message."""
        peer = self.peer(extensions=["DELIVERBY"])
        self.assertEqual(self.told(await self.send("120;RT")), (250, "2.0.0", True))
        self.assertEqual(self.said(peer, "MAIL"), "MAIL FROM:<eljefe@bigbiz.com> BY=98;RT")

    async def test_lmtp_delivers(self) -> None:
        """What a mailbox has in time is in time, with or without the word for it."""
        for extensions, parameters in (["PIPELINING"], ""), (["DELIVERBY"], " BY=98;RT"):
            peer = self.lmtp(extensions)
            self.assertEqual(self.told(await self.send("120;RT")), (250, "2.0.0", False))
            self.assertEqual(self.said(peer, "MAIL"), f"MAIL FROM:<eljefe@bigbiz.com>{parameters}")

    def lmtp(self, extensions: list[str]) -> Peer:
        self.finder.hosts.clear()
        peer = self.peer(extensions=extensions, replies={"LHLO": lambda line: lhlo(extensions)})
        hop: Any = Smarthost("127.0.0.1", peer.number, lmtp=True)
        self.settings.change(relay={"routes": {"other.com": hop}})
        return peer


def lhlo(extensions: list[str]) -> str:
    return f"250-peer.example\r\n250 {extensions[0]}"
