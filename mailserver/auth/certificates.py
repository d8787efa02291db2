"""Log-in by the client's certificate (SASL EXTERNAL, RFC 4422, appendix A).

TLS has verified the certificate against `tls.client_ca` (`net.channel`). It is for the users whose
`certificates` list its fingerprint, and for those whose address it names (rfc822Name, RFC 5280,
4.2.1.6). Where that is one user, the client need not say whom it means.
"""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.error import UnauthorizedLogin
from zope.interface import Attribute, implementer

from mailserver.auth.checkers import IConditional
from mailserver.auth.users import Directory
from mailserver.interfaces import Peer


class ICertificate(ICredentials):
    """Who holds a certificate, and whom they want to be."""

    username = Attribute("the name that was asked for, '' for whom the certificate names: str")
    certificate = Attribute("verified: cryptography.x509.Certificate, or None where there is none")


@implementer(ICertificate)
@frozen
class CertificateCredentials:
    """See ICertificate."""

    username: str
    certificate: Any = field(repr=False)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate, 64 hexadecimal digits, as `certificates` of a users file holds it."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def addresses(certificate: x509.Certificate) -> list[str]:
    """The mail addresses that it names."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return extension.value.get_values_for_type(x509.RFC822Name)
    except (x509.ExtensionNotFound, ValueError):
        return []


@implementer(ICredentialsChecker, IConditional)
class CertificateChecker:
    """Users of the users files."""

    credentialInterfaces = (ICertificate,)

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def offered(self, peer: Peer) -> bool:
        certificate = peer.channel.certificate() if peer.channel is not None else None
        return certificate is not None and bool(self._users(certificate))

    def requestAvatarId(self, credentials: Any) -> Any:
        """The user's address. Raises UnauthorizedLogin."""
        users = self._users(credentials.certificate) if credentials.certificate is not None else set()
        if credentials.username:
            user = self._directory.find(credentials.username)
            if user is None or user.address not in users:
                raise UnauthorizedLogin("not a name of the certificate")
            return user.address
        if len(users) != 1:
            raise UnauthorizedLogin("the certificate names several users" if users else "no certificate")
        return users.pop()

    def _users(self, certificate: x509.Certificate) -> set[str]:
        """Addresses of the enabled users that a certificate is for."""
        found = {user.address for user in self._directory.by_certificate(fingerprint(certificate))}
        for address in addresses(certificate):
            user = self._directory.find(address) if "@" in address else None
            if user is not None and not user.disabled:
                found.add(user.address)
        return found
