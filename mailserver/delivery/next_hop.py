"""Which way mail for a remote domain goes: a route, the smarthost, or the domain's own MX hosts. Pure."""

from __future__ import annotations

from attrs import frozen

from mailserver.config.schema import Relay, Smarthost


@frozen
class NextHop:
    """key: connections and back-off are counted by it. Exactly one of `domain` (MX lookup, RFC 5321, 5.1)
    and `host` (no MX lookup) is set."""

    key: str
    domain: str = ""
    host: Smarthost | None = None


def next_hop(relay: Relay, domain: str) -> NextHop:
    """The route of the domain, of the nearest `*.` above it, the smarthost, or MX."""
    host = relay.routes.get(domain)
    above = domain
    while host is None and "." in above:
        above = above.partition(".")[2]
        host = relay.routes.get("*." + above)
    host = host or relay.smarthost
    if host is None:
        return NextHop(domain, domain)
    way = "lmtp:" if host.lmtp else ""
    name = host.host if host.host.startswith("unix:") else f"{host.host.lower()}:{host.port}"
    return NextHop(f"{way}{name}:{host.username}", "", host)
