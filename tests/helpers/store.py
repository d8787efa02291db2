"""A mail store for unit tests: no threads, everything fires at once.

store = make_store(path)                      # alice@ and bob@example.org
account = now(store.account("alice@example.org"))
deliver(store, "alice@example.org", b"Subject: x\\n\\nbody\\n")
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from mailserver.delivery.body import MemoryBody
from mailserver.delivery.local import LocalDelivery
from mailserver.interfaces import Envelope, IMailboxListener, NewMessage, Peer, Target
from mailserver.store.store import MailStore
from tests.helpers.settings import make_settings
from tests.helpers.threads import ImmediatePool, ImmediateWriter, immediate_inbox

ALICE = "alice@example.org"
BOB = "bob@example.org"
T = TypeVar("T")


class StoreClock(Clock):
    """A reactor without sockets. inotify is not available there."""

    def addReader(self, reader: Any) -> None:
        """Nothing is ever ready."""

    def removeReader(self, reader: Any) -> None:
        """See addReader."""

    def callFromThread(self, function: Any, *args: Any) -> None:
        function(*args)


def now(deferred: Deferred[T]) -> T:
    """The result of what has to be done already; raises what it failed with."""
    results: list[Any] = []
    deferred.addBoth(results.append)
    assert results, "not fired"
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]  # type: ignore[no-any-return]


@implementer(IMailboxListener)
@define(eq=False)
class Listener:
    """Writes down what a session is told."""

    told: list[tuple[Any, ...]] = field(factory=list)

    def messages_added(self, count: int) -> None:
        self.told.append(("added", count))

    def flags_changed(self, uids: Sequence[int], by: Any) -> None:
        self.told.append(("flags", list(uids), by))

    def messages_removed(self, uids: Sequence[int], by: Any) -> None:
        self.told.append(("removed", list(uids), by))

    def rights_changed(self) -> None:
        self.told.append(("rights",))

    def mailbox_gone(self) -> None:
        self.told.append(("gone",))

    def take(self) -> list[tuple[Any, ...]]:
        told, self.told = self.told, []
        return told


def make_store(
    path: Path | str,
    clock: Any = None,
    reactor: Any = None,
    inotify: bool = False,
    run: str = "",
    **overrides: Any,
) -> MailStore:
    """A started store. clock: what gives the time of day (default: the real one). run: see `Surroundings`."""
    settings = make_settings(data_dir=str(path), **overrides)
    inbox = immediate_inbox()
    more = {} if clock is None else {"clock": clock}
    store = MailStore(
        settings,
        reactor or StoreClock(),
        ImmediatePool(inbox),
        ImmediateWriter(inbox),
        inbox,
        host="mx",
        run=run,
        **more,
    )
    store.writer.start()
    store.spool.prepare()
    if inotify:
        store.watches.start()
    return store


def account_dir(store: MailStore, user: str = ALICE) -> Path:
    local, _, domain = user.partition("@")
    return Path(store.root) / domain / local


def envelope(*recipients: str) -> Envelope:
    return Envelope("id", "sender@remote.example", (), Peer("192.0.2.1"))


def deliver(
    store: MailStore, user: str = ALICE, data: bytes = b"Subject: x\n\nbody\n", folder: str = "INBOX"
) -> None:
    """Raises what went wrong."""
    targets = (Target(user, user, folder=folder),)
    outcomes = now(LocalDelivery(store).deliver(envelope(), b"", MemoryBody(data), targets))
    if outcomes[0] is not None:
        raise outcomes[0]


def append(
    account: Any, folder: str, data: bytes, flags: Iterable[str] = (), date: float | None = None
) -> int:
    """The UID."""
    result = now(account.append(folder, [NewMessage(MemoryBody(data), frozenset(flags), date)]))
    return int(result.target[0])


def drop_file(folder: Path, name: str, data: bytes = b"Subject: f\n\nforeign\n", sub: str = "new") -> Path:
    """What another deliverer does."""
    path = folder / sub / name
    temporary = folder / "tmp" / name.replace(":", "_")
    temporary.write_bytes(data)
    os.rename(temporary, path)
    return path


def file_names(folder: Path) -> list[str]:
    return sorted(f"{sub}/{name}" for sub in ("new", "cur") for name in os.listdir(folder / sub))
