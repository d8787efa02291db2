"""What the clients of the load know: the truth that the server is held to."""

from __future__ import annotations

import random
import threading

from attrs import define, field


@define
class Copies:
    """Of one message for one mailbox: attempts that were answered by yes, and those without a seen answer.

    queued: it goes through the queue, together with a remote copy: it may still be there, and a kill between
    its delivery and the note of it delivers it again (RFC 5321, 6.1; CASES F6)
    """

    accepted: int = 0
    unanswered: int = 0
    queued: bool = False


@define
class Record:
    """Thread-safe. Keys are (user, number); a remote recipient counts as a user.

    unsettled: messages that a client has to send again, for it saw no answer
    """

    dice: random.Random
    copies: dict[tuple[str, int], Copies] = field(factory=dict)
    unsettled: list[tuple[int, tuple[str, ...]]] = field(factory=list)
    accepted: int = 0
    kills: int = 0
    refused: list[str] = field(factory=list)
    _in_flight: list[tuple[int, tuple[str, ...]]] = field(factory=list)
    _next: int = 1
    _lock: threading.Lock = field(factory=threading.Lock)

    def next_message(self, choices: tuple[tuple[str, ...], ...]) -> tuple[int, tuple[str, ...]]:
        """Number and users of the next message: one that has to be sent again, or a new one."""
        with self._lock:
            for at, (_, users) in enumerate(self.unsettled):
                if users in choices:
                    return self.unsettled.pop(at)
            self._next += 1
            return self._next, self.dice.choice(choices)

    def sending(self, number: int, users: tuple[str, ...]) -> None:
        """From now on the server may have it."""
        with self._lock:
            queued = any("@" in user for user in users)
            for user in users:
                self.copies.setdefault((user, number), Copies(queued=queued)).unanswered += 1
            self._in_flight.append((number, users))

    def answered(self, number: int, users: tuple[str, ...], yes: bool, text: str = "") -> None:
        with self._lock:
            self._in_flight.remove((number, users))
            for user in users:
                copies = self.copies[user, number]
                copies.unanswered -= 1
                copies.accepted += yes
            self.accepted += yes
            if not yes and not text.startswith("421"):  # a server that stops says 421
                self.refused.append(text)

    def put_back(self, number: int, users: tuple[str, ...]) -> None:
        """The connection broke before anything of the message was sent."""
        with self._lock:
            self.unsettled.append((number, users))

    def hung_up(self) -> None:
        """The server is gone, and so are all clients."""
        with self._lock:
            self.kills += 1
            self.unsettled += self._in_flight
            self._in_flight.clear()

    def of_user(self, user: str) -> dict[int, Copies]:
        with self._lock:
            return {number: copies for (name, number), copies in self.copies.items() if name == user}
