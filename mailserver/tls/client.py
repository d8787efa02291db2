"""TLS where this server is the client: with other mail servers, and with a provider of log-ins.

TLS 1.2 and later. A certificate is looked at where a policy wants it (`delivery.tls_policy`); else what would
go in clear is at least encrypted (RFC 7435).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate as PemCertificate
from twisted.internet.ssl import TLSVersion, optionsForClientTLS, trustRootFromCertificates
from zope.interface import implementer

from mailserver.config.names import ip_address
from mailserver.config.secrets import authorities_of

_opportunistic: list[SSL.Context] = []


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """TLS for what would else go in clear (RFC 7435): any certificate will do."""

    def __init__(self, hostname: str) -> None:
        self._name = None if ip_address(hostname) else hostname.rstrip(".").encode("ascii")
        if not _opportunistic:
            context = SSL.Context(SSL.TLS_METHOD)
            context.set_min_proto_version(SSL.TLS1_2_VERSION)
            context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
            context.set_mode(SSL.MODE_RELEASE_BUFFERS)
            context.set_verify(SSL.VERIFY_NONE)
            context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
            _opportunistic.append(context)

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        connection = SSL.Connection(_opportunistic[0], None)
        if self._name:
            connection.set_tlsext_host_name(self._name)
        return connection


def client_context(
    hostname: str, verify: bool, authorities: tuple[Path, ...] = ()
) -> IOpenSSLClientConnectionCreator:
    """What `transport.startTLS` of a client wants.

    verify: the certificate must be valid for `hostname` (an A-label name or an address) by the system's
    authorities, or by those in the PEM files `authorities` alone. Otherwise the connection is encrypted and
    nothing more is promised. Raises ValueError (UnicodeError) for what cannot be a host name.
    """
    return verified_context(hostname, authorities) if verify else _Unverified(hostname)


@lru_cache(maxsize=64)  # loading the system's authorities takes milliseconds
def verified_context(hostname: str, authorities: tuple[Path, ...]) -> IOpenSSLClientConnectionCreator:
    """See client_context."""
    trust = None
    if authorities:
        found = [one for path in authorities for one in authorities_of(path)]
        loaded = [PemCertificate.loadPEM(one.public_bytes(Encoding.PEM)) for one in found]
        trust = trustRootFromCertificates(loaded)  # type: ignore[no-untyped-call]
    creator: IOpenSSLClientConnectionCreator = optionsForClientTLS(
        hostname.rstrip("."), trustRoot=trust, extraCertificateOptions={"raiseMinimumTo": TLSVersion.TLSv1_2}
    )
    return creator
