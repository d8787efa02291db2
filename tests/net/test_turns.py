"""What was put off comes in order, and not all in one turn."""

from __future__ import annotations

from collections.abc import Callable

from mailserver.net.turns import TURN, Turns


class Reactor:
    """As a real one: what is put off in a turn comes in the next (`task.Clock` knows no turns)."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def callLater(self, seconds: float, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class World:
    """Each call takes some time."""

    def __init__(self, cost: float) -> None:
        self.reactor = Reactor()
        self.time = 0.0
        self.cost = cost
        self.done: list[int] = []
        self.turns = Turns(self.reactor, lambda: self.time)

    def put_off(self, number: int) -> None:
        self.turns.later(lambda: self.work(number))

    def work(self, number: int) -> None:
        self.time += self.cost
        self.done.append(number)
        if number < 100:
            self.put_off(number + 100)


def test_short_ones_share_a_turn_and_what_they_put_off_waits_for_the_next() -> None:
    world = World(TURN / 1000)
    for number in range(10):
        world.put_off(number)
    assert world.done == []
    world.reactor.turn()
    assert world.done == list(range(10))
    world.reactor.turn()
    assert world.done == [*range(10), *range(100, 110)]
    assert world.reactor.calls == []


def test_long_ones_have_a_turn_each() -> None:
    world = World(TURN)
    for number in range(5):
        world.put_off(number)
    for count in range(1, 11):
        world.reactor.turn()
        assert len(world.done) == count
    assert world.done == [*range(5), *range(100, 105)]
