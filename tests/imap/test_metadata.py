"""METADATA (RFC 5464) and LIST-METADATA (RFC 9590) over the real store."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.imap_dialog import ImapClient, ImapServer


def test_examples_of_the_rfc(client: ImapClient) -> None:
    client.dialog(
        """
        C: a SETMETADATA INBOX (/private/comment "My new comment" /shared/comment "This one is for you!")
        S: a OK SETMETADATA completed
        C: b GETMETADATA "INBOX" (/shared/comment /Private/Comment)
        S: * METADATA INBOX (/shared/comment "This one is for you!" /Private/Comment "My new comment")
        S: b OK GETMETADATA completed
        C: c SETMETADATA INBOX (/private/comment NIL)
        S: c OK SETMETADATA completed
        C: d GETMETADATA INBOX /private/comment /shared/comment
        S: * METADATA INBOX (/private/comment NIL /shared/comment "This one is for you!")
        S: d OK GETMETADATA completed
        C: e GETMETADATA "" /shared/admin
        S: * METADATA "" (/shared/admin "mailto:postmaster@example.org")
        S: e OK GETMETADATA completed
        C: f SETMETADATA "" (/shared/comment "x")
        S: f NO [NOPERM] …
        C: g GETMETADATA nowhere /shared/comment
        S: g NO [NONEXISTENT] …
        C: h SETMETADATA nowhere (/shared/comment "x")
        S: h NO [NONEXISTENT] …
        """
    )


def test_values_of_several_lines_and_with_nul(client: ImapClient) -> None:
    value = b"My new comment across\r\ntwo lines.\r\n"
    assert client.send(b"a SETMETADATA INBOX (/private/comment {%d}\r\n" % len(value)).startswith(b"+ ")
    assert client.send(value + b")\r\n") == b"a OK SETMETADATA completed\r\n"
    answer = client.send(b"b GETMETADATA INBOX /private/comment\r\n")
    assert answer.startswith(b"* METADATA INBOX (/private/comment {%d}\r\n%b)\r\n" % (len(value), value))
    client.send(b"c SETMETADATA INBOX (/private/comment ~{3+}\r\na\0b)\r\n")
    answer = client.send(b"d GETMETADATA INBOX /private/comment\r\n")
    assert answer.startswith(b"* METADATA INBOX (/private/comment ~{3}\r\na\0b)\r\n")


def test_depth_and_maxsize(client: ImapClient) -> None:
    client.say('a SETMETADATA INBOX (/private/filters/values/small "SMALLER 5000")')
    client.say('a SETMETADATA INBOX (/private/filters/values/boss "FROM \\"boss@example.com\\"")')
    client.say(f'a SETMETADATA INBOX (/private/filters/values/boss/more "{"x" * 99}")')
    boss = '/private/filters/values/boss "FROM \\"boss@example.com\\""'
    small = '/private/filters/values/small "SMALLER 5000"'
    client.dialog(
        f"""
        C: a GETMETADATA "INBOX" (DEPTH 1) (/private/filters/values)
        S: * METADATA INBOX ({boss} {small})
        S: a OK GETMETADATA completed
        C: b GETMETADATA (DEPTH infinity MAXSIZE 50) INBOX (/private)
        S: * METADATA INBOX ({boss} {small})
        S: b OK [METADATA LONGENTRIES 99] GETMETADATA completed
        C: c GETMETADATA INBOX (MAXSIZE 12) /private/filters/values/small
        S: * METADATA INBOX ({small})
        S: c OK GETMETADATA completed
        C: d GETMETADATA INBOX (MAXSIZE 11) /private/filters/values/small
        S: d OK [METADATA LONGENTRIES 12] GETMETADATA completed
        C: e GETMETADATA INBOX /private/filters/values
        S: * METADATA INBOX (/private/filters/values NIL)
        S: e OK GETMETADATA completed
        """
    )


def test_too_much(client: ImapClient) -> None:
    data = b"x" * 16385
    answer = client.send(b"a SETMETADATA INBOX (/private/comment {%d+}\r\n%b)\r\n" % (len(data), data))
    assert answer.startswith(b"a NO [METADATA MAXSIZE 16384] ")
    for n in range(50):
        client.say(f'a SETMETADATA INBOX (/private/n{n} "x")')
    assert client.say('a SETMETADATA INBOX (/private/n50 "x")')[0].startswith("a NO [METADATA TOOMANY] ")


@pytest.mark.parametrize(
    "arguments",
    [
        "INBOX",
        "INBOX ()",
        'INBOX (/private/a* "x")',
        'INBOX (/private//a "x")',
        'INBOX (/private/a/ "x")',
        'INBOX (private/a "x")',
        'INBOX (/private "x")',
        'INBOX (/private/vendor/x "x")',
        'INBOX (/private/a "x" /PRIVATE/A "y")',
        "INBOX (/private/a)",
        "INBOX (/private/a ~)",
        'INBOX (/private/a "x"',
    ],
)
def test_what_is_no_command(client: ImapClient, arguments: str) -> None:
    assert client.say(f"a SETMETADATA {arguments}")[0].startswith("a BAD"), arguments
    assert client.say("b GETMETADATA INBOX (DEPTH 2) /private/a")[0].startswith("b BAD")
    assert client.say("c GETMETADATA INBOX (SIZE 2) /private/a")[0].startswith("c BAD")


def test_metadata_in_list(client: ImapClient) -> None:
    color = "/shared/vendor/cmu/cyrus-imapd/color"
    client.say(f'a SETMETADATA INBOX ({color} "#b71c1c")')
    client.say("a CREATE a/b")
    client.say("a DELETE a")
    client.dialog(
        f"""
        C: A01 LIST "" (INBOX a/b) RETURN (METADATA ("{color}" /private/comment) STATUS (MESSAGES))
        S: * LIST (\\HasNoChildren) "/" INBOX
        S: * STATUS INBOX (MESSAGES 0)
        S: * METADATA INBOX ({color} "#b71c1c" /private/comment NIL)
        S: * LIST (\\HasNoChildren) "/" a/b
        S: * STATUS a/b (MESSAGES 0)
        S: * METADATA a/b ({color} NIL /private/comment NIL)
        S: A01 OK LIST completed
        C: A02 LIST "" % RETURN (METADATA)
        S: A02 BAD …
        """
    )


def test_another_session_is_told(server: ImapServer, client: ImapClient) -> None:
    other: Any = ImapClient(server, login=True)
    client.say("a ENABLE METADATA")
    other.say('b SETMETADATA INBOX (/shared/comment "x" /private/comment "y")')
    other.say('b SETMETADATA Sent (/private/comment "y")')
    client.dialog(
        """
        C: a NOOP
        S: * METADATA INBOX /shared/comment /private/comment
        S: * METADATA Sent /private/comment
        S: a OK NOOP completed
        C: a NOOP
        S: a OK NOOP completed
        C: a SETMETADATA INBOX (/shared/comment "mine")
        S: a OK SETMETADATA completed
        C: i IDLE
        S: + idling
        """
    )
    other.say('b SETMETADATA INBOX (/shared/comment "x")')
    other.say('b SETMETADATA INBOX (/shared/comment "x")')  # nothing changes
    server.settle()
    assert client.take() == b"* METADATA INBOX /shared/comment\r\n"
    assert other.say("c NOOP") == ["c OK NOOP completed"]  # which it did not enable
