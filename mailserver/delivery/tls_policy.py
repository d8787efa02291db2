"""How much TLS a next hop gets.

MX hosts: opportunistic (RFC 7435): encrypted where offered, certificates not looked at, clear text where a
handshake fails, because the alternative on offer is clear text anyway. A smarthost that is given a
password gets it inside verified TLS only. Policies that a domain publishes (MTA-STS, DANE) answer here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from attrs import frozen

from mailserver.delivery.mx import MailHost
from mailserver.delivery.next_hop import NextHop
from mailserver.smtp.client.values import TlsUse

REMEMBER_SECONDS = 3600.0
REMEMBERED = 1000


@frozen
class TlsPolicy:
    """use: whether. verify: the certificate must fit the host's name. implicit: TLS from the first octet.
    clear_auth: the password may go without TLS."""

    use: TlsUse
    verify: bool = False
    implicit: bool = False
    clear_auth: bool = False


class TlsPolicies:
    """Answers for each host that is tried; remembers hosts whose handshakes fail."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._broken: dict[str, float] = {}

    def policy_for(self, hop: NextHop, host: MailHost) -> TlsPolicy:
        configured = hop.host
        if host.is_socket:
            return TlsPolicy(TlsUse.NEVER)
        if configured is not None and configured.port == 465:  # RFC 8314, 3.3
            return TlsPolicy(TlsUse.MUST, verify=bool(configured.username), implicit=True)
        if configured is not None and configured.username:
            if ipaddress.ip_address(host.ip).is_loopback:  # nobody between
                return TlsPolicy(TlsUse.MAY, clear_auth=True)
            return TlsPolicy(TlsUse.MUST, verify=True)
        if self._broken.get(host.ip, 0.0) > self._clock():
            return TlsPolicy(TlsUse.NEVER)
        return TlsPolicy(TlsUse.MAY)

    def required(self, hop: NextHop) -> TlsPolicy:
        """For a message that must not go any other way (RFC 8689, 4.2.1)."""
        implicit = hop.host is not None and hop.host.port == 465
        return TlsPolicy(TlsUse.MUST, verify=True, implicit=implicit)

    def handshake_failed(self, host: MailHost) -> None:
        """The next attempts at this address go in clear, where that is allowed."""
        if len(self._broken) >= REMEMBERED:
            self._broken.clear()
        self._broken[host.ip] = self._clock() + REMEMBER_SECONDS
