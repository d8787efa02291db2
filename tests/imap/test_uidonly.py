"""A client that gave up message numbers (RFC 9586)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mailserver.config.schema import Imap, Without
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.store import ALICE, append, make_store, now

TEXT = b"Subject: x\n\nbody\n"


@pytest.fixture
def server(tmp_path: Path) -> ImapServer:
    """INBOX has the UIDs 2, 4, 6 and 8."""
    account = now(make_store(tmp_path).account(ALICE))
    for number in range(1, 9):
        append(account, "INBOX", TEXT, flags=("\\Deleted",) if number % 2 else ())
    client = ImapClient(ImapServer(account), select="INBOX")
    client.say("e EXPUNGE")
    client.say("l LOGOUT")
    return ImapServer(account)


@pytest.fixture
def connect(server: ImapServer) -> Callable[..., ImapClient]:
    def made(*enabled: str, select: bool = True) -> ImapClient:
        client = ImapClient(server, login=True)
        if enabled:
            assert client.say(f"e ENABLE {' '.join(enabled)}")[-1] == "e OK ENABLE completed"
        if select:
            client.say("s SELECT INBOX")
        return client

    return made


@pytest.fixture
def client(connect: Callable[..., ImapClient]) -> ImapClient:
    return connect("UIDONLY")


def test_it_is_enabled(connect: Callable[..., ImapClient]) -> None:
    client = connect(select=False)
    assert "UIDONLY" in client.say("c CAPABILITY")[0].split()
    client.dialog(
        """
        C: 01 ENABLE UIDONLY
        S: * ENABLED UIDONLY
        S: 01 OK ENABLE completed
        """
    )


@pytest.mark.parametrize(
    "command",
    [
        "FETCH 10000:14589 (UID FLAGS)",
        "FETCH * FLAGS",
        "FETCH $ FLAGS",
        "STORE 1 +FLAGS (\\Seen)",
        "SEARCH ALL",
        "SEARCH RETURN (COUNT) UNSEEN",
        "COPY 1:2 Sent",
        "MOVE 1:2 Sent",
        "SORT (DATE) UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL",
        "UID SEARCH 1:3",
        "UID SEARCH OR (NOT 1:*) SEEN",
        "UID SORT (DATE) UTF-8 1,3",
        "UID THREAD REFERENCES UTF-8 NOT 2",
        "ESEARCH IN (personal) 1:4",
        "REPLACE 1 INBOX {1+}\r\nx",
        "SELECT INBOX (QRESYNC (1 5 1:8 (1,3 2,6)))",
        "EXAMINE INBOX (QRESYNC (1 5 1:8 (1,3 2,6)))",
    ],
)
def test_message_numbers_are_refused(connect: Callable[..., ImapClient], command: str) -> None:
    with_them = connect("QRESYNC")
    assert not with_them.say(f"a {command}")[-1].startswith("a BAD [UIDREQUIRED]")
    client = connect("QRESYNC", "UIDONLY")
    assert client.say(f"a {command}") == [
        "a BAD [UIDREQUIRED] Message numbers are not used any more, UIDs are"
    ]
    assert client.say("b NOOP") == ["b OK NOOP completed"]


def test_a_literal_that_asks_is_refused_before_it_comes(client: ImapClient) -> None:
    assert client.say("a REPLACE 1 INBOX {1000}")[-1].startswith("a BAD [UIDREQUIRED]")
    assert client.say("b NOOP") == ["b OK NOOP completed"]


def test_uid_fetch_and_uid_store(client: ImapClient) -> None:
    """3.3: UID stands in front, and behind only where it was asked for."""
    client.dialog(
        """
        C: 10 UID FETCH 3:7 (FLAGS)
        S: * 4 UIDFETCH (FLAGS ())
        S: * 6 UIDFETCH (FLAGS ())
        S: 10 OK FETCH completed
        C: 11 UID FETCH 1:4 (UID FLAGS)
        S: * 2 UIDFETCH (UID 2 FLAGS ())
        S: * 4 UIDFETCH (UID 4 FLAGS ())
        S: 11 OK FETCH completed
        C: 12 UID FETCH 8 (UID)
        S: * 8 UIDFETCH (UID 8)
        S: 12 OK FETCH completed
        C: 13 UID STORE 2,8 +FLAGS (\\Flagged)
        S: * 2 UIDFETCH (FLAGS (\\Flagged))
        S: * 8 UIDFETCH (FLAGS (\\Flagged))
        S: 13 OK STORE completed
        C: 14 UID FETCH 6 (BODY[TEXT])
        S: * 6 UIDFETCH (FLAGS (\\Seen) BODY[TEXT] {6}
        S: body
        S: )
        S: 14 OK FETCH completed
        """
    )


def test_modseq_is_told_in_uidfetch(connect: Callable[..., ImapClient]) -> None:
    """3.7"""
    client = connect("CONDSTORE", "UIDONLY")
    client.dialog(
        """
        C: a UID STORE 4 +FLAGS.SILENT (\\Seen)
        S: * 4 UIDFETCH (MODSEQ (…))
        S: a OK STORE completed
        C: b UID STORE 4 (UNCHANGEDSINCE 1) +FLAGS (\\Flagged)
        S: * 4 UIDFETCH (FLAGS (\\Seen) MODSEQ (…))
        S: b OK [MODIFIED 4] Conditional STORE failed
        C: c UID FETCH 4 (MODSEQ)
        S: * 4 UIDFETCH (MODSEQ (…))
        S: c OK FETCH completed
        """
    )


def test_expunge_and_move_tell_vanished(client: ImapClient) -> None:
    """3.4, 3.6; without QRESYNC, which has HIGHESTMODSEQ with it."""
    client.dialog(
        """
        C: a UID STORE 2,4 +FLAGS.SILENT (\\Deleted)
        S: a OK STORE completed
        C: 12 EXPUNGE
        S: * VANISHED 2,4
        S: 12 OK EXPUNGE completed
        C: 15 UID MOVE 6 Archive
        S: * OK [COPYUID … 6 1] Moved
        S: * VANISHED 6
        S: 15 OK MOVE completed
        C: b UID COPY 8 Archive
        S: b OK [COPYUID … 8 2] COPY completed
        C: c UID STORE 8 +FLAGS.SILENT (\\Deleted)
        S: c OK STORE completed
        C: d UID EXPUNGE 8
        S: * VANISHED 8
        S: d OK EXPUNGE completed
        """
    )


def test_what_others_do(server: ImapServer, connect: Callable[..., ImapClient]) -> None:
    """3.6: in IDLE and before a reply. A client with numbers beside it hears them as ever."""
    client, numbered, other = connect("UIDONLY"), connect(), connect()
    client.say("i IDLE")
    other.say("a UID STORE 4 +FLAGS (\\Seen)")
    server.settle()
    assert client.take() == b"* 4 UIDFETCH (FLAGS (\\Seen))\r\n"
    other.say("b UID MOVE 2 Trash")
    other.say("c APPEND INBOX {1+}\r\nx")
    server.settle()
    assert client.take() == b"* VANISHED 2\r\n* 4 EXISTS\r\n* 1 RECENT\r\n"
    client.say("DONE")
    assert numbered.say("n NOOP")[:2] == ["* 1 EXPUNGE", "* 4 EXISTS"]
    other.say("d UID STORE 4 -FLAGS (\\Seen)")
    other.say("e UID MOVE 6 Trash")
    assert client.say("f UID FETCH 8 (FLAGS)") == [
        "* 8 UIDFETCH (FLAGS ())",
        "* VANISHED 6",
        "* 4 UIDFETCH (FLAGS ())",
        "f OK FETCH completed",
    ]


def test_select_tells_no_number(client: ImapClient) -> None:
    """Not even that of the first unseen message."""
    lines = client.say("a SELECT INBOX")
    assert not any("[UNSEEN" in line for line in lines) and "* 4 EXISTS" in lines


def test_searches_tell_uids(client: ImapClient) -> None:
    client.dialog(
        """
        C: a UID SEARCH UID 3:*
        S: * SEARCH 4 6 8
        S: a OK SEARCH completed
        C: b UID SEARCH RETURN (MIN MAX COUNT ALL SAVE) UID 2:6
        S: * ESEARCH (TAG "b") UID MIN 2 MAX 6 COUNT 3 ALL 2,4,6
        S: b OK SEARCH completed
        C: c UID FETCH $ (FLAGS) (PARTIAL 2:3)
        S: * 4 UIDFETCH (FLAGS ())
        S: * 6 UIDFETCH (FLAGS ())
        S: c OK FETCH completed
        C: d UID SORT (REVERSE ARRIVAL) UTF-8 UID 4:6
        S: * SORT …
        S: d OK SORT completed
        C: e UID THREAD ORDEREDSUBJECT UTF-8 UID 4
        S: * THREAD (4)
        S: e OK THREAD completed
        """
    )


def test_updated_results(client: ImapClient, connect: Callable[..., ImapClient]) -> None:
    """RFC 5267: removed results stand before VANISHED."""
    client.say("a UID SEARCH RETURN (UPDATE ALL) FLAGGED")
    other = connect()
    other.say("b UID STORE 4,6 +FLAGS (\\Flagged)")
    lines = client.say("c NOOP")
    assert '* ESEARCH (TAG "a") UID ADDTO (0 4,6)' in lines + client.take().decode().splitlines()
    other.say("d UID MOVE 4 Trash")
    lines = client.say("e NOOP")
    assert lines[:2] == ['* ESEARCH (TAG "a") UID REMOVEFROM (0 4)', "* VANISHED 4"]


def test_results_known_by_number_are_not_updated_any_more(connect: Callable[..., ImapClient]) -> None:
    client = connect()
    client.say("a SEARCH RETURN (UPDATE ALL) FLAGGED")
    client.say("b UID SEARCH RETURN (UPDATE ALL) FLAGGED")
    client.dialog(
        """
        C: c ENABLE UIDONLY
        S: * ENABLED UIDONLY
        S: * NO [NOUPDATE "a"] Message numbers are not used any more
        S: c OK ENABLE completed
        C: d CANCELUPDATE "a"
        S: d BAD There are no updates of that tag
        C: e CANCELUPDATE "b"
        S: e OK No further updates
        """
    )


def test_resynchronization(connect: Callable[..., ImapClient]) -> None:
    client = connect("QRESYNC", "UIDONLY", select=False)
    lines = client.say("a SELECT INBOX")
    validity = re.search(r"UIDVALIDITY (\d+)", "\n".join(lines))[1]  # type: ignore[index]
    modseq = re.search(r"HIGHESTMODSEQ (\d+)", "\n".join(lines))[1]  # type: ignore[index]
    client.say("b UID STORE 8 +FLAGS (\\Seen)")
    client.say("c UID MOVE 4 Trash")
    assert client.say(f"d SELECT INBOX (QRESYNC ({validity} {modseq}))")[-3:-1] == [
        "* VANISHED (EARLIER) 4",
        client.say("e UID FETCH 8 (FLAGS MODSEQ)")[0],
    ]


def test_expunge_with_qresync_tells_the_mod_sequence(connect: Callable[..., ImapClient]) -> None:
    client = connect("QRESYNC", "UIDONLY")
    client.say("a UID STORE 2 +FLAGS.SILENT (\\Deleted)")
    client.dialog(
        """
        C: b EXPUNGE
        S: * VANISHED 2
        S: b OK [HIGHESTMODSEQ …] EXPUNGE completed
        """
    )


def test_notify(server: ImapServer, connect: Callable[..., ImapClient]) -> None:
    client, other = connect("UIDONLY"), connect()
    client.say("a NOTIFY SET (selected (MessageNew (FLAGS BODY.PEEK[TEXT]) MessageExpunge FlagChange))")
    other.say("b APPEND INBOX {18+}\r\nSubject: x\r\n\r\nbody")
    server.settle()
    told = client.take()
    assert b"* 9 UIDFETCH (FLAGS (" in told and b" FETCH " not in told
    other.say("c UID STORE 9 +FLAGS (\\Deleted)")
    other.say("d EXPUNGE")
    server.settle()
    told = client.take() + b"".join(line.encode() for line in client.say("e NOOP"))
    assert b"* 9 UIDFETCH (FLAGS (" in told or b"* VANISHED 9" in told
    assert b"* VANISHED 9" in told and b" EXPUNGE\r" not in told


def test_a_large_mailbox() -> None:
    """The beginnings of many lines are kept; sessions with and without numbers share a mailbox."""
    client = ImapClient(_large(), select="INBOX")
    numbered = ImapClient(client.server, select="INBOX")
    client.say("e ENABLE UIDONLY")
    for _ in range(2):
        lines = client.say("a UID FETCH 1:* FLAGS")
        assert len(lines) == 3001 and lines[2999].startswith("* 3000 UIDFETCH (FLAGS")
        assert numbered.say("a UID FETCH 3000 FLAGS")[0].startswith("* 3000 FETCH (UID 3000 FLAGS")
    numbered.say("b UID STORE 1:* +FLAGS.SILENT (\\Seen)")
    assert client.say("c NOOP")[2999] == "* 3000 UIDFETCH (FLAGS (\\Seen \\Recent))"


def _large() -> ImapServer:
    server = ImapServer()
    for _ in range(3000):
        server.account.inbox.add(b"x")
    return server


def test_it_ends_with_the_user(client: ImapClient) -> None:
    client.say("a UNAUTHENTICATE")
    client.say("l LOGIN alice@example.org secret")
    client.say("s SELECT INBOX")
    assert client.say("b FETCH 1 (FLAGS)")[-1] == "b OK FETCH completed"


def test_without_the_capability_it_is_not_enabled(server: ImapServer) -> None:
    server.settings.change(imap=Imap((Without(("UIDONLY",), "it stumbles"),)))
    client = ImapClient(server, select="INBOX")
    assert client.say("a ENABLE UIDONLY")[0].strip() == "* ENABLED"
    assert client.say("b FETCH 1 (FLAGS)")[0].startswith("* 1 FETCH")
