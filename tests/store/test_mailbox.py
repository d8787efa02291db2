"""A mailbox as sessions see it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from mailserver.disk import durable
from mailserver.errors import (
    LimitReached,
    MessageGone,
    NoSuchMailbox,
    NotPermitted,
    OverQuota,
    TemporaryFailure,
)
from mailserver.interfaces import IAccount, IMailbox, IMailStore, StoreMode, StoreResult
from mailserver.message.render import render
from mailserver.message.structure import body_start
from mailserver.store import mailbox as mailbox_module
from mailserver.store import operations, rendering
from mailserver.store.store import MailStore
from tests.helpers.store import (
    ALICE,
    Listener,
    account_dir,
    append,
    deliver,
    drop_file,
    file_names,
    make_store,
    now,
)

ADD, REMOVE, REPLACE = StoreMode.ADD, StoreMode.REMOVE, StoreMode.REPLACE
SEEN, DELETED, FLAGGED = 8, 4, 2


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MailStore:
    monkeypatch.setattr(durable, "calls", durable.Calls())
    return make_store(tmp_path)


def opened(store: MailStore, name: str = "INBOX", **how: Any) -> tuple[Any, Listener]:
    listener = Listener()
    return now(now(store.account(ALICE)).open(name, listener, **how)), listener


def test_interfaces_are_kept(store: MailStore) -> None:
    mailbox, _ = opened(store)
    examined, _ = opened(store, read_only=True)
    assert verifyObject(IMailStore, store)
    assert verifyObject(IAccount, now(store.account(ALICE)))
    assert verifyObject(IMailbox, mailbox)
    assert verifyObject(IMailbox, examined)


def test_a_delivery_reaches_all_sessions(store: MailStore) -> None:
    mailbox, one = opened(store)
    same, other = opened(store)
    assert same is mailbox
    deliver(store)
    assert one.take() == other.take() == [("added", 1)]
    assert list(mailbox.uids) == [1] and mailbox.flags == [0] and mailbox.uidnext == 2
    file = mailbox.open_message(1)
    assert file.read_all() == b"Return-Path: <sender@remote.example>\r\nSubject: x\r\n\r\nbody\r\n"
    assert file.size == mailbox.sizes[0] == 58
    file.close()


def test_recent_is_for_the_first_session_that_may_write(store: MailStore) -> None:
    deliver(store)
    examined, reader = opened(store, read_only=True)
    assert examined.take_recent(reader, False) == {1}
    mailbox, one = opened(store)
    assert mailbox.take_recent(one, False) == {1}
    same, other = opened(store)
    assert same.take_recent(other, False) == set()
    deliver(store)
    assert mailbox.take_recent(other, False) == {2}
    assert now(now(store.account(ALICE)).status("INBOX")).recent == 0
    store.reactor.advance(1)  # what was seen leaves new/
    assert all(name.startswith("cur/") for name in file_names(account_dir(store)))


def test_flags_are_told_and_reach_the_file_names(store: MailStore) -> None:
    for _ in range(3):
        deliver(store)
    mailbox, listener = opened(store)
    result = now(mailbox.store([1, 3, 9], ADD, SEEN | FLAGGED, None, listener))
    assert result.changed == (1, 3)
    assert listener.take() == [("flags", [1, 3], listener)]
    assert mailbox.flags == [10, 0, 10]
    assert list(mailbox.modseqs) == [5, 3, 5] and mailbox.highestmodseq == 5
    assert now(mailbox.store([1], ADD, SEEN, None, None)).changed == ()  # nothing changes, nor MODSEQ
    now(mailbox.store([1], REMOVE, SEEN, None, None))
    now(mailbox.store([3], REPLACE, DELETED, None, None))
    assert mailbox.flags == [2, 0, 4]
    store.reactor.advance(1)
    letters = [name.rpartition(":2,")[2] for name in file_names(account_dir(store)) if "cur/" in name]
    assert sorted(letters) == ["F", "T"]


def test_unchanged_since(store: MailStore) -> None:
    deliver(store)
    deliver(store)
    mailbox, _ = opened(store)
    now(mailbox.store([2], ADD, SEEN, None, None))
    result = now(mailbox.store([1, 2], ADD, FLAGGED, 3, None))
    assert (result.changed, result.modified) == ((1,), (2,))


def test_unchanged_since_0_asks_for_the_absence_of_keywords(store: MailStore) -> None:
    """RFC 7162, 3.1.3, example 7: who sets $MDNSent first sends the report."""
    deliver(store)
    mailbox, _ = opened(store)
    sent = mailbox.flag_mask(["$MDNSent"], True)
    assert now(mailbox.store([1], ADD, sent, 0, None)) == StoreResult((1,))
    assert now(mailbox.store([1], ADD, sent, 0, None)) == StoreResult((), (1,))
    for mode, mask in ((ADD, SEEN), (REPLACE, sent), (ADD, sent | SEEN)):
        assert now(mailbox.store([1], mode, mask, 0, None)).modified == (1,)


def test_I16_keywords(store: MailStore) -> None:
    store.settings.change(limits={"keywords": 30})
    deliver(store)
    mailbox, _ = opened(store)
    assert mailbox.flag_mask(["\\seen", "$Junk", "\\Recent"], False) == SEEN
    names = [f"key{n}" for n in range(30)]
    mask = mailbox.flag_mask(names, True)
    assert mask == ((1 << 30) - 1) << 5
    assert mailbox.flag_mask(["KEY3"], True) == 1 << 8
    with pytest.raises(LimitReached):
        mailbox.flag_mask(["onemore"], True)
    now(mailbox.store([1], REPLACE, mask, None, None))
    now(store.stop())
    again = make_store(store.settings.now.data_dir)
    mailbox, _ = opened(again)
    assert mailbox.keywords == names and mailbox.flags == [mask]
    assert file_names(account_dir(again))[0].endswith(":2,abcdefghijklmnopqrstuvwxyz")


def test_more_keywords_than_an_integer_of_sqlite_has_bits(store: MailStore) -> None:
    deliver(store)
    mailbox, _ = opened(store)
    mask = mailbox.flag_mask([f"key{n}" for n in range(100)], True)
    now(mailbox.store([1], ADD, mask, None, None))
    now(mailbox.store([1], ADD, SEEN, None, None))
    now(store.stop())
    again, _ = opened(make_store(store.settings.now.data_dir))
    assert again.flags == [mask | SEEN]


def test_expunge(store: MailStore) -> None:
    for _ in range(5):
        deliver(store)
    mailbox, listener = opened(store)
    before = mailbox.uids
    now(mailbox.store([2, 3, 5], ADD, DELETED, None, None))
    listener.take()
    assert now(mailbox.expunge([1, 2], listener)) == (2,)
    assert listener.take() == [("removed", [2], listener)]
    assert now(mailbox.expunge(None, None)) == (3, 5)
    assert list(mailbox.uids) == [1, 4] and list(before) == [1, 2, 3, 4, 5]
    assert len(file_names(account_dir(store))) == 2
    assert mailbox.uidnext == 6
    assert now(mailbox.expunged_since(1)) == [2, 3, 5]
    assert now(mailbox.expunged_since(mailbox.highestmodseq - 1)) == [3, 5]
    with pytest.raises(MessageGone):
        mailbox.open_message(2)


def test_J2_remove_whatever_the_flags(store: MailStore) -> None:
    deliver(store)
    deliver(store)
    mailbox, _ = opened(store)
    assert now(mailbox.remove([2, 7], None)) == (2,)
    assert list(mailbox.uids) == [1]


def synced_folders(action: Callable[[], object]) -> list[str]:
    """Names of the folders that were synced meanwhile."""
    synced: list[str] = []

    def fsync(fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        if path.is_dir():
            synced.append(f"{path.parent.name}/{path.name}")
        os.fsync(fd)

    durable.calls.fsync = fsync
    try:
        action()
    finally:
        durable.calls.fsync = os.fsync
    return sorted(synced)


def test_J2_H21_what_is_answered_is_on_the_disk(store: MailStore) -> None:
    for _ in range(3):
        deliver(store)
    mailbox, _ = opened(store)
    now(mailbox.copy([1], "Trash"))  # the reserve of UIDs is written
    assert synced_folders(lambda: now(mailbox.remove([1], None))) == ["alice/new"]
    assert synced_folders(lambda: now(mailbox.copy([2], "Trash"))) == [".Trash/cur"]
    assert synced_folders(lambda: now(mailbox.move([2], "Trash", None))) == [".Trash/cur", "alice/new"]


def test_news_that_come_twice_count_once(store: MailStore) -> None:
    mailbox, listener = opened(store)
    changes: list[Any] = []
    store.changes.subscribe(changes.append)
    deliver(store)
    assert listener.take() == [("added", 1)]
    now(mailbox.store([1], ADD, SEEN, None, None))
    now(mailbox.store([1], REMOVE, SEEN, None, None))
    listener.take()
    for change in changes[:2]:
        mailbox.take(change)
    assert listener.take() == [] and list(mailbox.uids) == [1] and mailbox.flags == [0]


def test_news_that_come_while_a_mailbox_is_loaded(store: MailStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed after the snapshot is taken in, what the snapshot holds is not taken twice."""
    deliver(store)
    load = mailbox_module.operations.load

    def slow(*args: Any) -> Any:
        deliver(store)
        loaded = load(*args)
        deliver(store)
        return loaded

    monkeypatch.setattr(mailbox_module.operations, "load", slow)
    mailbox, _ = opened(store)
    assert list(mailbox.uids) == [1, 2, 3]


def test_J8_a_removal_that_fails_in_the_middle(store: MailStore) -> None:
    for _ in range(4):
        deliver(store)
    mailbox, listener = opened(store)
    unlink, count = os.unlink, iter(range(9))

    def failing(path: str) -> None:
        if next(count) == 2:
            raise OSError(errno.EIO, "broken")
        unlink(path)

    durable.calls.unlink = failing
    with pytest.raises(TemporaryFailure):
        now(mailbox.remove([1, 2, 3, 4], None))
    assert list(mailbox.uids) == [3, 4]
    assert listener.take() == [("removed", [1, 2], None)]
    durable.calls.unlink = unlink
    assert now(mailbox.remove([1, 2, 3, 4], None)) == (3, 4)


def test_copy_keeps_flags_and_date(store: MailStore) -> None:
    account = now(store.account(ALICE))
    append(account, "INBOX", b"a: b\n\nx\n", ["\\Seen", "$Label1"], 1234567890)
    append(account, "INBOX", b"a: b\n\ny\n")
    mailbox, _ = opened(store)
    trash, told = opened(store, "Trash")
    trash.flag_mask(["other"], True)
    result = now(mailbox.copy([1, 2, 8], "Trash"))
    assert (result.source, result.target) == ((1, 2), (1, 2))
    assert result.uidvalidity == trash.uidvalidity != mailbox.uidvalidity
    assert told.take() == [("added", 2)]
    assert trash.keywords == ["$Label1", "other"]  # what nobody has used yet goes behind
    assert trash.flags == [SEEN | 1 << 5, 0]
    assert trash.dates[0] == 1234567890
    again = now(mailbox.copy([1], "Trash"))  # H18: no matter that it is there already
    assert again.target == (3,)


def test_copy_into_itself_and_into_nothing(store: MailStore) -> None:
    deliver(store)
    mailbox, listener = opened(store)
    assert now(mailbox.copy([1], "inbox")).target == (2,)
    assert listener.take() == [("added", 1)]
    assert now(mailbox.move([1], "INBOX", None)).target == (3,)
    assert list(mailbox.uids) == [2, 3]
    for name in ("nowhere", "../x", "a.b"):
        with pytest.raises(NoSuchMailbox):
            now(mailbox.copy([2], name))


def test_move(store: MailStore) -> None:
    deliver(store)
    deliver(store)
    mailbox, listener = opened(store)
    trash, told = opened(store, "Trash")
    result = now(mailbox.move([2], "Trash", listener))
    assert (result.source, result.target) == ((2,), (1,))
    assert listener.take() == [("removed", [2], listener)]
    assert told.take() == [("added", 1)]
    assert len(file_names(account_dir(store) / ".Trash")) == 1
    assert now(mailbox.expunged_since(1)) == [2]
    assert list(trash.uids) == [1]


def test_a_move_within_a_folder_is_one_change(store: MailStore) -> None:
    """Of two another process could take the first, make a commit of its own, and pass over the second for one
    that it has: the message would stay in its memory for ever."""
    deliver(store)
    deliver(store)
    mailbox, listener = opened(store)
    changes: list[Any] = []
    store.changes.subscribe(changes.append)
    now(mailbox.move([1], "INBOX", listener))
    ((removed, added, steps),) = [
        (change.removed, [row.uid for row in change.added], change.modseq - change.before)
        for change in changes
    ]
    assert (list(removed), added, steps) == ([1], [3], 1)
    assert listener.take() == [("removed", [1], listener), ("added", 1)]
    assert list(mailbox.uids) == [2, 3]


@pytest.mark.parametrize("move", [False, True])
@pytest.mark.parametrize("call", ["link", "rename_noreplace", "fsync"])
def test_H17_copy_and_move_are_all_or_none(store: MailStore, move: bool, call: str) -> None:
    for _ in range(4):
        deliver(store)
    mailbox, listener = opened(store)
    original, count = getattr(durable.calls, call), iter(range(99))

    def failing(*args: Any, **kwargs: Any) -> Any:
        if next(count) == (0 if call == "fsync" else 2):
            raise OSError(errno.ENOSPC, "full")
        return original(*args, **kwargs)

    setattr(durable.calls, call, failing)
    try:
        if move:
            now(mailbox.move([1, 2, 3, 4], "Trash", None))
        else:
            now(mailbox.copy([1, 2, 3, 4], "Trash"))
        assert (move, call) in ((True, "link"), (False, "rename_noreplace"))
    except TemporaryFailure:
        assert file_names(account_dir(store) / ".Trash") == []
        assert len(file_names(account_dir(store))) == 4
        assert list(mailbox.uids) == [1, 2, 3, 4] and listener.take() == []
        assert now(now(store.account(ALICE)).status("Trash")).messages == 0
    durable.calls = durable.Calls()
    assert len(now(mailbox.copy(list(mailbox.uids), "Trash")).target) == len(mailbox.uids)


def test_copy_where_links_are_not_possible(store: MailStore) -> None:
    deliver(store)
    mailbox, _ = opened(store)

    def link(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EMLINK, "too many links")

    durable.calls.link = link
    assert now(mailbox.copy([1], "Trash")).target == (1,)
    trash, _ = opened(store, "Trash")
    file = trash.open_message(1)
    assert (file.read_all() or b"").endswith(b"body\r\n")
    assert os.listdir(account_dir(store) / ".Trash" / "tmp") == []
    assert trash.dates == mailbox.dates


def test_H17_copy_of_a_vanished_file(store: MailStore) -> None:
    deliver(store)
    deliver(store)
    mailbox, _ = opened(store)
    (account_dir(store) / file_names(account_dir(store))[1]).unlink()
    with pytest.raises(MessageGone):
        now(mailbox.copy([1, 2], "Trash"))
    assert file_names(account_dir(store) / ".Trash") == []


def test_copy_over_quota(store: MailStore) -> None:
    deliver(store)
    mailbox, _ = opened(store)
    store.settings.change(limits={"quota": 100})
    with pytest.raises(OverQuota):
        now(mailbox.copy([1], "Trash"))
    assert now(mailbox.move([1], "Trash", None)).target == (1,)


def test_examine_changes_nothing(store: MailStore) -> None:
    deliver(store)
    examined, listener = opened(store, read_only=True)
    assert examined.read_only and list(examined.uids) == [1]
    for attempt in (
        examined.store([1], ADD, SEEN, None, None),
        examined.expunge(None, None),
        examined.remove([1], None),
        examined.move([1], "Trash", None),
    ):
        with pytest.raises(NotPermitted):
            now(attempt)
    deliver(store)
    assert listener.take() == [("added", 1)] and list(examined.uids) == [1, 2]
    examined.close(listener)


def test_I17_a_folder_that_may_not_be_written(store: MailStore, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(store)
    now(store.stop())
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    mailbox, _ = opened(make_store(store.settings.now.data_dir))
    assert mailbox.read_only
    assert mailbox.highestmodseq == 0  # RFC 7162, 3.1.2.2: what cannot be written down may go back
    assert mailbox.open_message(1).read_all() is not None


def test_rendered_is_made_once(store: MailStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    reading = rendering._octets

    def counting(fd: int, length: int) -> bytes:
        read.append(length)
        return reading(fd, length)

    monkeypatch.setattr(rendering, "_octets", counting)
    deliver(store, data=b"Subject: one\n\n1\n")
    deliver(store, data=b"Subject: two\nX: " + b"y" * 70000 + b"\n\n2\n")
    mailbox, _ = opened(store)
    envelopes = now(mailbox.rendered("ENVELOPE", [1, 2, 3]))
    assert b'"one"' in envelopes[0] and b'"two"' in envelopes[1] and envelopes[2] is None
    headers = now(mailbox.rendered("HEADER", [1, 2]))
    assert headers[0].endswith(b"Subject: one\r\n\r\n") and headers[1] is None
    assert len(read) == 3  # of the long header the beginning did not do
    assert now(mailbox.rendered("BODYSTRUCTURE", [1]))[0].startswith(b'("text" "plain"')
    assert now(mailbox.rendered("BODY", [1]))[0]
    assert len(read) == 4
    now(store.stop())
    again = make_store(store.settings.now.data_dir)
    mailbox, _ = opened(again)
    assert now(mailbox.rendered("ENVELOPE", [1, 2])) == envelopes[:2]
    assert now(mailbox.rendered("HEADER", [2])) == [None]
    assert len(read) == 4


def test_an_envelope_is_made_of_the_header_that_is_kept(
    store: MailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(store, data=b"Subject: one\nFrom: a@b.example\n\n1\n")
    mailbox, _ = opened(store)
    assert now(mailbox.rendered("HEADER", [1]))[0].endswith(b"\r\n\r\n")
    monkeypatch.setattr(rendering, "_read", lambda *args: pytest.fail("read again"))
    assert b'"one" ((NIL NIL "a" "b.example"))' in now(mailbox.rendered("ENVELOPE", [1]))[0]


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"\nx\n", b"Subject: x", b"Subject: x\n", b"A: b\r\nSubject: x\r\n\r\ny\r\n"]
)
def test_messages_of_little_more_than_a_header(store: MailStore, data: bytes) -> None:
    """Whatever is made first, the values are those of the whole message."""
    folder = account_dir(store)
    mailbox, _ = opened(store)
    for number in range(2):
        drop_file(folder, f"{number}.1.x", data)
    now(mailbox.refresh())
    whole = render(data)
    first = now(mailbox.rendered("HEADER", [1])), now(mailbox.rendered("ENVELOPE", [1]))
    second = now(mailbox.rendered("ENVELOPE", [2])), now(mailbox.rendered("HEADER", [2]))
    assert first == ([whole.header or None], [whole.envelope])
    assert second == ([whole.envelope], [whole.header or None])
    wire = mailbox.open_message(1).read_all()
    assert wire is not None and whole.header == wire[: body_start(wire)]


def test_what_is_cut_of_headers_is_kept(store: MailStore) -> None:
    deliver(store, data=b"Subject: one\n\n1\n")
    deliver(store, data=b"Subject: two\nX: " + b"y" * 70000 + b"\n\n2\n")
    mailbox, _ = opened(store)
    cuts: list[bytes] = []

    def cut(header: bytes) -> bytes:
        cuts.append(header)
        return header[-7:-4]

    assert now(mailbox.cut_headers("end", cut, [1, 2])) == [b"one", None]
    assert now(mailbox.cut_headers("end", cut, [1])) == [b"one"]
    assert len(cuts) == 1
    assert now(mailbox.cut_headers("other", lambda header: b"x", [1])) == [b"x"]


def test_I11_a_file_that_vanished(store: MailStore) -> None:
    deliver(store)
    deliver(store)
    mailbox, listener = opened(store)
    (account_dir(store) / file_names(account_dir(store))[0]).unlink()
    with pytest.raises(MessageGone):
        mailbox.open_message(1)
    store.reactor.advance(1)
    assert listener.take() == [("removed", [1], None)]
    assert now(mailbox.rendered("ENVELOPE", [1])) == [None]


def test_I5_a_file_that_was_renamed_is_found(store: MailStore) -> None:
    deliver(store)
    mailbox, listener = opened(store)
    folder = account_dir(store)
    name = file_names(folder)[0]
    os.rename(folder / name, folder / "cur" / (name[4:] + ":2,FS"))
    assert mailbox.open_message(1).read_all() is not None
    store.reactor.advance(1)
    assert listener.take() == [("flags", [1], None)]
    assert mailbox.flags == [FLAGGED | SEEN]


def test_a_file_that_we_rename_is_read_before_the_news_of_it(
    store: MailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File names are brought up to date in a thread, and sessions go on reading meanwhile."""
    now(store.account(ALICE))
    drop_file(account_dir(store), "1700000000.M1P1.elsewhere")
    mailbox, _ = opened(store)
    ledger = store.get(ALICE).ledger
    monkeypatch.setattr(ledger, "tell", lambda *args, **changes: None)
    before = file_names(account_dir(store))
    ledger.run(operations.take_recent, "", 2)
    ledger.run(operations.rename_dirty, "", 100, 0)
    assert file_names(account_dir(store)) != before

    assert mailbox.open_message(1).read_all() is not None


def test_I10_sizes_that_are_wrong(store: MailStore) -> None:
    deliver(store)
    mailbox, _ = opened(store)
    path = account_dir(store) / file_names(account_dir(store))[0]
    path.write_bytes(b"Subject: changed in place\n\nlonger than it was before, by far\n" * 3)
    file = mailbox.open_message(1)
    data = file.read_all()
    assert data is not None and len(data) == file.size == mailbox.sizes[0] == path.stat().st_size + 9
    assert now(now(store.account(ALICE)).status("INBOX")).size == file.size


def test_I12_symbolic_links_are_no_messages(store: MailStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"root:x:0:0\n")
    now(store.account(ALICE))
    folder = account_dir(store)
    (folder / "new" / "1.link.host").symlink_to(secret)
    os.mkfifo(folder / "new" / "2.fifo.host")
    (folder / "cur" / "3.directory.host:2,").mkdir()
    drop_file(folder, "4.file.host")
    mailbox, _ = opened(store)
    assert list(mailbox.uids) == [1]
    name = next(name for name in file_names(folder) if "4.file" in name)
    (folder / name).unlink()
    (folder / name).symlink_to(secret)
    with pytest.raises(MessageGone):
        mailbox.open_message(1)


def test_closed_mailboxes_stay_current_and_leave_in_turn(
    store: MailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailserver.store.store.KEPT_MAILBOXES", 1)
    mailbox, listener = opened(store)
    mailbox.close(listener)
    deliver(store)
    again, other = opened(store)
    assert again is mailbox and list(mailbox.uids) == [1] and listener.take() == []
    opened(store, "Trash")
    assert store.mailbox(now(store.account(ALICE)), "") is mailbox  # in use
    mailbox.close(other)
    opened(store, "Sent")
    assert store.mailbox(now(store.account(ALICE)), "") is None


def test_a_session_that_fails_does_not_harm_the_others(store: MailStore) -> None:
    class Broken(Listener):
        def messages_added(self, count: int) -> None:
            raise RuntimeError

    account = now(store.account(ALICE))
    now(account.open("INBOX", Broken()))
    _, good = opened(store)
    deliver(store)
    assert good.take() == [("added", 1)]
