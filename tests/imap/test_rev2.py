"""IMAP4rev2 as far as it differs from IMAP4rev1 (RFC 9051, Appendix E), and only when it is enabled."""

from __future__ import annotations

import pytest

from mailserver.config.schema import Imap, Without
from tests.helpers.imap_dialog import ImapClient, ImapServer


@pytest.fixture
def server(fake_server: ImapServer) -> ImapServer:
    for number in range(3):
        fake_server.account.inbox.add(b"Subject: %d\r\n\r\nx\r\n" % number)
    return fake_server


@pytest.fixture
def client(server: ImapServer) -> ImapClient:
    made = ImapClient(server, login=True)
    assert made.say("e ENABLE IMAP4REV2 X") == ["* ENABLED IMAP4rev2", "e OK ENABLE completed"]
    return made


def say(client: ImapClient, line: str) -> list[str]:
    return client.send(line.encode() + b"\r\n").decode().splitlines()


def test_select_lists_the_mailbox_and_knows_nothing_recent(client: ImapClient) -> None:
    """E 9 to 12, and the dialog of section 8."""
    first = client.say("a002 select inbox")
    assert '* LIST (\\HasNoChildren) "/" INBOX ("OLDNAME" (inbox))' in first
    assert "* 3 EXISTS" in first
    assert first[-1] == "a002 OK [READ-WRITE] SELECT completed"
    assert not any("RECENT" in line.upper() or "UNSEEN" in line for line in first)
    second = client.say("a003 EXAMINE Drafts")
    assert second[0] == "* OK [CLOSED] Previous mailbox closed"
    assert '* LIST (\\HasNoChildren \\Drafts) "/" Drafts' in second


def test_closed_when_select_fails(client: ImapClient) -> None:
    client.say("a SELECT INBOX")
    assert client.say("b SELECT nowhere")[0] == "* OK [CLOSED] Previous mailbox closed"


def test_new_messages_without_recent(client: ImapClient) -> None:
    client.say("a SELECT INBOX")
    client.account.inbox.add(b"x")
    assert client.say("b NOOP") == ["* 4 EXISTS", "b OK NOOP completed"]
    assert client.say("c FETCH 4 FLAGS")[0] == "* 4 FETCH (FLAGS ())"


def test_what_is_recent_is_left_for_others(client: ImapClient, server: ImapServer) -> None:
    client.say("a SELECT INBOX")
    other = ImapClient(server, login=True)
    assert "* 3 RECENT" in other.say("b SELECT INBOX")


def test_enabled_while_a_mailbox_is_selected(server: ImapServer) -> None:
    client = ImapClient(server, select="INBOX")
    client.say("a ENABLE IMAP4rev2")
    assert client.say("b FETCH 1 FLAGS")[0] == "* 1 FETCH (FLAGS ())"
    assert client.say("c SEARCH RECENT") == ['* ESEARCH (TAG "c")', "c OK SEARCH completed"]


def test_search_answers_esearch(client: ImapClient) -> None:
    """E 4"""
    client.say("s SELECT INBOX")
    client.dialog(
        """
        C: a SEARCH ALL
        S: * ESEARCH (TAG "a") ALL 1:3
        S: a OK SEARCH completed
        C: b UID SEARCH SUBJECT 1
        S: * ESEARCH (TAG "b") UID ALL 2
        S: b OK SEARCH completed
        C: c SEARCH RETURN (COUNT) ALL
        S: * ESEARCH (TAG "c") COUNT 3
        S: c OK SEARCH completed
        C: d SEARCH SUBJECT nothing
        S: * ESEARCH (TAG "d")
        S: d OK SEARCH completed
        C: e SEARCH CHARSET UTF-8 SUBJECT 1
        S: * ESEARCH (TAG "e") ALL 2
        S: e OK SEARCH completed
        C: f SEARCH RETURN (SAVE) SUBJECT 2
        S: f OK SEARCH completed
        C: g FETCH $ (FLAGS)
        S: * 3 FETCH (FLAGS ())
        S: g OK FETCH completed
        """
    )


def test_changes_by_others_come_with_uid(client: ImapClient, server: ImapServer) -> None:
    """E 21"""
    server.account.inbox.expunge_now(1)
    client.say("s SELECT INBOX")
    server.account.inbox.set_flags(3, "\\Seen")
    assert client.say("a NOOP") == ["* 2 FETCH (UID 3 FLAGS (\\Seen))", "a OK NOOP completed"]


def test_names_are_utf8_and_normalised(client: ImapClient) -> None:
    """E 16; 5.1; 6.3.9.7"""
    decomposed, composed = "Entwu\u0308rfe", "Entwürfe"
    told = f'* LIST (\\HasNoChildren) "/" "{composed}" ("OLDNAME" ("{decomposed}"))'
    assert say(client, f'a CREATE "{decomposed}"')[0] == told
    assert composed in client.account.boxes
    assert told in say(client, f'b SELECT "{decomposed}"')
    assert say(client, f'c APPEND "{decomposed}" {{1+}}\r\nx')[0] == told
    assert say(client, f'd RENAME "{composed}" "o\u0308"')[0] == (
        '* LIST (\\HasNoChildren) "/" "ö" ("OLDNAME" ("o\u0308"))'
    )
    assert say(client, 'e CREATE "ü/a&b"')[0].startswith("e OK")
    assert '* LIST (\\HasNoChildren) "/" "ü/a&b"' in say(client, 'f LIST "" "ü/%"')


def test_status(client: ImapClient) -> None:
    """E 3"""
    assert client.say("a STATUS INBOX (MESSAGES UNSEEN DELETED SIZE)")[0] == (
        "* STATUS INBOX (MESSAGES 3 UNSEEN 3 DELETED 0 SIZE 51)"
    )


def test_move_tells_copyuid_first(client: ImapClient) -> None:
    """E 7 and 8"""
    client.say("s SELECT INBOX")
    answer = client.say("a MOVE 1 Trash")
    assert answer[0].startswith("* OK [COPYUID ")
    assert answer[1] == "* 1 EXPUNGE"
    assert client.say("b COPY 1 nowhere") == ["b NO [TRYCREATE] No such mailbox"]


def test_literals_of_4096_octets_need_no_asking(client: ImapClient) -> None:
    """E 2, whichever of LITERAL+ and LITERAL- is announced"""
    client.server.settings.change(imap=Imap(literals="LITERAL-"))
    other = ImapClient(client.server, login=True)
    assert other.send(b"a APPEND INBOX {4096+}\r\n%b\r\n" % (b"x" * 4096)).startswith(b"a OK ")


def test_sizes_of_63_bits(client: ImapClient) -> None:
    """E 1"""
    client.say("s SELECT INBOX")
    assert client.say("a FETCH 1 BODY.PEEK[]<9223372036854775806.9223372036854775807>")[-1].startswith("a OK")
    assert client.say("b SEARCH LARGER 4294967296") == ['* ESEARCH (TAG "b")', "b OK SEARCH completed"]


def test_binary(client: ImapClient) -> None:
    client.say("s SELECT INBOX")
    assert client.say("a FETCH 1 BINARY.SIZE[1]")[0] == "* 1 FETCH (BINARY.SIZE[1] 3)"


# --- only when enabled -----------------------------------------------------------------------------


def test_without_enable_it_is_imap4rev1(server: ImapServer) -> None:
    client = ImapClient(server, login=True)
    assert " IMAP4rev1 IMAP4rev2 " in " ".join(client.say("a CAPABILITY"))
    answer = client.say("b SELECT inbox")
    assert "* 3 RECENT" in answer
    assert not any("LIST" in line for line in answer)
    assert client.say("c SEARCH ALL")[0] == "* SEARCH 1 2 3"
    client.account.inbox.set_flags(3, "\\Seen")
    assert client.say("d NOOP")[0] == "* 3 FETCH (FLAGS (\\Seen \\Recent))"
    assert client.say("e CREATE inboX/a")[-1].startswith("e OK ")


def test_a_part_that_is_off_takes_it_away() -> None:
    server = ImapServer()
    server.settings.change(imap=Imap((Without(("ESEARCH",), "it stumbles"),)))
    client = ImapClient(server, login=True)
    assert "IMAP4rev2" not in client.say("a CAPABILITY")[0]
    assert client.say("b ENABLE IMAP4rev2") == ["* ENABLED", "b OK ENABLE completed"]


def test_unauthenticate_ends_it(client: ImapClient) -> None:
    client.say("a UNAUTHENTICATE")
    client.say("b LOGIN alice@example.org secret")
    assert "* 3 RECENT" in client.say("c SELECT INBOX")
