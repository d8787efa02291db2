"""The addresses that mail for a domain is sent to (RFC 5321, 5.1; RFC 7505; CASES G8 to G11).

What DNS says is hostile input: it never leads to this machine itself, nor to more than a few addresses.
"""

from __future__ import annotations

import ipaddress
import random
import socket
from collections.abc import Callable
from itertools import groupby
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, gatherResults

from mailserver.config.schema import Config, Smarthost
from mailserver.delivery.next_hop import NextHop
from mailserver.dns.message import text_of
from mailserver.dns.values import Answer, DnsFailure, Status
from mailserver.smtp.client.answers import Reply, local_reply

MAX_ADDRESSES = 5
MAX_NAMES = 16  # MX hosts looked at
PER_NAME = 3  # addresses of one MX host where there are several hosts


@frozen
class MailHost:
    """One address to try. `name` is what TLS certificates and log lines call it. `ip` is `unix:PATH` for a
    Unix socket. validated: nobody on the way can have made us believe in that name: it is configured, or the
    domain's own, or DNSSEC vouches for it."""

    name: str
    ip: str
    port: int = 25
    validated: bool = True

    @property
    def is_socket(self) -> bool:
        return self.ip.startswith("unix:")


class Unroutable(Exception):
    """There is no host to try; `reply` says whether that may change."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


def is_own_address(ip: str) -> bool:
    """Loopback, unspecified, multicast, or an address of this machine: only a local address can be bound."""
    address = ipaddress.ip_address(ip)
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        return is_own_address(str(mapped))
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        return True
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((ip, 0))
    except OSError:
        return False
    return True


def literal_address(domain: str) -> str | None:
    """The address in `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321, 4.1.3); None for a name.

    Raises Unroutable for other literals.
    """
    if not domain.startswith("["):
        return None
    inner = domain[1:-1]
    if inner.lower().startswith("ipv6:"):
        inner = inner[5:]
    try:
        return str(ipaddress.ip_address(inner))
    except ValueError:
        raise Unroutable(local_reply(550, "5.1.2", "Address literal not understood")) from None


@frozen
class _Exchange:
    preference: int
    name: str


class HostFinder:
    """Next hops to addresses. `query` is Resolver.query; `config` gives the configuration in force."""

    def __init__(
        self,
        query: Callable[[str, str], Deferred[Answer]],
        config: Callable[[], Config],
        *,
        is_own: Callable[[str], bool] = is_own_address,
        shuffle: Callable[[list[_Exchange]], None] = random.shuffle,
        local_names: Callable[[str], list[str]] = lambda name: [],
    ) -> None:
        self._query = query
        self._config = config
        self._is_own = is_own
        self._shuffle = shuffle
        self._local_names = local_names

    async def find(self, hop: NextHop) -> list[MailHost]:
        """Addresses in the order to try. Raises Unroutable."""
        if hop.host is not None:
            return await self._find_host(hop.host)
        literal = literal_address(hop.domain)
        if literal is not None:
            if self._avoid(literal):
                raise Unroutable(_LOOP)
            return [MailHost(hop.domain, literal, self._config().relay.port)]
        exchanges, validated = await self._exchanges(hop.domain)
        found = await self._find_exchanges(hop.domain, exchanges)
        return found if validated else [evolve(host, validated=False) for host in found]

    # --- a configured host ------------------------------------------------------------------------

    async def _find_host(self, host: Smarthost) -> list[MailHost]:
        """A route or smarthost: what the administrator wrote is trusted, loopback too, and a mistake in
        it makes mail wait, not bounce."""
        if host.host.startswith("unix:"):
            return [MailHost(host.host, host.host, 0)]
        bare = host.host.strip("[]").removeprefix("IPv6:")
        try:
            return [MailHost(bare, str(ipaddress.ip_address(bare)), host.port)]
        except ValueError:
            found = self._local_names(host.host)
        if not found:
            found, failure = await self._addresses(host.host)
            if not found:
                why = failure or "no address"
                raise Unroutable(local_reply(451, "4.4.4", f"Next hop {host.host}: {why}"))
        return [MailHost(host.host, ip, host.port) for ip in found[:MAX_ADDRESSES]]

    # --- MX ---------------------------------------------------------------------------------------

    async def _exchanges(self, domain: str) -> tuple[list[_Exchange], bool]:
        """MX hosts by preference, equal ones shuffled; else the domain itself (RFC 5321, 5.1). Whether they
        are validated."""
        try:
            answer = await self._query(domain, "MX")
        except DnsFailure as error:
            raise Unroutable(_dns_reply(domain, error)) from error
        if answer.status is Status.NXDOMAIN:
            raise Unroutable(local_reply(550, "5.1.2", f"Domain {domain} does not exist"))
        if answer.status is Status.NODATA:
            return [_Exchange(0, answer.name)], answer.secure or answer.name == domain.rstrip(".").lower()
        exchanges = _exchanges_of(answer)
        if _is_null(exchanges):
            raise Unroutable(local_reply(556, "5.1.10", f"Domain {domain} does not accept mail"))
        exchanges = [exchange for exchange in exchanges if exchange.name]
        exchanges.sort(key=lambda exchange: exchange.preference)
        ordered: list[_Exchange] = []
        for _, group in groupby(exchanges, key=lambda exchange: exchange.preference):
            equal = list(group)
            self._shuffle(equal)
            ordered += equal
            if len(ordered) >= MAX_NAMES:
                break
        return ordered[:MAX_NAMES], answer.secure

    async def _find_exchanges(self, domain: str, exchanges: list[_Exchange]) -> list[MailHost]:
        port = self._config().relay.port
        found: list[tuple[int, MailHost]] = []
        failure = ""
        looped = False
        most = PER_NAME if len(exchanges) > 1 else MAX_ADDRESSES
        for exchange in exchanges:
            own = exchange.name == self._config().hostname.lower() or exchange.name == "localhost"
            addresses: list[str] = []
            if not own:
                addresses, why = await self._addresses(exchange.name)
                failure = failure or why
                own = any(self._avoid(ip) for ip in addresses)
            if own:  # RFC 5321, 5.1: it and all that are not better are discarded
                looped = True
                found = [entry for entry in found if entry[0] < exchange.preference]
                break
            found += [(exchange.preference, MailHost(exchange.name, ip, port)) for ip in addresses[:most]]
            if len(found) >= MAX_ADDRESSES and not _equal_follow(exchange, exchanges):
                break
        if found:
            return [host for _, host in found[:MAX_ADDRESSES]]
        if failure:
            raise Unroutable(local_reply(451, "4.4.3", f"Mail hosts of {domain}: {failure}"))
        if looped:
            raise Unroutable(_LOOP)
        raise Unroutable(local_reply(550, "5.4.4", f"Domain {domain} has no mail host with an address"))

    async def _addresses(self, name: str) -> tuple[list[str], str]:
        """A, then AAAA, with the reason where one could not be had."""
        failures: list[str] = []

        def failed(failure: Any) -> None:
            error = failure.trap(DnsFailure) and failure.value
            if not error.hopeless:
                failures.append(str(error))

        lookups = [self._query(name, rdtype).addErrback(failed) for rdtype in ("A", "AAAA")]
        answers = await gatherResults(lookups)
        found = [record.address for answer in answers if answer is not None for record in answer.records]
        return found, failures[0] if failures and not found else ""

    def _avoid(self, ip: str) -> bool:
        return not self._config().relay.allow_loopback and self._is_own(ip)


def _exchanges_of(answer: Answer) -> list[_Exchange]:
    return [_Exchange(record.preference, text_of(record.exchange)) for record in answer.records]


def _is_null(exchanges: list[_Exchange]) -> bool:
    """RFC 7505, 3: the domain takes no mail."""
    return bool(exchanges) and all(exchange.name == "" for exchange in exchanges)


def has_null_mx(query: Callable[[str, str], Deferred[Answer]], domain: str) -> Deferred[bool]:
    """Fails with DnsFailure."""
    return query(domain, "MX").addCallback(lambda answer: _is_null(_exchanges_of(answer)))


_LOOP = local_reply(554, "5.4.6", "Mail for this domain loops back to this server")


def _equal_follow(exchange: _Exchange, exchanges: list[_Exchange]) -> bool:
    """Does a host of the same preference come after this one? It may be this server itself."""
    position = exchanges.index(exchange) + 1
    return position < len(exchanges) and exchanges[position].preference == exchange.preference


def _dns_reply(domain: str, error: DnsFailure) -> Reply:
    if error.hopeless:
        return local_reply(550, "5.1.2", f"Bad domain name {domain}")
    return local_reply(451, "4.4.3", f"DNS lookup of {domain} failed: {error}")


def names_of_hosts_file(name: str, path: str = "/etc/hosts") -> list[str]:
    """Addresses that /etc/hosts gives a name: for next hops that the administrator names."""
    found = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file.read(1 << 20).splitlines():
                words = line.partition("#")[0].lower().split()
                if name.lower() in words[1:]:
                    found.append(words[0].partition("%")[0])
    except OSError:
        return []
    return [ip for ip in found if _is_address(ip)]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
