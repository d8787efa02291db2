"""Folders, subscriptions, quota, APPEND."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from mailserver.delivery.body import MemoryBody
from mailserver.delivery.local import LocalDelivery
from mailserver.disk import durable
from mailserver.errors import (
    CannotName,
    LimitReached,
    MailboxExists,
    MailError,
    NoSpace,
    NoSuchMailbox,
    OverQuota,
    TemporaryFailure,
)
from mailserver.interfaces import NewMessage, Quota, QuotaUsage, StoreMode, Target
from mailserver.store.store import MailStore
from tests.helpers.store import (
    ALICE,
    Listener,
    account_dir,
    append,
    deliver,
    drop_file,
    envelope,
    file_names,
    make_store,
    now,
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MailStore:
    monkeypatch.setattr(durable, "calls", durable.Calls())
    return make_store(tmp_path)


@pytest.fixture
def account(store: MailStore) -> Any:
    return now(store.account(ALICE))


def names(account: Any) -> list[str]:
    return [info.name for info in now(account.folders())]


def test_a_new_account(store: MailStore, account: Any) -> None:
    folders = now(account.folders())
    assert [(f.name, f.special_use) for f in folders] == [
        ("INBOX", ""),
        ("Archive", "\\Archive"),
        ("Drafts", "\\Drafts"),
        ("Junk", "\\Junk"),
        ("Sent", "\\Sent"),
        ("Trash", "\\Trash"),
    ]
    assert all(folder.subscribed and folder.selectable for folder in folders)
    assert now(store.account(ALICE)) is account


def test_folders_that_were_deleted_do_not_come_back(store: MailStore, account: Any) -> None:
    now(account.delete("Junk"))
    now(store.stop())
    again = now(make_store(store.settings.now.data_dir).account(ALICE))
    assert "Junk" not in names(again)


def test_F18_modes(store: MailStore) -> None:
    old = os.umask(0)
    try:
        deliver(store)
        append(now(store.account(ALICE)), "Sent", b"a: b\n\n")
    finally:
        os.umask(old)
    for folder, _, files in os.walk(store.root):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        for name in files:
            assert stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) == 0o600, name


def test_create(account: Any) -> None:
    now(account.create("Work/2024/März"))
    assert names(account)[-3:] == ["Work", "Work/2024", "Work/2024/März"]
    now(account.create("Other/"))
    assert "Other" in names(account)
    for name in ("Work", "inbox", "INBOX", "other/../Work"):
        with pytest.raises(MailError):
            now(account.create(name))
    with pytest.raises(MailboxExists):
        now(account.create("Other"))
    with pytest.raises(CannotName):
        now(account.create("a.b"))


def test_I2_inbox_in_any_case(account: Any) -> None:
    now(account.create("inbox/sub"))
    assert "INBOX/sub" in names(account)
    assert now(account.status("iNbOx/sub")).messages == 0
    with pytest.raises(CannotName):
        now(account.delete("INBOX"))
    with pytest.raises(MailboxExists):
        now(account.create("Inbox"))


def test_special_use(store: MailStore, account: Any) -> None:
    now(account.create("Spam", "\\Important"))
    with pytest.raises(CannotName):
        now(account.create("Other", "\\Sent"))
    now(store.stop())
    for path in account_dir(store).glob("mailserver-index*"):
        path.unlink()
    again = now(make_store(store.settings.now.data_dir).account(ALICE))
    now(again.status("Spam"))
    assert {f.name: f.special_use for f in now(again.folders())}["Spam"] == "\\Important"


def test_limit_of_folders(store: MailStore, account: Any) -> None:
    store.settings.change(limits={"mailboxes": 8})
    now(account.create("a"))
    with pytest.raises(LimitReached):
        now(account.create("b/c"))
    now(account.create("b"))
    with pytest.raises(LimitReached):
        now(account.create("c"))


def test_H14_deleted_and_made_again(account: Any) -> None:
    listener = Listener()
    mailbox = now(account.open("Junk", listener))
    append(account, "Junk", b"a: b\n\n")
    assert listener.take() == [("added", 1)]
    now(account.delete("Junk"))
    assert listener.take() == [("gone",)]
    assert "Junk" not in names(account)
    with pytest.raises(NoSuchMailbox):
        now(account.open("Junk", listener))
    now(account.create("Junk"))
    again = now(account.open("Junk", listener))
    assert again.uidvalidity > mailbox.uidvalidity and list(again.uids) == []


def test_delete_with_inferiors(account: Any) -> None:
    now(account.create("a/b"))
    now(account.delete("a"))
    assert [(f.name, f.selectable) for f in now(account.folders()) if f.name[0] == "a"] == [
        ("a", False),
        ("a/b", True),
    ]
    with pytest.raises(CannotName):
        now(account.delete("a"))
    with pytest.raises(NoSuchMailbox):
        now(account.status("a"))
    now(account.delete("a/b"))
    assert "a" not in names(account)
    with pytest.raises(NoSuchMailbox):
        now(account.delete("a/b"))


def test_what_a_crash_left_of_a_deletion(store: MailStore, account: Any) -> None:
    left = account_dir(store) / "mailserver-deleted-1"
    (left / "cur").mkdir(parents=True)
    (left / "cur" / "1.1.x").write_bytes(b"")
    now(store.stop())
    now(make_store(store.settings.now.data_dir).account(ALICE))
    assert not left.exists()


def test_H14_rename_takes_uids_along(account: Any) -> None:
    now(account.create("a/b"))
    append(account, "a/b", b"a: b\n\n", ["$Key"])
    listener = Listener()
    before = now(account.open("a/b", listener))
    now(account.rename("a", "x/y"))
    assert listener.take()[-1:] == [("gone",)]
    assert [n for n in names(account) if n[0] in "ax"] == ["x", "x/y", "x/y/b"]
    after = now(account.open("x/y/b", listener))
    assert (after.uidvalidity, list(after.uids)) == (before.uidvalidity, [1])
    assert after.keywords == ["$Key"]
    now(account.create("a/b"))
    assert now(account.status("a/b")).uidvalidity > after.uidvalidity


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("nothing", "b", NoSuchMailbox),
        ("Sent", "Trash", MailboxExists),
        ("Sent", "Sent/below", CannotName),
        ("Sent", "Sent", CannotName),
        ("Sent", "INBOX", CannotName),
        ("Sent", "a.b", CannotName),
    ],
)
def test_rename_that_cannot_be(account: Any, old: str, new: str, error: type[Exception]) -> None:
    before = names(account)
    with pytest.raises(error):
        now(account.rename(old, new))
    assert names(account) == before


def test_rename_that_fails_half_way(account: Any) -> None:
    now(account.create("a/b"))
    rename, count = durable.calls.rename_noreplace, iter(range(9))

    def failing(source: str, target: str) -> None:
        if next(count) == 1:
            raise OSError(errno.EIO, "broken")
        rename(source, target)

    durable.calls.rename_noreplace = failing
    with pytest.raises(TemporaryFailure):
        now(account.rename("a", "x"))
    assert [n for n in names(account) if n[0] in "ax"] == ["a", "a/b"]
    assert now(account.status("a/b")).messages == 0


def test_I2_rename_of_inbox(store: MailStore, account: Any) -> None:
    deliver(store)
    deliver(store)
    listener = Listener()
    now(account.open("INBOX", listener))
    now(account.rename("Inbox", "Old"))
    assert listener.take() == [("removed", [1, 2], None)]
    assert now(account.status("Old")).messages == 2
    assert now(account.status("INBOX")).uidnext == 3


def test_subscriptions(store: MailStore, account: Any) -> None:
    now(account.subscribe("not/there", True))
    now(account.subscribe("not/there", True))
    now(account.subscribe("Junk", False))
    assert now(account.subscriptions()) == ["INBOX", "Drafts", "Sent", "Trash", "Archive", "not/there"]
    assert {f.name for f in now(account.folders()) if not f.subscribed} == {"Junk"}
    now(account.delete("Sent"))  # RFC 3501, 6.3.6: stays subscribed
    assert "Sent" in now(account.subscriptions())
    assert (account_dir(store) / "subscriptions").read_bytes().startswith(b"V\t2\n\nINBOX\nDrafts\n")
    with pytest.raises(CannotName):
        now(account.subscribe("a\nb", True))


def test_append(store: MailStore, account: Any) -> None:
    listener = Listener()
    mailbox = now(account.open("Drafts", listener))
    messages = [
        NewMessage(MemoryBody(b"a: 1\n\n"), frozenset({"\\Seen", "\\Draft"}), 1e9),
        NewMessage(MemoryBody(b"a: 2\n\nxx\n")),
    ]
    result = now(account.append("Drafts", messages))
    assert (result.uidvalidity, result.source, result.target) == (mailbox.uidvalidity, (), (1, 2))
    assert listener.take() == [("added", 2)]
    assert mailbox.flags == [24, 0] and mailbox.dates[0] == 1e9
    assert [name[:4] for name in file_names(account_dir(store) / ".Drafts")] == ["cur/", "new/"]
    now(store.stop())
    for path in account_dir(store).glob("mailserver-index*"):
        path.unlink()
    again = now(now(make_store(store.settings.now.data_dir).account(ALICE)).open("Drafts", Listener()))
    assert list(again.dates) == list(mailbox.dates)


def test_H16_append_is_all_or_none(store: MailStore, account: Any) -> None:
    messages = [NewMessage(MemoryBody(b"a: %d\n\n" % n)) for n in range(3)]
    rename, count = durable.calls.rename_noreplace, iter(range(9))

    def failing(source: str, target: str) -> None:
        if next(count) == 2:
            raise OSError(errno.ENOSPC, "full")
        rename(source, target)

    durable.calls.rename_noreplace = failing
    with pytest.raises(NoSpace):
        now(account.append("Sent", messages))
    assert now(account.status("Sent")).messages == 0
    assert file_names(account_dir(store) / ".Sent") == []
    assert spooled(store) == []
    for name in ("nowhere", "a.b"):
        with pytest.raises(NoSuchMailbox):
            now(account.append(name, messages))
    assert spooled(store) == []


def spooled(store: MailStore) -> list[str]:
    return [name for _, _, files in os.walk(store.spool.path) for name in files]


def test_I14_quota(store: MailStore, account: Any) -> None:
    store.settings.change(limits={"quota": 120})
    deliver(store)
    deliver(store)
    with pytest.raises(OverQuota):
        deliver(store)
    with pytest.raises(OverQuota):
        append(account, "Sent", b"a: b\n\n")
    assert now(account.quota()) == QuotaUsage(116, 2, Quota(120)) == store.quota(ALICE)
    message = NewMessage(MemoryBody(b"a: b\n\n"))
    with pytest.raises(OverQuota):
        now(account.append("Sent", [message], replacing=3))
    now(account.append("Sent", [message], replacing=4))  # RFC 8508, 3.4: only the difference counts
    sent = now(account.open("Sent", Listener()))
    now(sent.remove([1], None))
    store.settings.change(users={ALICE: {"quota": 1000}})
    deliver(store)
    assert now(account.quota()) == QuotaUsage(174, 3, Quota(1000))
    mailbox = now(account.open("INBOX", Listener()))
    now(mailbox.remove([1, 2], None))
    assert now(account.quota()).used == 58
    store.settings.change(users={ALICE: {"quota": 0}})  # none, whatever the default is
    assert not now(account.quota()).limit
    assert store.quota("nobody@example.org") is None


def test_I14_two_deliveries_in_one_batch(store: MailStore) -> None:
    store.settings.change(limits={"quota": 60})
    delivery = LocalDelivery(store)
    store.writer.hold = True
    targets = (Target(ALICE, ALICE),)
    jobs = [delivery.deliver(envelope(), b"", MemoryBody(b"a: b\n\n"), targets) for _ in range(3)]
    store.writer.flush()
    outcomes = [type(now(job)[0]) for job in jobs]
    assert outcomes == [type(None), OverQuota, OverQuota]


def test_status_counts(store: MailStore, account: Any) -> None:
    for _ in range(4):
        deliver(store)
    mailbox = now(account.open("INBOX", Listener()))
    now(mailbox.store([1, 2], StoreMode.ADD, 8, None, None))
    now(mailbox.store([2, 3], StoreMode.ADD, 4, None, None))
    status = now(account.status("inbox"))
    assert (status.messages, status.unseen, status.deleted, status.recent) == (4, 2, 2, 4)
    assert (status.uidnext, status.size) == (5, 232)
    assert status.highestmodseq == mailbox.highestmodseq and status.uidvalidity == mailbox.uidvalidity
    with pytest.raises(NoSuchMailbox):
        now(account.status("../x"))


def test_H15_a_clock_that_was_set_back(tmp_path: Path) -> None:
    when = [time.time()]
    store = make_store(tmp_path, clock=lambda: when[0])
    account = now(store.account(ALICE))
    seen = [now(account.status("Junk")).uidvalidity]
    for _ in range(3):
        when[0] -= 365 * 86400
        now(account.delete("Junk"))
        now(store.stop())
        for path in account_dir(store).glob("mailserver-index*"):
            path.unlink()
        store = make_store(tmp_path, clock=lambda: when[0])
        account = now(store.account(ALICE))
        now(account.create("Junk"))
        seen.append(now(account.status("Junk")).uidvalidity)
    assert seen == sorted(set(seen))


def test_I1_a_folder_that_is_a_link_is_none(store: MailStore, account: Any, tmp_path: Path) -> None:
    for sub in ("cur", "new", "tmp"):
        (tmp_path / "elsewhere" / sub).mkdir(parents=True)
    (account_dir(store) / ".Linked").symlink_to(tmp_path / "elsewhere")
    assert "Linked" not in names(account)
    with pytest.raises(NoSuchMailbox):
        now(account.status("Linked"))


def test_F17_small_files_that_are_links_are_not_read(store: MailStore, account: Any, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("V\t2\n\nSecret\n")
    path = account_dir(store) / "subscriptions"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert now(account.subscriptions()) == []
    path.unlink()
    os.mkfifo(path)
    assert now(account.subscriptions()) == []


def test_an_account_that_is_a_file(store: MailStore) -> None:
    folder = account_dir(store)
    folder.parent.mkdir(parents=True)
    folder.write_bytes(b"")
    with pytest.raises(TemporaryFailure):
        now(store.account(ALICE))
    with pytest.raises(TemporaryFailure):
        deliver(store)


def test_indexes_that_rest_are_closed(store: MailStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailserver.store.store.OPEN_INDEXES", 2)
    users = [f"u{n}@example.org" for n in range(5)]
    for user in users:
        deliver(store, user)
        now(now(store.account(user)).status("INBOX"))
    assert sum(store.get(user).ledger.is_open for user in users) <= 2
    assert [now(now(store.account(user)).status("INBOX")).messages for user in users] == [1] * 5


def test_C10_users_who_are_no_file_names(store: MailStore) -> None:
    account = now(store.account("../../etc@example.org"))
    assert now(account.status("INBOX")).messages == 0
    assert Path(account.ledger.path).parent == Path(store.root) / "example.org"
    with pytest.raises(CannotName):
        now(store.account("nobody"))


def test_mail_that_comes_before_the_first_log_in_makes_an_inbox_only(store: MailStore) -> None:
    """A delivery does not wait for folders that nobody has asked for; the log-in makes them."""
    deliver(store)
    assert not (account_dir(store) / ".Trash").exists()

    account = now(store.account(ALICE))

    assert {info.special_use for info in now(account.folders())} >= {"\\Trash", "\\Sent"}
    assert now(account.status("INBOX")).messages == 1


def test_folders_that_are_there_at_the_first_log_in_get_their_use(store: MailStore) -> None:
    """A Maildir from elsewhere without subscriptions: its Trash is the Trash, all of it is subscribed."""
    folder = account_dir(store)
    for name in ("", ".Trash", ".Trash.Old", ".Work"):
        for sub in ("cur", "new", "tmp"):
            (folder / name / sub).mkdir(parents=True)
    drop_file(folder / ".Trash", "1700000000.M1P1.elsewhere")

    account = now(store.account(ALICE))

    uses = {info.name: info.special_use for info in now(account.folders())}
    assert (uses["Trash"], uses["Work"], uses["Junk"]) == ("\\Trash", "", "\\Junk")
    assert {"Trash/Old", "Work", "Drafts"} <= set(now(account.subscriptions()))
    assert now(account.status("Trash")).messages == 1
