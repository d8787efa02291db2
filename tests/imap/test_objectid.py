"""OBJECTID (RFC 8474) over the real store: the examples of the RFC with our ids."""

from __future__ import annotations

import re

from tests.helpers.imap_dialog import ImapClient, ImapServer

MESSAGE_A = b"Subject: Message A\r\nMessage-ID: <fake.1521475657.54797@example.com>\r\n\r\na\r\n"
ANSWER = (
    b"Subject: Re: Message A\r\nMessage-ID: <fake.1521475657.21213@example.org>\r\n"
    b"References: <fake.1521475657.54797@example.com>\r\n\r\nb\r\n"
)
MESSAGE_C = b"Subject: Message C\r\nMessage-ID: <fake.1521475657.60280@example.com>\r\n\r\nc\r\n"


def found(pattern: str, lines: list[str]) -> list[str]:
    """The group of every line that has the pattern."""
    return [match[1] for line in lines if (match := re.search(pattern, line))]


def append(client: ImapClient, *messages: bytes) -> None:
    for data in messages:
        assert b"OK" in client.send(b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(data), data))


def test_create_select_status_list_rename(client: ImapClient) -> None:
    (foo,) = found(r"^3 OK \[MAILBOXID \((F[\w-]+)\)\] ", client.say("3 create foo"))
    (bar,) = found(r"^4 OK \[MAILBOXID \((F[\w-]+)\)\] ", client.say("4 create bar"))
    assert foo != bar
    client.dialog(
        f"""
        C: 5 create foo
        S: 5 NO [ALREADYEXISTS] …
        C: 6 status foo (mailboxid)
        S: * STATUS foo (MAILBOXID ({foo}))
        S: 6 OK STATUS completed
        C: 7 status bar (messages mailboxid unseen)
        S: * STATUS bar (MESSAGES 0 MAILBOXID ({bar}) UNSEEN 0)
        S: 7 OK STATUS completed
        C: 8 rename foo renamed
        S: 8 OK RENAME completed
        C: 9 status renamed (mailboxid)
        S: * STATUS renamed (MAILBOXID ({foo}))
        S: 9 OK STATUS completed
        C: 11 list "" (bar renamed) return (status (mailboxid))
        S: * LIST (\\HasNoChildren) "/" bar
        S: * STATUS bar (MAILBOXID ({bar}))
        S: * LIST (\\HasNoChildren) "/" renamed
        S: * STATUS renamed (MAILBOXID ({foo}))
        S: 11 OK LIST completed
        """
    )
    assert found(r"^\* OK \[MAILBOXID \((F[\w-]+)\)\] ", client.say('27 select "renamed"')) == [foo]
    assert found(r"^\* OK \[MAILBOXID \((F[\w-]+)\)\] ", client.say('28 examine "bar"')) == [bar]


def test_messages_and_conversations(client: ImapClient) -> None:
    append(client, MESSAGE_A, ANSWER, MESSAGE_C)
    client.say("c create foo")
    client.say("s select inbox")
    lines = client.say("22 fetch 1:* (emailid threadid)")
    form = r"^\* \d FETCH \(EMAILID \(M\w+\) THREADID \(T\w+\)\)$"
    assert len(found(f"({form})", lines)) == 3
    emails = found(r"EMAILID \((\w+)\)", lines)
    threads = found(r"THREADID \((\w+)\)", lines)
    assert len(set(emails)) == 3 and threads[0] == threads[1] != threads[2]
    assert not set(emails) & set(threads)
    client.dialog(
        f"""
        C: 27 search emailid {emails[0]}
        S: * SEARCH 1
        S: 27 OK SEARCH completed
        C: 28 search threadid {threads[0]}
        S: * SEARCH 1 2
        S: 28 OK SEARCH completed
        C: 29 uid search or emailid {emails[1]} emailid {emails[2]} not threadid {threads[2]}
        S: * SEARCH 2
        S: 29 OK SEARCH completed
        C: 30 search emailid {emails[0].lower()}
        S: * SEARCH
        S: 30 OK SEARCH completed
        C: 31 search emailid (a)
        S: 31 BAD …
        C: 32 search threadid a%b
        S: 32 BAD …
        """
    )
    client.say("23 move 2 foo")
    assert found(r"EMAILID \((\w+)\)", client.say("24 fetch 1:* emailid")) == [emails[0], emails[2]]
    client.say("25 select foo")
    assert client.say("26 uid fetch 1 (threadid flags emailid)")[0] == (
        f"* 1 FETCH (UID 1 FLAGS (\\Recent) EMAILID ({emails[1]}) THREADID ({threads[1]}))"
    )


def test_what_another_session_expunged_is_left_out(server: ImapServer, client: ImapClient) -> None:
    append(client, MESSAGE_A, MESSAGE_C)
    client.say("s select inbox")
    (identity,) = found(r"EMAILID \((\w+)\)", client.say("a fetch 1 emailid"))
    other = ImapClient(server, login=True, select="INBOX")
    other.say("d store 1 +flags (\\Deleted)")
    other.say("e expunge")
    lines = client.say("b fetch 1:2 (emailid threadid)")
    assert [line[:9] for line in lines if "EMAILID" in line] == ["* 2 FETCH"]
    assert lines[-1].startswith("b NO [EXPUNGEISSUED]")
    assert client.say(f"c search emailid {identity}")[0] == "* SEARCH"


def test_it_is_announced(client: ImapClient) -> None:
    assert " OBJECTID" in client.say("a CAPABILITY")[0]
