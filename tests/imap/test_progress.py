"""How far a long command has come (RFC 9585)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailserver.config.schema import Imap, Without
from mailserver.imap.progress import INTERVAL, response
from mailserver.store import copying
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.store import ALICE, append, make_store, now


def test_the_examples_of_the_rfc() -> None:
    """Their codes; nothing is said of what is reached (4)."""
    for tag, done, goal, code in (
        (b"A001", 454, 1000, b'("A001" 454 1000)'),
        (b"A003", 175, 2001, b'("A003" 175 2001)'),
        (b"tag", 0, 0, b'("tag" NIL NIL)'),
        (b"tag", 1000, 1000, b'("tag" NIL NIL)'),
        (b"a]b", 1, 2, b"(NIL 1 2)"),
        (b"", 0, 0, b"(NIL NIL NIL)"),
    ):
        assert response(tag, done, goal).startswith(b"* OK [INPROGRESS %b] " % code)
        assert response(tag, done, goal).endswith(b"\r\n")


class Slow:
    """Makes a method of something wait until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.waiting: list[Callable[[], None]] = []
        method = getattr(owner, name)

        def held(*args: Any, **kwargs: Any) -> Deferred[Any]:
            turn: Deferred[Any] = Deferred()
            self.waiting.append(lambda: turn.callback(None))
            return turn.addCallback(lambda _: method(*args, **kwargs))

        monkeypatch.setattr(owner, name, held)

    def go(self) -> None:
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one()


@pytest.fixture
def client() -> ImapClient:
    server = ImapServer()
    for _ in range(900):
        server.account.inbox.add(b"Subject: x\r\n\r\nneedle\r\n")
    return ImapClient(server, select="INBOX")


def advance(client: ImapClient, seconds: float) -> bytes:
    client.server.reactor.advance(seconds)
    client.server.settle()
    return client.take()


def test_a_search_that_reads(client: ImapClient, monkeypatch: pytest.MonkeyPatch) -> None:
    box = client.account.inbox
    slow = Slow(monkeypatch, box, "containing")
    assert client.send(b"A001 SEARCH TEXT needle\r\n") == b""
    told = []
    for _ in range(4):
        told.append(advance(client, INTERVAL))
        slow.go()
        client.server.settle()
    assert [line.split(b"]")[0] for line in told] == [
        b'* OK [INPROGRESS ("A001" %d 900)' % done for done in (0, 200, 400, 600)
    ]
    slow.go()
    client.server.settle()
    answer = client.take()
    assert answer.startswith(b"* SEARCH 1 2 3 ") and answer.endswith(b"A001 OK SEARCH completed\r\n")
    assert advance(client, 10 * INTERVAL) == b""


@pytest.mark.parametrize(
    ("command", "owner", "method"),
    [
        ("COPY 1:* Sent", "box", "copy"),
        ("UID MOVE 1:* Sent", "box", "move"),
        ("STORE 1:* FLAGS.SILENT (\\Seen)", "box", "store"),
        ("EXPUNGE", "box", "expunge"),
        ("CLOSE", "box", "expunge"),
        ("SELECT INBOX", "account", "open"),
        ("ESEARCH IN (mailboxes INBOX) TEXT needle", "box", "containing"),
        ("SORT (SUBJECT) UTF-8 ALL", "box", "digests"),
        ("THREAD REFERENCES UTF-8 ALL", "box", "digests"),
    ],
)
def test_a_command_that_works_is_told_of_in_time(
    client: ImapClient, monkeypatch: pytest.MonkeyPatch, command: str, owner: str, method: str
) -> None:
    client.account.create("Sent")
    target = client.account.inbox if owner == "box" else client.account
    slow = Slow(monkeypatch, target, method)
    before = client.send(f"x1 {command}\r\n".encode())
    assert b"INPROGRESS" not in before + advance(client, INTERVAL - 1)
    for _ in range(2):
        assert b'* OK [INPROGRESS ("x1" ' in advance(client, INTERVAL)
    while slow.waiting:
        slow.go()
        client.server.settle()
    assert b"\r\nx1 OK" in b"\r\n" + client.take()
    assert advance(client, 10 * INTERVAL) == b""


def test_who_does_not_read_is_told_nothing(client: ImapClient, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch, client.account.inbox, "copy")
    client.send(b"a COPY 1 INBOX\r\n")
    client.connection.output_full = True
    assert advance(client, 5 * INTERVAL) == b""
    client.connection.output_full = False
    slow.go()
    client.server.settle()
    assert client.take().endswith(b"a OK [COPYUID 1600000001 1 901] COPY completed\r\n")


def test_a_client_that_goes_meanwhile(client: ImapClient, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch, client.account.inbox, "copy")
    client.send(b"a COPY 1 INBOX\r\n")
    client.lose()
    assert advance(client, 2 * INTERVAL) == b""
    slow.go()
    client.server.settle()
    assert not [call for call in client.server.reactor.getDelayedCalls() if call.active()]


def test_a_client_that_is_spared_it(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ImapServer()
    server.settings.change(imap=Imap((Without(("INPROGRESS",), "it stumbles"),)))
    server.account.inbox.add(b"x")
    client = ImapClient(server, select="INBOX")
    slow = Slow(monkeypatch, server.account.inbox, "copy")
    client.send(b"a COPY 1 INBOX\r\n")
    assert advance(client, 5 * INTERVAL) == b""
    slow.go()


def test_how_many_files_a_copy_has_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told from the thread that makes them; the store has no other clock than its own here."""
    account = now(make_store(tmp_path).account(ALICE))
    for _ in range(5):
        append(account, "INBOX", b"a: b\n\n")
    client = ImapClient(ImapServer(account), select="INBOX")
    real = copying._place

    def place(*args: Any, **kwargs: Any) -> Any:
        client.server.reactor.advance(INTERVAL)
        return real(*args, **kwargs)

    monkeypatch.setattr(copying, "_place", place)
    for command, goal in (("COPY 1:4", 4), ("UID MOVE 1:5", 5)):
        lines = client.say(f"a {command} Sent")
        told = [line.partition("]")[0] for line in lines if "INPROGRESS" in line]
        counts = ["NIL NIL", *[f"{done} {goal}" for done in range(1, goal)]]
        assert told == [f'* OK [INPROGRESS ("a" {count})' for count in counts]
        assert lines[-1].startswith("a OK")
