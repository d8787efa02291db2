"""IMAP sessions over the real store, in one thread."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mailserver.wire.utf7 import encode
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.store import ALICE, append, deliver, make_store, now


def tagged(lines: list[str]) -> str:
    assert lines, "no answer"
    return lines[-1]


def everything_below(path: Path) -> set[str]:
    return {str(found.relative_to(path)) for found in path.rglob("*")}


def test_first_login_finds_the_special_folders(client: ImapClient) -> None:
    lines = client.say('a LIST "" *')
    assert lines[0].endswith('"/" INBOX')
    for name in ("Drafts", "Sent", "Junk", "Trash", "Archive"):
        assert f'* LIST (\\HasNoChildren \\{name}) "/" {name}' in lines


def test_delivery_is_seen_and_read(store: Any, client: ImapClient) -> None:
    client.say("s SELECT INBOX")
    deliver(store)
    client.dialog(
        """
        C: a NOOP
        S: * 1 EXISTS
        S: * 1 RECENT
        S: a OK NOOP completed
        """
    )
    answer = client.send(b"b FETCH 1 (RFC822.SIZE BODY[])\r\n")
    size = int(re.search(rb"RFC822.SIZE (\d+) ", answer)[1])  # type: ignore[index]
    assert b" BODY[] {%d}\r\n" % size in answer
    assert b"\r\nSubject: x\r\n\r\nbody\r\n" in answer


def test_delivery_reaches_an_idle_client_in_the_same_turn(store: Any, client: ImapClient) -> None:
    client.say("s SELECT INBOX")
    client.say("i IDLE")
    deliver(store)
    client.server.settle()
    assert client.take() == b"* 1 EXISTS\r\n* 1 RECENT\r\n"


def test_H16_append_is_fetched_as_it_came(client: ImapClient) -> None:
    client.say("s SELECT INBOX")
    message = b"Subject: x\r\n\r\nbody \xff\r\n.\r\n"
    (line,) = client.send(b"a APPEND Drafts (\\Draft) {%d+}\r\n%b\r\n" % (len(message), message)).splitlines()
    assert line.startswith(b"a OK [APPENDUID ") and line.endswith(b" 1] APPEND completed")
    client.say("b SELECT Drafts")
    answer = client.send(b"c UID FETCH 1 (FLAGS RFC822.SIZE BODY.PEEK[])\r\n")
    assert b"RFC822.SIZE %d" % len(message) in answer
    assert b"BODY[] {%d}\r\n%b" % (len(message), message) in answer


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../b", "/etc", "..", ".", "a//b", "a/./b", "../../../../tmp/x", "a/..", "//", "/"],
)
def test_I1_names_that_lead_elsewhere(tmp_path: Path, client: ImapClient, name: str) -> None:
    client.say('p LIST "" *')
    before = everything_below(tmp_path)
    for command in ("CREATE", "SELECT", "DELETE", "RENAME INBOX", "RENAME Trash", "EXAMINE"):
        assert tagged(client.say(f'a {command} "{name}"'))[:5] == "a NO "
    assert tagged(client.say(f'a STATUS "{name}" (MESSAGES)'))[:5] == "a NO "
    assert everything_below(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["a.b", "~u", ".hidden", "cur", "new", "tmp", "x" * 64, "con:2,S", "a b", "[(+"]
)
def test_I1_odd_names_are_names(tmp_path: Path, client: ImapClient, name: str) -> None:
    """One to one: made, listed under the very same name, used, removed; nothing outside the account."""
    first = tagged(client.say(f'a CREATE "{name}"'))
    if first.startswith("a NO [CANNOT]"):
        assert tagged(client.say(f'a SELECT "{name}"'))[:5] == "a NO "
        return
    assert first.startswith("a OK [MAILBOXID (F")
    listed = client.say(f'b LIST "" "{name}"')
    assert listed[0].rpartition('"/" ')[2].strip('"') == name
    assert tagged(client.say(f'c SELECT "{name}"')).startswith("c OK ")
    assert {path.name for path in tmp_path.iterdir()} == {"mail", "queue", "shares", "shares.lock"}
    assert tagged(client.say(f'd DELETE "{name}"')) == "d OK DELETE completed"


@pytest.mark.parametrize("name", ["x" * 300, "/".join("a" for _ in range(1000)), "é" * 200])
def test_I1_names_too_long_for_a_directory(client: ImapClient, name: str) -> None:
    assert tagged(client.say(f'a CREATE "{encode(name).decode()}"')).startswith("a NO [CANNOT]")


def test_I2_inbox(store: Any, client: ImapClient) -> None:
    deliver(store)
    client.dialog(
        """
        C: a CREATE InBoX
        S: a NO […] …
        C: b DELETE inbox
        S: b NO […] …
        C: c RENAME inbox old
        S: c OK RENAME completed
        C: d STATUS INBOX (MESSAGES)
        S: * STATUS INBOX (MESSAGES 0)
        S: d OK STATUS completed
        C: e STATUS old (MESSAGES)
        S: * STATUS old (MESSAGES 1)
        S: e OK STATUS completed
        C: f CREATE inbox/x
        S: f OK …CREATE completed
        C: g LIST "" INBOX/%
        S: * LIST (\\HasNoChildren) "/" INBOX/x
        S: g OK LIST completed
        """
    )


def test_I3_one_name_has_one_mailbox(client: ImapClient) -> None:
    client.dialog(
        """
        C: a CREATE "&U,BTFw-"
        S: a OK …CREATE completed
        C: b CREATE "&U,BTFw-"
        S: b NO [ALREADYEXISTS] Mailbox already exists
        C: c LIST "" &*
        S: c NO [CANNOT] That mailbox name is not possible here
        C: d LIST "" "&U,BTFw-"
        S: * LIST (\\HasNoChildren) "/" &U,BTFw-
        S: d OK LIST completed
        """
    )


def test_I4_composed_and_decomposed_names(client: ImapClient) -> None:
    """Never two names for one directory: both are listed, or the second is refused."""
    composed, decomposed = encode("é").decode(), encode("e\u0301").decode()
    assert tagged(client.say(f'a CREATE "{composed}"')).startswith("a OK ")
    second = tagged(client.say(f'b CREATE "{decomposed}"'))
    names = {line.rpartition(" ")[2].strip('"') for line in client.say('c LIST "" *')}
    assert composed in names
    assert (decomposed in names) is second.startswith("b OK")


def uidvalidity(client: ImapClient, name: str) -> int:
    line = client.say(f"v STATUS {name} (UIDVALIDITY)")[0]
    return int(line.rstrip(")").rpartition(" ")[2])


def test_H14_a_name_used_again_has_another_uidvalidity(client: ImapClient) -> None:
    client.say("a CREATE box")
    first = uidvalidity(client, "box")
    client.say("b DELETE box")
    client.say("c CREATE box")
    second = uidvalidity(client, "box")
    client.say("d RENAME box other")
    client.say("e CREATE box")
    assert len({first, second, uidvalidity(client, "box")}) == 3


def test_H18_copy_of_a_message_that_is_there_already(store: Any, client: ImapClient) -> None:
    deliver(store)
    client.say("s SELECT INBOX")
    for _ in range(2):
        assert tagged(client.say("a COPY 1 Archive")).startswith("a OK [COPYUID ")
    assert client.say("b STATUS Archive (MESSAGES)")[0] == "* STATUS Archive (MESSAGES 2)"


def test_deleting_the_selected_mailbox(client: ImapClient) -> None:
    client.say("s CREATE box")
    client.say("s SELECT box")
    assert client.say("a DELETE box") == ["a OK DELETE completed"]
    assert client.say("b CHECK") == ["b BAD Not allowed in the authenticated state"]
    assert client.say("c NOOP") == ["c OK NOOP completed"]


def test_renaming_the_selected_mailbox(client: ImapClient) -> None:
    client.say("s CREATE box")
    client.say("s SELECT box")
    assert client.say("a RENAME box other") == ["a OK RENAME completed"]
    assert client.say("b NOOP") == ["b OK NOOP completed"]
    assert not client.closed


def test_H20_another_session_deletes_the_mailbox_under_idle(server: ImapServer) -> None:
    alice, other = ImapClient(server, login=True), ImapClient(server, login=True)
    alice.say("s CREATE box")
    alice.say("s SELECT box")
    alice.say("i IDLE")
    assert other.say("a DELETE box") == ["a OK DELETE completed"]
    server.settle()
    assert alice.take() == b"* BYE The selected mailbox is gone\r\n"


def test_two_sessions_see_one_another(store: Any, server: ImapServer) -> None:
    deliver(store)
    deliver(store)
    alice, other = (ImapClient(server, select="INBOX") for _ in range(2))
    alice.say("i IDLE")
    other.say("a STORE 1 +FLAGS (\\Deleted)")
    server.settle()
    assert alice.take().startswith(b"* 1 FETCH (FLAGS (\\Deleted")
    assert other.say("b EXPUNGE") == ["* 1 EXPUNGE", "b OK EXPUNGE completed"]
    server.settle()
    assert alice.take() == b"* 1 EXPUNGE\r\n"
    assert alice.say("DONE") == ["i OK IDLE completed"]


def test_quota(tmp_path: Path) -> None:
    store = make_store(tmp_path / "q", limits={"quota": 40_000})
    account = now(store.account(ALICE))
    client = ImapClient(ImapServer(account), login=True)
    append(account, "INBOX", b"Subject: x\n\n" + b"x" * 20_000)
    client.dialog(
        """
        C: a GETQUOTAROOT INBOX
        S: * QUOTAROOT INBOX ""
        S: * QUOTA "" (STORAGE 20 40)
        S: a OK GETQUOTAROOT completed
        C: b APPEND INBOX {30000}
        S: b NO [OVERQUOTA] Mailbox is full
        """
    )


def test_subscriptions_survive_the_folder(client: ImapClient) -> None:
    client.dialog(
        """
        C: a CREATE news/comp
        S: a OK …CREATE completed
        C: b SUBSCRIBE news/comp
        S: b OK SUBSCRIBE completed
        C: c DELETE news/comp
        S: c OK DELETE completed
        C: d LSUB "" news/*
        S: * LSUB (\\Noselect) "/" news/comp
        S: d OK LSUB completed
        C: e UNSUBSCRIBE news/comp
        S: e OK UNSUBSCRIBE completed
        C: f LSUB "" news/*
        S: f OK LSUB completed
        """
    )


def test_a_folder_above_others_can_be_deleted_and_they_stay(client: ImapClient) -> None:
    """RFC 3501, 6.3.4"""
    client.dialog(
        """
        C: a CREATE foo/bar
        S: a OK …CREATE completed
        C: b DELETE foo
        S: b OK DELETE completed
        C: c LIST "" foo*
        S: * LIST (\\Noselect \\HasChildren) "/" foo
        S: * LIST (\\HasNoChildren) "/" foo/bar
        S: c OK LIST completed
        C: d SELECT foo
        S: d NO [NONEXISTENT] No such mailbox
        C: e CREATE foo
        S: e OK …CREATE completed
        """
    )
