"""Certificates, keys and files with passwords: are they there, do they match, who else may read them?

A private key that everybody on the machine can read is a fault. A file with readable passwords that others
can read is a warning: it protects nobody worse than yesterday, and mail must not stop for it.
"""

from __future__ import annotations

import datetime
import os
import re
import stat
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from OpenSSL import SSL

_PEM_CRL = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----\n?", re.DOTALL)


class CertificateFault(ValueError):
    """What is wrong with a pair of files. `where` is "certificate" or "key"."""

    def __init__(self, where: str, text: str) -> None:
        self.where = where
        super().__init__(text)


def readable(path: Path) -> bytes:
    """The file's bytes. Raises ValueError that says why it cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError(f"{path} is not a file")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {os.strerror(error.errno or 0)}") from None


def others_may_read(path: Path) -> bool:
    """True where a file can be read by everybody on the machine."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def check_pair(certificate: Path, key: Path) -> list[x509.Certificate]:
    """The chain, own certificate first. Raises CertificateFault where the pair cannot be used."""
    try:
        chain_pem = readable(certificate)
    except ValueError as error:
        raise CertificateFault("certificate", str(error)) from None
    try:
        key_pem = readable(key)
    except ValueError as error:
        raise CertificateFault("key", str(error)) from None
    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
    except ValueError:
        raise CertificateFault("certificate", f"{certificate} holds no PEM certificate") from None
    try:
        private = load_pem_private_key(key_pem, None)
    except TypeError:
        raise CertificateFault("key", f"{key} is protected by a pass phrase (a key without one)") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateFault("key", f"{key} holds no PEM private key") from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != chain[0].public_key().public_bytes(*form):
        if any(private.public_key().public_bytes(*form) == c.public_key().public_bytes(*form) for c in chain):
            raise CertificateFault("certificate", f"{certificate} does not begin with the server's own")
        raise CertificateFault("key", f"{key} does not belong to {certificate}")
    if others_may_read(key):
        raise CertificateFault("key", f"{key} can be read by everybody (chmod 600, or 640 with its group)")
    _try_in_openssl(certificate, key)
    return chain


def authorities_of(path: Path) -> list[x509.Certificate]:
    """Certificates of authorities in a PEM file. Raises ValueError where there is none."""
    pem = readable(path)
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError(f"{path} holds no PEM certificate") from None


def revoked_of(path: Path) -> list[x509.CertificateRevocationList]:
    """Lists of revoked certificates in a file: one in DER, or one or more in PEM. Raises ValueError."""
    data = readable(path)
    try:
        if b"-----BEGIN" not in data:
            return [x509.load_der_x509_crl(data)]
        blocks = _PEM_CRL.findall(data)
        if not blocks:
            raise ValueError("no list")
        return [x509.load_pem_x509_crl(block) for block in blocks]
    except ValueError:
        raise ValueError(f"{path} holds no list of revoked certificates (X509 CRL, PEM or DER)") from None


def is_stale(revoked: x509.CertificateRevocationList) -> bool:
    """Should there be a newer one?"""
    until = revoked.next_update_utc
    return until is not None and until < datetime.datetime.now(datetime.UTC)


def _try_in_openssl(certificate: Path, key: Path) -> None:
    """Keys that are too small, broken signatures, curves that nobody speaks: OpenSSL has the last word."""
    context = SSL.Context(SSL.TLS_METHOD)
    try:
        context.use_certificate_chain_file(str(certificate))
        context.use_privatekey_file(str(key))
        context.check_privatekey()
    except SSL.Error as error:
        reasons = ", ".join(str(part[-1]) for part in (error.args[0] if error.args else ()))
        raise CertificateFault(
            "certificate", f"OpenSSL refuses {certificate}: {reasons or error!r}"
        ) from None


def validity(certificate: x509.Certificate) -> str:
    """What is wrong with the dates of a certificate today, "" for nothing."""
    now = datetime.datetime.now(datetime.UTC)
    if certificate.not_valid_after_utc < now:
        return f"has expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if certificate.not_valid_before_utc > now:
        return f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
    return ""


def names(certificate: x509.Certificate) -> list[str]:
    """The DNS names a certificate is for, lower case (RFC 6125: the subject only where there are none)."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        found = extension.value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        found = []
    if not found:
        common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        found = [str(attribute.value) for attribute in common]
    return [name.lower().rstrip(".") for name in found]
