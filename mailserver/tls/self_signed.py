"""The certificate that is made where none is configured, so that no installation runs without TLS.

ECDSA P-256, for the server's name and its domains' usual host names, in data_dir/tls/ (0700, files 0600).
Made once and kept, for people accept it once in their clients; made anew where it is damaged or has expired.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.logger import Logger

from mailserver.config.names import ip_address
from mailserver.config.schema import Certificate, Config
from mailserver.config.secrets import CertificateFault, check_pair, validity

YEARS = 10
_log = Logger()


def self_signed(config: Config) -> Certificate:
    """[disk] The pair of files, made if need be. Raises CertificateFault where they cannot be written."""
    folder = config.data_dir / "tls"
    pair = Certificate(folder / "self-signed.pem", folder / "self-signed-key.pem")
    if not _usable(pair):
        _make_files(config, pair)
    _log.warn(
        "no certificate is configured: {path} is self-signed, clients will complain about it"
        " (set tls.certificate and tls.key)",
        path=str(pair.certificate),
    )
    return pair


def _make_files(config: Config, pair: Certificate) -> None:
    folder = pair.certificate.parent
    try:
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        certificate, key = _make(config)
        _write(pair.key, key)
        _write(pair.certificate, certificate)
    except OSError as error:
        raise CertificateFault(
            "certificate", f"no certificate is set, and none can be made: {error}"
        ) from None


def _usable(pair: Certificate) -> bool:
    try:
        return not validity(check_pair(pair.certificate, pair.key)[0])
    except CertificateFault:
        return False


def _make(config: Config) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, config.hostname[:64])])
    wanted = dict.fromkeys(
        [config.hostname, *(f"mail.{domain}" for domain in config.domains), *config.domains]
    )
    alternatives = [x509.DNSName(name) for name in wanted if ip_address(name) is None]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), private


def _write(path: Path, data: bytes) -> None:
    """A torn file is found unusable at the next start and made again, so nothing is synced here."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(data)
