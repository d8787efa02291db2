"""UTF8=ACCEPT: UTF-8 in names, strings and messages (RFC 9755, RFC 6855)."""

from __future__ import annotations

import pytest

from tests.helpers.imap_dialog import ImapClient, ImapServer


@pytest.fixture
def client() -> ImapClient:
    made = ImapClient(login=True)
    made.say("c CREATE Entw&APw-rfe")
    assert made.say("e ENABLE UTF8=ACCEPT") == ["* ENABLED UTF8=ACCEPT", "e OK ENABLE completed"]
    return made


def say(client: ImapClient, line: str) -> list[str]:
    return client.send(line.encode() + b"\r\n").decode().splitlines()


def test_names_are_utf8_both_ways(client: ImapClient) -> None:
    assert '* LIST (\\HasNoChildren) "/" "Entwürfe"' in say(client, 'a LIST "" *')
    assert say(client, 'b LIST "" "Entw*"')[0] == '* LIST (\\HasNoChildren) "/" "Entwürfe"'
    assert say(client, 'c STATUS "Entwürfe" (MESSAGES)')[0] == '* STATUS "Entwürfe" (MESSAGES 0)'
    assert say(client, 'd GETQUOTAROOT "Entwürfe"')[0] == '* QUOTAROOT "Entwürfe" ""'
    assert say(client, 'e CREATE "Löschen & \\"so\\""')[0].startswith("e OK")
    assert 'Löschen & "so"' in client.account.boxes
    assert say(client, 'f LIST "" "L%" RETURN (STATUS (MESSAGES))')[:2] == [
        '* LIST (\\HasNoChildren) "/" "Löschen & \\"so\\""',
        '* STATUS "Löschen & \\"so\\"" (MESSAGES 0)',
    ]
    assert say(client, 'g LSUB "" "L*"')[-1].startswith("g OK")
    assert say(client, "h SELECT {9+}\r\nEntwürfe")[-1].startswith("h OK")


def test_an_ampersand_is_one(client: ImapClient) -> None:
    say(client, 'a CREATE "a&AOQ-"')
    assert "a&AOQ-" in client.account.boxes
    assert say(client, 'b LIST "" "a&*"')[0] == '* LIST (\\HasNoChildren) "/" a&AOQ-'
    other = ImapClient(client.server, login=True)
    assert say(other, 'c LIST "" a&-*')[0] == '* LIST (\\HasNoChildren) "/" a&-AOQ-'


def test_without_enable_everything_is_as_it_was() -> None:
    client = ImapClient(login=True)
    client.say("c CREATE Entw&APw-rfe")
    assert '* LIST (\\HasNoChildren) "/" Entw&APw-rfe' in say(client, 'a LIST "" *')
    assert say(client, 'b SELECT "Entwürfe"')[0].startswith("b BAD")
    assert client.say("c SEARCH CHARSET UTF-8 ALL")[0].startswith("c BAD Not allowed")


@pytest.mark.parametrize("name", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc0\xaf"])
def test_H8_octets_that_are_no_utf8_are_bad(client: ImapClient, name: bytes) -> None:
    assert client.send(b'a SELECT "%b"\r\n' % name) == b"a BAD Invalid UTF-8 in a quoted string\r\n"
    assert client.send(b"b CREATE {%d+}\r\n%b\r\n" % (len(name), name)).startswith(b"b NO [CANNOT] ")
    assert client.send(b"c NOOP\r\n") == b"c OK NOOP completed\r\n"


@pytest.mark.parametrize("name", ["a\x85b", "a\u2028b", "a\u2029b", "a\x7f"])
def test_control_characters_and_separators_of_lines_are_no_names(client: ImapClient, name: str) -> None:
    assert say(client, f'a CREATE "{name}"')[0].startswith("a NO [CANNOT] ")


def test_search_is_in_utf8_and_names_no_charset(client: ImapClient) -> None:
    client.account.inbox.add("Subject: Grüße\r\n\r\nx\r\n".encode())
    say(client, "s SELECT INBOX")
    assert say(client, 'a SEARCH SUBJECT "grüß"')[0] == "* SEARCH 1"
    assert client.send(b"b SEARCH CHARSET ISO-8859-1 ALL\r\n").startswith(b"b BAD ")
    assert say(client, 'c SEARCH CHARSET UTF-8 SUBJECT "grüß"')[0] == "* SEARCH 1"
    for command in ("SORT (DATE)", "THREAD REFERENCES"):  # RFC 9755, 3: where one must be named
        assert say(client, f"d {command} ISO-8859-1 ALL")[0].startswith("d BAD ")
        assert say(client, f"e {command} UTF-8 ALL")[-1].startswith("e OK ")


def test_append_of_a_message_with_utf8_header(client: ImapClient) -> None:
    text = "From: Grüße <ü@example.org>\r\n\r\nx\r\n".encode()
    assert client.send(b"a APPEND INBOX (\\Seen) UTF8 (~{%d}\r\n" % len(text)) == b"+ OK\r\n"
    assert client.send(text + b")\r\n").startswith(b"a OK [APPENDUID ")
    answer = client.send(
        b"b APPEND INBOX CATENATE (UTF8 (~{%d+}\r\n%b) TEXT {1+}\r\ny)\r\n" % (len(text), text)
    )
    assert answer.startswith(b"b OK ")
    assert list(client.account.inbox.data.values()) == [text, text + b"y"]
    assert client.send(b"c APPEND INBOX UTF8 ({1+}\r\nx)\r\n") == b"c BAD Expected a literal8\r\n"
    assert client.send(b"d APPEND INBOX UTF8 (~{1+}\r\n\0)\r\n") == b"d NO [CANNOT] NUL in a message\r\n"
    assert client.send(b"e APPEND INBOX UTF8 (~{1+}\r\nx\r\n") == b"e BAD Expected ')'\r\n"


# --- UNAUTHENTICATE (RFC 8437) ---------------------------------------------------------------------


def test_unauthenticate_forgets_everything(client: ImapClient) -> None:
    say(client, "s SELECT INBOX")
    client.dialog(
        """
        C: a UNAUTHENTICATE
        S: a OK UNAUTHENTICATE completed
        C: b SELECT INBOX
        S: b BAD Not allowed in the not authenticated state
        C: c LOGIN alice@example.org secret
        S: c OK […] Logged in
        C: d LIST "" Entw*
        S: * LIST (\\HasNoChildren) "/" Entw&APw-rfe
        S: d OK LIST completed
        C: e CLOSE
        S: e BAD Not allowed in the authenticated state
        C: f ENABLE UTF8=ACCEPT
        S: * ENABLED UTF8=ACCEPT
        S: f OK ENABLE completed
        """
    )
    assert client.account.inbox.listeners == []


def test_unauthenticate_ends_notifications(client: ImapClient) -> None:
    client.say("n NOTIFY SET (personal (MessageNew MessageExpunge))")
    client.say("a UNAUTHENTICATE")
    assert client.connection.session.notifier is None


def test_unauthenticate_and_log_in_in_one_round_trip(client: ImapClient) -> None:
    answer = client.send(b"a UNAUTHENTICATE\r\nb LOGIN alice@example.org secret\r\nc NOOP\r\n")
    assert answer.startswith(b"a OK UNAUTHENTICATE completed\r\nb OK [")
    assert answer.endswith(b"c OK NOOP completed\r\n")


def test_it_is_announced_after_log_in_and_bad_before() -> None:
    client = ImapClient()
    assert b"UNAUTHENTICATE" not in client.greeting
    assert client.say("a UNAUTHENTICATE") == ["a BAD Not allowed in the not authenticated state"]
    assert "UNAUTHENTICATE" in client.say("b LOGIN alice@example.org secret")[0]


def test_the_limits_before_log_in_hold_again(client: ImapClient) -> None:
    client.say("a UNAUTHENTICATE")
    assert client.say("b LOGIN {5000}")[0].startswith("b BAD [TOOBIG] ")


def test_eight_bit_headers_may_be_refused() -> None:
    """RFC 9755, 4: from who has not enabled it, wherever the header is cut on its way; never in the body."""
    client = ImapClient(ImapServer(imap={"headers_8bit": "refuse"}), login=True)
    good = b"Subject: x\r\n\r\n\xc3\xa9\r\n"
    bad = b"Subject: x\r\nTo: \xc3\xa9\r\n\r\nx\r\n"
    for message, answer in ((good, b"OK ["), (bad, b"NO [CANNOT] 8-bit"), (b"\r\n\xe9", b"OK [")):
        for cut in range(len(message)):
            client.feed(b"a APPEND INBOX {%d+}\r\n" % len(message))
            client.feed(message[:cut])
            assert client.send(message[cut:] + b"\r\n").splitlines()[-1].startswith(b"a " + answer)
    client.say("b ENABLE UTF8=ACCEPT")
    assert b"c OK [" in client.send(b"c APPEND INBOX {%d+}\r\n%b\r\n" % (len(bad), bad))
