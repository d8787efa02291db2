"""DELIVERBY (RFC 2852) in the queue: what becomes of a message whose time is over, and who is told."""

from __future__ import annotations

import email
from typing import Any

from attrs import evolve

from mailserver.interfaces import By, DeliverBy
from mailserver.queue import operate
from mailserver.queue.values import NewMessage
from tests.queue.scene import DOWN, LATER, OK, START, QueueTestCase
from tests.queue.test_reports import asked

MINUTE, HOUR = 60.0, 3600.0


def by(text: str) -> DeliverBy:
    asked_for = By.read(text)
    return DeliverBy(START + asked_for.seconds, asked_for)


def urgent(text: str, *to: str, **fields: Any) -> NewMessage:
    return asked(*(to or ("b@far.example",)), deliver_by=by(text), **fields)


class DeliverByTests(QueueTestCase):
    def reports(self) -> list[str]:
        return [data.decode() for _, data in self.local.boxes.get("a@example.org", ())]

    def told(self) -> list[tuple[str, str]]:
        """Action and Status of the first recipient of each report."""
        made = []
        for text in self.reports():
            one: Any = email.message_from_string(text).get_payload()[1].get_payload()[1]  # type: ignore[index,union-attr]
            made.append((one["Action"], one["Status"]))
        return made

    def test_what_is_delivered_in_time_needs_nothing(self) -> None:
        self.enqueue(urgent("120;R", "b@far.example", "bob@example.org"))
        (_, parcel) = self.relay.parcels[0]
        assert parcel.deliver_by == by("120;R")
        assert list(self.local.boxes) == ["bob@example.org"]
        self.assertEmpty()

    def test_it_comes_back_when_its_time_is_over(self) -> None:
        """4.1.3, mode R: 5.4.7, at once, though the next try is later; and the time is told (5)."""
        self.relay.answer = lambda address, domain: LATER
        self.enqueue(urgent("120;R"))
        self.pass_time(119, 1)
        assert self.reports() == []
        self.pass_time(3, 1)
        assert self.told() == [("failed", "5.4.7")]
        (report,) = self.reports()
        assert "\nArrival-Date: Tue, 14 Nov 2023 22:13:20 -0000\n" in report
        assert "\nDeliver-By-Date: Tue, 14 Nov 2023 22:15:20 -0000\n" in report
        self.pass_time(HOUR)
        assert max(self.relay.times()) < START + 120
        self.assertEmpty()

    def test_it_comes_back_through_a_restart(self) -> None:
        self.relay.answer = lambda address, domain: DOWN
        self.enqueue(urgent("600;RT"))
        self.crash()
        self.clock.advance(700)
        self.begin()
        self.pass_time(2 * MINUTE, 1)
        assert self.told() == [("failed", "5.4.7")]
        assert len(self.relay.parcels) == 1
        self.assertEmpty()

    def test_under_way_when_its_time_is_over(self) -> None:
        """What is being sent may arrive; where it does not, that was the last try."""
        self.relay.hold = True
        self.enqueue(urgent("60;R"))
        self.pass_time(2 * MINUTE)
        assert self.reports() == []
        self.relay.answer = lambda address, domain: LATER
        self.relay.let_go()
        self.pass_time(3, 1)
        assert self.told() == [("failed", "5.4.7")]
        self.assertEmpty()

    def test_no_try_after_its_time(self) -> None:
        """4.1.3: also where its turn comes late; local mailboxes alike."""
        assert self.spool is not None
        new = urgent("30;R", "b@far.example", "bob@example.org")
        self.manager.stop()
        self.clock.advance(31)
        self.spool.enqueue(new.envelope, new.trace, new.body, new.targets)
        self.crash()
        self.begin()
        self.pass_time(2, 1)
        assert self.relay.parcels == []
        assert list(self.local.boxes) == ["a@example.org"]
        assert self.told() == [("failed", "5.4.7")] * 2
        self.assertEmpty()

    def test_the_sender_is_told_that_it_is_late(self) -> None:
        """4.1.3, mode N: one report with 4.4.7, tries go on, and no second one says the same."""
        self.relay.answer = lambda address, domain: LATER
        self.enqueue(urgent("120;N"))
        self.pass_time(122, 1)
        assert self.told() == [("delayed", "4.4.7")]
        assert "\nDeliver-By-Date: " in self.reports()[0]
        self.pass_time(6 * HOUR, 10 * MINUTE)
        assert self.told() == [("delayed", "4.4.7")]
        self.relay.answer = lambda address, domain: OK
        self.pass_time(9 * HOUR, 10 * MINUTE)
        assert self.told() == [("delayed", "4.4.7")]
        self.assertEmpty()

    def test_warned_about_before_its_time_is_over(self) -> None:
        """4.1.3: the report is due, whatever was told before."""
        self.relay.answer = lambda address, domain: LATER
        self.enqueue(urgent(f"{5 * 3600};N"))
        self.pass_time(5 * HOUR + 2 * MINUTE, MINUTE)
        assert self.told() == [("delayed", "4.7.1"), ("delayed", "4.4.7")]

    def test_late_before_it_is_tried(self) -> None:
        """The report comes first, and the delivery at once after it."""
        new = urgent("60;N", "bob@example.org", at=START + 61)
        self.clock.advance(61)
        self.enqueue(new)
        self.pass_time(2, 1)
        assert self.told() == [("delayed", "4.4.7")]
        assert "bob@example.org" in self.local.boxes
        self.assertEmpty()

    def test_late_when_it_came(self) -> None:
        """Where it became late its sender was told; the time goes along all the same (4.1.4)."""
        self.relay.answer = lambda address, domain: LATER
        self.enqueue(urgent("-60;N"))
        self.pass_time(3 * MINUTE)
        assert self.reports() == []
        (_, parcel) = self.relay.parcels[0]
        assert parcel.deliver_by == by("-60;N")

    def test_who_wants_to_know(self) -> None:
        """4.1.3: only without NOTIFY, or with FAILURE and DELAY."""
        self.relay.answer = lambda address, domain: LATER
        self.enqueue(urgent("60;R", notify="SUCCESS,DELAY"))
        self.enqueue(urgent("60;N", notify="SUCCESS,FAILURE"))
        self.pass_time(3 * MINUTE)
        assert self.reports() == []
        self.enqueue(evolve_time(urgent("60;R", notify="FAILURE"), self.clock.seconds()))
        self.enqueue(evolve_time(urgent("60;N", notify="DELAY"), self.clock.seconds()))
        self.pass_time(3 * MINUTE)
        assert sorted(self.told()) == [("delayed", "4.4.7"), ("failed", "5.4.7")]

    def test_passed_on(self) -> None:
        """4.1.4: the sender is told where the next server asks for it, but for NOTIFY=NEVER."""
        self.relay.answer = lambda address, domain: evolve(OK, relayed=True, reports=True)
        self.enqueue(urgent("600;NT"))
        self.enqueue(urgent("600;NT", notify="NEVER"))
        self.enqueue(urgent("600;NT", notify="FAILURE"))
        self.enqueue(urgent("600;NT", notify="SUCCESS"))
        self.enqueue(urgent("600;NT", sender=""))
        assert self.told() == [("relayed", "2.0.0")] * 3
        self.assertEmpty()

    def test_an_operator_holds_it_beyond_its_time(self) -> None:
        """Held it does not come back; released it does."""
        assert self.spool is not None
        self.relay.answer = lambda address, domain: LATER
        self.enqueue(urgent("60;R"))
        everything = operate.Selection(all=True)
        operate.hold(self.spool._database, everything)
        self.pass_time(HOUR)
        assert self.reports() == []
        operate.release(self.spool._database, everything, self.clock.seconds())
        self.manager.look_again()
        self.pass_time(2, 1)
        assert self.told() == [("failed", "5.4.7")]
        assert len(self.relay.parcels) == 1


def evolve_time(new: NewMessage, now: float) -> NewMessage:
    """The same, come now."""
    assert new.envelope.deliver_by is not None
    asked_for = new.envelope.deliver_by.by
    deliver_by = DeliverBy(now + asked_for.seconds, asked_for)
    return evolve(new, envelope=evolve(new.envelope, received_at=now, deliver_by=deliver_by))
