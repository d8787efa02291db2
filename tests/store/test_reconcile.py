"""Other programs in the same Maildir."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from mailserver.errors import TemporaryFailure
from mailserver.interfaces import StoreMode
from mailserver.store import adopt, files, maildir, reconcile
from mailserver.store.store import MailStore
from tests.helpers.store import (
    ALICE,
    Listener,
    account_dir,
    deliver,
    drop_file,
    file_names,
    make_store,
    now,
)

SEEN, FLAGGED = 8, 2


@pytest.fixture
def store(tmp_path: Path) -> MailStore:
    made = make_store(tmp_path)
    now(made.account(ALICE))
    return made


def opened(store: MailStore, name: str = "INBOX") -> tuple[Any, Listener]:
    listener = Listener()
    return now(now(store.account(ALICE)).open(name, listener)), listener


def again(store: MailStore, clean: bool = True) -> MailStore:
    """The server starts once more."""
    if clean:
        now(store.stop())
    return make_store(store.settings.now.data_dir)


def grow_old(folder: Path) -> None:
    """Directories that were changed long ago."""
    for sub in ("new", "cur"):
        os.utime(folder / sub, (1e9, 1e9))


def test_I5_foreign_delivery_gets_a_uid_and_keeps_it(store: MailStore) -> None:
    folder = account_dir(store)
    mailbox, listener = opened(store)
    drop_file(folder, "1700000000.M1P1.other", b"a: b\n\nforeign\n")
    now(mailbox.refresh())
    assert listener.take() == [("added", 1)]
    assert list(mailbox.uids) == [1] and list(mailbox.sizes) == [17]
    store.reactor.advance(1)
    name = file_names(folder)[0]
    assert name.startswith(f"new/1700000000.M1P1.other,S=14,W=17,I={mailbox.uidvalidity}-1,D=")
    assert listener.take() == []
    assert mailbox.open_message(1).read_all() == b"a: b\r\n\r\nforeign\r\n"


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        (",S=15,W=18", 18),  # believed
        (",S=15,W=19", 19),  # wrong, until the message is read
        (",S=14,W=18", 18),  # of another file: counted
        (",S=15,W=31", 18),  # cannot be
        (",S=15,W=14", 18),
        (",S=15", 18),
    ],
)
def test_I10_sizes_in_names_of_others(store: MailStore, attributes: str, size: int) -> None:
    mailbox, _ = opened(store)
    drop_file(account_dir(store), "1700000000.M1P1.other" + attributes, b"a: b\n\nforeign!\n")
    now(mailbox.refresh())
    assert list(mailbox.sizes) == [size]
    assert mailbox.open_message(1).read_all() == b"a: b\r\n\r\nforeign!\r\n"
    assert list(mailbox.sizes) == [18]


def test_many_files_of_one_second_are_numbered_by_name(
    store: MailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adopt, "_RUN", 3)
    folder = account_dir(store)
    for number in (7, 2, 9, 4, 1, 8, 3):
        os.utime(drop_file(folder, f"1700000000.M{number}P1.other"), (1e9, 1e9))
    os.utime(drop_file(folder, "1700000000.M0P1.other"), (2e9, 2e9))
    mailbox, _ = opened(store)
    assert [name[15:17] for name in mailbox.names] == ["M1", "M2", "M3", "M4", "M7", "M8", "M9", "M0"]


def test_I5_flags_of_two_programs_are_merged(store: MailStore) -> None:
    deliver(store)
    folder = account_dir(store)
    mailbox, listener = opened(store)
    now(mailbox.store([1], StoreMode.ADD, SEEN, None, None))  # not in the name yet
    name = file_names(folder)[0]
    os.rename(folder / name, folder / "cur" / (name[4:] + ":2,F"))
    now(mailbox.refresh())
    assert mailbox.flags == [SEEN | FLAGGED]
    store.reactor.advance(1)
    assert file_names(folder)[0].endswith(":2,FS")
    name = file_names(folder)[0]
    os.rename(folder / name, folder / (name[:-2] + "S"))
    listener.take()
    now(mailbox.refresh())
    assert mailbox.flags == [SEEN] and listener.take() == [("flags", [1], None)]
    assert mailbox.highestmodseq == mailbox.modseqs[0]


def test_I5_renamed_before_it_had_its_uid(store: MailStore) -> None:
    folder = account_dir(store)
    drop_file(folder, "1.1.other")
    mailbox, _ = opened(store)
    os.rename(folder / "new" / "1.1.other", folder / "cur" / "1.1.other:2,S")
    now(mailbox.refresh())
    store.reactor.advance(1)
    saved = f"D={mailbox.saved[0]}"
    assert file_names(folder) == [f"cur/1.1.other,S=20,W=23,I={mailbox.uidvalidity}-1,{saved}:2,S"]


def test_I16_unknown_letters_are_kept(store: MailStore) -> None:
    folder = account_dir(store)
    drop_file(folder, "1.1.other:2,FPz", sub="cur")
    mailbox, _ = opened(store)
    assert mailbox.flags == [FLAGGED]
    now(mailbox.store([1], StoreMode.ADD, SEEN, None, None))
    store.reactor.advance(1)
    assert file_names(folder)[0].endswith(":2,FPSz")


def test_I5_a_file_that_was_removed(store: MailStore) -> None:
    deliver(store)
    deliver(store)
    mailbox, listener = opened(store)
    (account_dir(store) / file_names(account_dir(store))[1]).unlink()
    now(mailbox.refresh())
    assert listener.take() == [("removed", [2], None)]
    assert now(mailbox.expunged_since(1)) == [2]


def test_I5_a_file_that_readdir_missed(store: MailStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renamed while the directory was read, it may be seen under neither name."""
    deliver(store)
    mailbox, listener = opened(store)
    drop_file(account_dir(store), "1.1.other")
    real, calls = files.message_names, iter(range(99))

    def missing_one(folder: str, sub: str) -> set[str]:
        return set() if next(calls) == 0 else real(folder, sub)

    monkeypatch.setattr(files, "message_names", missing_one)
    now(mailbox.refresh())
    assert list(mailbox.uids) == [1, 2] and listener.take() == [("added", 1)]


def test_I6_twins(store: MailStore) -> None:
    folder = account_dir(store)
    drop_file(folder, "1.twin.other", b"a: 1\n\n", "new")
    drop_file(folder, "1.twin.other:2,S", b"a: 2\n\n", "cur")
    os.link(folder / "new" / "1.twin.other", folder / "cur" / "1.twin.other:2,F")
    mailbox, _ = opened(store)
    assert len(mailbox.uids) == 2
    contents = {mailbox.open_message(uid).read_all() for uid in mailbox.uids}
    assert contents == {b"a: 1\r\n\r\n", b"a: 2\r\n\r\n"}
    store.reactor.advance(1)
    now(mailbox.refresh())
    assert len(mailbox.uids) == 2


def test_I7_a_second_change_in_the_same_tick(store: MailStore) -> None:
    folder = account_dir(store)
    drop_file(folder, "1.1.other")
    mailbox, _ = opened(store)
    times = os.stat(folder / "new")
    drop_file(folder, "1.2.other")
    os.utime(folder / "new", ns=(times.st_atime_ns, times.st_mtime_ns))
    now(mailbox.refresh())
    assert len(mailbox.uids) == 2


def test_directories_that_stand_still_are_not_read(store: MailStore, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = account_dir(store)
    drop_file(folder, "1.1.other")
    mailbox, _ = opened(store)
    store.reactor.advance(1)
    grow_old(folder)
    now(mailbox.refresh())
    monkeypatch.setattr("mailserver.store.files.message_names", None)
    now(mailbox.refresh())
    assert now(now(store.account(ALICE)).status("INBOX")).messages == 1


def test_a_message_from_another_folder_is_a_stranger(store: MailStore) -> None:
    folder = account_dir(store)
    deliver(store)
    deliver(store)
    mailbox, _ = opened(store)
    trash, told = opened(store, "Trash")
    name = file_names(folder)[1]
    os.rename(folder / name, folder / ".Trash" / "cur" / (name[4:] + ":2,"))
    now(mailbox.refresh())
    now(trash.refresh())
    assert list(mailbox.uids) == [1] and list(trash.uids) == [1]
    assert told.take() == [("added", 1)]
    store.reactor.advance(1)
    moved = maildir.parse(file_names(folder / ".Trash")[0][4:])
    assert (moved.uidvalidity, moved.uid) == (trash.uidvalidity, 1)


def test_a_copy_of_a_file_gets_a_new_uid(store: MailStore) -> None:
    folder = account_dir(store)
    deliver(store)
    name = file_names(folder)[0]
    parsed = maildir.parse(name[4:])
    mailbox, _ = opened(store)
    drop_file(folder, f"9.9.other,I={parsed.uidvalidity}-1:2,S", sub="cur")
    now(mailbox.refresh())
    assert list(mailbox.uids) == [1, 2]


def test_restored_from_a_backup(store: MailStore) -> None:
    """A message that was expunged and comes back under its old name is a new message."""
    folder = account_dir(store)
    deliver(store)
    name = file_names(folder)[0]
    data = (folder / name).read_bytes()
    mailbox, _ = opened(store)
    now(mailbox.remove([1], None))
    (folder / name).write_bytes(data)
    now(mailbox.refresh())
    assert list(mailbox.uids) == [2]


def test_names_that_are_no_utf8(store: MailStore) -> None:
    folder = account_dir(store)
    path = os.fsencode(folder / "cur") + b"/1.\xff\xfe.other:2,S"
    with open(path, "wb") as file:
        file.write(b"a: b\n\nx\n")
    mailbox, _ = opened(store)
    assert mailbox.flags == [SEEN]
    assert mailbox.open_message(1).read_all() == b"a: b\r\n\r\nx\r\n"


def test_a_name_too_long_for_a_uid_is_replaced(store: MailStore) -> None:
    folder = account_dir(store)
    drop_file(folder, "1." + "x" * 230 + ":2,S", sub="cur")
    mailbox, _ = opened(store)
    store.reactor.advance(1)
    name = file_names(folder)[0]
    assert len(name) < 200 and f",I={mailbox.uidvalidity}-1" in name and name.endswith(":2,S")


@pytest.mark.parametrize("content", [b"a: b\r\n\r\nx\r\n", b"a: b\r\n\nx\r\ny\n", b"a: b\n\nlast", b""])
def test_line_ends_of_others(store: MailStore, content: bytes) -> None:
    drop_file(account_dir(store), "1.1.other", content)
    mailbox, _ = opened(store)
    wire = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    file = mailbox.open_message(1)
    assert file.read_all() == wire and file.size == mailbox.sizes[0] == len(wire)


# --- restarts -------------------------------------------------------------------------------------


def test_clean_restart_goes_on_with_the_next_uid(store: MailStore) -> None:
    deliver(store)
    mailbox, _ = opened(store)
    known = (mailbox.uidvalidity, 2, mailbox.highestmodseq)
    again_store = again(store)
    mailbox, _ = opened(again_store)
    assert (mailbox.uidvalidity, mailbox.uidnext, mailbox.highestmodseq) == known
    deliver(again_store)
    assert list(mailbox.uids) == [1, 2]


def test_H13_after_a_crash_there_is_a_gap(store: MailStore) -> None:
    deliver(store)
    mailbox, _ = opened(store)
    crashed = again(store, clean=False)
    after, _ = opened(crashed)
    assert after.uidvalidity == mailbox.uidvalidity
    assert list(after.uids) == [1] and after.uidnext == 1001
    assert after.highestmodseq > mailbox.highestmodseq
    deliver(crashed)
    assert list(after.uids) == [1, 1001]


@pytest.mark.parametrize("clean", [True, False])
def test_I8_H13_J4_index_lost_same_uids(store: MailStore, clean: bool) -> None:
    for _ in range(4):
        deliver(store)
    mailbox, _ = opened(store)
    assert mailbox.flag_mask(["key"], True) == 1 << 5
    now(mailbox.store([2], StoreMode.ADD, SEEN | 1 << 5, None, None))
    now(mailbox.remove([3], None))
    store.reactor.advance(1)
    highest = mailbox.highestmodseq
    if clean:
        now(store.stop())
    for path in account_dir(store).glob("mailserver-index*"):
        path.unlink()
    rebuilt = make_store(store.settings.now.data_dir)
    after, _ = opened(rebuilt)
    assert list(after.uids) == [1, 2, 4] and after.uidvalidity == mailbox.uidvalidity
    assert after.flags == [0, SEEN | 1 << 5, 0] and after.keywords == ["key"]
    assert after.highestmodseq >= highest and after.uidnext >= 5
    deliver(rebuilt)
    assert after.uids[-1] >= 5


@pytest.mark.parametrize("run", ["", "the same"])
def test_H13_killed_while_a_lost_index_is_made_anew(
    store: MailStore, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    """Between the row of the folder and those of its messages: by the next start, or by another worker of the
    same, they have the UIDs that they had."""
    for _ in range(3):
        deliver(store)
    mailbox, _ = opened(store)
    now(mailbox.remove([2], None))
    for path in account_dir(store).glob("mailserver-index*"):
        path.unlink()

    def killed(*args: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(reconcile._Reconciling, "run", killed)
        with pytest.raises(TemporaryFailure):
            opened(make_store(store.settings.now.data_dir, run=run))
    after = make_store(store.settings.now.data_dir, run=run)
    deliver(after)
    shown, _ = opened(after)
    assert list(shown.uids)[:2] == [1, 3] and shown.uidvalidity == mailbox.uidvalidity
    assert len(shown.uids) == 3 and shown.uids[2] > 3


def test_H13_everything_but_the_mail_lost(store: MailStore) -> None:
    deliver(store)
    deliver(store)
    mailbox, _ = opened(store)
    store.reactor.advance(1)
    now(store.stop())
    for path in account_dir(store).glob("mailserver-*"):
        path.unlink()
    after, _ = opened(make_store(store.settings.now.data_dir))
    assert list(after.uids) == [1, 2] and after.uidvalidity == mailbox.uidvalidity
    assert after.uidnext >= 3


def test_F10_marks_survive_a_crash(store: MailStore) -> None:
    deliver(store)
    mailbox, _ = opened(store)
    now(mailbox.store([1], StoreMode.ADD, SEEN, None, None))
    assert file_names(account_dir(store))[0].startswith("new/")
    crashed = again(store, clean=False)
    after, _ = opened(crashed)
    assert after.flags == [SEEN]
    crashed.reactor.advance(1)
    now(crashed.stop())
    assert file_names(account_dir(crashed))[0].endswith(":2,S")


def test_H13_a_delivery_cut_off_between_link_and_commit(store: MailStore) -> None:
    """The file is there with its UID, the row is not: the message is there, once, with that UID."""
    deliver(store)
    mailbox, _ = opened(store)
    folder = account_dir(store)
    drop_file(folder, f"5.5.mx,S=19,W=22,I={mailbox.uidvalidity}-2")
    after, _ = opened(again(store, clean=False))
    assert list(after.uids) == [1, 2]


def test_a_mailbox_made_and_filled_by_others(store: MailStore) -> None:
    folder = account_dir(store) / ".Lists.python"
    for sub in ("cur", "new", "tmp"):
        (folder / sub).mkdir(parents=True)
    drop_file(folder, "1.1.other")
    account = now(store.account(ALICE))
    names = {info.name: info for info in now(account.folders())}
    assert names["Lists/python"].selectable and not names["Lists"].selectable
    assert now(account.status("Lists/python")).messages == 1


# --- Dovecot --------------------------------------------------------------------------------------


def test_taking_over_from_dovecot(tmp_path: Path) -> None:
    folder = tmp_path / "mail" / "example.org" / "alice"
    for path in (folder, folder / ".Work.&AMQ-rger"):
        for sub in ("cur", "new", "tmp"):
            (path / sub).mkdir(parents=True)
    drop_file(folder, "1276528487.M364837P9451.kurkku,S=18,W=21:2,Sab", b"Subject: d\n\nold1\n\n", "cur")
    drop_file(folder, "1276528500.M1P2.kurkku:2,", b"Subject: d\n\nold2\n", "cur")
    drop_file(folder, "1276528600.M1P3.kurkku", b"Subject: d\n\nnew\n")
    (folder / "dovecot-uidlist").write_text(
        "3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n"
        "25006 W21 :1276528487.M364837P9451.kurkku,S=18,W=21\n"
        "25007 :1276528490.gone\n"
        "garbage\n"
        "25017 G123 :1276528500.M1P2.kurkku:2,S\n"
    )
    (folder / "dovecot-keywords").write_text("0 $Forwarded\n1 Work\n")
    (folder / "subscriptions").write_text("V\t2\n\nINBOX\nWork\t&AMQ-rger\n")
    store = make_store(tmp_path)
    account = now(store.account(ALICE))
    mailbox, _ = opened(store)
    assert mailbox.uidvalidity == 1275660208
    assert list(mailbox.uids) == [25006, 25017, 25022] and mailbox.uidnext == 25023
    assert mailbox.flags == [SEEN | 1 << 5 | 1 << 6, 0, 0]
    assert mailbox.keywords == ["$Forwarded", "Work"]
    assert now(account.subscriptions()) == ["INBOX", "Work/Ärger"]
    assert "Work/Ärger" in [info.name for info in now(account.folders())]
    store.reactor.advance(1)
    now(store.stop())
    for path in folder.glob("mailserver-index*"):
        path.unlink()
    (folder / "dovecot-uidlist").unlink()
    after, _ = opened(make_store(tmp_path))
    assert list(after.uids) == [25006, 25017, 25022] and after.uidvalidity == 1275660208


def test_old_subscriptions_of_dovecot(store: MailStore) -> None:
    (account_dir(store) / "subscriptions").write_bytes("INBOX\nSent\nWork.Über\nbad..name\n".encode())
    assert now(now(store.account(ALICE)).subscriptions()) == ["INBOX", "Sent", "Work/Über"]


# --- inotify --------------------------------------------------------------------------------------


def test_inotify_tells_foreign_changes_only(tmp_path: Path) -> None:
    store = make_store(tmp_path, inotify=True)
    now(store.account(ALICE))
    mailbox, listener = opened(store)
    watches = store.watches
    deliver(store)
    listener.take()
    watches.doRead()
    assert mailbox.current
    drop_file(account_dir(store), "1.1.other")
    watches.doRead()
    assert not mailbox.current
    store.reactor.advance(0.1)
    assert listener.take() == [("added", 1)]
    now(mailbox.store([1, 2], StoreMode.ADD, SEEN, None, None))
    store.reactor.advance(1)
    watches.doRead()
    assert mailbox.current  # our own renames
    now(mailbox.copy([1], "INBOX"))
    now(mailbox.remove([1], None))
    watches.doRead()
    assert mailbox.current
    (account_dir(store) / file_names(account_dir(store))[0]).unlink()
    listener.take()
    now(mailbox.refresh())  # reads what inotify has to tell before it answers
    assert listener.take() == [("removed", [2], None)]
    mailbox.close(listener)
    drop_file(account_dir(store), "1.2.other")
    again, other = opened(store)  # the watch stays as long as the mailbox is kept in memory
    assert again is mailbox and len(mailbox.uids) == 2 and other.take() == []
    assert mailbox.current and now(now(store.account(ALICE)).status("INBOX")).messages == 2
    drop_file(account_dir(store), "1.3.other")
    assert now(now(store.account(ALICE)).status("INBOX")).messages == 3
    now(now(store.account(ALICE)).create("Other"))
    now(store.stop())
    assert not watches._watches


def test_without_inotify_mailboxes_are_looked_at_now_and_then(store: MailStore) -> None:
    _, listener = opened(store)
    drop_file(account_dir(store), "1.1.other")
    store.reactor.advance(11)
    assert listener.take() == [("added", 1)]


def test_F11_old_files_in_tmp(store: MailStore) -> None:
    tmp = account_dir(store) / ".Sent" / "tmp"
    for name, age in (("old", 37), ("young", 35)):
        (tmp / name).write_bytes(b"")
        os.utime(tmp / name, (time.time() - age * 3600,) * 2)
    now(again(store).account(ALICE))
    assert os.listdir(tmp) == ["young"]
