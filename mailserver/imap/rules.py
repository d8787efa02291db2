"""Which rules of `[[imap.without]]` a session falls under."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import translate
from functools import lru_cache

from mailserver.config.schema import Without
from mailserver.imap.capabilities import without

MAX_CLIENT = 100  # characters of a client's name that count


def rules_for(rules: Iterable[Without], user: str, client: str) -> tuple[Without, ...]:
    """Those for this user ("" before log-in) and this client ("" where it has not told its name)."""
    return tuple(
        rule
        for rule in rules
        if (not rule.users or user in rule.users) and (not rule.clients or _fits(client, rule.clients))
    )


def _fits(client: str, patterns: Iterable[str]) -> bool:
    return bool(client) and any(_pattern(written).match(client) for written in patterns)


def switched_off(rules: Sequence[Without]) -> frozenset[str]:
    """What these rules take away, and what is built on that."""
    return without(name for rule in rules for name in rule.capabilities) if rules else frozenset()


@lru_cache(maxsize=256)
def _pattern(written: str) -> re.Pattern[str]:
    """`*` is anything and `?` one character, in any case of letters; a bracket stands for itself."""
    return re.compile(translate(written.replace("[", "[[]")), re.IGNORECASE)
