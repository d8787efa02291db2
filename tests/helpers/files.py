"""Configuration files and certificates for tests, written into a folder."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

CONFIG = """\
hostname = "mail.example.org"
data_dir = "data"

[domains."example.org"]
"""

USERS = """\
[users."alice@example.org"]
password = "{PLAIN}secret"
aliases = ["al@example.org"]

[users."bob@example.org"]
password = "{PLAIN}hunter2"

[aliases]
"team@example.org" = ["alice@example.org", "bob@elsewhere.example"]
"""


def write_site(folder: Path, config: str = CONFIG, users: str | None = USERS) -> Path:
    """mailserver.toml and users.toml (0600); the path of the first."""
    path = folder / "mailserver.toml"
    path.write_text(config)
    path.chmod(0o600)
    if users is not None:
        write_users(folder, users)
    return path


def write_users(folder: Path, users: str) -> Path:
    path = folder / "users.toml"
    path.write_text(users)
    path.chmod(0o600)
    return path


def write_certificate(
    folder: Path,
    *names: str,
    stem: str = "cert",
    days: int = 30,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> tuple[Path, Path]:
    """A self-signed ECDSA P-256 certificate for the names (or IP addresses), and its key, as STEM.pem and
    STEM-key.pem. A negative `days` makes one that has expired."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=100))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = folder / f"{stem}.pem", folder / f"{stem}-key.pem"
    certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_path.touch(0o600)
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate_path, key_path


def write_crl(
    path: Path, authority: Path, key: Any, *revoked: x509.Certificate, days: int = 30, der: bool = False
) -> Path:
    """What an authority (its certificate, its key) has revoked; it is to be renewed after `days`."""
    now = datetime.datetime.now(datetime.UTC)
    issuer = x509.load_pem_x509_certificate(authority.read_bytes())
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - datetime.timedelta(days=100))
        .next_update(now + datetime.timedelta(days=days))
    )
    for certificate in revoked:
        one = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now)
        builder = builder.add_revoked_certificate(one.build())
    made = builder.sign(key, hashes.SHA256())
    path.write_bytes(made.public_bytes(Encoding.DER if der else Encoding.PEM))
    return path


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
