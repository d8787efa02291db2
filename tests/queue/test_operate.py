"""The operator's commands, on a queue with and without a server."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from mailserver.cli.queue import queue
from mailserver.processes.instance import AlreadyRunning, InstanceLock
from mailserver.queue.kick import KickListener, kick
from tests.queue.scene import DOWN, LATER, OK, QueueTestCase, message


class OperatorTestCase(QueueTestCase):
    """`command` runs `mailserver queue …` on the folder of the case."""

    def setUp(self) -> None:
        super().setUp()
        base = self.folder.parent
        (base / "users.toml").write_text("")
        (base / "mailserver.toml").write_text(
            f'hostname = "mail.example.org"\ndata_dir = "{base}"\nusers_file = "users.toml"\n'
            '[domains."example.org"]\n'
        )
        self.config = base / "mailserver.toml"
        self.relay.answer = lambda address, domain: LATER

    def command(self, *arguments: str, status: int = 0) -> Result:
        result = CliRunner().invoke(queue, [*arguments, "-c", str(self.config)])
        self.assertEqual(result.exit_code, status, result.output)
        return result

    def json(self, *arguments: str) -> Any:
        return json.loads(self.command(*arguments, "--json").stdout)

    def kicked(self) -> None:
        """What the pipe does in a real reactor."""
        self.manager.look_again()
        self.turn()


class ListTests(OperatorTestCase):
    def test_list_and_show(self) -> None:
        self.enqueue(message("b@far.example", "c@other.example"))
        text = self.command("list").stdout
        self.assertIn("m1", text)
        self.assertIn("b@far.example  451 4.7.1 try later [mx.far.example[192.0.2.1]]", text)
        self.assertIn("1 message\n", text)
        (row,) = self.json("list")
        self.assertEqual((row["id"], row["sender"], row["held"]), ("m1", "a@example.org", False))
        self.assertEqual([r["attempts"] for r in row["recipients"]], [1, 1])
        shown = self.command("show", "m1").stdout
        self.assertIn("Subject: hello", shown)
        self.assertNotIn("body\n", shown)
        self.assertEqual(self.json("list", "--domain", "nowhere.example"), [])

    def test_by_sender(self) -> None:
        self.enqueue(message("b@far.example", sender="al@example.org", user="alice@example.org"))
        self.enqueue(message("c@far.example", sender="bob@example.org", id="m2"))
        self.enqueue(message("d@far.example", sender="", id="m3"))
        for sender, ids in (
            ("alice@example.org", ["m1"]),
            ("al@Example.org", ["m1"]),
            ("<bob@example.org>", ["m2"]),
            ("<>", ["m3"]),
            ("nobody@example.org", []),
        ):
            self.assertEqual([row["id"] for row in self.json("list", "--sender", sender)], ids)
        self.assertEqual(self.json("hold", "--sender", "alice@example.org")["changed"], 1)
        self.assertEqual([row["held"] for row in self.json("list")], [True, False, False])
        self.assertEqual(self.json("release", "--sender", "al@example.org")["changed"], 1)
        self.assertEqual(self.json("remove", "--sender", "<>")["changed"], 1)
        self.assertEqual(self.json("retry", "--sender", "bob@example.org")["changed"], 1)
        self.command("hold", "--sender", "x@y.example", "--all", status=2)
        self.assertEqual(len(self.json("list")), 2)

    def test_G3_what_was_set_aside_is_listed(self) -> None:
        self.enqueue(message("b@far.example"))
        (path,) = self.files()
        path.write_bytes(b"")
        self.pass_time(70)
        self.assertEmpty()
        text = self.command("list").stdout
        self.assertIn("The queue is empty.", text)
        self.assertIn(": m1  ", text)
        self.assertIn("0 octets instead of", text)
        (row,) = self.json("list")
        self.assertEqual((row["id"], row["recipients"]), ("m1", []))
        self.assertTrue(Path(row["file"]).exists())
        self.assertEqual(self.json("list", "--domain", "far.example"), [])

    def test_control_characters_do_not_reach_the_terminal(self) -> None:
        self.enqueue(message("b@far.example", body=b"Subject: \x1b[2J\n\n"))
        self.assertNotIn("\x1b", self.command("show", "m1").stdout)

    def test_folded_fields_are_shown_as_they_are(self) -> None:
        self.enqueue(message("b@far.example", body=b"Received: from a\n\tby b\n\n"))
        self.assertIn("Received: from a\n by b", self.command("show", "m1").stdout)

    def test_empty_and_missing_queue(self) -> None:
        self.assertIn("empty", self.command("list").stdout)
        self.crash()
        for path in self.folder.glob("queue.sqlite*"):
            path.unlink()
        self.assertEqual(self.json("list"), [])
        self.assertIn("no queue", self.command("retry", "--all", status=1).output)

    def test_misuse(self) -> None:
        self.command("retry", status=2)
        self.command("retry", "m1", "--all", status=2)
        self.command("hold", "--domain", "not a domain", status=2)
        result = self.command("remove", "m9", status=1)
        self.assertIn("no message m9", result.output)

    def test_a_damaged_database_is_told_without_traceback(self) -> None:
        self.crash()
        (self.folder / "queue.sqlite").write_bytes(b"not a database at all" * 100)
        result = self.command("list", status=1)
        self.assertIn("cannot be opened", result.output)
        self.assertIsInstance(result.exception, SystemExit)


class G22Tests(OperatorTestCase):
    def test_G22_retry_without_a_server_counts_at_the_next_start(self) -> None:
        self.enqueue(message("b@far.example"))
        self.pass_time(400)
        self.crash()
        tried = len(self.relay.parcels)
        self.command("retry", "m1")
        self.relay.answer = lambda address, domain: OK
        self.clock.advance(max(0.0, time.time() - self.clock.seconds()) + 1)
        self.begin()
        self.assertEqual(len(self.relay.parcels), tried + 1)
        self.assertEmpty()

    def test_G22_hold_and_release(self) -> None:
        self.enqueue(message("b@far.example"))
        self.command("hold", "--all")
        self.relay.answer = lambda address, domain: OK
        self.pass_time(9 * 86400, step=3600)
        self.assertEqual(len(self.relay.parcels), 1, "held: not tried, not expired")
        self.command("release", "m1")
        self.rows("UPDATE recipients SET next_try = 0")
        self.kicked()
        self.assertEqual(len(self.relay.parcels), 2)

    def test_G22_hold_during_the_delivery_of_the_same_message(self) -> None:
        """The delivery goes to its end; only what it leaves is held."""
        self.relay.hold = True
        self.enqueue(message("b@far.example"))
        self.command("hold", "m1")
        self.relay.let_go()
        self.turn()
        self.assertEqual(self.rows("SELECT state, attempts FROM recipients"), [(4, 1)])
        self.pass_time(86400, step=3600)
        self.assertEqual(len(self.relay.parcels), 1)

    def test_G22_hold_during_a_delivery_that_succeeds(self) -> None:
        self.relay.answer = lambda address, domain: OK
        self.relay.hold = True
        self.enqueue(message("b@far.example"))
        self.command("hold", "m1")
        self.relay.let_go()
        self.turn()
        self.assertEmpty()

    def test_G22_retry_during_a_delivery_does_not_send_twice(self) -> None:
        self.relay.hold = True
        self.enqueue(message("b@far.example"))
        self.command("retry", "m1")
        self.kicked()
        self.assertEqual(len(self.relay.parcels), 1)
        self.relay.answer = lambda address, domain: OK
        self.relay.let_go()
        self.turn()
        self.assertEqual(len(self.relay.parcels), 1)
        self.assertEmpty()

    def test_G22_remove_during_a_delivery(self) -> None:
        self.relay.hold = True
        self.enqueue(message("b@far.example"))
        self.assertEqual(self.json("remove", "m1"), {"changed": 1, "server": False})
        self.relay.let_go()
        self.turn()
        self.assertEmpty()
        self.pass_time(3600)
        self.assertEqual(len(self.relay.parcels), 1)

    def test_G22_remove_leaves_the_others_of_a_shared_file(self) -> None:
        assert self.spool is not None
        news = [message("b@far.example", id=f"m{n}") for n in range(3)]
        self.spool.record([], news)
        self.turn()
        self.assertEqual(len(self.files()), 1)
        self.command("remove", "m0", "m1")
        self.relay.answer = lambda address, domain: OK
        self.pass_time(70)
        self.assertEqual(self.relay.bodies[-1], b"Received: here\n" + message("x@y").body.head(999))
        self.assertEmpty()

    def test_G22_hold_and_remove_what_was_read_but_not_begun(self) -> None:
        self.relay.hold = True
        for number in range(60):
            self.enqueue(message(f"u{number}@far.example", id=f"m{number}"))
        begun = len(self.relay.parcels)
        self.assertLess(begun, 30)
        self.command("remove", "m58")
        self.command("hold", "m59")
        self.kicked()
        self.relay.hold = False
        self.relay.answer = lambda address, domain: OK
        self.relay.let_go()
        self.pass_time(60)
        self.assertEqual(sorted(self.relay.addresses()), sorted(f"u{n}@far.example" for n in range(58)))
        self.assertEqual(self.rows("SELECT name FROM messages"), [("m59",)])

    def test_a_retry_reaches_blocked_destinations_at_once(self) -> None:
        self.relay.answer = lambda address, domain: DOWN
        self.enqueue(message("b@far.example"))
        self.rows("UPDATE recipients SET next_try = 0")
        self.relay.answer = lambda address, domain: OK
        self.kicked()
        self.assertEmpty()


class LockTests(QueueTestCase):
    def test_F19_a_second_instance_is_refused(self) -> None:
        other = InstanceLock(self.folder / "lock")
        error = self.assertRaises(AlreadyRunning, other.acquire)
        self.assertIn(str(os.getpid()), str(error))

    def test_F19_a_stale_lock_file_does_not_block(self) -> None:
        self.crash()
        (self.folder / "lock").write_text("99999\n")
        self.begin()
        self.assertEqual((self.folder / "lock").read_text(), f"{os.getpid()}\n")

    def test_kicks(self) -> None:
        """Nobody listens: False. Someone does: the reader hears many kicks as one."""
        self.assertFalse(kick(self.folder))
        heard: list[int] = []
        readers: list[Any] = []

        class Reactor:
            addReader = staticmethod(readers.append)
            removeReader = staticmethod(readers.remove)

        listener = KickListener(self.folder, Reactor(), lambda: heard.append(1))
        listener.start()
        for _ in range(20_000):
            self.assertTrue(kick(self.folder))
        readers[0].doRead()
        self.assertEqual(heard, [1])
        listener.stop()
        self.assertEqual(readers, [])
        self.assertFalse(kick(Path(self.folder)))
