"""SAVEDATE (RFC 8514) over the real store: when a message came into the mailbox that it is in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mailserver.store.index import database
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.store import ALICE, account_dir, deliver, drop_file, make_store, now

DAY = 86400
NEW_YEAR_2015 = 1420070400


class Time:
    def __init__(self) -> None:
        self.seconds = float(NEW_YEAR_2015)

    def __call__(self) -> float:
        return self.seconds


class World:
    """A store whose clock stands, and a client."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.time = Time()
        self.begin()

    def begin(self) -> None:
        self.store = make_store(self.path, clock=self.time)
        self.client = ImapClient(ImapServer(now(self.store.account(ALICE))), login=True)

    def again_without_index(self) -> None:
        now(self.store.stop())
        for path in account_dir(self.store).glob(database.FILE + "*"):
            path.unlink()
        self.begin()

    def saved(self, folder: str = "INBOX") -> list[str]:
        self.client.say(f"s SELECT {folder}")
        lines = self.client.say("f UID FETCH 1:* SAVEDATE")
        return [line.partition(' SAVEDATE "')[2][:-2] for line in lines if "SAVEDATE" in line]

    def search(self, keys: str) -> str:
        return self.client.say(f"f SEARCH {keys}")[0].removeprefix("* SEARCH").strip()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_copy_move_and_append(world: World) -> None:
    message = b"Subject: x\r\n\r\n\r\n"
    line = b'a APPEND INBOX "25-Dec-2001 00:00:00 +0000" {%d+}\r\n%b\r\n' % (len(message), message)
    world.client.send(line)
    world.time.seconds += DAY + 3661.5
    deliver(world.store)
    assert world.saved() == [" 1-Jan-2015 00:00:00 +0000", " 2-Jan-2015 01:01:01 +0000"]
    world.time.seconds += DAY
    world.client.say("c COPY 1 Trash")
    world.time.seconds += DAY
    world.client.say("m MOVE 1 Trash")
    assert world.saved() == [" 2-Jan-2015 01:01:01 +0000"]
    assert world.saved("Trash") == [" 3-Jan-2015 01:01:01 +0000", " 4-Jan-2015 01:01:01 +0000"]
    world.client.say("t STORE 1 +FLAGS (\\Seen)")
    world.store.reactor.advance(1)
    world.client.dialog(
        """
        C: A101 UID FETCH 1 (SAVEDATE INTERNALDATE)
        S: * 1 FETCH (UID 1 INTERNALDATE "25-Dec-2001 00:00:00 +0000" SAVEDATE " 3-Jan-2015 01:01:01 +0000")
        S: A101 OK FETCH completed
        """
    )


def test_search(world: World) -> None:
    for _ in range(3):
        deliver(world.store)
        world.time.seconds += DAY
    world.client.say("s SELECT INBOX")
    assert world.search("SAVEDON 1-Jan-2015") == "1"
    assert world.search("SAVEDBEFORE 3-Jan-2015") == "1 2"
    assert world.search("SAVEDSINCE 2-Jan-2015") == "2 3"
    assert world.search("NOT SAVEDON 2-Jan-2015 SAVEDATESUPPORTED") == "1 3"
    assert world.search("NOT SAVEDATESUPPORTED") == ""
    assert world.client.say("b SEARCH SAVEDON")[0].startswith("b BAD")


def test_the_date_outlives_the_index(world: World) -> None:
    deliver(world.store)
    world.time.seconds += 10
    world.client.say("s SELECT INBOX")
    world.client.say("c COPY 1 Trash")
    world.time.seconds += 10
    drop_file(account_dir(world.store), "1400000000.V1.other:2,", sub="cur")
    world.client.say("n NOOP")
    world.store.reactor.advance(1)  # it gets a name of ours
    before = world.saved(), world.saved("Trash")
    assert before == (
        [" 1-Jan-2015 00:00:00 +0000", " 1-Jan-2015 00:00:20 +0000"],
        [" 1-Jan-2015 00:00:10 +0000"],
    )
    world.time.seconds += 1000
    world.again_without_index()
    assert (world.saved(), world.saved("Trash")) == before


def test_what_another_program_moves_here_is_saved_when_it_is_seen(world: World) -> None:
    deliver(world.store)
    world.saved("Trash")
    folder = account_dir(world.store)
    (name,) = os.listdir(folder / "new")
    world.time.seconds += 1000
    os.rename(folder / "new" / name, folder / ".Trash" / "cur" / f"{name}:2,S")
    assert world.saved("Trash") == [" 1-Jan-2015 00:16:40 +0000"]
    world.store.reactor.advance(1)
    world.time.seconds += 1000
    world.again_without_index()
    assert world.saved("Trash") == [" 1-Jan-2015 00:16:40 +0000"]


def test_messages_that_go_take_their_dates_with_them(world: World) -> None:
    for _ in range(3):
        deliver(world.store)
        world.time.seconds += 1
    world.saved()
    other: Any = ImapClient(world.client.server, login=True, select="INBOX")
    other.say("d STORE 2 +FLAGS (\\Deleted)")
    other.say("e EXPUNGE")
    assert world.search("SAVEDON 1-Jan-2015") == "1 3"
    assert world.saved() == [" 1-Jan-2015 00:00:00 +0000", " 1-Jan-2015 00:00:02 +0000"]
