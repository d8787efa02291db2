"""POP3 sessions on a real store: what is on the disk afterwards, and what the next session sees."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from mailserver.store.index.database import FILE as INDEX
from tests.helpers.store import ALICE, account_dir, deliver, drop_file, file_names, make_store, now
from tests.pop3.session import Base

TEXTS = [
    b"Subject: one\n\nhello\n",
    b"Subject: two\n\n.\n..dots\n",
    b"Subject: three\n\n" + b"x" * 70 + b"\n",
]


class StoreTests(Base):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.open_store()
        self.addCleanup(self.close_store)
        for text in TEXTS:
            deliver(self.store, data=text)
        super().setUp()
        self.log_in()

    def open_store(self) -> None:
        """As after a restart."""
        self.store = make_store(self.folder)

    def close_store(self) -> None:
        now(self.store.stop())

    def log_in(self) -> None:
        """A new session of alice's."""
        self.authenticator.account = now(self.store.account(ALICE))
        self.connection, self.transport = self.connect()
        self.assertIn(b"+OK", self.say(b"USER mrose", b"PASS secret").splitlines()[-1])

    def quit(self) -> None:
        self.assertTrue(self.say(b"QUIT").endswith(b"+OK Bye\r\n"))
        self.connection.connectionLost()

    def unique_ids(self) -> list[bytes]:
        return [line.split()[1] for line in self.say(b"UIDL").splitlines()[1:-1]]

    def files(self) -> list[str]:
        return file_names(account_dir(self.store))

    def test_A7_messages_come_out_as_they_went_in(self) -> None:
        said = self.say(b"RETR 1", b"RETR 2", b"RETR 3")

        wire = [text.replace(b"\n", b"\r\n").replace(b"\n.", b"\n..") for text in TEXTS]
        parts = said.split(b"\r\n.\r\n")
        self.assertEqual(len(parts), 4)
        for part, text in zip(parts, wire, strict=False):
            self.assertTrue((part + b"\r\n").endswith(text))

    def test_the_sizes_are_those_of_the_wire(self) -> None:
        for number in (1, 2, 3):
            size = int(self.say(b"LIST %d" % number).split()[2])
            answer = self.say(b"RETR %d" % number)
            _, _, message = answer.removesuffix(b".\r\n").partition(b"\r\n")
            self.assertEqual(len(message.replace(b"\n..", b"\n.")), size)

    def test_J2_only_QUIT_removes(self) -> None:
        before = self.files()
        self.say(b"DELE 1", b"DELE 3")
        self.connection.connectionLost()
        self.assertEqual(self.files(), before)

        self.log_in()
        self.say(b"DELE 1", b"DELE 3")
        self.quit()
        self.assertEqual(len(self.files()), 1)
        self.log_in()
        self.assertIn(b"Subject: two", self.say(b"RETR 1"))

    def test_J3_two_sessions_and_another_program(self) -> None:
        first, first_transport = self.connection, self.transport
        self.log_in()
        self.say(b"DELE 1")
        self.quit()
        path = account_dir(self.store) / self.files()[0]
        path.unlink()

        self.connection, self.transport = first, first_transport
        gone = b"-ERR Message no longer exists\r\n"
        self.assertEqual(self.say(b"RETR 1", b"RETR 2"), gone + gone)
        self.assertIn(b"Subject: three", self.say(b"RETR 3"))
        self.say(b"DELE 1", b"DELE 2", b"DELE 3")
        self.quit()
        self.assertEqual(self.files(), [])

    def test_J4_unique_ids_stay(self) -> None:
        """Over a change of flags in the name, a restart, and the loss of the index."""
        unique_ids = self.unique_ids()
        self.assertEqual(len(set(unique_ids)), 3)
        self.quit()
        directory = account_dir(self.store)
        first = directory / self.files()[0]
        os.rename(first, directory / "cur" / (first.name.partition(":")[0] + ":2,FS"))
        self.close_store()

        self.open_store()
        self.log_in()
        self.assertEqual(self.unique_ids(), unique_ids)
        self.quit()
        self.close_store()
        for path in directory.glob(INDEX + "*"):
            path.unlink()

        self.open_store()
        self.log_in()
        self.assertEqual(self.unique_ids(), unique_ids)

    def test_I5_a_foreign_delivery_is_there_at_the_next_log_in(self) -> None:
        drop_file(account_dir(self.store), "1.2.elsewhere", b"Subject: foreign\n\nx\n")
        self.quit()

        self.log_in()
        self.assertIn(b"Subject: foreign", self.say(b"RETR 4"))
        self.assertEqual(len(self.unique_ids()), 4)

    def test_J8_many_deletions(self) -> None:
        for _ in range(300):
            deliver(self.store)
        self.log_in()
        self.say(*(b"DELE %d" % number for number in range(1, 303)))
        self.quit()

        self.assertEqual(len(self.files()), 1)
