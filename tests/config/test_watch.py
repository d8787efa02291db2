"""Settings: watched users files, reload, and broken files that change nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailserver.config import watch
from mailserver.config.load import read
from mailserver.config.schema import User
from mailserver.config.watch import POLL_SECONDS, Settings
from mailserver.errors import MailError
from tests.helpers.files import CONFIG, USERS, write_certificate, write_site, write_users

CAROL = '\n[users."carol@example.org"]\npassword = "{PLAIN}x"\n'


class Case(SynchronousTestCase):
    """A site in a folder, settings on a clock, and the log."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp()).resolve()
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = write_site(self.folder)
        self.clock = Clock()
        self.calls: list[str] = []
        self.settings = Settings(read(self.path), self.clock, run=self.run_now)
        self.addCleanup(self.settings.stop)
        self.changes = 0
        self.settings.subscribe(self.count)
        self.logged: list[str] = []
        globalLogPublisher.addObserver(self.note)
        self.addCleanup(globalLogPublisher.removeObserver, self.note)

    def note(self, event: LogEvent) -> None:
        if event["log_namespace"] == "mailserver.config.watch.Settings":
            self.logged.append(event["log_format"].format(**event))

    def count(self) -> None:
        self.changes += 1

    def run_now(self, function: Any, *arguments: Any) -> Deferred[Any]:
        self.calls.append(function.__name__)
        return maybeDeferred(function, *arguments)

    def wait(self, seconds: float = POLL_SECONDS) -> None:
        self.clock.advance(seconds)


class Changing(Case):
    """A user is given other values while the server runs."""

    def test_it_is_in_force_when_it_is_done_and_told_to_others(self) -> None:
        told: list[User] = []
        self.settings.tell = told.append
        users = self.folder / "users.toml"
        users.write_text("# staff\n" + users.read_text())
        self.successResultOf(self.settings.change_user("alice@example.org", {"quota": "5 MiB"}))
        assert self.settings.users.users["alice@example.org"].quota == 5 << 20
        assert told == [self.settings.users.users["alice@example.org"]]
        assert self.changes == 1
        assert users.read_text().startswith("# staff\n") and 'quota = "5 MiB"' in users.read_text()
        self.settings.start()
        self.wait(10 * POLL_SECONDS)
        assert self.changes == 1  # the file says what is in force already

    def test_what_the_server_would_not_take_is_not_written(self) -> None:
        users = self.folder / "users.toml"
        text = users.read_text()
        for address, values in (
            ("alice@example.org", {"quota": "much"}),
            ("nobody@example.org", {"quota": 5}),
        ):
            error = self.failureResultOf(self.settings.change_user(address, values), MailError)
            assert error.value.imap == "CANNOT" and str(self.folder) not in error.value.text
        assert users.read_text() == text and self.changes == 0

    def test_another_process_has_changed_one(self) -> None:
        alice = evolve(self.settings.users.users["alice@example.org"], quota_messages=3)
        self.settings.hear(alice)
        assert self.settings.users.users["alice@example.org"] is alice and self.changes == 1
        self.settings.hear(alice)
        self.settings.hear(evolve(alice, address="stranger@example.org"))
        assert self.changes == 1 and "stranger@example.org" not in self.settings.users.users

    def test_what_was_read_before_a_change_was_heard_is_read_again(self) -> None:
        users = self.folder / "users.toml"
        old = self.settings.users.users["alice@example.org"]
        reads: list[str] = []

        def run(function: Any, *arguments: Any) -> Deferred[Any]:
            found = maybeDeferred(function, *arguments)
            if function.__name__ == "read_users_again":
                reads.append("read")
                if len(reads) == 2:  # it has read what the file said before
                    users.write_text(users.read_text().replace("# x\n", "quota_messages = 3\n"))
                    self.settings.hear(evolve(old, quota_messages=3))
            return found

        self.settings._run = run
        self.settings.start()
        table = '[users."alice@example.org"]\n'
        users.write_text(users.read_text().replace(table, table + "# x\n"))
        self.wait()
        assert len(reads) == 3 and self.settings.users.users["alice@example.org"].quota_messages == 3


class Watching(Case):
    """An edit of users.toml is in force within five seconds."""

    def test_an_edit_is_in_force_within_five_seconds(self) -> None:
        self.settings.start()
        write_users(self.folder, USERS + CAROL)
        self.wait(2.5)
        self.wait(2.5)
        self.assertIn("carol@example.org", self.settings.users.users)
        self.assertEqual(self.changes, 1)

    def test_a_rename_over_the_file_is_seen(self) -> None:
        self.settings.start()
        new = self.folder / "new.toml"
        new.write_text(USERS + CAROL)
        new.rename(self.folder / "users.toml")
        self.wait()
        self.assertIn("carol@example.org", self.settings.users.users)

    def test_two_edits_in_one_tick_of_the_file_clock_are_both_seen(self) -> None:
        """Same size, same time stamps to the nanosecond: the file is young and so is read again."""
        users = write_users(self.folder, USERS)
        self.settings.start()
        status = users.stat()
        users.write_text(USERS.replace("secret", "SECRET"))
        os.utime(users, ns=(status.st_atime_ns, status.st_mtime_ns))
        self.wait()
        self.assertEqual(self.settings.users.users["alice@example.org"].password, "{PLAIN}SECRET")

    def test_a_file_that_rests_is_not_read_again(self) -> None:
        self.patch(watch.time, "time", lambda: 1e12)
        self.settings.start()
        self.calls.clear()
        for _ in range(10):
            self.wait()
        self.assertEqual(self.calls, ["_signature"] * 10)
        self.assertEqual(self.changes, 0)

    def test_K4_a_broken_edit_keeps_the_old_users_and_logs_once(self) -> None:
        self.settings.start()
        before = self.settings.users
        write_users(self.folder, USERS + "[users.")
        for _ in range(5):
            self.wait()
        self.assertIs(self.settings.users, before)
        told = [line for line in self.logged if "users.toml: line 12" in line or "users.toml: " in line]
        self.assertEqual(len(told), 1, self.logged)
        self.assertEqual(self.changes, 0)

    def test_K4_the_repaired_file_is_taken(self) -> None:
        self.settings.start()
        write_users(self.folder, "[users.")
        self.wait()
        write_users(self.folder, USERS + CAROL)
        self.wait()
        self.assertIn("carol@example.org", self.settings.users.users)

    def test_K4_a_file_that_is_gone_keeps_the_old_users(self) -> None:
        self.settings.start()
        (self.folder / "users.toml").unlink()
        self.wait()
        self.assertIn("alice@example.org", self.settings.users.users)

    def test_an_edit_that_removes_the_postmaster_is_refused(self) -> None:
        path = write_site(self.folder, CONFIG + 'postmaster = "bob"\n')
        settings = Settings(read(path), self.clock, run=self.run_now)
        settings.start()
        self.addCleanup(settings.stop)
        write_users(self.folder, USERS.replace("bob@example.org", "rob@example.org"))
        self.wait()
        self.assertIn("bob@example.org", settings.users.users)

    def test_a_subscriber_that_fails_does_not_stop_the_others(self) -> None:
        self.settings.subscribe(lambda: 1 / 0)
        told: list[int] = []
        stop = self.settings.subscribe(lambda: told.append(1))
        write_users(self.folder, USERS + CAROL)
        self.settings.start()
        stop()
        write_users(self.folder, USERS)
        self.wait()
        self.assertEqual(told, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class Reloading(Case):
    """SIGHUP and `mailserver reload`."""

    def test_everything_that_can_change_does(self) -> None:
        write_certificate(self.folder, "mail.example.org")
        more = """
[domains."example.net"]
[tls]
certificate = "cert.pem"
key = "cert-key.pem"
[limits]
recipients = 500
[auth]
max_failures = 2
[relay]
networks = ["10.0.0.0/8"]
"""
        write_site(self.folder, CONFIG + more, USERS + CAROL)
        self.assertEqual(self.successResultOf(self.settings.reload()), [])
        now = self.settings.now
        self.assertEqual(list(now.domains), ["example.org", "example.net"])
        self.assertEqual(now.tls.certificate, self.folder / "cert.pem")
        self.assertEqual((now.limits.recipients, now.auth.max_failures), (500, 2))
        self.assertEqual(now.relay.networks, ("10.0.0.0/8",))
        self.assertIn("carol@example.org", self.settings.users.users)
        self.assertEqual(self.changes, 1)

    def test_keys_that_need_a_restart_are_named_and_stay(self) -> None:
        before = self.settings.now
        text = CONFIG.replace("mail.example.org", "new.example.org").replace('"data"', '"other"')
        write_site(self.folder, text + '[listen]\nsmtp = ["tcp:2525"]\n[log]\nformat = "json"\n')
        self.assertEqual(self.successResultOf(self.settings.reload()), [])
        self.assertEqual(evolve(self.settings.now), before)
        for key in ("hostname", "data_dir", "listen", "log"):
            self.assertIn(f"{key}: the change needs a restart", self.logged)

    def test_a_broken_file_keeps_all_settings_and_says_why(self) -> None:
        before = self.settings.now, self.settings.users
        write_site(self.folder, CONFIG + "[limits]\nrecipents = 500\n", USERS + CAROL)
        [problem] = self.successResultOf(self.settings.reload())
        self.assertEqual(problem.key, "limits.recipents")
        self.assertEqual((self.settings.now, self.settings.users), before)
        self.assertTrue(any("limits.recipents: unknown key" in line for line in self.logged))
        self.assertEqual(self.changes, 0)

    def test_an_unforeseen_error_is_an_answer_too(self) -> None:
        settings = Settings(read(self.path), self.clock, run=lambda *call: maybeDeferred(lambda: 1 // 0))
        [problem] = self.successResultOf(settings.reload())
        self.assertIn("could not be read", problem.text)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_F14_a_hundred_reloads_at_once_cost_two(self) -> None:
        waiting: list[Deferred[None]] = []

        def run_later(function: Any, *arguments: Any) -> Deferred[Any]:
            self.calls.append(function.__name__)
            turn: Deferred[None] = Deferred()
            waiting.append(turn)
            return turn.addCallback(lambda _: function(*arguments))

        settings = Settings(read(self.path), self.clock, run=run_later)
        answers = [settings.reload() for _ in range(100)]
        while waiting:
            waiting.pop().callback(None)
        self.assertEqual([self.successResultOf(answer) for answer in answers], [[]] * 100)
        self.assertEqual(self.calls, ["read"] * 2)

    def test_F14_reloads_while_the_users_change_end_with_the_newest(self) -> None:
        self.settings.start()
        for number in range(100):
            user = f'\n[users."u{number}@example.org"]\npassword = "{{PLAIN}}x"\n'
            write_users(self.folder, USERS + user)
            self.assertEqual(self.successResultOf(self.settings.reload()), [])
            self.assertIn(f"u{number}@example.org", self.settings.users.users)
            self.wait(0.1)

    def test_settings_need_a_file(self) -> None:
        loaded = read(self.path)
        with self.assertRaises(ValueError):
            Settings(evolve(loaded, config=evolve(loaded.config, path=None)), self.clock)
