"""[proxy]: load balancers and others that speak for clients."""

from __future__ import annotations

import attrs

from mailserver.config.names import network
from mailserver.config.schema import Config, Proxy
from mailserver.config.structure import Table, text


def read_proxy(table: Table | None) -> Proxy:
    if table is None:
        return Proxy()
    proxy = Proxy(table.items("networks", _network), table.items("xclient", _network))
    table.finish()
    return proxy


def _network(value: object) -> str:
    return network(text(value))


def check_proxied(config: Config, top: Table) -> None:
    """A port behind a proxy is of no use without one."""
    if config.proxy.networks:
        return
    for service, descriptions in attrs.asdict(config.listen).items():
        for number, written in enumerate(descriptions):
            if written.startswith("haproxy:") and not written.startswith("haproxy:unix:"):
                top.fault(
                    f"{written!r} is for proxies (name them in proxy.networks)", "listen", service, number
                )
