"""What is on and off for a session: by who the client is, by what it has enabled, and by configuration."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from mailserver.config.schema import Without
from mailserver.imap.grammar.cursor import Dialect
from mailserver.imap.rules import MAX_CLIENT, rules_for, switched_off
from mailserver.imap.wire import Wire
from mailserver.interfaces import IAccount, Peer


@cache
def _dialect(utf8: bool, charsets: bool, numbers: bool) -> Dialect:
    return Dialect(utf8, charsets=charsets, numbers=numbers)


class Switches:
    """The base of the session.

    account: the avatar, None until log-in
    client:  the name that the client gave with ID (RFC 2971), "" before
    enabled: capabilities that are switched on, by ENABLE (RFC 5161) or by use (CONDSTORE)
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.account: IAccount | None = None
        self.user = ""
        self.client = ""
        self.enabled: set[str] = set()
        self._off: frozenset[str] | None = None
        self._told_rules: set[Without] = set()

    @property
    def peer(self) -> Peer:
        return self.wire.peer

    @property
    def settings(self) -> Any:
        """`config.watch.Settings`: `.now` is the current Config."""
        return self.wire.settings

    @property
    def off(self) -> frozenset[str]:
        """Capabilities that the configuration takes away from this user or client; what the client has
        enabled already stays."""
        if self._off is None:
            rules = rules_for(self.settings.now.imap.without, self.user, self.client)
            self._off = (switched_off(rules) | self._unlimited()) - self.enabled
            if self.account is not None:
                self._tell_rules(rules)
        return self._off

    def _unlimited(self) -> set[str]:
        """Capabilities of limits (RFC 9738) that there are not."""
        imap = self.settings.now.imap
        limits = {"MESSAGELIMIT": imap.message_limit, "SAVELIMIT": imap.save_limit}
        return {name for name, limit in limits.items() if not limit}

    @property
    def message_limit(self) -> int:
        """How many messages one command may work on, 0 for any number (RFC 9738, 3)."""
        return int(self.settings.now.imap.message_limit) if self.has("MESSAGELIMIT") else 0

    @property
    def save_limit(self) -> int:
        """The same for COPY and APPEND."""
        return self.message_limit or (int(self.settings.now.imap.save_limit) if self.has("SAVELIMIT") else 0)

    def has(self, capability: str) -> bool:
        """Is a capability of `capabilities.ROWS` on for this session?"""
        return capability not in self.off

    def known_as(self, client: str) -> None:
        """The client has told its name, or (at STARTTLS) what it told in clear is forgotten."""
        self.client = client[:MAX_CLIENT]
        self._off = None

    def belongs_to(self, account: IAccount | None, user: str) -> None:
        """A user has logged in (None: is gone). Raises TooManyOfUser."""
        self.wire.belongs_to(user)
        self.account = account
        self.user = user
        self._off = None

    @property
    def utf8(self) -> bool:
        """Does the client take UTF-8 in quoted strings and mailbox names (RFC 9755, 3; RFC 9051, A)?"""
        return "UTF8=ACCEPT" in self.enabled or self.rev2

    @property
    def rev2(self) -> bool:
        """Has the client enabled IMAP4rev2?"""
        return "IMAP4rev2" in self.enabled

    @property
    def dialect(self) -> Dialect:
        """How the client's commands are to be read."""
        return _dialect(self.utf8, "UTF8=ACCEPT" not in self.enabled, "UIDONLY" not in self.enabled)

    def _tell_rules(self, rules: Sequence[Without]) -> None:
        """Each rule once in a session, from log-in on."""
        for rule in rules:
            if rule not in self._told_rules:
                self._told_rules.add(rule)
                self.wire.audit.event(
                    "withheld",
                    service=self.peer.protocol,
                    ip=self.peer.ip,
                    user=self.user,
                    client=self.client,
                    capabilities=" ".join(rule.capabilities),
                    reason=rule.reason,
                )
