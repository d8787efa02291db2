"""How much a next hop is given at once, and how fast: [relay] and [relay.limits]. Pure."""

from __future__ import annotations

from attrs import frozen

from mailserver.config.schema import HopLimits, Relay
from mailserver.delivery.next_hop import NextHop, next_hop


@frozen
class Limits:
    """connections: deliveries at once. messages: of one connection. interval: least seconds between two
    deliveries, 0: none."""

    connections: int
    messages: int = 1
    interval: float = 0.0


def limits_of(relay: Relay, domain: str) -> Limits:
    """Those of the next hop of the domain."""
    return hop_limits(relay, next_hop(relay, domain))


def hop_limits(relay: Relay, hop: NextHop) -> Limits:
    """What is set for the hop's name, or the nearest `*.` above it; all else as [relay] says."""
    own = _own(relay, hop.domain or (hop.host.host.lower() if hop.host else ""))
    return Limits(
        own.connections or relay.connections_per_destination,
        own.messages_per_connection or relay.messages_per_connection,
        1 / own.rate if own.rate else 0.0,
    )


def _own(relay: Relay, name: str) -> HopLimits:
    found = relay.limits.get(name)
    while found is None and "." in name:
        name = name.partition(".")[2]
        found = relay.limits.get("*." + name)
    return found or _NOTHING


_NOTHING = HopLimits()
