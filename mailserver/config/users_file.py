"""users.toml: users and aliases of all files together, checked against one another and the domains.

[users."ADDRESS"] has password, aliases, quota, quota_messages, disabled, search_index, certificates;
[aliases] maps addresses to lists of targets.
An address means one thing only: a user, or a user's alias, or an entry of [aliases].
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from mailserver.auth.passwords import check_hash
from mailserver.config.problems import Report, dotted, kind
from mailserver.config.schema import User, Users
from mailserver.config.secrets import others_may_read
from mailserver.config.structure import Table, boolean, count, size, text
from mailserver.config.toml import parse_toml
from mailserver.errors import MailError
from mailserver.wire.address import normalise

HASH_FORMS = "$argon2id$…, $2b$…, $6$…, $5$…, {SCRAM-SHA-256}…, {SSHA}… or {PLAIN}…; see `mailserver hash`"


def read_users(
    files: Iterable[Path],
    domains: Collection[str],
    report: Report,
    contents: Mapping[Path, bytes] | None = None,
) -> Users:
    """All users and aliases of the files. Faults go into the report; domains: names that are ours;
    contents: what to take a file for instead of what is on the disk (an edit that is not written yet)."""
    reader = _Reader(domains, report)
    for file in files:
        reader.read_file(file, (contents or {}).get(file))
    return reader.finish()


class _Reader:
    def __init__(self, domains: Collection[str], report: Report) -> None:
        self.domains = domains
        self.report = report
        self.users: dict[str, User] = {}
        self.aliases: dict[str, tuple[str, ...]] = {}
        self.taken: dict[str, str] = {}  # address -> where it is defined, in words
        self.own_aliases: list[tuple[Table, str, tuple[str, ...]]] = []
        self.alias_tables: list[Table] = []

    def read_file(self, file: Path, data: bytes | None) -> None:
        """Users at once; aliases wait until all users are known."""
        raw = parse_toml(file, self.report, data)
        if raw is None:
            return
        top = Table(raw, self.report, file)
        users, aliases = top.table("users"), top.table("aliases")
        top.finish()
        readable: list[str] = []
        for name, table in users.tables().items() if users else ():
            user = self._user(name, table)
            if user is not None and user.password.startswith("{PLAIN}"):
                readable.append(user.address)
        if readable and others_may_read(file):
            self.report.warn(
                file,
                dotted("users", readable[0], "password"),
                "everybody on this machine can read a {PLAIN} password (chmod 600, or a hash)",
            )
        if aliases is not None:
            self.alias_tables.append(aliases)

    def finish(self) -> Users:
        for table, address, aliases in self.own_aliases:
            for number, alias in enumerate(aliases):
                if alias == address:
                    table.fault(f"{alias} is the user's own address", "aliases", number)
                elif self._take(table, alias, f"an alias of {address}", "aliases", number):
                    self.aliases[alias] = (address,)
        for table in self.alias_tables:
            for name in table.raw:
                self._alias(table, name)
        for table in self.alias_tables:
            self._warn_of_dead_ends(table)
        return Users(self.users, self.aliases)

    def _user(self, name: str, table: Table) -> User | None:
        password = table.value("password", _password, "")
        aliases = table.items("aliases", _address)
        quota = table.value("quota", size(), None)
        messages = table.value("quota_messages", count(0), None)
        disabled = table.value("disabled", boolean, False)
        search_index = table.value("search_index", boolean, None)
        certificates = table.items("certificates", _fingerprint)
        table.finish()
        if "password" not in table.raw:
            table.fault(f"missing ({HASH_FORMS})", "password")
        try:
            address = _address(name)
        except ValueError as error:
            table.fault(str(error))
            return None
        if not self._take(table, address, "a user"):
            return None
        user = User(
            address, password, aliases, quota, messages, disabled, search_index, certificates=certificates
        )
        self.users[address] = user
        self.own_aliases.append((table, address, aliases))
        return user

    def _alias(self, table: Table, name: str) -> None:
        targets = table.items(name, _address)
        try:
            address = _address(name)
        except ValueError as error:
            table.fault(str(error), name)
            return
        if not self._take(table, address, "an entry of [aliases]", name):
            return
        if isinstance(table.raw[name], list) and not table.raw[name]:
            table.fault("an empty list (at least one address)", name)
        self.aliases[address] = tuple(dict.fromkeys(targets))

    def _take(self, table: Table, address: str, what: str, *key: str | int) -> bool:
        """Note what an address is. False, with a fault, where it is something already or not ours."""
        domain = address.rpartition("@")[2]
        if domain not in self.domains:
            table.fault(f"the domain {domain} is not served here (add [domains.{dotted(domain)}])", *key)
            return False
        if address in self.taken:
            table.fault(f"{address} is {self.taken[address]} already (one meaning each)", *key)
            return False
        self.taken[address] = f"{what} ({table.file.name})"
        return True

    def _warn_of_dead_ends(self, table: Table) -> None:
        for name in table.raw:
            for number, target in enumerate(table.raw[name] if isinstance(table.raw[name], list) else ()):
                try:
                    address = _address(target)
                except ValueError:
                    continue
                local, _, domain = address.rpartition("@")
                known = address in self.taken or local == "postmaster" or not local.isalnum()
                if domain in self.domains and not known:
                    table.warn(f"{address} is no user and no alias", name, number)


def _password(value: object) -> str:
    password = text(value)
    try:
        check_hash(password)
    except ValueError as error:
        raise ValueError(f"{error} ({HASH_FORMS})") from None
    return password


def _fingerprint(value: object) -> str:
    written = text(value).lower().removeprefix("sha256:").replace(":", "")
    if not re.fullmatch("[0-9a-f]{64}", written):
        raise ValueError(f"{value!r} is no SHA-256 fingerprint (openssl x509 -fingerprint -sha256)")
    return written


def _address(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected an address, got {kind(value)}")
    try:
        return normalise(value)
    except (ValueError, MailError):
        raise ValueError(f"{value!r} is not an address (local-part@domain)") from None
