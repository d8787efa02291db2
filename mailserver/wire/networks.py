"""Addresses of the IP, and the networks that they are in."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@lru_cache(maxsize=1024)
def in_networks(ip: str, networks: tuple[str, ...]) -> bool:
    """Is the address in one of these CIDR networks? An IPv4-mapped one counts as IPv4."""
    if not networks:
        return False
    address = unmapped(ipaddress.ip_address(ip.partition("%")[0]))
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)


def unmapped(address: Address) -> Address:
    """An IPv4 address that stands in an IPv6 one is that."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
