"""MT-PRIORITY (RFC 6710) in the queue: who goes first, through a restart and on the way back."""

from __future__ import annotations

from mailserver.queue.turns import Lanes
from mailserver.queue.values import Lane
from tests.queue.scene import NO, QueueTestCase, message


class PriorityTests(QueueTestCase):
    relay_settings = {"connections_per_destination": 1}

    def send(self, *sent: tuple[str, int]) -> None:
        for number, (name, priority) in enumerate(sent):
            self.enqueue(
                message(
                    f"{name}@far.example", id=f"m{number}", sender=f"{name[0]}@o.example", priority=priority
                )
            )

    def order(self) -> list[str]:
        """One after the other until none is left."""
        while self.relay.waiting:
            self.relay.let_go()
            self.turn()
        return [address.partition("@")[0] for address in self.relay.addresses()]

    def test_the_highest_goes_first(self) -> None:
        """5.1: of what waits; what has one priority takes turns by its sender as ever."""
        self.relay.hold = True
        self.send(("a0", 0), ("a1", 0), ("a2", 0), ("b1", 0), ("b2", -3), ("a3", 4), ("b3", 9), ("a4", 9))
        assert self.order() == ["a0", "b3", "a4", "a3", "a1", "b1", "a2", "b2"]
        self.assertEmpty()

    def test_one_sender_alone(self) -> None:
        self.relay.hold = True
        self.send(*((f"a{number}", 0) for number in range(30)), ("ax", 1))
        assert self.order().index("ax") <= 2
        self.assertEmpty()

    def test_through_a_restart(self) -> None:
        self.relay.hold = True
        self.send(("z0", 0), ("a1", -9), ("b2", 0), ("c3", 5))
        self.crash()
        self.relay.waiting.clear()
        self.relay.parcels.clear()
        self.begin()
        assert self.order() == ["c3", "b2", "z0", "a1"]
        assert [parcel.mail.priority for _, parcel in self.relay.parcels] == [5, 0, 0, -9]
        self.assertEmpty()

    def test_a_report_inherits_it(self) -> None:
        """4.6."""
        self.relay.answer = lambda address, domain: NO
        self.enqueue(message("b@far.example", priority=6))
        ((envelope, _),) = self.local.boxes["a@example.org"]
        assert envelope.priority == 6


def test_lanes_by_priority() -> None:
    """Those with mail in hand rest, whatever their priority; the others by it, and as they came."""
    lanes = Lanes()
    made = [Lane("d", "low", -1), Lane("d", "a"), Lane("d", "b"), Lane("d", "high", 3), Lane("d", "top", 9)]
    for lane in made:
        lanes.add(lane, resting=lane.sender == "top")
    lanes.add(Lane("e", "a"), resting=False)
    assert [lane.sender for lane in lanes.pick(2, rested=False)] == ["high", "a"]
    lanes.wake(("top", 9))
    assert [lane.sender for lane in lanes.pick(9, rested=True)] == ["top", "b", "low", "a"]
    assert not lanes
