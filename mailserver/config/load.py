"""mailserver.toml and its users files -> `Config` and `Users`; all faults of all files in one run.

[disk]. `read` is the whole check: what it lets through can be served. It is run at the start, by
`mailserver check`, and before every reload.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from mailserver.config.auth import read_auth, read_authorities, read_revoked
from mailserver.config.extensions import find_extension
from mailserver.config.imap import read_imap, warn_of_strangers
from mailserver.config.names import domain_name, endpoint, network
from mailserver.config.problems import ConfigError, Problem, Report, kind
from mailserver.config.proxy import check_proxied, read_proxy
from mailserver.config.relay import read_relay
from mailserver.config.schema import (
    Certificate,
    Config,
    Domain,
    Limits,
    Listen,
    Log,
    Search,
    Tls,
    Users,
)
from mailserver.config.secrets import CertificateFault, check_pair, readable, validity
from mailserver.config.structure import Reader, Table, count, one_of, path_below, section, size, text, time
from mailserver.config.toml import parse_toml
from mailserver.config.users_file import read_users
from mailserver.errors import BadAddress
from mailserver.wire.address import normalise

DEFAULT_DATA_DIR = Path("/var/lib/mailserver")
NOT_YET = ("sieve", "http")
_POLICY = re.compile(r"[A-Za-z0-9._-]{1,20}")
_SPECIALS = "!#$%&'*+-/=?^_`{|}~."  # RFC 5321 atext without letters and digits, and the dot


def _networks(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, got {kind(value)}")
    return tuple(network(text(one)) for one in value)


def _policy_name(value: object) -> str:
    """RFC 6710, 7: priority-profile."""
    written = text(value)
    if written and not _POLICY.fullmatch(written):
        raise ValueError(f"{written!r} is not the name of a policy (20 letters, digits, - _ . at the most)")
    return written


_SEARCH: dict[str, Reader[Any]] = {"index_size": size(), "timeout": time(1.0)}
_LIMITS: dict[str, Reader[Any]] = {
    "message_size": size(64 * 1024),  # RFC 5321, 4.5.3.1.7
    "recipients": count(100, 999_999),  # RFC 5321, 4.5.3.1.8; RFC 9422, 3
    "transactions": count(0, 999_999),
    "future_release": time(),
    "min_deliver_by": time(),
    "priority": count(0, 9),
    "priority_networks": _networks,
    "priority_policy": _policy_name,
    "quota": size(),
    "quota_messages": count(0),
    "line": size(8192),
    "min_rate": size(),
    "before_login": size(80 * 1024),  # a refused literal may have 64 KiB
    "commands": count(1000),
    "min_free": size(),
    "message_memory": size(1024 * 1024),
    "queued_messages": count(0),
    "metadata_size": size(1024),  # RFC 5464, 4.1
    "metadata_entries": count(10),
    "alias_depth": count(1, 1000),
}


@frozen
class Loaded:
    """What a run of `read` found good."""

    config: Config
    users: Users
    warnings: tuple[Problem, ...] = ()


def load(path: Path | str) -> Config:
    """The configuration. Raises ConfigError with every problem."""
    return read(path).config


def read(path: Path | str, contents: Mapping[Path, bytes] | None = None) -> Loaded:
    """Configuration, users and warnings. Raises ConfigError with every problem of every file.

    contents: what to take users files for instead of what is on the disk."""
    report = Report()
    config = _read_file(path, report)
    users = _read_users(config, report, contents)
    if report.problems:
        raise ConfigError(report.problems)
    return Loaded(config, users, tuple(report.warnings))


def read_without_users(path: Path | str) -> Config:
    """The configuration, whatever the users files look like. Raises ConfigError."""
    report = Report()
    config = _read_file(path, report)
    if report.problems:
        raise ConfigError(report.problems)
    return config


def read_users_again(config: Config, contents: Mapping[Path, bytes] | None = None) -> Users:
    """The users files alone, against a configuration in force; contents as in `read`. Raises ConfigError."""
    report = Report()
    users = _read_users(config, report, contents)
    if report.problems:
        raise ConfigError(report.problems)
    return users


def _read_users(config: Config, report: Report, contents: Mapping[Path, bytes] | None = None) -> Users:
    users = read_users(config.users_files, config.domains, report, contents)
    _check_domain_users(config, users, report)
    warn_of_strangers(config, users, report)
    return users


def _read_file(path: Path | str, report: Report) -> Config:
    file = Path(path).absolute()
    raw = parse_toml(file, report)
    if raw is None:
        raise ConfigError(report.problems)
    return _read_config(Table(raw, report, file))


def _read_config(top: Table) -> Config:
    base = top.file.parent
    hostname = top.value("hostname", _hostname, "")
    config = Config(
        hostname=hostname or _machine_name(top),
        data_dir=top.value("data_dir", path_below(base), DEFAULT_DATA_DIR),
        users_files=_users_files(top, base),
        workers=top.value("workers", count(1, 1024), 1),
        domains=_domains(top),
        listen=_listen(top.table("listen")),
        tls=_tls(top.table("tls"), base),
        auth=read_auth(top.table("auth"), base),
        imap=read_imap(top.table("imap")),
        limits=_finished(top.table("limits"), Limits, _LIMITS),
        search=_finished(top.table("search"), Search, _SEARCH),
        relay=read_relay(top.table("relay")),
        proxy=read_proxy(top.table("proxy")),
        log=_log(top.table("log"), base),
        extensions=top.items("extensions", _extension),
        path=top.file,
    )
    top.finish()
    _check_data_dir(config, top)
    check_proxied(config, top)
    return config


def _finished(table: Table | None, schema: type[Any], readers: dict[str, Reader[Any]]) -> Any:
    value = section(table, schema, readers)
    if table is not None:
        table.finish()
    return value


# --- top level -------------------------------------------------------------------------------------


def _hostname(value: object) -> str:
    return domain_name(text(value))


def _machine_name(top: Table) -> str:
    """The default of `hostname`: the machine's fully qualified name."""
    try:
        name = domain_name(socket.getfqdn())
    except ValueError:
        name = "localhost"
    if "." not in name and "hostname" not in top.raw:
        top.warn(f'this machine calls itself {name!r} (set it, as "mail.example.org")', "hostname")
    return name


def _extension(value: object) -> str:
    name = text(value)
    find_extension(name)
    return name


def _users_files(top: Table, base: Path) -> tuple[Path, ...]:
    read = path_below(base)
    if isinstance(top.raw.get("users_file"), list):
        files = top.items("users_file", read)
        if not top.raw["users_file"]:
            top.fault('an empty list (a file, as "users.toml", or a list of files)', "users_file")
        for number, file in enumerate(files):
            if file in files[:number]:
                top.fault(f"{file} is named twice (once each)", "users_file")
        return files
    return (top.value("users_file", read, base / "users.toml"),)


def _domains(top: Table) -> dict[str, Domain]:
    tables = top.table("domains")
    domains: dict[str, Domain] = {}
    for name, table in tables.tables().items() if tables is not None else ():
        domain = _domain(name, table)
        if domain is not None and domain.name in domains:
            table.fault(f"{domain.name} is there already (one table each, in any case of letters)")
        elif domain is not None:
            domains[domain.name] = domain
    if not domains and not (tables is not None and tables.raw):
        top.fault('no domain is served (at least one [domains."example.org"])', "domains")
    return domains


def _domain(written: str, table: Table) -> Domain | None:
    try:
        name = domain_name(written)
    except ValueError as error:
        table.fault(str(error))
        return None

    def address(value: object) -> str:
        """`postmaster = "alice"` is alice in this domain."""
        user = text(value)
        if not user:
            return ""
        try:
            return normalise(user if "@" in user else f"{user}@{name}")
        except BadAddress:
            raise ValueError(f'{user!r} is no user (as "alice" or "alice@{name}")') from None

    domain = Domain(
        name=name,
        postmaster=table.value("postmaster", address, ""),
        catch_all=table.value("catch_all", address, ""),
        subaddress=table.value("subaddress", _subaddress, "+"),
    )
    table.finish()
    return domain


def _subaddress(value: object) -> str:
    written = text(value)
    if written and (len(written) > 1 or written not in _SPECIALS):
        raise ValueError(f'{written!r} cannot separate a subaddress (one of {_SPECIALS}, or "" for none)')
    return written


def _check_domain_users(config: Config, users: Users, report: Report) -> None:
    """The people that [domains] names exist."""
    file = config.path or Path("mailserver.toml")
    for domain in config.domains.values():
        table = Table({}, report, file, "domains", domain.name)
        for key in ("postmaster", "catch_all"):
            address = getattr(domain, key)
            if address and address not in users.users:
                table.fault(f"{address} is no user (one of the users file)", key)


def _check_data_dir(config: Config, top: Table) -> None:
    """It is a folder, or one can be made; and nothing else stands where the store wants to be.

    os.path rather than Path: a folder that may not be looked into is no exception here."""
    for folder in (config.data_dir, config.mail_dir, config.queue_dir):
        if os.path.lexists(folder) and not os.path.isdir(folder):
            top.fault(f"{folder} is not a directory", "data_dir")
            return
    existing = config.data_dir
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    if not os.path.isdir(existing):
        top.fault(f"{config.data_dir} cannot be made: {existing} is not a directory", "data_dir")
    elif not os.access(existing, os.W_OK | os.X_OK):
        verb = "written" if existing == config.data_dir else "made"
        top.fault(f"{config.data_dir} cannot be {verb}: {existing} is not ours to write", "data_dir")


# --- sections --------------------------------------------------------------------------------------


def _listen(table: Table | None) -> Listen:
    """Absent: the defaults. Present: only what it names (CONTRACT)."""
    if table is None:
        return Listen()
    seen: dict[str, str] = {}
    services: dict[str, tuple[str, ...]] = {}
    for field in attrs.fields(Listen):
        service = field.name
        services[service] = table.items(service, text)
        for number, written in enumerate(services[service]):
            try:
                socket_name = endpoint(written)
            except ValueError as error:
                table.fault(str(error), service, number)
                continue
            if service == "lmtp" and socket_name.startswith("25 "):
                table.fault(f"{written!r}: LMTP must not be on port 25 (24, by custom)", service, number)
            elif socket_name and socket_name in seen:
                table.fault(f"{written!r} is taken by {seen[socket_name]} (one each)", service, number)
            elif socket_name:
                seen[socket_name] = f"{service}[{number}]"
    table.finish()
    for service in NOT_YET:
        if services[service]:
            table.fault("this service is not available in this version ([])", service)
    if not any(services.values()):
        table.warn("no service listens at all")
    return Listen(**services)


def _tls(table: Table | None, base: Path) -> Tls:
    if table is None:
        return Tls()
    certificate, key = _pair(table, base)
    more: list[Certificate] = []
    for number, raw in enumerate(table.items("more", _as_table)):
        item = Table(raw, table.report, table.file, *table.path, "more", number)
        further = _pair(item, base)
        item.finish()
        if further[0] is not None and further[1] is not None:
            more.append(Certificate(further[0], further[1]))
        elif not raw:
            item.fault("an empty table (certificate and key)")
    minimum = table.value("minimum", one_of("1.2", "1.3"), "1.2")
    client_ca = read_authorities(table, "client_ca", base)
    client_crl = read_revoked(table, "client_crl", base, client_ca)
    table.finish()
    if more and certificate is None and "certificate" not in table.raw:
        table.fault("missing (the default certificate, beside those in tls.more)", "certificate")
    return Tls(certificate, key, minimum, tuple(more), client_ca, client_crl)


def _pair(table: Table, base: Path) -> tuple[Path | None, Path | None]:
    """certificate and key: both or none, readable, belonging together."""
    read = path_below(base)
    certificate = table.value("certificate", read, None)
    key = table.value("key", read, None)
    for have, lack in (("certificate", "key"), ("key", "certificate")):
        if have in table.raw and lack not in table.raw:
            table.fault(f"missing beside {have} (both or none)", lack)
    readable_both = True
    for name, path in (("certificate", certificate), ("key", key)):
        try:
            if path is not None:
                readable(path)
        except ValueError as error:
            table.fault(str(error), name)
            readable_both = False
    if certificate is None or key is None or not readable_both:
        return None, None
    try:
        fault = validity(check_pair(certificate, key)[0])
    except CertificateFault as error:
        table.fault(str(error), error.where)
    else:
        if fault:
            table.warn(f"{certificate} {fault}", "certificate")
    return certificate, key


def _as_table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("expected a table with certificate and key")
    return value


def _log(table: Table | None, base: Path) -> Log:
    if table is None:
        return Log()
    file = table.value("file", path_below(base), None)
    if file is not None and os.path.isdir(file):
        table.fault(f"{file} is a directory (a file)", "file")
    elif file is not None and not os.path.isdir(file.parent):
        table.fault(f"{file.parent} is not a directory (a file in a folder that is there)", "file")
    form = table.value("format", one_of("text", "json"), "text")
    table.finish()
    return Log(file, form)
