"""What a server shows that was given no certificate."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.trial.unittest import SynchronousTestCase

from mailserver.config.secrets import CertificateFault
from mailserver.tls.server import TlsContexts
from tests.helpers.settings import make_settings
from tests.tls.handshake import Handshake, run_now


class SelfSigned(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.settings = make_settings(data_dir=self.folder / "data")
        self.tls = self.folder / "data" / "tls"

    def test_it_is_made_once_and_kept(self) -> None:
        contexts = TlsContexts(self.settings, None, run=run_now)
        self.assertIn("mail.example.org", Handshake(contexts).shown)
        made = (self.tls / "self-signed.pem").read_bytes()
        TlsContexts(self.settings, None, run=run_now)
        self.assertEqual((self.tls / "self-signed.pem").read_bytes(), made)
        key = x509.load_pem_x509_certificate(made).public_key()
        self.assertIsInstance(key, ec.EllipticCurvePublicKey)

    def test_F18_modes_whatever_the_umask(self) -> None:
        old = os.umask(0)
        try:
            TlsContexts(self.settings, None, run=run_now)
        finally:
            os.umask(old)
        modes = {path.name: path.stat().st_mode & 0o777 for path in (self.tls, *self.tls.iterdir())}
        self.assertEqual(modes, {"tls": 0o700, "self-signed.pem": 0o600, "self-signed-key.pem": 0o600})

    def test_a_damaged_one_is_made_again(self) -> None:
        self.tls.mkdir(parents=True)
        (self.tls / "self-signed-key.pem").write_bytes(b"torn")
        contexts = TlsContexts(self.settings, None, run=run_now)
        self.assertIn("mail.example.org", Handshake(contexts).shown)

    def test_a_folder_that_cannot_be_made(self) -> None:
        (self.folder / "data").write_bytes(b"")
        with self.assertRaisesRegex(CertificateFault, "none can be made"):
            TlsContexts(self.settings, None, run=run_now)
