"""Messages that are held until their time (RFC 4865), whatever happens and is asked meanwhile."""

from __future__ import annotations

from mailserver.queue import operate
from tests.queue.scene import LATER, NO, START, QueueTestCase, message

HOUR, DAY = 3600.0, 86400.0


class FutureReleaseTests(QueueTestCase):
    def hold(self, seconds: float, *to: str) -> None:
        self.enqueue(
            message(*(to or ("b@far.example",)), release_at=START + seconds, hold=f"for;{seconds:.0f}")
        )

    def test_held_until_its_time_through_a_restart(self) -> None:
        self.hold(10 * DAY, "b@far.example", "c@example.org")
        self.pass_time(HOUR)
        self.crash()
        self.begin()
        self.pass_time(9 * DAY, HOUR)
        self.assertEqual((self.relay.times(), self.local.boxes), ([], {}))
        self.pass_time(DAY, 60)
        (when,) = self.relay.times()
        self.assertAlmostEqual(when - START, 10 * DAY, delta=61)
        self.assertEqual(list(self.local.boxes), ["c@example.org"])
        self.assertEmpty()

    def test_a_changed_clock_does_not_release_it(self) -> None:
        """The search for times that a changed clock has left far ahead passes it over (CASES F16)."""
        assert self.spool is not None
        self.hold(10 * DAY)
        self.assertEqual(self.successResultOf(self.spool.clamp(START + HOUR)), 0)
        self.assertEqual(self.rows("SELECT next_try FROM recipients"), [(START + 10 * DAY,)])

    def test_an_operator_does_not_release_it_by_the_way(self) -> None:
        assert self.spool is not None
        self.hold(10 * DAY)
        everything = operate.Selection(all=True)
        operate.retry(self.spool._database, everything, START)
        operate.hold(self.spool._database, everything)
        operate.release(self.spool._database, everything, START)
        self.assertEqual(self.rows("SELECT next_try, state FROM recipients"), [(START + 10 * DAY, 0)])

    def test_it_is_late_and_given_up_as_counted_from_its_release(self) -> None:
        """5 days of tries, a warning after 4 hours, both after the time it was held."""
        self.relay.answer = lambda address, domain: LATER
        self.hold(10 * DAY)
        self.pass_time(10 * DAY + 3 * HOUR, HOUR)
        self.assertEqual(self.local.boxes, {})
        self.pass_time(2 * HOUR, 600)
        ((_, warning),) = self.local.boxes["a@example.org"]
        self.assertIn(b"Action: delayed", warning)
        self.pass_time(4 * DAY, HOUR)
        self.assertEqual(len(self.local.boxes["a@example.org"]), 1)
        self.pass_time(DAY, HOUR)
        _, (_, report) = self.local.boxes["a@example.org"]
        self.assertIn(b"Action: failed", report)
        self.assertEmpty()

    def test_a_report_names_the_request(self) -> None:
        """RFC 4865, 5.1.2."""
        self.relay.answer = lambda address, domain: NO
        self.hold(HOUR)
        self.pass_time(HOUR + 60)
        ((_, report),) = self.local.boxes["a@example.org"]
        self.assertIn(b"\nFuture-Release-Request: for;3600\n", report)
