"""TLS contexts: what is negotiated, which certificate is shown, what a reload does."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import ssl
import tempfile
from pathlib import Path
from typing import Any

from attrs import evolve
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from OpenSSL import SSL
from OpenSSL._util import lib
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailserver.config.schema import Certificate
from mailserver.config.secrets import CertificateFault
from mailserver.tls.server import SERVICES, TlsContexts, build
from tests.helpers.files import write_certificate
from tests.helpers.settings import make_settings
from tests.tls.handshake import Handshake, client, run_now


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.certificate, self.key = write_certificate(self.folder, "mail.example.org")
        self.settings = make_settings(
            data_dir=self.folder / "data", tls={"certificate": self.certificate, "key": self.key}
        )
        self.contexts = TlsContexts(self.settings, None, run=run_now)


class Negotiation(Case):
    """B11: TLS 1.2 and 1.3 with forward secrecy and authenticated encryption, nothing else."""

    def refused(self, context: SSL.Context) -> None:
        with self.assertRaises(SSL.Error):
            Handshake(self.contexts, client=context)

    def test_modern_clients(self) -> None:
        shaken = Handshake(self.contexts)
        self.assertEqual(shaken.client.get_protocol_version_name(), "TLSv1.3")
        shaken = Handshake(self.contexts, client=client(SSL.TLS1_2_VERSION))
        self.assertEqual(shaken.client.get_protocol_version_name(), "TLSv1.2")
        self.assertRegex(shaken.client.get_cipher_name() or "", "^ECDHE-.*(GCM|POLY1305)")

    def test_B11_old_versions_are_refused(self) -> None:
        for version in (SSL.TLS1_VERSION, SSL.TLS1_1_VERSION):
            self.refused(client(version))

    def test_B11_weak_ciphers_are_refused(self) -> None:
        for ciphers in (
            b"eNULL",
            b"aNULL",
            b"kRSA",
            b"SHA1",
            b"ECDHE+AES+SHA256:!AESGCM",
            b"DHE",
            b"CAMELLIA",
        ):
            self.refused(client(SSL.TLS1_2_VERSION, ciphers + b":@SECLEVEL=0"))

    def test_B11_only_tls_13_where_the_configuration_says_so(self) -> None:
        self.settings.change(tls={"minimum": "1.3"})
        self.refused(client(SSL.TLS1_2_VERSION))
        Handshake(self.contexts, client=client(SSL.TLS1_3_VERSION))

    def test_B11_no_compression(self) -> None:
        side = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.options &= ~ssl.OP_NO_COMPRESSION
        peer = context.wrap_bio(*side)
        server = self.contexts.server("imap").serverConnectionForTLS(None)
        server.set_accept_state()
        for _ in range(5):
            for step in (peer.do_handshake, server.do_handshake):
                with contextlib.suppress(ssl.SSLWantReadError, SSL.WantReadError):
                    step()
                if data := side[1].read():
                    server.bio_write(data)
                with contextlib.suppress(SSL.WantReadError):
                    side[0].write(server.bio_read(65536))
        self.assertEqual(peer.version(), "TLSv1.3")
        self.assertIsNone(peer.compression())

    def test_B12_renegotiation_is_refused_each_time(self) -> None:
        shaken = Handshake(self.contexts, client=client(SSL.TLS1_2_VERSION))
        refused = 0
        for _ in range(1000):
            shaken.client.renegotiate()
            try:
                shaken.pump(1)
            except SSL.Error:
                refused += 1
                shaken = (
                    Handshake(self.contexts, client=client(SSL.TLS1_2_VERSION)) if refused < 20 else shaken
                )
        self.assertGreater(refused, 10)
        self.assertEqual(shaken.server.total_renegotiations(), 0)


class Names(Case):
    """SNI (RFC 6066, 3)."""

    def setUp(self) -> None:
        super().setUp()
        net = write_certificate(self.folder, "mail.example.net", "*.hosted.example", stem="net")
        self.settings.change(tls={"more": (Certificate(*net),)})

    def test_the_certificate_for_the_name(self) -> None:
        for name, shown in [
            ("mail.example.org", "mail.example.org"),
            ("mail.example.net", "mail.example.net"),
            ("MAIL.Example.NET", "mail.example.net"),
            ("imap.hosted.example", "mail.example.net"),
            ("a.b.hosted.example", "mail.example.org"),
            ("hosted.example", "mail.example.org"),
            ("unknown.example", "mail.example.org"),
            ("", "mail.example.org"),
        ]:
            with self.subTest(name):
                self.assertEqual(Handshake(self.contexts, name=name).shown[0], shown)

    def test_ecdsa_and_rsa_for_one_name(self) -> None:
        rsa_key: Any = rsa.generate_private_key(65537, 2048)
        pair = write_certificate(self.folder, "mail.example.org", stem="rsa", key=rsa_key)
        self.settings.change(tls={"more": (Certificate(*pair),)})
        for ciphers, kind in ((b"ECDHE+ECDSA", ec.EllipticCurvePublicKey), (b"ECDHE+aRSA", rsa.RSAPublicKey)):
            shaken = Handshake(self.contexts, client=client(SSL.TLS1_2_VERSION, ciphers))
            certificate = shaken.client.get_peer_certificate()
            assert certificate is not None
            self.assertIsInstance(certificate.to_cryptography().public_key(), kind)

    def test_B14_ten_thousand_random_names_cost_no_memory(self) -> None:
        """Only the first flight of each handshake: the name is looked up in it."""
        context = client()

        def ask() -> None:
            peer = SSL.Connection(context, None)
            peer.set_tlsext_host_name(os.urandom(20).hex().encode() + b".example")
            peer.set_connect_state()
            server = self.contexts.server("imap").serverConnectionForTLS(None)
            server.set_accept_state()
            with self.assertRaises(SSL.WantReadError):
                peer.do_handshake()
            server.bio_write(peer.bio_read(65536))
            with self.assertRaises(SSL.WantReadError):
                server.do_handshake()

        for _ in range(500):
            ask()
        before = _resident()
        for _ in range(10_000):
            ask()
        self.assertLess(_resident() - before, 4 * 1024 * 1024)
        self.assertEqual(Handshake(self.contexts, name="random.example").shown, ["mail.example.org"])


def _resident() -> int:
    """Octets of memory in use now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Reload(Case):
    """B13: new files serve new handshakes; faulty ones change nothing."""

    def reload(self) -> bool:
        return bool(self.successResultOf(self.contexts.reload()))

    def test_B13_new_files_serve_new_handshakes_and_old_sessions_go_on(self) -> None:
        old = Handshake(self.contexts)
        write_certificate(self.folder, "new.example.org")
        self.assertTrue(self.reload())
        self.assertEqual(Handshake(self.contexts).shown, ["new.example.org"])
        old.client.send(b"a1 NOOP\r\n")
        Handshake._carry(old.client, old.server)
        self.assertEqual(old.server.recv(100), b"a1 NOOP\r\n")

    def test_B13_a_creator_that_was_handed_out_follows(self) -> None:
        creator = self.contexts.server("imap")
        before = creator.serverConnectionForTLS(None).get_context()
        self.reload()
        self.assertIsNot(creator.serverConnectionForTLS(None).get_context(), before)

    def test_B13_faulty_files_keep_the_old_certificate(self) -> None:
        def mismatched() -> None:
            _, other = write_certificate(self.folder, "x.example", stem="x")
            shutil.copy(other, self.key)

        faults = {
            "mismatched pair": mismatched,
            "empty certificate": lambda: self.certificate.write_bytes(b""),
            "empty key": lambda: self.key.write_bytes(b""),
            "missing key": self.key.unlink,
            "missing certificate": self.certificate.unlink,
            "world-readable key": lambda: self.key.chmod(0o644),
            "key with a pass phrase": lambda: self.key.write_bytes(ENCRYPTED),
        }
        good = self.certificate.read_bytes(), self.key.read_bytes()
        for name, damage in faults.items():
            with self.subTest(name):
                damage()
                self.assertFalse(self.reload())
                self.assertEqual(Handshake(self.contexts).shown, ["mail.example.org"])
                self.certificate.write_bytes(good[0])
                self.key.write_bytes(good[1])
                self.key.chmod(0o600)
                self.assertTrue(self.reload())

    def test_a_change_of_the_settings_reloads_and_one_of_the_users_does_not(self) -> None:
        before = self.contexts.of("imap")
        self.settings.users = evolve(self.settings.users)
        for callback in self.settings._subscribers:
            callback()
        self.assertIs(self.contexts.of("imap"), before)
        self.settings.change(tls={"minimum": "1.3"})
        self.assertIsNot(self.contexts.of("imap"), before)

    def test_a_reload_during_a_reload_reads_once_more(self) -> None:
        turns: list[Deferred[None]] = []

        def run_later(function: Any, *arguments: Any) -> Deferred[Any]:
            turns.append(Deferred())
            return turns[-1].addCallback(lambda _: function(*arguments))

        contexts = TlsContexts(self.settings, None, run=run_later)
        answers = [contexts.reload() for _ in range(50)]
        turns[0].callback(None)
        turns[1].callback(None)
        self.assertEqual(len(turns), 2)
        self.assertEqual([self.successResultOf(answer) for answer in answers], [True] * 50)

    def test_faulty_files_at_the_start_are_an_error(self) -> None:
        self.key.unlink()
        with self.assertRaises(CertificateFault):
            TlsContexts(self.settings, None, run=run_now)

    def test_a_certificate_that_openssl_refuses(self) -> None:
        weak: Any = rsa.generate_private_key(65537, 1024)
        write_certificate(self.folder, "mail.example.org", key=weak)
        with self.assertRaisesRegex(CertificateFault, "OpenSSL refuses .*too small"):
            build(self.settings.now)


ENCRYPTED = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
)


class Resumption(Case):
    """B15: a session resumes on its own service only."""

    def resumed(self, first: str, second: str, version: int) -> bool:
        context = client(version)
        context.set_session_cache_mode(SSL.SESS_CACHE_CLIENT)
        shaken = Handshake(self.contexts, first, client=context)
        session = shaken.client.get_session()
        assert session is not None
        shaken.client.shutdown()  # OpenSSL forgets the sessions of connections that just ended
        return _was_resumed(Handshake(self.contexts, second, client=context, session=session).client)

    def test_a_session_resumes_on_its_service(self) -> None:
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            self.assertTrue(self.resumed("imap", "imap", version))

    def test_B15_a_session_of_one_service_does_not_resume_on_another(self) -> None:
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            for first in SERVICES:
                for second in SERVICES:
                    if first != second:
                        self.assertFalse(self.resumed(first, second, version), (first, second))


def _was_resumed(connection: SSL.Connection) -> bool:
    return bool(lib.SSL_session_reused(connection._ssl))
