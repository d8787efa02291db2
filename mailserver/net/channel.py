"""A TLS connection as log-in sees it: what a proof can be bound to, and the client's certificate."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import ClassVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from zope.interface import implementer

from mailserver.interfaces import IChannel

EXPORTER_LABEL = b"EXPORTER-Channel-Binding"  # RFC 9266, 2
EXPORTER_OCTETS = 32


class ServerContext(SSL.Context):
    """end_points: of each certificate that may be shown (`end_point`)
    unverified: connections whose client showed a certificate that did not verify"""

    end_points: tuple[bytes, ...] = ()
    unverified: ClassVar[weakref.WeakSet[SSL.Connection]] = weakref.WeakSet()


def end_point(certificate: x509.Certificate) -> bytes:
    """tls-server-end-point of a certificate (RFC 5929, 4.1): its hash by the hash function of its signature,
    SHA-256 for MD5 and SHA-1; empty where the signature has none (Ed25519)."""
    try:
        function = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        function = None
    if function is None:
        return b""
    if isinstance(function, hashes.MD5 | hashes.SHA1):
        function = hashes.SHA256()
    digest = hashes.Hash(function)
    digest.update(certificate.public_bytes(Encoding.DER))
    return digest.finalize()


@implementer(IChannel)
class TlsChannel:
    """Does not keep the connection: a peer may be known for longer than it."""

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = weakref.ref(connection)

    def bindings(self, kind: str) -> Sequence[bytes]:
        """tls-exporter is for TLS 1.3; before it, it would need the extended master secret, of which OpenSSL
        does not tell us (RFC 9266, 4.2). tls-server-end-point: which of our certificates a resumed session
        began with is not known either, so each that this context shows is right. All are ours alone."""
        connection = self._connection()
        if connection is None:
            return ()
        if kind == "tls-exporter" and connection.get_protocol_version_name() == "TLSv1.3":
            return (connection.export_keying_material(EXPORTER_LABEL, EXPORTER_OCTETS),)
        context = connection.get_context()
        if kind == "tls-server-end-point" and isinstance(context, ServerContext):
            return context.end_points
        return ()

    def certificate(self) -> x509.Certificate | None:
        connection = self._connection()
        if connection is None or connection in ServerContext.unverified:
            return None
        return connection.get_peer_certificate(as_cryptography=True)
