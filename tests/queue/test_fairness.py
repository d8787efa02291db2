"""Whose turn it is: between destinations, between senders, and within the limits of one next hop."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from mailserver.config.schema import HopLimits
from mailserver.queue.values import NewMessage
from tests.queue.scene import DOWN, OK, QueueTestCase, message


class FairnessTestCase(QueueTestCase):
    """Deliveries end when `answer_all` says so."""

    def setUp(self) -> None:
        super().setUp()
        self.relay.hold = True

    def enqueue_many(self, new: list[NewMessage]) -> None:
        assert self.spool is not None
        for start in range(0, len(new), 500):
            self.spool.record([], new[start : start + 500])
        self.turn()

    def answer_all(self) -> None:
        """Every server that is waited for answers."""
        self.relay.let_go()
        self.turn()

    def rounds_until(self, address: str, most: int = 50) -> int:
        for number in range(most):
            if address in self.relay.addresses():
                return number
            self.answer_all()
        raise AssertionError(f"{address} is not tried after {most} rounds")


def flood(count: int, domain: str = "slow.example", sender: str = "list@example.org") -> list[NewMessage]:
    return [message(f"u{n}@{domain}", sender=sender, id=f"{sender}{domain}{n}") for n in range(count)]


class SenderTests(FairnessTestCase):
    def test_many_messages_of_one_sender_do_not_delay_another_at_the_same_destination(self) -> None:
        self.enqueue_many(flood(3000))
        for _ in range(20):
            self.answer_all()
        self.assertEqual(len(self.relay.waiting), 20, "all that the destination may have")
        self.enqueue(message("b@slow.example", sender="alice@example.org", id="alice"))
        self.assertLessEqual(self.rounds_until("b@slow.example"), 1)

    def test_senders_take_turns(self) -> None:
        self.enqueue_many(flood(500, sender="a@example.org") + flood(500, sender="b@example.org"))
        self.enqueue_many(flood(500, sender="c@example.org"))
        for _ in range(30):
            self.answer_all()
        senders = [parcel.mail.reverse_path for _, parcel in self.relay.parcels]
        later = senders[50:]
        for sender in "abc":
            share = later.count(f"{sender}@example.org") / len(later)
            self.assertLess(abs(share - 1 / 3), 0.05)

    def test_many_senders_at_a_smarthost(self) -> None:
        """One has a message for each of 300 domains, others have one each: all lead to one host."""
        self.relay.destination = lambda domain: "smarthost"  # type: ignore[method-assign]
        bulk = [message(f"u@d{n}.example", sender="list@example.org", id=f"l{n}") for n in range(300)]
        self.enqueue_many(bulk)
        others = [message("u@x.example", sender=f"s{n}@example.org", id=f"s{n}") for n in range(30)]
        self.enqueue_many(others)
        for _ in range(6):
            self.answer_all()
        served = {parcel.mail.reverse_path for _, parcel in self.relay.parcels}
        self.assertEqual(len(served), 31)
        for _ in range(60):
            self.answer_all()
        self.assertEqual(len(self.relay.parcels), 330)
        self.assertEmpty()

    def test_a_user_has_one_turn_under_all_his_addresses(self) -> None:
        many = [
            message(f"u{n}@slow.example", sender=f"a{n}@example.org", user="al@example.org", id=f"m{n}")
            for n in range(600)
        ]
        self.enqueue_many(many)
        self.answer_all()
        self.enqueue(message("b@slow.example", sender="bob@example.org", id="bob"))
        self.assertLessEqual(self.rounds_until("b@slow.example"), 2)


class DestinationTests(FairnessTestCase):
    def test_slow_destinations_leave_places_for_others(self) -> None:
        """However many there are: whoever has no delivery under way finds a place."""
        for number in range(12):
            self.enqueue_many(flood(60, f"slow{number}.example"))
        slow = list(self.relay.waiting)
        for _ in range(8):
            self.answer_all()
        slow = self.relay.waiting
        self.assertGreaterEqual(len(slow), 75)
        self.relay.waiting = []  # they do not answer any more
        for number in range(10):
            self.enqueue(message("u@fast.example", id=f"fast{number}"))
            self.answer_all()
        self.assertEqual(self.relay.addresses().count("u@fast.example"), 10)
        for _, gate in slow:
            gate.callback(None)

    def test_floods_for_slow_destinations_leave_memory_for_others(self) -> None:
        """However much waits there: what is read and cannot be begun keeps nobody from being read."""
        for number in range(3):
            self.enqueue_many(flood(1000, f"slow{number}.example"))
        strangers = [message("u@slow3.example", sender=f"s{n}@x.example", id=f"s{n}") for n in range(1000)]
        self.enqueue_many(strangers)
        self.turn(1)
        self.enqueue(message("u@fast.example", id="fast"))
        self.assertIn("u@fast.example", self.relay.addresses())
        self.assertLess(self.manager._read, 200)

    def test_thousands_of_hosts_that_do_not_answer_leave_half_of_the_places(self) -> None:
        self.relay.answer = lambda address, domain: DOWN if domain.endswith(".dead.example") else OK
        dead = [message(f"u@d{n}.dead.example", sender=f"s{n}@x.example", id=f"m{n}") for n in range(2000)]
        self.enqueue_many(dead)
        while self.relay.waiting:
            self.answer_all()
        self.pass_time(70, step=10)
        self.assertEqual(len(self.relay.waiting), 50, "all are due again, and wait for an answer")
        for number in range(5):
            self.enqueue(message("u@fast.example", id=f"fast{number}"))
            self.assertEqual(self.relay.addresses().count("u@fast.example"), number + 1)
        for _ in range(2000 // 50):
            self.answer_all()
        self.assertEqual(len(self.relay.addresses()), 2 * 2000 + 5, "and none of them is forgotten")

    def test_mail_that_comes_after_a_start_does_not_wait_for_what_was_there(self) -> None:
        self.relay.answer = lambda address, domain: DOWN if domain.endswith(".dead.example") else OK
        dead = [message(f"u@d{n}.dead.example", sender=f"s{n}@x.example", id=f"m{n}") for n in range(2000)]
        self.enqueue_many([*dead, message("u@old.example", id="old")])
        self.crash()
        self.relay.waiting.clear()
        self.begin()
        self.assertEqual(len(self.relay.waiting), 50)
        before = len(self.relay.parcels)
        self.enqueue(message("v@old.example", id="new"))
        self.assertEqual(self.relay.addresses()[before:], ["u@old.example", "v@old.example"])

    def test_a_host_that_is_down_is_probed_less_and_less_often_while_mail_comes_in(self) -> None:
        """New mail, never tried, does not begin the schedule of the host anew."""
        self.relay.hold = False
        self.relay.answer = lambda address, domain: DOWN
        for number in range(12 * 60):
            self.enqueue(message("u@dead.example", id=f"m{number}"))
            self.pass_time(60)
        self.assertLess(len(self.relay.parcels), 25)
        waits = [b - a for a, b in pairwise(self.relay.times())]
        self.assertLessEqual(max(waits), 3700, "but it is tried every hour")
        self.relay.answer = lambda address, domain: OK
        self.pass_time(3700)
        self.assertEqual(self.rows("SELECT * FROM messages"), [])

    def test_an_operator_ends_the_waiting(self) -> None:
        self.relay.hold = False
        self.relay.answer = lambda address, domain: DOWN
        self.enqueue_many(flood(50, "dead.example"))
        tried = len(self.relay.parcels)
        self.rows("UPDATE recipients SET next_try = 0")
        self.relay.answer = lambda address, domain: OK
        self.manager.look_again()
        self.turn()
        self.pass_time(1, step=0.1)
        self.assertEqual(len(self.relay.parcels), tried + 50)
        self.assertEmpty()

    def test_thousands_of_lanes_become_due_in_many_turns(self) -> None:
        self.relay.hold = False
        self.relay.destination = lambda domain: "smarthost"  # type: ignore[method-assign]
        self.relay.answer = lambda address, domain: DOWN
        many = [message(f"u@d{n}.example", sender=f"s{n}@x.example", id=f"m{n}") for n in range(2500)]
        self.enqueue_many(many)
        self.relay.answer = lambda address, domain: OK
        self.pass_time(70, step=5)
        self.pass_time(20, step=0.1)
        self.assertEmpty()


class LimitTests(FairnessTestCase):
    relay_settings: dict[str, Any] = {
        "limits": {"picky.example": HopLimits(connections=2), "*.slow.example": HopLimits(rate=0.5)}
    }

    def test_connections_of_one_next_hop(self) -> None:
        self.enqueue_many(flood(20, "picky.example") + flood(20, "other.example"))
        for _ in range(12):
            picky = [parcel for parcel, _ in self.relay.waiting if parcel.domain == "picky.example"]
            self.assertLessEqual(len(picky), 2)
            self.answer_all()
        self.assertEqual(len(self.relay.parcels), 40)

    def test_a_rate_is_kept_evenly_and_holds_up_nobody_else(self) -> None:
        self.relay.hold = False
        self.enqueue_many(flood(10, "a.slow.example") + flood(10, "other.example"))
        self.assertEqual(len(self.relay.parcels), 11)
        self.pass_time(30, step=0.25)
        times = [when for when, parcel in self.relay.parcels if parcel.domain == "a.slow.example"]
        waits = [b - a for a, b in pairwise(times)]
        self.assertEqual(len(times), 10)
        for wait in waits:
            self.assertLess(abs(wait - 2.0), 0.26)
        self.assertEmpty()

    def test_limits_change_with_a_reload(self) -> None:
        self.enqueue_many(flood(60, "picky.example"))
        self.assertEqual(len(self.relay.waiting), 2)
        self.settings.change(relay={"limits": {}})
        for _ in range(4):
            self.answer_all()
        self.assertGreater(len(self.relay.waiting), 4)
