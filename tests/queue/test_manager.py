"""Delivery from the queue in simulated time: schedule, back-off, restart, reports."""

from __future__ import annotations

import email
from typing import Any

from twisted.internet.defer import Deferred, fail

from mailserver.disk import durable
from mailserver.errors import NoSpace, OverQuota, TemporaryFailure
from mailserver.queue import schema
from mailserver.queue.values import State
from tests.queue.scene import DOWN, HEADER, LATER, NO, OK, QueueTestCase, message

HOUR = 3600.0
DAY = 24 * HOUR


class DeliveryTests(QueueTestCase):
    def test_a_message_is_delivered_at_once_and_leaves_nothing(self) -> None:
        self.enqueue(message("b@far.example"))
        self.assertEqual(self.relay.addresses(), ["b@far.example"])
        self.assertEqual(self.relay.bodies, [b"Received: here\n" + HEADER + b"body\n"])
        (delivered,) = self.audit.named("delivered")
        self.assertEqual(delivered["id"], "m1")
        self.assertEqual(delivered["host"], "mx.far.example[192.0.2.1]")
        self.assertEmpty()

    def test_recipients_of_one_domain_go_together(self) -> None:
        self.enqueue(message("b@far.example", "c@other.example", "d@far.example"))
        parcels = sorted(parcel.mail.recipients for _, parcel in self.relay.parcels)
        self.assertEqual(parcels, [("b@far.example", "d@far.example"), ("c@other.example",)])
        self.assertEmpty()

    def test_local_targets_go_to_local_delivery(self) -> None:
        self.enqueue(message("b@far.example", "bob@example.org"))
        ((envelope, content),) = self.local.boxes["bob@example.org"]
        self.assertEqual(content, b"Received: here\n" + HEADER + b"body\n")
        self.assertEqual([r.address for r in envelope.recipients], ["bob@example.org"])
        self.assertEqual({event["folder"] for event in self.audit.named("delivered")}, {"", "INBOX"})
        self.assertEmpty()

    def test_F7_a_full_mailbox_waits_and_is_tried_again(self) -> None:
        self.local.errors["bob@example.org"] = OverQuota()
        self.enqueue(message("bob@example.org", "carol@example.org"))
        self.assertEqual(len(self.local.boxes["carol@example.org"]), 1)
        self.local.errors.clear()
        self.pass_time(70)
        self.assertEqual(len(self.local.boxes["bob@example.org"]), 1)
        self.assertEqual(len(self.local.boxes["carol@example.org"]), 1)
        self.assertEmpty()

    def test_G5_each_recipient_has_its_own_fate(self) -> None:
        fates = {"b@far.example": OK, "c@far.example": LATER, "d@far.example": NO}
        self.relay.answer = lambda address, domain: fates[address]
        self.enqueue(message(*fates))
        self.assertEqual(
            self.rows(
                "SELECT target, state, attempts, status FROM recipients WHERE domain != '' ORDER BY id"
            ),
            [
                ("b@far.example", State.DELIVERED, 1, "2.0.0"),
                ("c@far.example", State.WAITING, 1, "4.7.1"),
                ("d@far.example", State.FAILED, 1, "5.1.1"),
            ],
        )
        self.relay.answer = lambda address, domain: OK
        self.pass_time(70)
        self.assertEqual(self.relay.addresses().count("b@far.example"), 1)
        self.assertEqual(self.relay.addresses().count("c@far.example"), 2)
        self.assertEqual(self.relay.addresses().count("d@far.example"), 1)
        self.assertEmpty()

    def test_a_delivery_that_breaks_is_tried_again(self) -> None:
        def broken(address: str, domain: str) -> Any:
            raise RuntimeError("bug")

        self.relay.answer = broken
        self.enqueue(message("b@far.example"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.relay.answer = lambda address, domain: OK
        self.pass_time(70)
        self.assertEmpty()


class ScheduleTests(QueueTestCase):
    def test_G2_retries_follow_the_table_and_a_warning_comes_after_4_hours(self) -> None:
        self.relay.answer = lambda address, domain: LATER
        self.enqueue(message("b@far.example"))
        self.pass_time(DAY)
        waits = [
            round((b - a) / 60) for a, b in zip(self.relay.times(), self.relay.times()[1:], strict=False)
        ]
        self.assertEqual(waits, [1, 5, 15, 60, 240, 240, 240, 240, 240])
        ((_, report),) = self.local.boxes["a@example.org"]
        parsed = email.message_from_bytes(report)
        self.assertIn("Delayed", parsed["Subject"])
        self.assertIn(b"Action: delayed", report)
        self.assertIn(b"Will-Retry-Until", report)
        self.assertEqual(self.audit.named("bounced"), [])

    def test_expiry_ends_in_one_failed_report(self) -> None:
        self.relay.answer = lambda address, domain: LATER
        self.enqueue(message("b@far.example"))
        self.pass_time(5 * DAY + 120, step=300)
        delayed, failed = (report for _, report in self.local.boxes["a@example.org"])
        self.assertIn(b"Action: delayed", delayed)
        self.assertIn(b"Action: failed", failed)
        self.assertIn(b"Status: 5.4.7", failed)
        self.assertIn(b"451 4.7.1 try later", failed)
        self.assertEqual(len(self.audit.named("expired")), 1)
        self.assertEmpty()

    def test_G1_a_host_that_comes_back_gets_its_mail(self) -> None:
        self.relay.answer = lambda address, domain: DOWN
        self.enqueue(message("b@far.example"))
        self.pass_time(2 * HOUR)
        self.relay.answer = lambda address, domain: OK
        self.pass_time(4 * HOUR)
        self.assertEmpty()
        self.assertEqual([e["to"] for e in self.audit.named("delivered")], ["a@example.org", "b@far.example"])

    def test_G1_after_a_restart_too_and_the_schedule_is_kept(self) -> None:
        self.relay.answer = lambda address, domain: LATER
        self.enqueue(message("b@far.example"))
        self.pass_time(10 * 60)
        self.assertEqual(len(self.relay.parcels), 3)
        self.crash()
        self.begin()
        self.assertEqual(len(self.relay.parcels), 3, "not due yet")
        self.relay.answer = lambda address, domain: OK
        self.pass_time(15 * 60)
        self.assertEqual(len(self.relay.parcels), 4)
        self.assertEmpty()

    def test_F16_a_clock_set_ahead_for_a_moment_does_not_park_mail(self) -> None:
        """What was put off meanwhile is found without a restart."""
        self.relay.answer = lambda address, domain: LATER
        self.pass_time(300)
        self.set_ahead = 3 * DAY
        self.enqueue(message("b@far.example"))
        self.assertEqual(len(self.relay.parcels), 1)
        self.set_ahead = 0.0
        self.relay.answer = lambda address, domain: OK
        self.pass_time(5 * HOUR)
        self.assertEmpty()

    def test_a_schedule_made_shorter_counts_for_what_waits_already(self) -> None:
        self.relay.answer = lambda address, domain: LATER
        self.settings.change(relay={"retry": (6 * HOUR,)})
        self.enqueue(message("b@far.example"))
        self.pass_time(90)
        self.settings.change(relay={"retry": (60.0,)})
        self.relay.answer = lambda address, domain: OK
        self.pass_time(180)
        self.assertEmpty()

    def test_a_search_for_old_messages_does_not_look_at_all(self) -> None:
        self.relay.answer = lambda address, domain: LATER
        self.enqueue(message("b@far.example"))
        statements: list[str] = []
        assert self.spool is not None
        self.pass_time(120)
        self.spool._database.set_trace_callback(statements.append)
        self.pass_time(60)
        self.spool._database.set_trace_callback(None)
        found = [sql for sql in statements if "waits_since" in sql]
        self.assertTrue(found)
        self.assertFalse(
            [sql for sql in statements if sql.startswith("UPDATE recipients SET next_try = max")]
        )
        for sql in found:
            plan = [row[3] for row in self.rows(f"EXPLAIN QUERY PLAN {sql}")]
            searches = [line for line in plan if "recipients_waiting" in line]
            self.assertEqual(len(searches), 2, plan)
            self.assertFalse([line for line in plan if line.startswith("SCAN") and "(" not in line], plan)

    def test_F16_a_clock_set_back_does_not_park_mail(self) -> None:
        self.relay.answer = lambda address, domain: LATER
        self.enqueue(message("b@far.example"))
        assert self.spool is not None
        self.spool._database.execute("UPDATE recipients SET next_try = next_try + 86400 * 30")
        self.crash()
        self.begin()
        self.relay.answer = lambda address, domain: OK
        self.pass_time(5 * HOUR)
        self.assertEmpty()


class StuckTests(QueueTestCase):
    def test_mail_that_was_never_tried_is_warned_about_too(self) -> None:
        """It waits behind a dead destination: its sender has a right to know."""
        self.relay.answer = lambda address, domain: DOWN
        for number in range(30):
            self.enqueue(message("b@dead.example", id=f"m{number}"))
        self.pass_time(5 * HOUR, step=60)
        self.assertEqual(len(self.local.boxes["a@example.org"]), 30)
        self.assertLess(len(self.relay.parcels), 20)
        self.pass_time(5 * DAY, step=600)
        self.assertEqual(len(self.local.boxes["a@example.org"]), 60)
        self.assertEmpty()


class BackOffTests(QueueTestCase):
    def test_G4_a_dead_domain_does_not_hold_up_others(self) -> None:
        """2 000 mails to a dead domain cost a handful of attempts, and one to a live domain goes at once."""
        self.relay.answer = lambda address, domain: DOWN if domain == "dead.example" else OK
        self.relay.hold = True
        assert self.spool is not None
        for start in range(0, 2000, 200):  # in few commits: each is a wait for the disk
            self.spool.record(
                [], [message(f"u{n}@dead.example", id=f"m{n}") for n in range(start, start + 200)]
            )
        self.turn()
        self.assertLessEqual(len(self.relay.waiting), 20)
        self.enqueue(message("b@live.example", id="live"))
        self.assertIn("b@live.example", self.relay.addresses())
        self.relay.hold = False
        self.relay.let_go()
        self.turn()
        attempts = len(self.relay.parcels)
        self.assertLess(attempts, 25)
        self.relay.hold = True
        self.pass_time(120)
        self.assertEqual(len(self.relay.waiting), 1, "one probe after the back-off")
        self.relay.hold = False
        self.relay.let_go()
        self.turn()
        self.assertEqual(len(self.relay.parcels) - attempts, 1)
        self.relay.answer = lambda address, domain: OK
        self.pass_time(30 * 60)
        self.assertEmpty()

    def test_G4_connections_per_destination(self) -> None:
        self.relay.hold = True
        for number in range(100):
            self.enqueue(message(f"u{number}@far.example", id=f"m{number}"))
        most = 0
        for _ in range(200):
            most = max(most, len(self.relay.waiting))
            self.relay.let_go()
            self.turn()
        self.assertEqual(most, 20)
        self.assertEqual(sorted(self.relay.addresses()), sorted(f"u{n}@far.example" for n in range(100)))
        self.assertEmpty()


class OverallLimitTests(QueueTestCase):
    relay_settings = {"connections": 7}

    def test_no_more_connections_than_allowed_and_all_get_their_turn(self) -> None:
        self.relay.hold = True
        for number in range(60):
            self.enqueue(message(f"u@d{number}.example", id=f"m{number}"))
        self.assertEqual(len(self.relay.waiting), 7)
        for _ in range(60):
            self.relay.let_go()
            self.turn()
            self.assertLessEqual(len(self.relay.waiting), 7)
        self.assertEqual(len(self.relay.parcels), 60)
        self.assertEmpty()


class SmallLimitsTests(QueueTestCase):
    relay_settings = {"connections": 2, "connections_per_destination": 1}

    def test_all_get_through_where_few_may_be_read_and_sent_at_once(self) -> None:
        self.relay.hold = True
        assert self.spool is not None
        self.spool.record([], [message(f"u{n}@d{n % 3}.example", id=f"m{n}") for n in range(150)])
        self.turn()
        for _ in range(200):
            self.assertLessEqual(len(self.relay.waiting), 2)
            self.assertLessEqual(self.rows("SELECT count(*) FROM temp.active"), [(2 * 2 + 4 * 100 + 2,)])
            self.relay.let_go()
            self.turn()
        self.assertEqual(len(self.relay.parcels), 150)
        self.assertEmpty()

    def test_domains_of_one_destination(self) -> None:
        """A smarthost: every domain leads to it, and one that is down is probed by one message."""
        self.relay.destination = lambda domain: "smarthost"  # type: ignore[method-assign]
        self.relay.answer = lambda address, domain: DOWN
        for number in range(50):
            self.enqueue(message(f"u@d{number}.example", id=f"m{number}"))
        self.assertLess(len(self.relay.parcels), 5)
        self.relay.answer = lambda address, domain: OK
        self.pass_time(30 * 60)
        self.assertEmpty()


class CrashTests(QueueTestCase):
    def test_F6_killed_before_the_outcome_was_recorded(self) -> None:
        """The one under way may go twice; those that are done never."""
        self.enqueue(message("done@far.example", id="m0"))
        self.relay.hold = True
        self.enqueue(message("b@far.example"))
        self.assertEqual(len(self.relay.waiting), 1)
        self.crash()
        self.relay.waiting.clear()
        self.relay.hold = False
        self.begin()
        self.assertEqual(self.relay.addresses(), ["done@far.example", "b@far.example", "b@far.example"])
        self.assertEmpty()

    def test_F6_killed_between_250_and_commit_at_every_message(self) -> None:
        """At most one duplicate for each crash, nothing lost, nothing that is done sent again."""
        self.settings.change(relay={"connections": 1})
        crashes = 0

        def answer(address: str, domain: str) -> Any:
            if address not in killed:
                killed.add(address)
                self.patch(self.spool, "record", lambda *_: Deferred())  # the commit never comes
            return OK

        killed: set[str] = set()
        self.relay.answer = answer
        for number in range(40):
            self.enqueue(message(f"u{number}@d{number % 4}.example", id=f"m{number}"))
        while self.rows("SELECT 1 FROM recipients WHERE state = 0"):
            crashes += 1
            self.crash()
            self.begin()
            self.pass_time(1)
        sent = self.relay.addresses()
        self.assertEqual(set(sent), {f"u{number}@d{number % 4}.example" for number in range(40)})
        self.assertLessEqual(len(sent) - 40, crashes)
        self.assertEqual(max(sent.count(address) for address in sent), 2)
        self.assertEmpty()

    def test_G3_poison_is_set_aside_and_others_go_on(self) -> None:
        self.relay.answer = lambda address, domain: DOWN
        for number in range(6):
            self.enqueue(message(f"u{number}@d{number}.example", id=f"m{number}"))
        self.pass_time(1)
        self.crash()
        self.damage()
        self.relay.answer = lambda address, domain: OK
        self.begin()
        self.pass_time(20 * 60)
        self.assertEqual([r["to"] for r in self.audit.named("delivered")], ["u5@d5.example"])
        self.assertEmpty()
        kept = sorted(path.suffix for path in (self.folder / "corrupt").iterdir())
        self.assertEqual(kept.count(".json"), 5)
        self.assertGreaterEqual(kept.count(".eml"), 3)

    def damage(self) -> None:
        """Truncated, zeroed, gone, rows that make no sense."""
        connection, _ = schema.connect(self.folder)
        self.addCleanup(connection.close)
        files = [row[0] for row in connection.execute("SELECT file FROM messages ORDER BY id")]
        paths = [self.folder / "messages" / name for name in files]
        paths[0].write_bytes(paths[0].read_bytes()[:10])
        paths[1].write_bytes(bytes(len(paths[1].read_bytes())))
        paths[2].unlink()
        connection.execute("UPDATE messages SET reverse_path = x'ff00' WHERE name = 'm3'")
        connection.execute("UPDATE recipients SET state = 0, attempts = 'many' WHERE address LIKE 'u4@%'")
        connection.commit()

    def test_leftovers_of_a_crash_are_removed_at_the_start(self) -> None:
        self.relay.hold = True
        self.enqueue(message("b@far.example"))
        self.crash()
        self.relay.waiting.clear()
        orphan = self.folder / "messages" / "00" / "orphan"
        orphan.write_bytes(b"never acknowledged")
        self.begin()
        self.assertFalse(orphan.exists())
        self.assertEqual(len(self.files()), 1)
        self.relay.let_go()

    def test_files_without_a_database_are_kept(self) -> None:
        self.relay.hold = True
        self.enqueue(message("b@far.example"))
        self.crash()
        self.relay.waiting.clear()
        for path in self.folder.glob("queue.sqlite*"):
            path.unlink()
        self.begin()
        (kept,) = (self.folder / "corrupt").iterdir()
        self.assertIn(b"Subject: hello", kept.read_bytes())


class ReportTests(QueueTestCase):
    def test_a_refusal_comes_back_to_a_local_sender(self) -> None:
        self.relay.answer = lambda address, domain: NO
        self.enqueue(message("b@far.example"))
        ((envelope, report),) = self.local.boxes["a@example.org"]
        self.assertEqual(envelope.reverse_path, "")
        parsed = email.message_from_bytes(report)
        self.assertEqual(parsed.get_content_type(), "multipart/report")
        self.assertIn(b"550 5.1.1 no such user", report)
        self.assertEqual(len(self.audit.named("bounced")), 1)
        self.assertEmpty()

    def test_a_refusal_goes_out_to_a_remote_sender(self) -> None:
        self.relay.answer = lambda address, domain: NO if domain == "far.example" else OK
        self.enqueue(message("b@far.example", sender="s@near.example"))
        _, parcel = self.relay.parcels[1]
        self.assertEqual((parcel.mail.reverse_path, parcel.mail.recipients), ("", ("s@near.example",)))
        self.assertEmpty()

    def test_G13_no_report_about_a_report(self) -> None:
        self.relay.answer = lambda address, domain: NO
        self.enqueue(message("b@far.example", sender=""))
        self.assertEqual(len(self.relay.parcels), 1)
        self.assertEqual(len(self.audit.named("dropped")), 1)
        self.assertEmpty()

    def test_G13_a_report_that_bounces_ends_there(self) -> None:
        self.relay.answer = lambda address, domain: NO
        self.enqueue(message("b@far.example", sender="s@near.example"))
        self.assertEqual(self.relay.addresses(), ["b@far.example", "s@near.example"])
        self.assertEqual([event["id"] for event in self.audit.named("dropped")], ["report0"])
        self.assertEmpty()

    def test_G13_G17_no_warning_about_a_delayed_report(self) -> None:
        self.relay.answer = lambda address, domain: LATER
        self.enqueue(message("b@far.example", sender=""))
        self.pass_time(6 * DAY, step=600)
        self.assertEqual(self.local.boxes, {})
        self.assertEqual(len(self.audit.named("dropped")), 1)
        self.assertEmpty()

    def test_a_sender_that_is_gone(self) -> None:
        self.relay.answer = lambda address, domain: NO
        self.enqueue(message("b@far.example", sender="ghost@example.org"))
        (dropped,) = self.audit.named("dropped")
        self.assertIn("ghost@example.org", str(dropped["reason"]))
        self.assertEmpty()

    def test_one_report_for_the_recipients_of_one_attempt(self) -> None:
        self.relay.answer = lambda address, domain: NO
        self.enqueue(message("b@far.example", "c@far.example"))
        ((_, report),) = self.local.boxes["a@example.org"]
        self.assertEqual(report.count(b"Final-Recipient"), 2)


class FailingSpoolTests(QueueTestCase):
    def test_F3_nothing_is_kept_of_what_could_not_be_queued(self) -> None:
        assert self.spool is not None

        def full(fd: int) -> None:
            raise OSError(28, "No space left on device")

        for name in ("fsync", "write"):
            with self.subTest(name):
                self.patch(durable.calls, name, full if name == "fsync" else lambda fd, data: full(fd))
                failure = self.failureResultOf(self.spool.enqueue(*_arguments(message("b@far.example"))))
                self.assertIsInstance(failure.value, NoSpace)
                durable.calls.__init__()  # type: ignore[misc]
                self.assertEmpty()
        self.enqueue(message("b@far.example"))
        self.assertEqual(len(self.relay.parcels), 1)

    def test_an_outcome_is_recorded_when_the_spool_works_again(self) -> None:
        """The message went out: it must not go again only because its outcome could not be written."""
        assert self.spool is not None
        record, failures = self.spool.record, [TemporaryFailure(), TemporaryFailure()]

        def failing(*args: Any) -> Any:
            return fail(failures.pop()) if failures else record(*args)

        self.patch(self.spool, "record", failing)
        self.enqueue(message("b@far.example"))
        self.pass_time(60, step=5)
        self.assertEqual(len(self.relay.parcels), 1)
        self.assertEmpty()


class StopTests(QueueTestCase):
    def test_stop_waits_for_outcomes_and_starts_nothing(self) -> None:
        self.relay.hold = True
        self.enqueue(message("b@far.example"))
        stopped = self.manager.stop()
        self.assertNoResult(stopped)
        self.enqueue(message("c@far.example", id="m2"))
        self.assertEqual(len(self.relay.parcels), 1)
        self.relay.let_go()
        self.successResultOf(stopped)
        self.assertEqual(self.rows("SELECT name FROM messages"), [("m2",)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_cuts_what_takes_too_long(self) -> None:
        self.relay.hold = True
        self.relay.answer = lambda address, domain: DOWN
        self.enqueue(message("b@far.example"))
        stopped = self.manager.stop()
        self.turn(16)
        self.successResultOf(stopped)
        self.assertGreaterEqual(self.relay.stopped, 1)
        self.assertEqual(self.rows("SELECT state, attempts FROM recipients"), [(0, 1)])


def _arguments(new: Any) -> tuple[Any, ...]:
    return new.envelope, new.trace, new.body, new.targets
