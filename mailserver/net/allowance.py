"""What one client may take: octets before log-in, commands, a place among the connections of its user, and
how slowly a message may come.

All of it is looked up in the settings when it counts, so a reload holds for open connections.
"""

from __future__ import annotations

from typing import Any

from mailserver.errors import TooManyOfUser
from mailserver.net.counter import ConnectionCounter


class Allowance:
    """Of one connection.

    user:    who has logged in, "" for nobody
    guarded: whoever has not logged in may send `limits.before_login` octets and no more
    """

    def __init__(self) -> None:
        self.user = ""
        self.guarded = False
        self._octets = 0  # since the connection began, or the user left
        self._commands = 0
        self._paced = 0  # octets of a message since the last look

    def received(self, size: int, limits: Any) -> bool:
        """Octets came. False where that is too much of somebody unknown."""
        if not self.guarded or self.user:
            return True
        self._octets += size
        return bool(self._octets <= limits.before_login)

    def command(self, limits: Any) -> bool:
        """A command came. False where it is one too many."""
        self._commands += 1
        return bool(self._commands <= limits.commands)

    def in_pace(self, size: int, seconds: float, limits: Any) -> bool:
        """Octets of a message came. True once there are as many as `seconds` have to bring at least; then the
        time begins anew (CASES E1)."""
        self._paced += size
        if self._paced < max(1.0, limits.min_rate * seconds):
            return False
        self._paced = 0
        return True

    def begin_pace(self) -> None:
        """The time of `in_pace` begins anew."""
        self._paced = 0

    def log_in(self, user: str, counter: ConnectionCounter, limits: Any) -> None:
        """The connection is this user's from here on. Raises TooManyOfUser; then it is nobody's."""
        self.log_out(counter)
        key = _key(user)
        with counter.alone():
            if counter.of(key) >= limits.connections_per_user:
                raise TooManyOfUser
            counter.join(key)
        self.user = user

    def log_out(self, counter: ConnectionCounter) -> None:
        """The user is gone; harmless where there was none."""
        user, self.user = self.user, ""
        if user:
            counter.leave(_key(user))
            self._octets = 0


def _key(user: str) -> str:
    """Beside networks in one counter: no network begins so."""
    return "user " + user
