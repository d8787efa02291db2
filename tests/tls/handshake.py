"""A handshake between a client and our contexts, in memory."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.defer import Deferred, maybeDeferred

from mailserver.tls.server import TlsContexts


class Handshake:
    """A TLS client and our server, joined in memory. `client` is an SSL.Context or one is made."""

    def __init__(
        self,
        contexts: TlsContexts,
        service: str = "imap",
        name: str = "",
        client: SSL.Context | None = None,
        session: SSL.Session | None = None,
    ) -> None:
        self.client = SSL.Connection(client or SSL.Context(SSL.TLS_METHOD), None)
        if name:
            self.client.set_tlsext_host_name(name.encode())
        if session is not None:
            self.client.set_session(session)
        self.client.set_connect_state()
        self.server = contexts.server(service).serverConnectionForTLS(None)
        self.server.set_accept_state()
        self.pump()

    def pump(self, rounds: int = 10) -> None:
        """Let both sides talk until they have no more to say."""
        for _ in range(rounds):
            for side in (self.client, self.server):
                try:
                    side.do_handshake()
                    side.recv(65536)
                except SSL.WantReadError:
                    pass
                self._carry(self.client, self.server)
                self._carry(self.server, self.client)

    @staticmethod
    def _carry(source: SSL.Connection, sink: SSL.Connection) -> None:
        while True:
            try:
                sink.bio_write(source.bio_read(65536))
            except SSL.WantReadError:
                return

    @property
    def shown(self) -> list[str]:
        """The names in the server's certificate."""
        certificate = self.client.get_peer_certificate()
        assert certificate is not None
        found = certificate.to_cryptography().extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return list(found.value.get_values_for_type(x509.DNSName))


def client(version: int | None = None, ciphers: bytes = b"ALL:@SECLEVEL=0") -> SSL.Context:
    """A client that would take anything, of one version where one is given."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(ciphers)
    context.set_min_proto_version(version or SSL.TLS1_VERSION)
    if version:
        context.set_max_proto_version(version)
    return context


def run_now(function: Any, *arguments: Any) -> Deferred[Any]:
    return maybeDeferred(function, *arguments)
