"""[relay] and [relay.routes]: next hops, networks, retry schedule."""

from __future__ import annotations

from attrs import evolve

from mailserver.config.names import domain_name, host_and_port, ip_address, network
from mailserver.config.schema import HopLimits, Relay, Smarthost
from mailserver.config.secrets import others_may_read
from mailserver.config.structure import Table, boolean, count, text, time
from mailserver.config.units import parse_rate

MAX_SOCKET_PATH = 107  # octets; sun_path of Linux


def read_relay(table: Table | None) -> Relay:
    """The whole section; `username` and `password` stand beside `smarthost` and go into it."""
    if table is None:
        return Relay()
    default = Relay()
    smarthost = table.value("smarthost", _next_hop_or_none, None)
    username = table.value("username", text, "")
    password = table.value("password", text, "")
    _check_login(table, smarthost is not None, username, password)
    if smarthost is not None:
        smarthost = evolve(smarthost, username=username, password=password)
    relay = Relay(
        smarthost=smarthost,
        resolver=table.value("resolver", _resolver, ""),
        networks=table.items("networks", lambda value: network(text(value))),
        retry=table.items("retry", time(1.0), default.retry),
        warn_after=table.value("warn_after", time(), default.warn_after),
        expire_after=table.value("expire_after", time(1.0), default.expire_after),
        connections_per_destination=table.value(
            "connections_per_destination", count(), default.connections_per_destination
        ),
        connections=table.value("connections", count(), default.connections),
        messages_per_connection=table.value(
            "messages_per_connection", count(), default.messages_per_connection
        ),
        port=table.value("port", count(1, 65535), default.port),
        allow_loopback=table.value("allow_loopback", boolean, default.allow_loopback),
        routes=_routes(table.table("routes")),
        limits=_limits(table.table("limits")),
    )
    if table.raw.get("retry") == []:
        table.fault('an empty list (at least one time, as "5m")', "retry")
    table.finish()
    return relay


def _check_login(table: Table, has_host: bool, username: str, password: str) -> None:
    if (username or password) and not has_host and not table.raw.get("smarthost"):
        table.fault(
            "a log-in without a smarthost (set smarthost too)", "username" if username else "password"
        )
    if bool(username) != bool(password):
        have, lack = ("username", "password") if username else ("password", "username")
        table.fault(f"missing beside {have} (both or none)", lack)
    if password and others_may_read(table.file):
        table.warn("everybody on this machine can read this password (chmod 640)", "password")


def _routes(table: Table | None) -> dict[str, Smarthost]:
    routes: dict[str, Smarthost] = {}
    for name in table.raw if table is not None else ():
        assert table is not None
        hop = table.value(name, _route, None)
        try:
            domain = _domains(name)
        except ValueError as error:
            table.fault(f'{error}, or "*.example.org" for all below it', name)
            continue
        if domain in routes:
            table.fault(f"{domain} has a route already (one for each domain)", name)
        elif hop is not None:
            routes[domain] = hop
    return routes


def _route(value: object) -> Smarthost:
    """HOST[:PORT], lmtp:HOST[:PORT], or lmtp:unix:PATH."""
    written = text(value)
    if not written.startswith("lmtp:"):
        return _next_hop(written)
    where = written.removeprefix("lmtp:")
    if not where.startswith("unix:"):
        return Smarthost(*host_and_port(where, 24), lmtp=True)
    path = where.removeprefix("unix:")
    if not path.startswith("/") or len(path.encode()) > MAX_SOCKET_PATH:
        raise ValueError(f'{written!r} is not a socket (as "lmtp:unix:/run/dovecot/lmtp")')
    return Smarthost(where, 0, lmtp=True)


def _limits(tables: Table | None) -> dict[str, HopLimits]:
    limits: dict[str, HopLimits] = {}
    for name, table in tables.tables().items() if tables is not None else ():
        try:
            hop = ip_address(name.strip("[]")) or _domains(name)
        except ValueError as error:
            table.fault(f'{error}, or "*.example.org" for all below it, or an address')
            continue
        if hop in limits:
            table.fault(f"{hop} has limits already (one table for each)")
            continue
        limits[hop] = HopLimits(
            table.value("connections", count(), 0),
            table.value("messages_per_connection", count(), 0),
            table.value("rate", parse_rate, 0.0),
        )
        table.finish()
    return limits


def _domains(written: str) -> str:
    """A domain, or all below one."""
    return "*." + domain_name(written[2:]) if written.startswith("*.") else domain_name(written)


def _next_hop(value: object) -> Smarthost:
    return Smarthost(*host_and_port(text(value), 25))


def _next_hop_or_none(value: object) -> Smarthost | None:
    return None if value == "" else _next_hop(value)


def _resolver(value: object) -> str:
    written = text(value)
    if not written:
        return ""
    address, port = host_and_port(f"[{written}]" if ip_address(written) else written, 53)
    if ip_address(address) is None:
        raise ValueError(f'{written!r} is not an address (as "127.0.0.1:53" or "[::1]:53")')
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
