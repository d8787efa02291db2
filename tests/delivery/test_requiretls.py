"""Which hosts a message with REQUIRETLS may be given to (RFC 8689), and what limits hosts set (RFC 9422)."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from mailserver.config.schema import Smarthost
from mailserver.delivery.mx import HostFinder, MailHost
from mailserver.delivery.next_hop import NextHop
from mailserver.delivery.relay import Attempt, Parcel, Relay
from mailserver.dns.values import Answer, Status
from mailserver.smtp.client.values import Mail
from mailserver.tls.client import client_context
from tests.delivery.test_relay import RelayTestCase
from tests.helpers.bodies import Whole
from tests.helpers.settings import make_settings
from tests.helpers.smtp_peer import DROP, Peer, ServerTls

PROMISES = ["PIPELINING", "REQUIRETLS"]


class RequiredTests(RelayTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.verified: list[bool] = []
        self.trusting = True
        self.relay = Relay(self.settings, reactor, self.finder, context=self.context)  # type: ignore[arg-type]
        self.addCleanup(self.relay.stop)

    def context(self, name: str, verify: bool) -> Any:
        """Certificates of tests count as good while `trusting`."""
        self.verified.append(verify)
        return client_context(name, verify and not self.trusting)

    async def send(self, sender: str = "a@example.org", *, required: bool = True) -> tuple[int, str]:
        mail = Mail(sender, ("b@far.example",), require_tls=required)
        attempt = await self.relay.deliver(Parcel("id", "far.example", mail, lambda: Whole(b"x\n")))
        (outcome,) = attempt.outcomes
        return outcome.reply.code, outcome.reply.status

    def secure_peer(self, **fields: Any) -> Peer:
        return self.peer(tls=ServerTls(), **({"extensions": PROMISES} | fields))

    async def test_over_tls_to_a_host_that_promises_the_same(self) -> None:
        peer = self.secure_peer()
        self.assertEqual(await self.send(), (250, "2.0.0"))
        self.assertEqual(self.verified, [True])
        self.assertTrue(peer.messages[0].tls)
        self.assertIn("MAIL FROM:<a@example.org> REQUIRETLS", peer.lines)

    async def test_no_promise(self) -> None:
        """RFC 8689, 4.2.1: bounced with 5.7.30 after the last host, nothing was said to it but QUIT."""
        peer = self.secure_peer(extensions=["PIPELINING"])
        self.assertEqual(await self.send(), (550, "5.7.30"))
        await self.settle()
        self.assertEqual(peer.lines[-1], "QUIT")
        self.secure_peer()
        self.assertEqual(await self.send(), (250, "2.0.0"))
        self.assertEqual(peer.messages, [])

    async def test_no_tls(self) -> None:
        peer = self.peer(extensions=PROMISES)
        self.assertEqual(await self.send(), (550, "5.7.10"))
        self.assertEqual(peer.messages, [])

    async def test_a_certificate_that_nobody_vouches_for(self) -> None:
        self.trusting = False
        peer = self.secure_peer()
        self.assertEqual(await self.send(), (550, "5.7.10"))
        self.assertEqual(peer.messages, [])

    async def test_a_host_whose_name_may_be_forged(self) -> None:
        peer = self.secure_peer()
        self.finder.hosts = [evolve(host, validated=False) for host in self.finder.hosts]
        self.assertEqual(await self.send(), (550, "5.7.10"))
        self.assertEqual(peer.connections, 0)
        self.assertEqual(await self.send(required=False), (250, "2.0.0"))

    async def test_a_host_that_is_down_is_tried_later(self) -> None:
        self.secure_peer(extensions=["PIPELINING"])
        self.peer(greeting=DROP)
        self.assertEqual((await self.send())[0], 451)

    async def test_connections_are_not_shared_with_other_mail(self) -> None:
        """What was opened without looking at the certificate does not do."""
        peer = self.secure_peer()
        self.assertEqual(await self.send(required=False), (250, "2.0.0"))
        self.assertEqual(await self.send(), (250, "2.0.0"))
        self.assertEqual(await self.send(), (250, "2.0.0"))
        self.assertEqual((self.verified, peer.connections), ([False, True], 2))

    async def test_a_report_is_not_lost_for_it(self) -> None:
        """RFC 8689, 5: protected where that is possible."""
        peer = self.secure_peer(extensions=["PIPELINING"])
        self.assertEqual(await self.send(""), (250, "2.0.0"))
        self.assertIn("MAIL FROM:<>", peer.lines)
        self.finder.hosts.clear()
        peer = self.secure_peer()
        self.relay.stop()
        self.relay._stopping = False
        self.assertEqual(await self.send(""), (250, "2.0.0"))
        self.assertIn("MAIL FROM:<> REQUIRETLS", peer.lines)


class LimitTests(RelayTestCase):
    async def send(self, count: int, domain: str = "far.example") -> Attempt:
        mail = Mail("a@example.org", tuple(f"r{n}@{domain}" for n in range(count)))
        return await self.relay.deliver(Parcel("id", domain, mail, lambda: Whole(b"x\n")))

    async def test_recipients_of_one_transaction(self) -> None:
        peer = self.peer(extensions=["PIPELINING", "LIMITS RCPTMAX=2"])
        self.assertEqual(self.codes(await self.send(5)), [250] * 5)
        self.assertEqual([len(message.recipients) for message in peer.messages], [2, 2, 1])

    async def test_transactions_of_one_session(self) -> None:
        """RFC 9422, 4.1: QUIT, and another session with the same host."""
        peer = self.peer(extensions=["LIMITS MAILMAX=2 RCPTMAX=1"])
        self.assertEqual(self.codes(await self.send(5)), [250] * 5)
        self.assertEqual((len(peer.messages), peer.connections), (5, 3))
        self.assertEqual(peer.lines.count("QUIT"), 2)
        await self.send(1)
        self.assertEqual(peer.connections, 3)
        await self.send(1)
        self.assertEqual(peer.connections, 4)

    async def test_domains_of_one_session(self) -> None:
        """RFC 9422, 4.3, with a smarthost, which gets mail for all."""
        peer = self.peer(extensions=["LIMITS RCPTDOMAINMAX=2"])
        number = peer.number
        self.settings = make_settings(relay={"smarthost": Smarthost("127.0.0.1", number)})
        self.relay = Relay(self.settings, reactor, self.finder)  # type: ignore[arg-type]
        self.addCleanup(self.relay.stop)
        for domain in ("a.example", "b.example", "a.example"):
            self.assertEqual(self.codes(await self.send(1, domain)), [250])
        self.assertEqual(peer.connections, 1)
        self.assertEqual(self.codes(await self.send(1, "c.example")), [250])
        self.assertEqual(peer.connections, 2)


class NameTests(SynchronousTestCase):
    """Which names of mail hosts can be relied on (RFC 8689, 4.2.1, 2)."""

    def find(self, hop: NextHop, answers: dict[tuple[str, str], Answer]) -> list[MailHost]:
        class Record:
            address = "192.0.2.1"

        def query(name: str, rdtype: str) -> Any:
            nothing = Answer(Status.NODATA, name)
            default = Answer(Status.FOUND, name, (Record(),)) if rdtype == "A" else nothing
            return succeed(answers.get((name, rdtype), default))

        settings = make_settings()
        finder = HostFinder(query, lambda: settings.now, is_own=lambda ip: False)
        coroutine = finder.find(hop)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            found: list[MailHost] = stop.value
            return found
        raise AssertionError("it waits")

    def mx(self, secure: bool) -> dict[tuple[str, str], Answer]:
        import dns.name  # noqa: PLC0415

        class Record:
            preference = 10
            exchange = dns.name.from_text("mx.far.example.")

        return {("far.example", "MX"): Answer(Status.FOUND, "far.example", (Record(),), 60, secure)}

    def test_what_dnssec_vouches_for(self) -> None:
        for secure in (True, False):
            (host,) = self.find(NextHop("far.example", "far.example"), self.mx(secure))
            self.assertEqual((host.name, host.validated), ("mx.far.example", secure))

    def test_a_domain_that_is_its_own_host(self) -> None:
        (host,) = self.find(NextHop("far.example", "far.example"), {})
        self.assertTrue(host.validated)
        alias = {("far.example", "MX"): Answer(Status.NODATA, "elsewhere.example")}
        (host,) = self.find(NextHop("far.example", "far.example"), alias)
        self.assertFalse(host.validated)

    def test_a_host_that_the_administrator_names(self) -> None:
        (host,) = self.find(NextHop("k", "", Smarthost("127.0.0.1")), {})
        self.assertTrue(host.validated)
