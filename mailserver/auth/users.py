"""Who a log-in name means: a directory over the users files.

A name is the user's full address in any case, or, where exactly one domain is local, its local part alone.
Aliases and subaddresses are not log-ins. A name is looked up as it stands: no character of it is a wildcard
or is expanded (CASES D10).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from mailserver.auth.passwords import has_scram_keys, plain_password, scram_keys
from mailserver.config.schema import User, Users
from mailserver.errors import BadAddress
from mailserver.wire.address import normalise
from mailserver.wire.saslprep import saslprep
from mailserver.wire.scram import DEFAULT_ITERATIONS, SALT_SIZE

MAX_NAME = 512  # characters; RFC 4616, 2 asks for 255 octets


class Directory:
    """settings: config.watch.Settings; `.users` may change at any time and is asked each time."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        self._seen: Users | None = None
        self._scram_for_all = False
        self._by_certificate: dict[str, list[User]] = {}
        self._scram_shape = (DEFAULT_ITERATIONS, SALT_SIZE)

    def find(self, name: str) -> User | None:
        """The user a log-in name means, disabled ones too; None where there is none."""
        users: dict[str, User] = self._settings.users.users
        user = users.get(name)
        return user if user is not None else users.get(self.canonical(name))

    def canonical(self, name: str) -> str:
        """The key a name would have in the users files, "" for one that cannot be a user's."""
        prepared = saslprep(name) if len(name) <= MAX_NAME else None
        if not prepared:
            return ""
        domains = self._settings.now.domains
        try:
            if "@" in prepared:
                return normalise(prepared)
            return normalise(f"{prepared}@{next(iter(domains))}") if len(domains) == 1 else ""
        except BadAddress:
            return ""

    def scram_for_all(self) -> bool:
        """Can every user log in with SCRAM? Clients choose the mechanism that looks strongest, before they
        say who they are: announced while one user has only a hash, it would lock that user out."""
        self._look()
        return self._scram_for_all

    def by_certificate(self, fingerprint: str) -> list[User]:
        """Enabled users who list this fingerprint (64 hexadecimal digits)."""
        self._look()
        return self._by_certificate.get(fingerprint, [])

    def scram_shape(self) -> tuple[int, int]:
        """Iterations and octets of salt that most stored SCRAM keys have: what unknown users get too."""
        self._look()
        return self._scram_shape

    def _look(self) -> None:
        """Once for each reading of the users files."""
        users: Users = self._settings.users
        if users is self._seen:
            return
        enabled = [user.password for user in users.users.values() if not user.disabled]
        self._scram_for_all = bool(enabled) and all(map(has_scram_keys, enabled))
        shapes: Counter[tuple[int, int]] = Counter()
        for stored in enabled:
            keys = scram_keys(stored) if plain_password(stored) is None else None
            if keys is not None:
                shapes[keys.iterations, min(len(keys.salt), 32)] += 1
        self._scram_shape = shapes.most_common(1)[0][0] if shapes else (DEFAULT_ITERATIONS, SALT_SIZE)
        self._by_certificate = {}
        for user in users.users.values():
            for fingerprint in user.certificates if not user.disabled else ():
                self._by_certificate.setdefault(fingerprint, []).append(user)
        self._seen = users
