"""One message that cannot be handled never stops the others (CASES G3)."""

from __future__ import annotations

import errno
import json
import os
from typing import Any

from mailserver.queue import database
from mailserver.queue.files import MessageFiles
from tests.queue.scene import DOWN, LATER, NO, OK, QueueTestCase, message

HOUR = 3600.0


class PoisonTests(QueueTestCase):
    def kept(self) -> list[dict[str, Any]]:
        found = (self.folder / "corrupt").glob("*.json")
        return [json.loads(path.read_bytes()) for path in found]

    def wait_with(self, *ids: str) -> None:
        """Messages that wait for their next try."""
        self.relay.answer = lambda address, domain: LATER
        for identity in ids:
            self.enqueue(message(f"{identity}@far.example", id=identity))
        self.relay.answer = lambda address, domain: OK

    def delivered(self) -> list[str]:
        return [str(event["to"]).partition("@")[0] for event in self.audit.named("delivered")]

    def test_G3_rows_of_all_kinds_of_nonsense(self) -> None:
        names = [f"m{number}" for number in range(8)]
        self.wait_with(*names, "good")
        for name, change in zip(
            names,
            (
                "received_at = 'soon'", "received_at = 9e999", "offset = -1", "size = 1 << 40",
                "file = '../../etc/passwd'", "checksum = x'00'", "wire_size = 1e400", "file = ''",
            ),
            strict=True,
        ):  # fmt: skip
            self.rows(f"UPDATE messages SET {change} WHERE name = '{name}'")
        self.pass_time(70)
        self.assertIn("good", self.delivered())
        self.pass_time(10 * HOUR, step=600)
        self.assertEqual(self.rows("SELECT name FROM messages"), [])
        self.assertGreaterEqual(len(self.kept()), 6)

    def test_G3_an_exception_that_nobody_expects_while_a_message_is_read(self) -> None:
        self.wait_with("bad", "good")
        read = MessageFiles.read

        def broken(files: MessageFiles, place: Any, most: int) -> Any:
            if place == self.place_of("bad"):
                raise RuntimeError("nobody expects this")
            return read(files, place, most)

        self.patch(MessageFiles, "read", broken)
        self.pass_time(70)
        self.assertEqual(self.delivered(), ["good"])
        (record,) = self.kept()
        self.assertEqual((record["error"], record["message"][1]), ("nobody expects this", "bad"))
        self.assertEmpty()

    def place_of(self, name: str) -> Any:
        rows = self.rows(f"SELECT {database.MESSAGE_COLUMNS} FROM messages AS m WHERE name = '{name}'")
        return database.read_message(rows[0]).place if rows else None

    def test_G3_what_the_disk_does_not_give_is_tried_until_its_time_is_over(self) -> None:
        self.wait_with("bad", "good")
        bad = str(self.folder / "messages" / self.place_of("bad").file)
        open_ = os.open

        def refuse(path: Any, *arguments: Any, **more: Any) -> int:
            if path == bad:
                raise OSError(errno.EACCES, "Permission denied")
            return open_(path, *arguments, **more)

        self.patch(os, "open", refuse)
        self.pass_time(HOUR)
        self.assertEqual(self.delivered(), ["good"])
        self.pass_time(20 * HOUR, step=600)
        self.assertEqual(self.kept(), [])
        self.pass_time(5 * 24 * HOUR, step=600)
        self.assertEqual(len(self.kept()), 1)
        self.assertEmpty()

    def test_G3_a_report_that_cannot_be_made(self) -> None:
        """The outcome counts all the same, nothing is sent twice, and the destination goes on."""
        self.settings.change(relay={"connections_per_destination": 1})
        failed = self.reporter.failed

        def broken(job: Any, *arguments: Any) -> Any:
            if job.message.envelope.id == "bad":
                raise RuntimeError("what a header")
            return failed(job, *arguments)

        self.patch(self.reporter, "failed", broken)
        self.relay.answer = lambda address, domain: NO
        self.enqueue(message("bad@far.example", id="bad"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        for number in range(4):
            self.enqueue(message(f"u{number}@far.example", id=f"m{number}"))
        self.assertEqual(len(self.relay.parcels), 5)
        self.assertEqual([record["message"][1] for record in self.kept()], ["bad"])
        self.assertEqual(len(self.local.boxes["a@example.org"]), 4)
        self.assertEmpty()

    def test_G3_a_warning_that_cannot_be_made(self) -> None:
        self.relay.answer = lambda address, domain: DOWN

        def broken(*arguments: Any) -> Any:
            raise RuntimeError("what a header")

        self.patch(self.reporter, "delayed", broken)
        self.enqueue(message("bad@far.example", id="bad"))
        self.pass_time(5 * HOUR, step=60)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1, "not again and again")
        self.relay.answer = lambda address, domain: OK
        self.pass_time(4 * HOUR, step=60)
        self.assertEqual(self.delivered(), ["bad"])

    def test_G3_an_outcome_that_breaks_holds_the_message_and_frees_the_place(self) -> None:
        self.settings.change(relay={"connections_per_destination": 1, "connections": 1})
        outcome = self.manager._recorder._teller.outcome

        def broken(job: Any, *arguments: Any) -> None:
            if job.message.envelope.id == "bad":
                raise RuntimeError("nobody expects this")
            outcome(job, *arguments)

        self.patch(self.manager._recorder._teller, "outcome", broken)
        self.enqueue(message("bad@far.example", id="bad"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.enqueue(message("good@far.example", id="good"))
        self.assertEqual(self.delivered(), ["good"])
        self.assertEqual(self.rows("SELECT m.name, r.state FROM messages m, recipients r"), [("bad", 4)])
