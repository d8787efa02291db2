"""A sample of the faults; `make faults` runs every one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailserver.config.replace import edit_file
from mailserver.disk import durable
from mailserver.errors import MailError, TemporaryFailure
from mailserver.store import files
from tests.faults.campaign import Run, failures, memory_folder
from tests.faults.injector import TROUBLES, Fault, Injector
from tests.faults.scenarios import SCENARIOS, SMALL, Scenario, deliver, session
from tests.faults.world import Client, Refused, World
from tests.helpers.store import now
from tests.helpers.syscalls import Watched

SAMPLE = 14  # faults of each scenario


@pytest.mark.parametrize("name", SCENARIOS)
def test_F3_F4_F7_F9_F10_H16_H17_H21_each_call_fails(name: str) -> None:
    """No false yes, a clean no, nothing partial, and all is well when the fault is over."""
    broken = [what for _, what in failures(SCENARIOS[name], SAMPLE, seed=len(name)) if what]
    assert not broken, "\n\n".join(broken)


def _trouble(name: str) -> Any:
    return next(trouble for trouble in TROUBLES if trouble.name == name)


def _check(scenario: str, trouble: str, call: str, path: str) -> None:
    """The fault at each such call of the scenario."""
    folder = memory_folder()
    run = Run(SCENARIOS[scenario], folder)
    places = [at for at, one in enumerate(run.calls) if one.partition(" ")[0] == call and one.endswith(path)]
    assert places, "\n".join(run.calls)
    for at in places:
        run.check(Fault(at, _trouble(trouble), lasting=False))


@pytest.mark.parametrize(
    ("scenario", "trouble", "call", "path"),
    [
        # an inbox that the disk does not show is not one that is not there: no 550
        ("data-one", "EIO", "os.lstat", "alice/cur"),
        # the keywords of the target come after the files
        ("copy", "ENOSPC", "open", ".Work/mailserver-keywords.new"),
        ("move", "EMFILE", "open", "alice/mailserver-uidvalidity.new"),
        # half a folder
        ("create", "ENOSPC", "open", ".Fresh/mailserver-uidvalidity.new"),
        # directories renamed, and the index says no
        ("rename", "ENOSPC", "xWrite", "mailserver-index.sqlite-wal"),
        # the file of a message whose row could not be committed
        ("data-remote", "ENOSPC", "xWrite", "queue.sqlite-wal"),
        # a page that reads as nonsense once
        ("data-remote", "GARBAGE", "xRead", "queue.sqlite"),
    ],
)
def test_F3_I5_what_once_went_wrong(scenario: str, trouble: str, call: str, path: str) -> None:
    _check(scenario, trouble, call, path)


def test_G1_what_could_not_be_read_to_the_end_is_not_under_way_for_ever() -> None:
    run = Run(SCENARIOS["queue"], memory_folder())
    for at, call in enumerate(run.calls):
        if call.startswith("xShmLock"):
            run.check(Fault(at, _trouble("BUSY"), lasting=True))


# --- what cannot be read is not absent ------------------------------------------------------------


@pytest.fixture
def world() -> Any:
    """alice has annotations, subscriptions and mail."""
    folder = memory_folder()
    injector = Injector()
    with Watched(str(folder)).watching(injector.see):
        made = World(folder / "data")
        made.injector = injector  # type: ignore[attr-defined]
        deliver(made, SMALL[0], "alice")
        session(made).imap(b'SETMETADATA INBOX (/private/comment "kept")')
        yield made
        injector.resting = True
        made.crash()


def _failing(world: Any, call: str, path: str, number: int, action: Callable[[], Any]) -> None:
    """`action` is refused while this one call fails."""
    see = lambda c, p, a: number if (c, p.endswith(path)) == (call, True) else None  # noqa: E731
    with Watched(str(world.folder)).watching(see), pytest.raises((Refused, MailError)):
        action()


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE])
def test_F3_annotations_that_cannot_be_read_are_not_written_over(world: Any, number: int) -> None:
    client = session(world)
    change = b'SETMETADATA INBOX (/private/vendor/vendor.x/y "new")'
    _failing(world, "os.open", "mailserver-metadata", number, lambda: client.imap(change))
    assert b'"kept"' in client.imap(b"GETMETADATA INBOX /private/comment")
    client.imap(change)
    assert b'"kept"' in client.imap(b"GETMETADATA INBOX /private/comment")


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE])
def test_F3_subscriptions_that_cannot_be_read_are_not_written_over(world: Any, number: int) -> None:
    client = session(world)
    before = client.imap(b'LSUB "" *')
    _failing(world, "os.open", "subscriptions", number, lambda: client.imap(b"SUBSCRIBE Elsewhere"))
    assert client.imap(b'LSUB "" *').count(b"LSUB") == before.count(b"LSUB")


def test_F3_uidvalidity_that_cannot_be_read_is_not_given_anew(world: Any) -> None:
    """Not even where the index is lost."""
    uidvalidity = files.read_uids(str(world.folder / "mail/example.org/alice"))
    world.injector.resting = True
    world.crash()
    for path in (world.folder / "mail/example.org/alice").glob("mailserver-index*"):
        path.unlink()
    fresh = World(world.folder)
    delivering = lambda: deliver(fresh, SMALL[1], "alice")  # noqa: E731
    _failing(fresh, "os.open", "alice/mailserver-uidvalidity", errno.EMFILE, delivering)
    deliver(fresh, SMALL[1], "alice")
    after = files.read_uids(str(world.folder / "mail/example.org/alice"))
    assert uidvalidity is not None and after is not None
    assert after.uidvalidity == uidvalidity.uidvalidity
    fresh.crash()
    world.__init__(world.folder)


def test_F3_a_file_that_cannot_be_read_becomes_a_message_later(world: Any) -> None:
    """Its directory does not change any more."""
    inbox = world.folder / "mail/example.org/alice"
    (inbox / "new" / "foreign").write_bytes(b"Subject: f\n\nx\n")
    os.utime(inbox / "new", (1, 1))
    account = now(world.store.account("alice@example.org"))
    see = lambda call, path, a: errno.EIO if path.endswith("new/foreign") else None  # noqa: E731
    with Watched(str(world.folder)).watching(see):
        assert now(account.status("INBOX")).messages == 1
    assert now(account.status("INBOX")).messages == 2


def test_absent_and_unreadable(tmp_path: Path) -> None:
    assert files.read_small(str(tmp_path / "absent")) is None
    assert files.read_small(str(tmp_path / "absent" / "below")) is None
    (tmp_path / "link").symlink_to(tmp_path)
    assert files.read_small(str(tmp_path / "link")) is None
    assert files.exists(str(tmp_path / "link")) and not files.is_directory(str(tmp_path / "link"))
    assert not files.exists(str(tmp_path / ("x" * 300)))
    with Watched(str(tmp_path)).watching(lambda *_: errno.EACCES):
        for question in (files.read_small, files.is_directory, files.exists):
            with pytest.raises(TemporaryFailure):
                question(str(tmp_path / "absent"))


# --- the users file -------------------------------------------------------------------------------


def test_F3_edits_of_the_users_file() -> None:
    """Whatever fails, the file is the old or the new one, and a yes means the new one."""
    folder = memory_folder()
    path = folder / "users.toml"
    injector = Injector(resting=False)
    path.write_text("old")
    with Watched(str(folder)).watching(injector.see):
        edit_file(path, lambda text: text + " new")
    assert len(injector.trace) > 8
    for fault in injector.faults():
        path.write_text("old")
        trying = Injector(fault, resting=False)
        done = True
        with Watched(str(folder)).watching(trying.see):
            try:
                edit_file(path, lambda text: text + " new")
            except (OSError, MailError):
                done = False
        assert path.read_text() in (("old new",) if done else ("old", "old new")), str(fault)
        left = set(os.listdir(folder)) - {"users.toml"}
        assert fault.lasting or not left, (str(fault), trying.failed, left)
        edit_file(path, lambda text: "again")
        assert path.read_text() == "again" and os.listdir(folder) == ["users.toml"]


def test_the_oracle_sees_a_false_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that swallows a failed write is found out."""

    def swallowing(fd: int, data: bytes) -> None:
        try:
            durable.calls.write(fd, data)
        except OSError:
            return

    monkeypatch.setattr(durable, "write_all", swallowing)
    assert any(what for _, what in failures(SCENARIOS["data-one"], 60))


def test_the_oracle_sees_a_silent_client() -> None:
    def mute(world: World, number: int) -> None:
        client = Client(world, "smtp")
        client.connection.dataReceived(b"EHLO x")
        client.read(lambda data: bool(data))

    with pytest.raises(AssertionError, match="no answer"):
        Run(Scenario("mute", mute, lambda world: None), memory_folder())
