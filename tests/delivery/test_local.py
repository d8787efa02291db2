"""Final delivery: order on the disk, failures at every step, one outcome for each target."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial import unittest
from zope.interface.verify import verifyObject

from mailserver.delivery.body import MemoryBody
from mailserver.delivery.local import LocalDelivery
from mailserver.disk import durable
from mailserver.disk.group_commit import GroupWriter
from mailserver.disk.threads import Inbox, OrderedPool
from mailserver.errors import MailError, NoSpace, NoSuchUser, OverQuota, TemporaryFailure
from mailserver.interfaces import Envelope, ILocalDelivery, Peer, Target
from mailserver.store.store import MailStore
from tests.helpers.settings import make_settings
from tests.helpers.store import (
    ALICE,
    BOB,
    Listener,
    account_dir,
    deliver,
    envelope,
    file_names,
    make_store,
    now,
)

ERRNOS = (
    errno.EIO,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EMFILE,
    errno.EACCES,
    errno.EROFS,
    errno.ESTALE,
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailStore]:
    monkeypatch.setattr(durable, "calls", durable.Calls())
    made = make_store(tmp_path)
    for user in (ALICE, BOB):
        now(made.account(user))
    deliver(made, ALICE)  # the reserve of UIDs is written
    yield made


def messages(store: MailStore, user: str = ALICE, folder: str = "INBOX") -> int:
    return now(now(store.account(user)).status(folder)).messages


def spooled(store: MailStore) -> list[str]:
    return [name for _, _, files in os.walk(store.spool.path) for name in files]


def test_the_interface_is_kept(store: MailStore) -> None:
    assert verifyObject(ILocalDelivery, LocalDelivery(store))


def test_F2_order_of_a_delivery(store: MailStore) -> None:
    seen: list[str] = []
    paths: dict[int, str] = {}
    calls = durable.calls
    real_open = calls.open

    def opening(path: str, *args: Any) -> int:
        fd = real_open(path, *args)
        paths[fd] = os.path.basename(path) if os.path.isdir(path) else "file"
        seen.append(f"open {paths[fd]}")
        return fd

    calls.open = opening

    def noting(name: str) -> Any:
        real = getattr(calls, name)

        def on_fd(fd: int, *args: Any) -> Any:
            seen.append(f"{name} {paths[fd]}")
            return real(fd, *args)

        return on_fd

    for name in ("write", "fsync", "close"):
        setattr(calls, name, noting(name))
    rename = calls.rename_noreplace

    def renaming(source: str, target: str) -> None:
        seen.append("rename to " + os.path.basename(os.path.dirname(target)))
        rename(source, target)

    calls.rename_noreplace = renaming
    delivery = LocalDelivery(store)
    done = delivery.deliver(envelope(), b"", MemoryBody(b"a: b\n\n"), (Target(ALICE, ALICE),))
    done.addCallback(lambda outcomes: seen.append("250") or outcomes)
    assert now(done) == [None]
    assert seen == [
        "open file",
        "write file",
        "fsync file",
        "close file",
        "rename to new",
        "open new",
        "fsync new",
        "close new",
        "250",
    ]


@pytest.mark.parametrize("call", ["open", "write", "fsync", "close", "rename_noreplace"])
@pytest.mark.parametrize("number", ERRNOS)
@pytest.mark.parametrize("which", [0, 1])
def test_F3_F4_each_step_fails_once(store: MailStore, call: str, number: int, which: int) -> None:
    real, count = getattr(durable.calls, call), iter(range(99))

    def failing(*args: Any, **kwargs: Any) -> Any:
        if next(count) == which:
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    setattr(durable.calls, call, failing)
    if (call, which) in (("write", 1), ("rename_noreplace", 1)):
        return  # there is no second one in a delivery
    listener = Listener()
    now(now(store.account(ALICE)).open("INBOX", listener))
    with pytest.raises(TemporaryFailure) as caught:
        deliver(store)
    expected = 452 if number in (errno.ENOSPC, errno.EDQUOT) else 451
    assert (caught.value.code, isinstance(caught.value, NoSpace)) == (expected, expected == 452)
    assert spooled(store) == []
    assert len(file_names(account_dir(store))) == 1 and listener.take() == []
    assert messages(store) == 1
    deliver(store)
    assert messages(store) == 2 and listener.take() == [("added", 1)]


def test_F3_short_writes(store: MailStore) -> None:
    write = os.write
    durable.calls.write = lambda fd, data: write(fd, data[:7])
    deliver(store, data=b"a: b\n\n" + b"x\n" * 40)
    mailbox = now(now(store.account(ALICE)).open("INBOX", Listener()))
    assert mailbox.open_message(2).read_all().endswith(b"a: b\r\n\r\n" + b"x\r\n" * 40)


@pytest.mark.parametrize("call", ["link", "fsync"])
def test_F7_one_target_fails_alone(store: MailStore, call: str) -> None:
    deliver(store, BOB)
    real = getattr(durable.calls, call)

    def failing(*args: Any, **kwargs: Any) -> Any:
        where = args[1] if call == "link" else os.readlink(f"/proc/self/fd/{args[0]}")
        if "/bob/" in where:
            raise OSError(errno.ENOSPC, "full")
        return real(*args, **kwargs)

    setattr(durable.calls, call, failing)
    targets = (Target(ALICE, ALICE), Target(BOB, BOB))
    outcomes = now(LocalDelivery(store).deliver(envelope(), b"", MemoryBody(b"a: b\n\n"), targets))
    assert outcomes[0] is None and isinstance(outcomes[1], NoSpace)
    assert (messages(store, ALICE), messages(store, BOB)) == (2, 1)
    assert len(file_names(account_dir(store, BOB))) == 1
    assert spooled(store) == []


def test_many_targets_share_one_file(store: MailStore) -> None:
    targets = (
        Target(ALICE, ALICE),
        Target(BOB, BOB),
        Target("al@example.org", ALICE),  # C15: one copy in one mailbox
        Target(ALICE, ALICE, folder="Junk"),
        Target(BOB, BOB, folder="no/such/folder"),
        Target(BOB, BOB, folder="../.."),
        Target("nobody", "nobody"),
    )
    outcomes = now(
        LocalDelivery(store).deliver(envelope(), b"Received: by mx\n", MemoryBody(b"a: b\n\nx\n"), targets)
    )
    assert outcomes[:6] == [None] * 6 and isinstance(outcomes[6], NoSuchUser)
    assert messages(store, ALICE) == 2 and messages(store, ALICE, "Junk") == 1
    assert messages(store, BOB) == 2  # by the folder that does not exist, and as the inbox
    name = file_names(account_dir(store, BOB))[0]
    status = os.stat(account_dir(store, BOB) / name)
    assert status.st_nlink == 4
    assert (account_dir(store, BOB) / name).read_bytes() == (
        b"Return-Path: <sender@remote.example>\nReceived: by mx\na: b\n\nx\n"
    )
    assert spooled(store) == []


def test_nobody_to_deliver_to(store: MailStore) -> None:
    assert list(now(LocalDelivery(store).deliver(envelope(), b"", MemoryBody(b""), ()))) == []
    outcomes = now(LocalDelivery(store).deliver(envelope(), b"", MemoryBody(b""), (Target("x", "x"),)))
    assert isinstance(outcomes[0], NoSuchUser)


def test_null_reverse_path_and_line_ends_in_it(store: MailStore) -> None:
    null = Envelope("id", "", (), Peer("192.0.2.1"))
    assert now(LocalDelivery(store).deliver(null, b"", MemoryBody(b"a: b\n\n"), (Target(ALICE, ALICE),))) == [
        None
    ]
    mailbox = now(now(store.account(ALICE)).open("INBOX", Listener()))
    assert mailbox.open_message(2).read_all() == b"Return-Path: <>\r\na: b\r\n\r\n"
    evil = Envelope("id", "a@b\nX-Evil: 1", (), Peer("192.0.2.1"))
    with pytest.raises(MailError):
        now(LocalDelivery(store).deliver(evil, b"", MemoryBody(b""), (Target(ALICE, ALICE),)))


def test_F9_the_reserve_of_the_disk(store: MailStore) -> None:
    store.settings.change(limits={"min_free": 1 << 60})
    with pytest.raises(NoSpace):
        deliver(store)
    assert spooled(store) == []


def test_I14_over_quota_is_one_targets_matter(store: MailStore) -> None:
    store.settings.change(users={ALICE: {"quota": 60}, BOB: {"quota": 0}})
    targets = (Target(ALICE, ALICE), Target(BOB, BOB))
    outcomes = now(LocalDelivery(store).deliver(envelope(), b"", MemoryBody(b"a: b\n\n"), targets))
    assert isinstance(outcomes[0], OverQuota) and outcomes[1] is None
    assert outcomes[0].code == 452


def test_F8_a_name_that_is_taken(store: MailStore, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = store._around.names
    real, count = maker.message, iter(range(9))
    taken = account_dir(store) / "new" / "taken"
    taken.write_bytes(b"old")

    def message(*args: Any) -> str:
        return "taken" if next(count) == 0 else real(*args)

    monkeypatch.setattr(maker, "message", message)
    deliver(store)
    assert taken.read_bytes() == b"old"
    assert messages(store) == 3  # that file is mail as well


def test_what_a_crash_left_in_the_spool(store: MailStore) -> None:
    left = Path(store.spool.path) / "1" / "leftover"
    left.write_bytes(b"half a message")
    make_store(store.settings.now.data_dir)
    assert not left.exists()


def test_large_messages_are_written_in_chunks(store: MailStore, tmp_path: Path) -> None:
    data = b"a: b\n\n" + b"0123456789\n" * 200000

    class Large(MemoryBody):
        path = "somewhere"

        def chunks(self) -> Iterator[bytes]:
            for start in range(0, len(data), 1000):
                yield data[start : start + 1000]

    body = Large(data)
    targets = (Target(ALICE, ALICE),)
    assert now(LocalDelivery(store).deliver(envelope(), b"", body, targets)) == [None]
    mailbox = now(now(store.account(ALICE)).open("INBOX", Listener()))
    file = mailbox.open_message(2)
    assert file.read_all() is None
    wire = b"Return-Path: <sender@remote.example>\r\n" + data.replace(b"\n", b"\r\n")
    assert file.size == len(wire) == mailbox.sizes[1]
    for offset in (0, 1, 6, 65535, 65536, 70001, len(wire) - 3):
        assert now(file.read(offset, 100)) == wire[offset : offset + 100]
    assert now(file.read(0, len(wire))) == wire
    file.close()


class RealThreadsTests(unittest.TestCase):
    """All of it with the reactor and real threads."""

    async def test_many_at_once(self) -> None:
        directory = self.mktemp()
        os.mkdir(directory)
        inbox = Inbox(reactor)  # type: ignore[arg-type]
        threads, writer = OrderedPool(inbox), GroupWriter(inbox)
        store = MailStore(make_settings(data_dir=directory), reactor, threads, writer, inbox)
        threads.start()
        writer.start()
        store.start()
        listener = Listener()
        account: Any = await store.account(ALICE)
        mailbox: Any = await account.open("INBOX", listener)
        delivery = LocalDelivery(store)
        jobs: list[Deferred[Any]] = [
            delivery.deliver(
                envelope(), b"", MemoryBody(b"a: %d\n\n" % n), (Target(ALICE, ALICE), Target(BOB, BOB))
            )
            for n in range(60)
        ]
        assert await gatherResults(jobs) == [[None, None]] * 60
        assert list(mailbox.uids) == list(range(1, 61))
        assert sum(told[1] for told in listener.take()) == 60
        removed = await mailbox.remove(list(mailbox.uids)[:30], None)
        assert len(removed) == 30
        assert (await account.status("INBOX")).messages == 30
        await store.stop()
        await threads.stop()
        await writer.stop()
