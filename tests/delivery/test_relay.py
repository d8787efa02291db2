"""One message to one destination, on real sockets: hosts in order, reuse, TLS fallback, log-in."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from mailserver.config.schema import Smarthost
from mailserver.delivery.mx import MailHost, Unroutable
from mailserver.delivery.relay import Attempt, Parcel, Relay
from mailserver.smtp.client.answers import local_reply
from mailserver.smtp.client.values import Mail
from tests.helpers.bodies import Whole
from tests.helpers.settings import make_settings
from tests.helpers.smtp_peer import DROP, SILENCE, Peer, ServerTls


class Finder:
    """Gives the hosts it was told."""

    def __init__(self) -> None:
        self.hosts: list[MailHost] = []
        self.error: Unroutable | None = None
        self.asked = 0

    async def find(self, hop: Any) -> list[MailHost]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.hosts


def sockets() -> int:
    """Open sockets of this process."""
    count = 0
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{entry}").startswith("socket:")
    return count


class RelayTestCase(TestCase):
    def setUp(self) -> None:
        self.settings = make_settings(relay={"messages_per_connection": 3})
        self.finder = Finder()
        self.relay = Relay(self.settings, reactor, self.finder)  # type: ignore[arg-type]
        self.addCleanup(self.settle)
        self.addCleanup(self.relay.stop)

    def settle(self) -> Deferred[None]:
        """Let closed sockets leave the reactor."""
        return deferLater(reactor, 0.05, lambda: None)

    def peer(self, **fields: Any) -> Peer:
        """One more host, after those that are there."""
        peer = Peer(**fields).start(reactor)
        self.addCleanup(peer.stop)
        name = f"mx{len(self.finder.hosts)}.example"
        self.finder.hosts.append(MailHost(name, "127.0.0.1", peer.number))
        return peer

    async def deliver(self, *to: str, body: bytes = b"Subject: x\n\nhello\n") -> Attempt:
        mail = Mail("a@example.org", to or ("b@far.example",))
        return await self.relay.deliver(Parcel("id", "far.example", mail, lambda: Whole(body)))

    def codes(self, attempt: Attempt) -> list[int]:
        return [outcome.reply.code for outcome in attempt.outcomes]


class HostTests(RelayTestCase):
    async def test_delivered_with_the_name_of_the_host(self) -> None:
        peer = self.peer()
        attempt = await self.deliver()
        self.assertEqual(self.codes(attempt), [250])
        self.assertEqual(attempt.outcomes[0].host, f"mx0.example[127.0.0.1]:{peer.number}")
        self.assertTrue(attempt.reached)
        self.assertEqual(peer.messages[0].body, b"Subject: x\r\n\r\nhello\r\n")

    async def test_G7_the_next_host_after_a_refusing_greeting(self) -> None:
        for greeting in ("554 no", "521 never", "421 busy", DROP):
            self.finder.hosts.clear()
            self.peer(greeting=greeting)
            good = self.peer()
            self.assertEqual(self.codes(await self.deliver()), [250], greeting)
            self.assertEqual(len(good.messages), 1)
            self.relay.stop()
            self.relay._stopping = False

    async def test_G1_the_next_host_where_nobody_listens(self) -> None:
        closed = self.peer()
        await closed.stop()
        self.peer()
        self.assertEqual(self.codes(await self.deliver()), [250])

    async def test_nobody_reached(self) -> None:
        closed = self.peer()
        await closed.stop()
        attempt = await self.deliver()
        self.assertEqual(attempt.outcomes[0].reply.status, "4.4.1")
        self.assertFalse(attempt.reached)

    async def test_G7_all_hosts_refuse_for_good_is_a_bounce_one_busy_is_not(self) -> None:
        self.peer(greeting="521 never")
        self.peer(greeting="554 no")
        self.assertTrue((await self.deliver()).outcomes[0].reply.permanent)
        self.peer(greeting="421 busy")
        self.assertEqual(self.codes(await self.deliver()), [421])

    async def test_unroutable(self) -> None:
        self.finder.error = Unroutable(local_reply(451, "4.4.3", "SERVFAIL"))
        attempt = await self.deliver()
        self.assertEqual((self.codes(attempt), attempt.reached), ([451], False))
        self.finder.error = Unroutable(local_reply(556, "5.1.10", "null MX"))
        attempt = await self.deliver()
        self.assertEqual((self.codes(attempt), attempt.reached), ([556], True))

    async def test_a_host_that_drops_before_the_body_is_passed_over(self) -> None:
        self.peer(replies={"MAIL": DROP})
        good = self.peer()
        self.assertEqual(self.codes(await self.deliver()), [250])
        self.assertEqual(len(good.messages), 1)

    async def test_G6_no_other_host_after_the_body(self) -> None:
        self.peer(replies={".": DROP})
        other = self.peer()
        attempt = await self.deliver()
        self.assertEqual(attempt.outcomes[0].reply.status, "4.4.2")
        self.assertEqual(other.connections, 0)

    async def test_G5_too_many_recipients_go_in_another_transaction(self) -> None:
        count = [0]

        def limited(line: str) -> str:
            count[0] += 1
            return "250 ok" if count[0] % 5 else "452 4.5.3 too many"

        peer = self.peer(replies={"RCPT": limited})
        to = [f"u{n}@far.example" for n in range(23)]
        self.assertEqual(self.codes(await self.deliver(*to)), [250] * 23)
        given = [address for message in peer.messages for address in message.recipients]
        self.assertEqual(sorted(given), sorted(to), "each once")
        self.assertEqual(peer.connections, 1)

    async def test_G5_mixed(self) -> None:
        answers = {"u0": "250 ok", "u1": "450 4.2.1 later", "u2": "550 5.1.1 no"}
        peer = self.peer(replies={"RCPT": lambda line: answers[line[9:11]]})
        self.assertEqual(self.codes(await self.deliver("u0@x", "u1@x", "u2@x")), [250, 450, 550])
        self.assertEqual(len(peer.messages), 1)

    async def test_250_recipients_in_hundreds(self) -> None:
        peer = self.peer()
        await self.deliver(*(f"u{n}@far.example" for n in range(250)))
        self.assertEqual([len(message.recipients) for message in peer.messages], [100, 100, 50])

    async def test_E8_a_peer_that_drops_at_every_reply(self) -> None:
        """Each end is a temporary failure; no descriptor and no timer stays (trial looks for the latter)."""
        peer = self.peer()
        before = sockets()
        for verb in ("EHLO", "MAIL", "RCPT", "DATA", "."):
            peer.replies = {verb: DROP}
            attempt = await self.deliver("b@far.example", "c@far.example")
            self.assertEqual([o.reply.status for o in attempt.outcomes], ["4.4.2"] * 2, verb)
        peer.greeting = DROP
        self.assertEqual((await self.deliver()).outcomes[0].reply.status, "4.4.2")
        await self.settle()
        self.assertEqual(sockets(), before)

    async def test_stop_while_connecting(self) -> None:
        """A server that accepts and says nothing does not hold the shutdown."""
        self.peer(greeting=SILENCE)
        waiting = self.deliver()
        running = Deferred.fromCoroutine(waiting)
        await self.settle()
        self.relay.stop()
        attempt = await running
        self.assertEqual(attempt.outcomes[0].reply.status, "4.4.2")


class ReuseTests(RelayTestCase):
    async def test_a_connection_is_used_again_up_to_the_limit(self) -> None:
        peer = self.peer()
        for _ in range(7):
            await self.deliver()
        self.assertEqual((len(peer.messages), peer.connections, self.finder.asked), (7, 3, 3))
        self.assertEqual(peer.lines.count("RSET"), 0)

    async def test_a_connection_the_server_closed_meanwhile(self) -> None:
        peer = self.peer()
        await self.deliver()
        for session in list(peer.open):
            session.transport.loseConnection()
        await self.settle()
        self.assertEqual(self.codes(await self.deliver()), [250])
        self.assertEqual(peer.connections, 2)

    async def test_a_connection_that_breaks_at_the_second_message(self) -> None:
        peer = self.peer(replies={"MAIL": ["250 ok", DROP, "250 ok"]})
        await self.deliver()
        self.assertEqual(self.codes(await self.deliver()), [250])
        self.assertEqual((len(peer.messages), peer.connections), (2, 2))

    async def test_stop_says_quit(self) -> None:
        peer = self.peer()
        await self.deliver()
        self.relay.stop()
        await self.settle()
        self.assertEqual(peer.lines[-1], "QUIT")
        self.assertEqual(self.codes(await self.deliver()), [451])


class TlsTests(RelayTestCase):
    async def test_clear_text_where_the_handshake_fails(self) -> None:
        peer = self.peer(tls=ServerTls(newest=SSL.TLS1_1_VERSION))
        self.assertEqual(self.codes(await self.deliver()), [250])
        self.assertEqual((peer.messages[0].tls, peer.connections), (False, 2))
        self.relay.stop()
        self.relay._stopping = False
        await self.deliver()
        self.assertEqual(peer.connections, 3, "remembered: no second handshake")

    async def test_log_in_at_a_smarthost_on_loopback(self) -> None:
        peer = self.peer(extensions=["AUTH PLAIN"], replies={"AUTH": "235 ok"})
        smarthost = Smarthost("127.0.0.1", peer.number, "user", "secret")
        self.settings.change(relay={"smarthost": smarthost})
        self.assertEqual(self.codes(await self.deliver()), [250])
        self.assertTrue(any(line.startswith("AUTH PLAIN ") for line in peer.lines))

    async def test_no_password_without_verified_tls(self) -> None:
        """The certificate is of an unknown authority: the mail waits, the password stays."""
        peer = self.peer(extensions=["AUTH PLAIN"], tls=ServerTls())
        self.settings.change(relay={"smarthost": Smarthost("isp.example", 587, "user", "secret")})
        policies = self.relay._policies
        original = policies.policy_for
        self.patch(
            policies, "policy_for", lambda hop, host: original(hop, MailHost(host.name, "192.0.2.1", 587))
        )
        attempt = await self.deliver()
        self.assertTrue(attempt.outcomes[0].reply.temporary)
        self.assertFalse(any("AUTH" in line for line in peer.lines))
