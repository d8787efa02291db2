"""Certificate files to OpenSSL contexts: one set per service, chosen by SNI, replaced whole on reload.

TLS 1.2 and later, forward secrecy and authenticated encryption only, no compression, no renegotiation
(RFC 8996, RFC 9325). Every service has contexts of its own: their ticket keys differ, so that a session of
one service cannot be resumed on another, where other rights hold. Sessions are kept in tickets by the
client, nothing is remembered here, whatever names clients ask for.

With `tls.client_ca` clients of the users' services are asked for a certificate. They may go on without
one, or with one that nobody vouches for, which then does not count (`net.channel`).

Several certificates with the same names and different kinds of keys (ECDSA and RSA) stand in one context, and
OpenSSL takes the one that the client knows. New contexts serve new handshakes; open connections keep theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from mailserver.config.schema import Certificate, Config, Tls
from mailserver.config.secrets import CertificateFault, check_pair, names, revoked_of
from mailserver.net.channel import ServerContext, end_point
from mailserver.tls.self_signed import self_signed

SERVICES = ("smtp", "lmtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s")
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; those of TLS 1.3 all qualify
TICKET_SECONDS = 2 * 3600
_MINIMUM = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


@frozen
class _Group:
    """Certificates with the same names: one context."""

    names: frozenset[str]
    pairs: tuple[Certificate, ...]


class _Contexts:
    """The contexts of one service: a default, and others by name."""

    def __init__(self, service: str, config: Tls, groups: Sequence[_Group]) -> None:
        made = [_context(service, config, group.pairs) for group in groups]
        self.default = made[0]
        self._by_name: dict[str, SSL.Context] = {}
        for group, context in zip(groups, made, strict=True):
            for name in group.names:
                self._by_name.setdefault(name, context)
        self.default.set_tlsext_servername_callback(self._choose)

    def _choose(self, connection: SSL.Connection) -> None:
        """SNI (RFC 6066, 3): the certificate for the name, the default for any other."""
        asked = connection.get_servername()
        if not asked:
            return
        name = asked.decode("ascii", "replace").lower().rstrip(".")
        found = self._by_name.get(name) or self._by_name.get("*." + name.partition(".")[2])
        if found is not None and found is not self.default:
            connection.set_context(found)


def _context(service: str, config: Tls, pairs: Sequence[Certificate]) -> SSL.Context:
    context = ServerContext(SSL.TLS_METHOD)
    context.set_min_proto_version(_MINIMUM[config.minimum])
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(CIPHERS)
    context.set_session_id(b"mailserver " + service.encode("ascii"))
    context.set_session_cache_mode(SSL.SESS_CACHE_SERVER | SSL.SESS_CACHE_NO_INTERNAL)  # tickets only
    context.set_timeout(TICKET_SECONDS)
    for pair in pairs:
        context.use_certificate_chain_file(str(pair.certificate))
        context.use_privatekey_file(str(pair.key))
        context.check_privatekey()
    chains = [check_pair(pair.certificate, pair.key) for pair in pairs]
    context.end_points = tuple(filter(None, (end_point(chain[0]) for chain in chains)))
    if config.client_ca is not None and service not in ("smtp", "lmtp"):
        _ask_for_certificates(context, config.client_ca, config.client_crl)
    return context


def _ask_for_certificates(context: ServerContext, authorities: Path, revoked: Sequence[Path]) -> None:
    """Nobody is refused for a certificate. With lists of revoked ones, only those count whose authority has
    one that is not out of date (RFC 5280, 6.3). So that one which did not verify is never taken for one that
    did, no session is resumed: a resumed one brings its certificate along without a look at it."""
    context.load_verify_locations(str(authorities))
    context.load_client_ca(bytes(authorities))
    store = context.get_cert_store()
    if revoked and store is not None:
        for path in revoked:
            for one in revoked_of(path):
                store.add_crl(one)
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)

    def verified(connection: SSL.Connection, certificate: Any, error: int, depth: int, good: int) -> bool:
        if not good:
            context.unverified.add(connection)
        return True

    context.set_verify(SSL.VERIFY_PEER, verified)


def build(config: Config) -> dict[str, _Contexts]:
    """[disk] The contexts of all services from the files as they are now. Raises CertificateFault."""
    first = config.tls.certificate, config.tls.key
    if first[0] is None or first[1] is None:
        pairs = [self_signed(config), *config.tls.more]
    else:
        pairs = [Certificate(first[0], first[1]), *config.tls.more]
    groups: dict[frozenset[str], list[Certificate]] = {}
    for pair in pairs:
        groups.setdefault(frozenset(names(check_pair(pair.certificate, pair.key)[0])), []).append(pair)
    ready = [_Group(found, tuple(group)) for found, group in groups.items()]
    return {service: _Contexts(service, config.tls, ready) for service in SERVICES}


@implementer(IOpenSSLServerConnectionCreator)
class _Server:
    """What `startTLS` and a TLS-wrapped endpoint want: a connection in today's context of a service."""

    def __init__(self, contexts: TlsContexts, service: str) -> None:
        self._contexts = contexts
        self._service = service

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        return SSL.Connection(self._contexts.of(self._service), None)


class TlsContexts:
    """The server side of TLS. Raises CertificateFault at the start; later a fault keeps the old contexts.

    settings: config.watch.Settings; every change of it rebuilds the contexts from the files.
    run: `run(function, *arguments)` calls it in a thread; by default in the reactor's pool.
    """

    log = Logger()

    def __init__(self, settings: Any, reactor: Any, run: Callable[..., Deferred[Any]] | None = None) -> None:
        self._settings = settings
        self._reactor = reactor
        self._run = run or self._in_thread
        self._contexts = build(settings.now)
        self._building: Deferred[bool] | None = None
        self._again = False
        self._unsubscribe = settings.subscribe(self._settings_changed)
        self._built_for = settings.now

    def server(self, service: str) -> IOpenSSLServerConnectionCreator:
        """The connection creator of one service; it follows reloads."""
        if service not in self._contexts:
            raise ValueError(f"{service} has no TLS")
        return _Server(self, service)

    def of(self, service: str) -> SSL.Context:
        """Today's default context of a service."""
        return self._contexts[service].default

    def stop(self) -> None:
        """Follow the settings no longer."""
        self._unsubscribe()

    def reload(self) -> Deferred[bool]:
        """Read the files again, in a thread. Fires with True where they are in force now, with False where
        they were faulty (which is logged) and the old ones stay."""
        if self._building is not None:
            self._again = True
            return _share(self._building)
        self._building = Deferred()
        answer = _share(self._building)
        Deferred.fromCoroutine(self._rebuild())
        return answer

    async def _rebuild(self) -> None:
        good = False
        while True:
            self._again = False
            try:
                self._contexts = await self._run(build, self._settings.now)
                good = True
            except CertificateFault as error:
                good = False
                self.log.error("TLS: {error}; the old certificates stay in force", error=str(error))
            except Exception:
                good = False
                self.log.failure("TLS: the certificates could not be loaded; the old ones stay in force")
            if not self._again:
                break
        building, self._building = self._building, None
        if building is not None:
            building.callback(good)

    def _settings_changed(self) -> None:
        """A reload has read the configuration anew; an edit of the users has not, and is no reason."""
        if self._settings.now is not self._built_for:
            self._built_for = self._settings.now
            self.reload()

    def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *arguments)


def _share(source: Deferred[bool]) -> Deferred[bool]:
    """A Deferred of one's own for a result that several wait for."""
    own: Deferred[bool] = Deferred()

    def tell(result: bool) -> bool:
        own.callback(result)
        return result

    source.addCallback(tell)
    return own
