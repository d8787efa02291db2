"""Settings for unit tests: `.now`, `.users` and `subscribe`, without a file.

make_settings(limits={"recipients": 3}, users={"alice@example.org": "{PLAIN}secret"})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed

from mailserver.config.schema import (
    Auth,
    Config,
    Domain,
    Imap,
    Limits,
    Listen,
    Log,
    Proxy,
    Relay,
    Search,
    Smarthost,
    Tls,
    User,
    Users,
)
from mailserver.config.units import parse_size

_SECTIONS: dict[str, type] = {
    "listen": Listen,
    "tls": Tls,
    "auth": Auth,
    "limits": Limits,
    "imap": Imap,
    "search": Search,
    "relay": Relay,
    "proxy": Proxy,
    "log": Log,
}


class StubSettings:
    """What components know of `config.watch.Settings`. `change` does what a reload does."""

    def __init__(self, now: Config, users: Users) -> None:
        self.now = now
        self.users = users
        self._subscribers: list[Callable[[], object]] = []

    def subscribe(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback` after each change; the answer ends the subscription."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def change_user(self, address: str, values: Mapping[str, Any]) -> Deferred[None]:
        """As if they had been written into the users file."""
        changed = evolve(self.users.users[address], **values)
        size = changed.quota if changed.quota is None else parse_size(changed.quota)
        users = {**self.users.users, address: evolve(changed, quota=size)}
        self.users = evolve(self.users, users=users)
        return succeed(None)

    def change(self, users: Mapping[str, Any] | None = None, **overrides: Any) -> None:
        """New values in force, then the subscribers are told."""
        self.now = evolve(self.now, **_sections(self.now, overrides))
        if users is not None:
            self.users = make_users(users)
        for callback in list(self._subscribers):
            callback()


def make_settings(
    users: Mapping[str, Any] | None = None,
    aliases: Mapping[str, tuple[str, ...] | list[str]] | None = None,
    **overrides: Any,
) -> StubSettings:
    """Settings of a server for example.org with alice and bob (password "secret", {PLAIN}).

    users: address -> password hash, or a dict of `User` fields, or a `User`.
    aliases: address -> targets.
    overrides: fields of `Config`; a section may be a dict of the keys that differ (`limits={"hops": 3}`),
    `domains` a dict of name -> dict or `Domain`, or a list of names. `data_dir` may be a str.
    """
    base = Config(
        hostname="mail.example.org",
        data_dir=Path("/nonexistent/mailserver"),
        users_files=(),
        domains={"example.org": Domain("example.org")},
    )
    return StubSettings(evolve(base, **_sections(base, overrides)), make_users(users, aliases))


def make_users(
    users: Mapping[str, Any] | None = None, aliases: Mapping[str, tuple[str, ...] | list[str]] | None = None
) -> Users:
    """`Users` as `config.users_file` would read them: each user's own aliases are folded in."""
    if users is None:
        users = {"alice@example.org": "{PLAIN}secret", "bob@example.org": "{PLAIN}secret"}
    made = {address: _user(address, value) for address, value in users.items()}
    all_aliases = {address: tuple(targets) for address, targets in (aliases or {}).items()}
    for user in made.values():
        for alias in user.aliases:
            all_aliases.setdefault(alias, (user.address,))
    return Users(made, all_aliases)


def _user(address: str, value: Any) -> User:
    if isinstance(value, User):
        return value
    if isinstance(value, str):
        return User(address, value)
    fields = {"password": "{PLAIN}secret", **value}
    fields["aliases"] = tuple(fields.get("aliases", ()))
    return User(address, **fields)


def _sections(base: Config, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Dicts to the frozen values of the schema."""
    done: dict[str, Any] = {}
    for key, value in overrides.items():
        if key in _SECTIONS and isinstance(value, Mapping):
            done[key] = evolve(getattr(base, key), **_values(value))
        elif key == "domains":
            done[key] = _domains(value)
        elif key == "data_dir":
            done[key] = Path(value)
        else:
            done[key] = value
    return done


def _values(section: Mapping[str, Any]) -> dict[str, Any]:
    """Lists to tuples, a smarthost or route given as dict to its value."""
    done: dict[str, Any] = {}
    for key, value in section.items():
        if isinstance(value, list):
            done[key] = tuple(value)
        elif key == "smarthost" and isinstance(value, Mapping):
            done[key] = Smarthost(**value)
        else:
            done[key] = value
    return done


def _domains(value: Any) -> dict[str, Domain]:
    if not isinstance(value, Mapping):
        return {name: Domain(name) for name in value}
    return {
        name: domain if isinstance(domain, Domain) else Domain(name, **domain)
        for name, domain in value.items()
    }
