"""[imap]: who administers, and capabilities that some users or clients are better off without."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mailserver.config.problems import Report, kind, nearest
from mailserver.config.schema import Config, Imap, Users, Without
from mailserver.config.structure import Table, count, one_of, text
from mailserver.errors import BadAddress
from mailserver.imap.capabilities import BY_NAME
from mailserver.wire.address import normalise

_NAMES = {name.lower(): name for name in BY_NAME}


def read_imap(table: Table | None) -> Imap:
    """The whole section."""
    if table is None:
        return Imap()
    administrators = table.items("administrators", _user)
    rules: list[Without] = []
    for number, raw in enumerate(table.items("without", _as_table)):
        rule = _rule(Table(raw, table.report, table.file, *table.path, "without", number))
        if rule is not None:
            rules.append(rule)
    literals = table.value("literals", one_of("LITERAL+", "LITERAL-"), "LITERAL+")
    limit = table.value("message_limit", _limit, 0)
    save = table.value("save_limit", _limit, 0)
    if limit and save:
        table.fault("message_limit holds for COPY and APPEND too (one of the two)", "save_limit")
    eight = table.value("headers_8bit", one_of("accept", "refuse"), "accept")
    table.finish()
    return Imap(tuple(rules), literals, limit, save, eight, administrators)


def _limit(value: object) -> int:
    """None, or not so low that clients suffer (RFC 9738, 3)."""
    return count(0)(value) and count(1000)(value)


def _as_table(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a table with capabilities and reason, got {kind(value)}")
    return value


def _rule(table: Table) -> Without | None:
    capabilities = table.items("capabilities", _capability)
    reason = table.value("reason", text, "").strip()
    rule = Without(
        capabilities=tuple(dict.fromkeys(capabilities)),
        reason=reason,
        users=table.items("users", _user),
        clients=table.items("clients", _client),
    )
    if not table.raw.get("capabilities"):
        table.fault('missing (what is taken away, as ["QRESYNC"])', "capabilities")
    if "reason" not in table.raw or table.raw["reason"] == "":
        table.fault("missing (why, in a few words: the log tells it)", "reason")
    table.finish()
    return rule if capabilities and reason else None


def _capability(value: object) -> str:
    written = text(value)
    name = _NAMES.get(written.lower())
    if name is None:
        close = nearest(written, _NAMES)
        hint = f'did you mean "{_NAMES[close]}"?' if close else "those that CAPABILITY tells, without =NUMBER"
        raise ValueError(f"{written!r} is no capability of this server ({hint})")
    if BY_NAME[name].fixed:
        raise ValueError(f"{name} cannot be switched off (any other that CAPABILITY tells)")
    return name


def _user(value: object) -> str:
    written = text(value)
    try:
        return normalise(written)
    except BadAddress:
        raise ValueError(f'{written!r} is no user (an address, as "alice@example.org")') from None


def _client(value: object) -> str:
    written = text(value)
    if not written:
        raise ValueError('an empty name (what the client calls itself with ID, as "Outlook*")')
    return written


def warn_of_strangers(config: Config, users: Users, report: Report) -> None:
    """A rule for somebody who is no user does nothing, which its author would not notice."""
    file = config.path or Path("mailserver.toml")
    for address in config.imap.administrators:
        if address not in users.users:
            table = Table({}, report, file, "imap")
            table.warn(f"{address} is no user and administers nothing", "administrators")
    for number, rule in enumerate(config.imap.without):
        for address in rule.users:
            if address not in users.users:
                table = Table({}, report, file, "imap", "without", number)
                table.warn(f"{address} is no user: the rule does nothing for that address", "users")
