"""Is an address in a network?"""

from __future__ import annotations

import ipaddress
from functools import lru_cache


@lru_cache(maxsize=1024)
def in_networks(ip: str, networks: tuple[str, ...]) -> bool:
    """Is the address in one of these CIDR networks? An IPv4-mapped one counts as IPv4."""
    if not networks:
        return False
    address = ipaddress.ip_address(ip.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)
