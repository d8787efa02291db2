"""IMAP over the real store where files, directories and the disk are not as they should be (CASES H, I)."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailserver.disk import durable
from tests.helpers.cost import cheaper_than
from tests.helpers.imap_dialog import ImapClient, ImapServer, compare
from tests.helpers.store import (
    ALICE,
    BOB,
    account_dir,
    append,
    deliver,
    drop_file,
    file_names,
    make_store,
    now,
)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    yield make_store(tmp_path)
    durable.calls = durable.Calls()


# --- H17, H21: durable before the answer ----------------------------------------------------------

DURABLE = [
    "APPEND Drafts {1+}\r\nx",
    "COPY 1:2 Trash",
    "MOVE 1 Trash",
    "EXPUNGE",
    "CREATE new-one",
    "RENAME Archive old",
    "DELETE Archive",
    "SUBSCRIBE elsewhere",
]


def syncs(monkeypatch: pytest.MonkeyPatch, note: Callable[[], None]) -> None:
    original = durable.calls.fsync

    def noted(fd: int) -> None:
        note()
        original(fd)

    monkeypatch.setattr(durable.calls, "fsync", noted)


@pytest.fixture
def selected(store: Any, client: ImapClient) -> ImapClient:
    for _ in range(3):
        deliver(store)
    client.say("s SELECT INBOX")
    client.say("s STORE 3 +FLAGS.SILENT (\\Deleted)")
    return client


@pytest.mark.parametrize("line", DURABLE)
def test_H21_the_last_sync_comes_before_the_answer(
    selected: ImapClient, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    log: list[str] = []
    syncs(monkeypatch, lambda: log.append("sync"))
    original = selected.transport.write

    def write(data: bytes) -> None:
        if b"\r\na OK" in b"\r\n" + data:
            log.append("answer")
        original(data)

    monkeypatch.setattr(selected.transport, "write", write)
    assert selected.say(f"a {line}")[-1].startswith("a OK")
    assert log[0] == "sync" and log[-1] == "answer" and log.count("answer") == 1


@pytest.mark.parametrize("line", DURABLE)
def test_H21_whatever_sync_fails_the_answer_is_no(
    selected: ImapClient, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """The first one, the second one … until one after the last fails, which nobody calls."""
    for failing in range(20):
        count = iter(range(1000))

        def fail(number: int = failing, count: Any = count) -> None:
            if next(count) == number:
                raise OSError(errno.EIO, "injected")

        with monkeypatch.context() as patch:
            syncs(patch, fail)
            answer = selected.say(f"a {line}")[-1]
        if answer.startswith("a OK"):
            assert failing
            return
        assert answer.startswith("a NO ["), answer
        if line == "EXPUNGE":  # the file is gone, whatever the directory says
            return
        for setting in ("DELETE new-one", "DELETE old", "CREATE Archive", "UNSUBSCRIBE elsewhere"):
            selected.say(f"x {setting}")
    raise AssertionError("it never succeeds")


@pytest.mark.parametrize("command", ["COPY", "MOVE"])
def test_H17_a_client_that_is_lost_while_many_are_moved(store: Any, command: str) -> None:
    """All or none, and the source is lost by none."""
    account = now(store.account(ALICE))
    for number in range(60):
        append(account, "INBOX", b"Subject: %d\n\nx\n" % number)
    client = ImapClient(ImapServer(account), select="INBOX")
    waiting: list[Any] = []
    original = store.threads.run
    store.threads.run = lambda *job: (
        waiting.append(job) or original("", lambda: None).addCallback(lambda _: original(*job))
    )
    client.feed(b"a %b 1:60 Trash\r\n" % command.encode())
    client.lose()
    store.threads.run = original
    here, there = (now(account.status(name)).messages for name in ("INBOX", "Trash"))
    assert (here, there) == ((0, 60) if command == "MOVE" else (60, 60))


# --- I5, I12: other programs ----------------------------------------------------------------------


def test_I5_another_program_at_work_during_a_session(store: Any, selected: ImapClient) -> None:
    folder = account_dir(store)
    names = {
        name.partition(",I=")[2].partition("-")[2].partition(":")[0]: name for name in file_names(folder)
    }
    one, two = (folder / names[uid] for uid in ("1", "2"))
    one.rename(folder / "cur" / (one.name.partition(":")[0] + ":2,F"))
    two.unlink()
    drop_file(folder, "9.without-size.host")
    assert selected.say("a FETCH 1 BODY.PEEK[TEXT]")[-1] == "a OK FETCH completed"
    assert selected.say("b FETCH 2 BODY.PEEK[]")[-1].startswith("b NO [EXPUNGEISSUED]")
    lines = [*selected.say("c NOOP"), *selected.say("d NOOP")]
    assert "* 2 EXPUNGE" in lines
    assert any(line.startswith("* 1 FETCH (FLAGS (\\Flagged") for line in lines)
    assert "* 3 EXISTS" in lines
    compare(
        selected.say("e UID FETCH 4 (RFC822.SIZE)"),
        ["* 3 FETCH (UID 4 RFC822.SIZE 23)", "e OK FETCH completed"],
    )
    assert selected.say("f UID FETCH 1 UID")[0] == "* 1 FETCH (UID 1)"


def test_I5_a_folder_that_another_program_removed_is_made_again(store: Any, selected: ImapClient) -> None:
    """Nothing else of the account notices: the index keeps what it knows."""
    selected.say("a COPY 1 Archive")
    shutil.rmtree(account_dir(store) / ".Archive")
    assert selected.say("c CREATE Archive")[-1].startswith("c OK")
    compare(
        selected.say("d STATUS Archive (MESSAGES UIDNEXT)"),
        ["* STATUS Archive (MESSAGES 0 UIDNEXT 1)", "d OK …"],
    )
    assert selected.say("e NOOP") == ["e OK NOOP completed"]
    assert not list(account_dir(store).glob("*damaged*"))


def test_I12_links_to_other_users_mail(store: Any, client: ImapClient) -> None:
    """A link to a file, to a directory of messages, to a whole folder: nothing of bob is shown."""
    deliver(store, BOB, b"Subject: secret\n\nof bob\n")
    theirs, ours = account_dir(store, BOB), account_dir(store)
    (name,) = file_names(theirs)
    (ours / "cur" / "1.link.host:2,").symlink_to(theirs / name)
    (ours / ".Linked").symlink_to(theirs)
    (ours / ".Half").mkdir()
    (ours / ".Half" / "cur").symlink_to(theirs / "cur")
    (ours / ".Half" / "new").symlink_to(theirs / "new")
    assert "* 0 EXISTS" in client.say("a SELECT INBOX")
    listed = client.say('b LIST "" *')
    assert not [line for line in listed if "Linked" in line or "Half" in line]
    for folder in ("Linked", "Half"):
        assert client.say(f"c SELECT {folder}")[-1].startswith("c NO [NONEXISTENT]")
        assert client.say(f"d STATUS {folder} (MESSAGES)")[-1].startswith("d NO [NONEXISTENT]")


# --- I13: large accounts --------------------------------------------------------------------------


class Scans:
    """Directories that are listed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        for name in ("scandir", "listdir"):
            original = getattr(os, name)

            def scan(path: Any = ".", original: Any = original) -> Any:
                self.seen.append(os.path.basename(os.fspath(path)))
                return original(path)

            monkeypatch.setattr(os, name, scan)

    def take(self) -> list[str]:
        seen, self.seen = self.seen, []
        return seen


def test_I13_no_command_lists_directories_of_messages(
    store: Any, selected: ImapClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once they were looked at: neither those of the mailbox nor those of any other. LIST reads one."""
    folder = account_dir(store)
    selected.say("x UNSELECT")
    selected.say('x LIST "" *')
    store.reactor.advance(1)  # file names follow the flags
    for name in (folder, *(path for path in folder.iterdir() if path.name.startswith(".") and path.is_dir())):
        for sub in ("new", "cur"):
            os.utime(name / sub, (1, 1))
    for name in ("INBOX", "Trash"):
        selected.say(f"x STATUS {name} (MESSAGES)")
    selected.say("s SELECT INBOX")
    scans = Scans(monkeypatch)
    for line in (
        "SELECT INBOX",
        "EXAMINE Trash",
        "SELECT INBOX",
        "STATUS Trash (MESSAGES UNSEEN)",
        "NOOP",
        "CHECK",
    ):
        assert selected.say(f"a {line}")[-1].startswith("a OK"), line
        assert scans.take() == [], line
    for line in ("FETCH 1:* (UID FLAGS RFC822.SIZE)", "SEARCH UNSEEN", "STORE 1 +FLAGS (\\Answered)"):
        assert selected.say(f"b {line}")[-1].startswith("b OK"), line
        assert scans.take() == [], line
    selected.say('c LIST "" *')
    assert scans.take() == ["alice"]


def test_I13_ten_thousand_folders(store: Any, client: ImapClient) -> None:
    """Those of another program; a command on one of them does not depend on how many there are."""
    root = account_dir(store)
    for number in range(10_000):
        for path in (root / f".f{number}", root / f".f{number}" / "cur"):
            path.mkdir()
    with cheaper_than(2.0):
        lines = client.say('a LIST "" *')
    assert len(lines) == 10_007
    for line in ("STATUS f7777 (MESSAGES)", "SELECT f8888"):
        client.say(f"x {line}")
    with cheaper_than(0.05):
        assert client.say("b STATUS f7777 (MESSAGES)")[0] == "* STATUS f7777 (MESSAGES 0)"
        assert client.say("c SELECT f8888")[-1].startswith("c OK")


# --- I15: what is used ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rubbish", [b"", b"-5S,-3C\n", b"99999999999999S\n\0\0\0", b"1000S\n12 1\n-40 -1\n", b"\xff" * 4096]
)
def test_I15_quota_files_of_others_mean_nothing(store: Any, client: ImapClient, rubbish: bytes) -> None:
    """`maildirsize` is Courier's and Dovecot's; what is used here is counted from the messages."""
    store.settings.change(limits={"quota": 10_000})
    (account_dir(store) / "maildirsize").write_bytes(rubbish)
    append(now(store.account(ALICE)), "Drafts", b"x" * 3000)
    assert client.say('a GETQUOTA ""')[0] == '* QUOTA "" (STORAGE 3 10)'
    assert client.say(f"b APPEND Drafts {{8000+}}\r\n{'x' * 8000}")[-1].startswith("b NO [OVERQUOTA]")
    assert client.say(f"c APPEND Drafts {{6000+}}\r\n{'x' * 6000}")[-1].startswith("c OK")


def test_I15_counters_that_are_lost_are_counted_again(store: Any, tmp_path: Path) -> None:
    account = now(store.account(ALICE))
    for size in (1000, 2000, 3000):
        append(account, "Drafts", b"y" * size)
    before = now(account.quota())
    now(store.stop())
    for path in account_dir(store).glob("mailserver-index*"):
        path.write_bytes(b"\0" * 100)
    after = now(now(make_store(tmp_path).account(ALICE)).quota())
    assert (after.used, after.messages) == (before.used, before.messages) == (6000, 3)
