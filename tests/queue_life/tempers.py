"""What is wrong with other servers."""

from __future__ import annotations

import random

from tests.queue_life.network import DROP, HOUR, MINUTE, Temper


class Slow(Temper):
    seconds = (5.0, 60.0)
    extensions = ("8BITMIME",)


class Greylisting(Temper):
    """A recipient has to come again, after ten minutes at the earliest."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__(dice)
        self.first: dict[str, float] = {}

    def say(self, stage: str, to: str, now: float) -> str:
        if stage == "RCPT" and now - self.first.setdefault(to, now) < 10 * MINUTE:
            return "450 4.7.1 greylisted"
        return ""


class Sometimes(Temper):
    """Down for hours, up for hours. how: as `reachable`, or "dns"."""

    def __init__(self, dice: random.Random, how: str, down: float = 5 * HOUR, up: float = 3 * HOUR) -> None:
        super().__init__(dice)
        self.how, self.down, self.cycle = how, down, down + up
        self.shift = dice.uniform(0, self.cycle)

    def _is_down(self, now: float) -> bool:
        return (now + self.shift) % self.cycle < self.down

    def reachable(self, now: float) -> str:
        return self.how if self.how != "dns" and self._is_down(now) else ""

    def resolves(self, now: float) -> bool:
        return self.how != "dns" or not self._is_down(now)


class Dead(Temper):
    def __init__(self, dice: random.Random, how: str) -> None:
        super().__init__(dice)
        self.how = how

    def reachable(self, now: float) -> str:
        return self.how


class Never(Temper):
    """There, and never ready for anything."""

    def __init__(self, dice: random.Random, stage: str) -> None:
        super().__init__(dice)
        self.stage = stage

    def say(self, stage: str, to: str, now: float) -> str:
        return "451 4.3.0 not now" if stage == self.stage else ""


class Moody(Temper):
    """Anything may fail at any moment."""

    stages = ("connect", "MAIL", "RCPT", "DATA", ".")

    def say(self, stage: str, to: str, now: float) -> str:
        if stage not in self.stages or self.dice.random() > 0.25:
            return ""
        some = ["451 4.3.0 not now", "421 4.3.2 going down", DROP]
        if stage in ("RCPT", "."):
            some.append("550 5.7.1 not you")
        return self.dice.choice(some)


class Unclear(Temper):
    """Hangs up before it says that it has taken a message."""

    def drops_after_text(self) -> bool:
        return self.dice.random() < 0.3


class Dying(Temper):
    """Hangs up in the middle of a text."""

    def say(self, stage: str, to: str, now: float) -> str:
        return DROP if stage == "." and self.dice.random() < 0.6 else ""


class Picky(Temper):
    connections = 2


class Refusing(Temper):
    """Half of its users are gone."""

    def say(self, stage: str, to: str, now: float) -> str:
        return "550 5.1.1 no such user" if stage == "RCPT" and hash_of(to) % 2 else ""


def hash_of(to: str) -> int:
    return sum(to.encode())
