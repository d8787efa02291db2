"""The services on real sockets with Python's own client, and orders of replies under random delays."""

from __future__ import annotations

import random
import smtplib
import ssl
from typing import Any

from twisted.internet import reactor
from twisted.internet import ssl as tx_ssl
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailserver.net.listen import listen

from .service import World


def certificate() -> tx_ssl.CertificateOptions:
    """A server context with a certificate of our own making."""
    import trustme  # noqa: PLC0415

    made = trustme.CA().issue_cert("localhost")
    pem = made.private_key_pem.bytes() + made.cert_chain_pems[0].bytes()
    return tx_ssl.PrivateCertificate.loadPEM(pem).options()


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class SmtplibTests(TestCase):
    """smtplib in a thread against the service in the reactor."""

    @inlineCallbacks
    def serve(self, service: str) -> Any:
        self.world = World(service, directory=self.mktemp(), reactor=reactor)
        self.world.spool.clean()
        tls = certificate()
        self.world.factory.tls = tls
        implicit = tls if service == "submissions" else None
        listener = yield Deferred.fromCoroutine(
            listen(reactor, "tcp:0:interface=127.0.0.1", self.world.factory, implicit)
        )
        self.addCleanup(self.world.factory.stop)
        self.addCleanup(listener.port.stopListening)
        self.port = listener.port.getHost().port

    @inlineCallbacks
    def test_mx(self) -> Any:
        """A message with dots, one above the memory limit, and a refused recipient."""
        yield self.serve("smtp")
        big = "Subject: big\r\n\r\n" + ("x" * 70 + "\r\n") * 30_000

        def client() -> dict[str, Any]:
            with smtplib.SMTP("127.0.0.1", self.port, "client.example", timeout=20) as smtp:
                refused = smtp.sendmail(
                    "s@remote.example",
                    ["alice@example.org", "nobody@example.org"],
                    "Subject: a\r\n\r\n.\r\n..b\r\n",
                )
                smtp.sendmail("s@remote.example", ["bob@example.org"], big)
                return refused

        refused = yield deferToThread(client)

        self.assertEqual(refused["nobody@example.org"], (550, b"5.1.1 No such user here"))
        self.assertEqual(
            self.world.acceptor.texts, [b"Subject: a\n\n.\n..b\n", big.replace("\r\n", "\n").encode()]
        )

    @inlineCallbacks
    def test_submission_with_starttls_and_log_in(self) -> Any:
        yield self.serve("submission")
        self.world.authenticator.cleartext = False

        def client() -> tuple[bool, bool]:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=20) as smtp:
                smtp.ehlo()
                before = smtp.has_extn("auth")
                smtp.starttls(context=unverified())
                smtp.ehlo()
                after = smtp.has_extn("auth")
                smtp.login("alice@example.org", "secret")
                smtp.sendmail(
                    "alice@example.org", ["x@remote.example"], "From: alice@example.org\r\n\r\nhi\r\n"
                )
                return before, after

        auth = yield deferToThread(client)

        self.assertEqual(auth, (False, True))
        ((envelope, trace, _),) = self.world.acceptor.messages
        self.assertEqual(envelope.user, "alice@example.org")
        self.assertIn(b" with ESMTPSA (TLSv1.3 TLS_", trace)

    @inlineCallbacks
    def test_submissions(self) -> Any:
        """Implicit TLS; STARTTLS is not offered in it."""
        yield self.serve("submissions")

        def client() -> bool:
            with smtplib.SMTP_SSL("127.0.0.1", self.port, timeout=20, context=unverified()) as smtp:
                smtp.login("alice@example.org", "secret")
                smtp.sendmail(
                    "alice@example.org", ["bob@example.org"], "From: alice@example.org\r\n\r\nhi\r\n"
                )
                return smtp.has_extn("starttls")

        starttls = yield deferToThread(client)

        self.assertFalse(starttls)
        self.assertEqual(len(self.world.acceptor.messages), 1)


class DelayTests(SynchronousTestCase):
    """A13: answers that take their time, at random, never change what a client sees."""

    SESSION = (
        b"MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.org>\r\nRCPT TO:<nobody@example.org>\r\n"
        b"RCPT TO:<bob@example.org>\r\nNOOP\r\nDATA\r\n",
        b"Subject: x\r\n\r\n..dot\r\n.\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n",
        b".\r\nVRFY x\r\nQUIT\r\n",
    )

    def play(self, delays: random.Random | None, cuts: random.Random | None) -> tuple[list[str], list[bytes]]:
        world = World()
        if delays is not None:
            rules = world.factory.rules
            for name in ("on_sender", "on_recipient", "on_message"):
                slow = [
                    self.delayed(rule, world, delays) for rule in (*getattr(rules, name), lambda *_: None)
                ]
                object.__setattr__(rules, name, tuple(slow))
        client = world.connect().hello()
        made: list[str] = []
        for group in self.SESSION:
            for piece in self.pieces(group, cuts):
                made += client.say(piece)
            for _ in range(200):
                world.clock.advance(0.01)
                made += client.replies()
        names = [envelope.id for envelope, _, _ in world.acceptor.messages]
        for name in names:
            made = [line.replace(name, "ID") for line in made]
        return made, world.acceptor.texts

    @staticmethod
    def pieces(group: bytes, cuts: random.Random | None) -> list[bytes]:
        if cuts is None:
            return [group]
        at = sorted(cuts.sample(range(len(group) + 1), 5))
        return [group[a:b] for a, b in zip([0, *at], [*at, len(group)], strict=True)]

    @staticmethod
    def delayed(rule: Any, world: World, chance: random.Random) -> Any:
        def later(*args: Any) -> Deferred[Any]:
            waiting: Deferred[Any] = Deferred()
            world.clock.callLater(chance.choice((0, 0.01, 0.05)), waiting.callback, None)
            return waiting.addCallback(lambda _: rule(*args))

        return later

    def test_A13_K7_order_of_replies_under_random_delays_and_cuts(self) -> None:
        plain = self.play(None, None)
        self.assertEqual(
            [line[:10] for line in plain[0]],
            [
                "250 2.1.0 ",
                "250 2.1.5 ",
                "550 5.1.1 ",
                "250 2.1.5 ",
                "250 2.0.0 ",
                "354 End da",
                "250 2.0.0 ",
                "250 2.0.0 ",
                "250 2.1.0 ",
                "250 2.1.5 ",
                "354 End da",
                "250 2.0.0 ",
                "252 2.5.2 ",
                "221 2.0.0 ",
            ],
        )
        for seed in range(30):
            self.assertEqual(self.play(random.Random(seed), random.Random(seed)), plain, seed)
            self.assertEqual(self.play(None, random.Random(seed)), plain, seed)
