"""What other programs do to mailboxes that nobody has open (`store.foreign`), with the kernel's inotify."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailserver.events import EventsLost, MessagesChanged
from mailserver.store import foreign
from mailserver.store.foreign import SOON
from tests.helpers.store import (
    ALICE,
    BOB,
    Listener,
    StoreClock,
    account_dir,
    append,
    deliver,
    make_store,
    now,
)

TEXT = b"Subject: x\n\nbody\n"


class World:
    def __init__(self, path: Path) -> None:
        self.clock = StoreClock()
        self.store = make_store(path, reactor=self.clock, inotify=True)
        self.account = now(self.store.account(ALICE))
        now(self.account.create("misc"))
        self.told: list[Any] = []
        self.looks: list[str] = []

    def watch(self, foreign: bool = True) -> Any:
        return self.account.watch(lambda event: self.told.append(event), foreign)

    def drop(self, name: str, folder: str = "misc") -> Path:
        """Another program delivers."""
        path = account_dir(self.store) / (f".{folder}" if folder else "") / "new" / name
        path.write_bytes(TEXT)
        return path

    def settle(self) -> list[Any]:
        """What was told, once the kernel was asked and the time has come."""
        self.store.watches.doRead()
        self.clock.advance(SOON)
        told, self.told = self.told, []
        return told


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path)
    real = foreign.look

    def look(ledger: Any, opened: Any, directory: str, names: Any) -> Any:
        made.looks.append(directory)
        return real(ledger, opened, directory, names)

    monkeypatch.setattr(foreign, "look", look)
    yield made
    made.store.watches.stop()


def test_messages_that_come_change_and_go(world: World) -> None:
    world.watch()
    path = world.drop("1.a.b")
    (event,) = world.settle()
    assert (event.name, event.added, event.status.messages) == ("misc", (1,), 1)
    found = next((account_dir(world.store) / ".misc" / "new").iterdir())
    seen = found.parent.parent / "cur" / f"{found.name}:2,S"
    os.rename(found, seen)
    (event,) = [one for one in world.settle() if one.flags]
    assert event.status.unseen == 0
    next((account_dir(world.store) / ".misc" / "cur").iterdir()).unlink()
    (event,) = [one for one in world.settle() if one.removed]
    assert event.status.messages == 0 and not path.exists()


def test_several_at_once_are_one_look(world: World) -> None:
    world.watch()
    world.drop("0.a.b", "")
    for number in range(20):
        world.drop(f"{number}.a.b")
    told = world.settle()
    assert sorted(world.looks) == ["", ".misc"]
    assert sum(len(event.added) for event in told) == 21


def test_own_work_is_no_reason_to_look(world: World) -> None:
    world.watch()
    deliver(world.store)
    append(world.account, "misc", TEXT)
    assert len(world.settle()) == 2
    assert world.looks == []


def test_a_folder_that_is_new(world: World) -> None:
    world.watch()
    now(world.account.create("later"))
    now(world.account.rename("misc", "other"))
    world.settle()
    for name in ("later", "other"):
        world.drop("1.a.b", name)
        assert [event.name for event in world.settle()] == [name]
    now(world.account.delete("later"))
    world.settle()
    assert not any("later" in directory for directory, _ in world.store.watches._watches.values())


def test_a_mailbox_that_is_open_beside_it(world: World) -> None:
    """It has a watch of its own on the same folder, and each goes without the other."""
    end = world.watch()
    listener = Listener()
    mailbox = now(world.account.open("misc", listener))
    world.drop("1.a.b")
    assert len(world.settle()) == 1 and len(mailbox.uids) == 1
    mailbox.close(listener)
    world.store.drop(world.store.mailbox(world.account, ".misc"))
    world.drop("2.a.b")
    assert [event.added for event in world.settle()] == [(2,)]
    mailbox = now(world.account.open("misc", listener))
    end()
    listener.take()
    world.drop("3.a.b")
    world.settle()
    assert ("added", 1) in listener.take()
    append(world.account, "misc", TEXT)  # what is expected is still known
    assert world.settle() == [] and ("added", 1) in listener.take()


def test_nothing_is_watched_longer_than_somebody_listens(world: World) -> None:
    ends = [world.watch(), world.watch(), world.watch(foreign=False)]
    assert len(world.store.watches._watches) >= 4
    for end in ends:
        end()
        end()
    assert not world.store.watches._watches and not world.store.watches._expected
    assert not world.store.watches._of and not world.clock.getDelayedCalls()


def test_without_being_asked_nothing_is_watched(world: World) -> None:
    world.watch(foreign=False)
    assert not world.store.watches._watches


def test_the_number_of_watches_has_a_bound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it a change is told when somebody looks."""
    monkeypatch.setattr(foreign, "MOST", 1)
    world.watch()
    assert len(world.store.watches._watches) == 2  # new/ and cur/ of one folder
    path = world.drop("1.a.b")
    assert world.settle() == []
    os.utime(path.parent, (2e9, 2e9))  # not in the tick of the clock in which the folder was made
    now(world.account.status("misc"))
    assert [event.name for event in world.told] == ["misc"]


def test_a_folder_that_is_shared(world: World) -> None:
    """RFC 5465, 5.9: the watcher's own rights say what it is told."""
    now(world.account.set_acl("misc", BOB, lambda rights: "lr"))
    bob = now(world.store.account(BOB))
    end = bob.watch(lambda event: world.told.append(event), True)
    world.drop("1.a.b")
    assert [event.name for event in world.settle()] == [f"Other Users/{ALICE}/misc"]
    end()
    assert not world.store.watches._watches


def test_what_other_processes_could_not_tell_is_told_to_be_lost(world: World) -> None:
    world.watch()
    now(world.store.account(BOB)).watch(lambda event: world.told.append(event), True)
    world.store.look_everywhere()
    assert world.told == [EventsLost(ALICE), EventsLost(BOB)]
    assert not any(isinstance(event, MessagesChanged) for event in world.told)
