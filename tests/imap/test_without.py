"""[[imap.without]]: a capability that is off is not announced, and what comes with it does not exist."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailserver.config.schema import Imap, Without
from mailserver.imap import commands
from mailserver.imap.capabilities import ROWS, without
from mailserver.imap.rules import rules_for
from tests.helpers.imap_dialog import ImapClient, ImapServer

IMAP = Path(commands.__file__).parent.parent

# What stands behind the tag of commands that exist with a capability alone, for every row of
# `capabilities.ROWS` that has commands or options.
SAMPLES = {
    "SASL-IR": ["AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA=="],
    "ID": ["ID NIL"],
    "IDLE": ["IDLE"],
    "NOTIFY": ["NOTIFY NONE"],
    "ACL": ["MYRIGHTS INBOX", "GETACL INBOX", "SETACL INBOX bob lr", "DELETEACL INBOX bob"],
    "LIST-MYRIGHTS": ['LIST "" % RETURN (MYRIGHTS)'],
    "METADATA": ["GETMETADATA INBOX /shared/comment", 'SETMETADATA INBOX (/shared/comment "x")'],
    "LIST-METADATA": ['LIST "" % RETURN (METADATA (/shared/comment))'],
    "NAMESPACE": ["NAMESPACE"],
    "UIDPLUS": ["UID EXPUNGE 1"],
    "UNSELECT": ["UNSELECT"],
    "MOVE": ["UID MOVE 1 x"],
    "SPECIAL-USE": ['LIST (SPECIAL-USE) "" *', 'LIST "" * RETURN (SPECIAL-USE)'],
    "CREATE-SPECIAL-USE": ["CREATE x (USE (\\Archive))"],
    "ENABLE": ["ENABLE X"],
    "LIST-EXTENDED": ['LIST "" (a b)', 'LIST (SUBSCRIBED) "" *'],
    "LIST-STATUS": ['LIST "" * RETURN (STATUS (MESSAGES))'],
    "STATUS=SIZE": ["STATUS INBOX (SIZE)", 'LIST "" * RETURN (STATUS (SIZE))'],
    "ESEARCH": ["SEARCH RETURN () ALL"],
    "SEARCHRES": [
        "SEARCH RETURN (SAVE) ALL",
        "SEARCH NOT (SEEN UID $)",
        "FETCH $ FLAGS",
        "UID STORE $ +FLAGS (\\Seen)",
        "COPY $ INBOX",
        "UID MOVE $ INBOX",
        "UID EXPUNGE $",
    ],
    "PREVIEW": ["UID FETCH 1 (PREVIEW)", "UID FETCH 1 (PREVIEW (LAZY))"],
    "SAVEDATE": ["UID FETCH 1 (SAVEDATE)", "SEARCH NOT SAVEDON 1-Jan-2015", "SEARCH SAVEDATESUPPORTED"],
    "WITHIN": ["SEARCH OLDER 1", "SORT (DATE) UTF-8 YOUNGER 1", "SEARCH OR SEEN YOUNGER 1"],
    "PARTIAL": ["SEARCH RETURN (PARTIAL 1:2) ALL", "UID FETCH 1:* FLAGS (PARTIAL 1:2)"],
    "OBJECTID": [
        "STATUS INBOX (MAILBOXID)",
        "UID FETCH 1 EMAILID",
        "UID FETCH 1 (FLAGS THREADID)",
        "SEARCH OR SEEN (NOT EMAILID x)",
        "UID SEARCH THREADID x",
    ],
    "CONDSTORE": [
        "SELECT INBOX (CONDSTORE)",
        "EXAMINE INBOX (CONDSTORE)",
        "STATUS INBOX (HIGHESTMODSEQ)",
        'LIST "" * RETURN (STATUS (HIGHESTMODSEQ))',
        "FETCH 1:* (UID MODSEQ)",
        "FETCH 1:* FLAGS (CHANGEDSINCE 1)",
        "STORE 1:* (UNCHANGEDSINCE 1) FLAGS (\\Seen)",
        "SEARCH NOT MODSEQ 1",
    ],
    "SORT": ["SORT (DATE) UTF-8 ALL"],
    "SORT=DISPLAY": ["SORT (DATE REVERSE DISPLAYFROM) UTF-8 ALL", "UID SORT (DISPLAYTO) UTF-8 ALL"],
    "ESORT": ["SORT RETURN (COUNT) (DATE) UTF-8 ALL"],
    "THREAD=ORDEREDSUBJECT": ["THREAD ORDEREDSUBJECT UTF-8 ALL"],
    "THREAD=REFERENCES": ["UID THREAD REFERENCES UTF-8 ALL"],
    "MULTISEARCH": ["ESEARCH ALL", "ESEARCH IN (personal) RETURN (COUNT) ALL"],
    "CONTEXT=SEARCH": [
        "SEARCH RETURN (UPDATE) ALL",
        "UID SEARCH RETURN (COUNT CONTEXT) ALL",
        "ESEARCH RETURN (UPDATE) ALL",
    ],
    "CONTEXT=SORT": ["SORT RETURN (UPDATE) (DATE) UTF-8 ALL"],
    "QRESYNC": [
        "SELECT INBOX (QRESYNC (1600000001 1))",
        "EXAMINE INBOX (QRESYNC (1600000001 1))",
        "UID FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)",
    ],
    "APPENDLIMIT": ["STATUS INBOX (APPENDLIMIT)"],
    "QUOTA": ['GETQUOTA ""', "GETQUOTAROOT INBOX", "STATUS INBOX (DELETED)"],
    "QUOTA=RES-STORAGE": ["STATUS INBOX (DELETED-STORAGE)"],
    "QUOTASET": ['SETQUOTA "" ()'],
    "MESSAGELIMIT": ["SEARCH UIDAFTER 1", "UID SEARCH NOT UIDBEFORE 7"],
    "MULTIAPPEND": ["APPEND INBOX {1+}\r\nx {1+}\r\ny"],
    "CATENATE": ['APPEND INBOX CATENATE (URL "/INBOX/;UID=1")', "APPEND INBOX CATENATE (TEXT {1+}\r\nx)"],
    "REPLACE": ["UID REPLACE 1 INBOX {1+}\r\nx"],
    "BINARY": ["FETCH 1:* BINARY.SIZE[1]", "APPEND INBOX ~{1+}\r\nx"],
    "UTF8=ACCEPT": ["APPEND INBOX UTF8 (~{1+}\r\nx)"],
    "UNAUTHENTICATE": ["UNAUTHENTICATE"],
    "COMPRESS=DEFLATE": ["COMPRESS DEFLATE"],
    "STARTTLS": ["STARTTLS"],
}
BEFORE_LOGIN = ("SASL-IR", "STARTTLS")


def rule(*names: str, **fields: Any) -> Without:
    return Without(names, fields.pop("reason", "it stumbles"), **fields)


def server(*rules: Without, **fields: Any) -> ImapServer:
    made = ImapServer(tls=object(), **fields)
    made.settings.change(imap=Imap(rules))
    return made


def announced(client: ImapClient) -> set[str]:
    line = client.say("q CAPABILITY")[0]
    return set(line.removeprefix("* CAPABILITY ").split())


# --- every capability ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.commands or row.options], ids=lambda row: row.name
)
def test_what_comes_with_a_capability_does_not_exist_without_it(row: Any) -> None:
    assert row.name in SAMPLES, f"give SAMPLES a command that exists with {row.name} alone"
    for sample in SAMPLES[row.name]:
        with_it, off = ImapServer(tls=object(), imap={"message_limit": 1000}), server(rule(row.name))
        select = "" if row.name in BEFORE_LOGIN else "INBOX"
        client = ImapClient(with_it, select=select)
        client.say(f"e ENABLE {row.name}")
        answer = client.say(f"t {sample}")
        assert not any(line.startswith("t BAD") for line in answer)
        answer = ImapClient(off, select=select).say(f"t {sample}")
        assert [line[:14] for line in answer] == ["t BAD Unknown "], sample


@pytest.mark.parametrize("row", [row for row in ROWS if not row.fixed], ids=lambda row: row.name)
def test_it_is_not_announced(row: Any) -> None:
    found = announced(ImapClient(server(rule(row.name))))
    assert not {name.partition("=")[0] if name.startswith("APPENDLIMIT") else name for name in found} & {
        row.name
    }


def strings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_a_capability_without_commands_is_asked_for_by_name() -> None:
    """Its row names nothing that could be refused, so some code must know that it may be off."""
    known = {text for path in IMAP.rglob("*.py") if path.stem != "capabilities" for text in strings(path)}
    for row in ROWS:
        if not (row.commands or row.options or row.fixed or row.name.startswith("AUTH=")):
            assert row.name in known, f"nothing asks session.has({row.name!r})"


def test_rows_name_commands_that_there_are() -> None:
    for row in ROWS:
        for name in (*row.commands, *row.options):
            assert hasattr(commands, name), f"{row.name}: {name}"
        assert set(row.needs) <= {other.name for other in ROWS}


def test_what_is_built_on_it_goes_with_it() -> None:
    built = {"LIST-STATUS", "LIST-MYRIGHTS", "LIST-METADATA", "IMAP4rev2"}
    assert without(["LIST-EXTENDED"]) == {"LIST-EXTENDED", *built}
    assert without([]) == frozenset()


# --- responses -------------------------------------------------------------------------------------


def test_uidplus_tells_no_uids() -> None:
    client = ImapClient(server(rule("UIDPLUS")), select="INBOX")
    client.account.inbox.add(b"x")
    client.dialog(
        """
        C: a CREATE x
        S: * 1 EXISTS
        S: * 1 RECENT
        S: a OK …CREATE completed
        C: b COPY 1 x
        S: b OK COPY completed
        """
    )


def test_list_has_no_attributes_of_children_and_special_use() -> None:
    client = ImapClient(server(rule("CHILDREN", "SPECIAL-USE")), login=True)
    client.say('a CREATE "Sent"')
    lines = client.say('b LIST "" *') + client.say('c LIST "" * RETURN (SUBSCRIBED)')
    assert len(lines) >= 4
    assert not any("Has" in line or "\\Sent" in line for line in lines)


def test_quota_without_storage_tells_no_limit() -> None:
    client = ImapClient(server(rule("QUOTA=RES-STORAGE")), login=True)
    client.account.limit = 10 * 1024
    assert client.say('a GETQUOTA ""')[0] == '* QUOTA "" ()'


def test_a_literal_that_does_not_wait_is_refused_and_never_read_as_a_command() -> None:
    client = ImapClient(server(rule("LITERAL+")), login=True)
    answer = client.send(b"a CREATE {10+}\r\nb LOGOUT\r\n\r\nc NOOP\r\n").decode().splitlines()
    assert answer == ["a BAD Invalid literal", "c OK NOOP completed"]
    assert client.send(b"d CREATE {1}\r\n") == b"+ OK\r\n"


def test_a_mechanism_is_unknown_without_it() -> None:
    client = ImapClient(server(rule("AUTH=PLAIN")))
    assert "AUTH=PLAIN" not in client.greeting.decode()
    assert client.say("a AUTHENTICATE PLAIN")[0].startswith("a NO Unrecognized")
    assert client.say("b LOGIN alice@example.org secret")[0].startswith("b OK")


# --- who -------------------------------------------------------------------------------------------


def test_a_rule_for_users_counts_from_log_in_on() -> None:
    made = server(rule("IDLE", users=("alice@example.org",)), rule("MOVE", users=("bob@example.org",)))
    client = ImapClient(made)
    assert b" IDLE " in client.greeting
    (answer,) = client.say("a LOGIN alice@example.org secret")
    assert " IDLE " not in answer
    assert " MOVE " in answer
    assert client.say("b IDLE") == ["b BAD Unknown command"]


def test_a_rule_for_clients_counts_from_ID_on_and_the_client_is_told() -> None:
    made = server(rule("IDLE", clients=("Microsoft Out*",)))
    client = ImapClient(made, login=True)
    assert "IDLE" in announced(client)
    answer = client.say('a ID ("vendor" "x" "Name" "microsoft outlook")')
    assert answer[0].startswith("* ID ")
    assert answer[1].startswith("* CAPABILITY IMAP4rev1 ")
    assert " IDLE" not in answer[1]
    assert answer[2] == "a OK ID completed"
    assert "IDLE" not in announced(client)
    assert client.say("b IDLE") == ["b BAD Unknown command"]
    assert len(client.say('c ID ("name" "Microsoft Outlook")')) == 2  # nothing new


def test_the_name_told_before_log_in_counts() -> None:
    client = ImapClient(server(rule("IDLE", clients=("k?9",), users=("alice@example.org",))))
    assert client.say('a ID ("name" "K-9")') == ['* ID ("name" "mailserver")', "a OK ID completed"]
    assert " IDLE " not in client.say("b LOGIN alice@example.org secret")[0]


def test_what_was_told_in_clear_is_forgotten_at_STARTTLS() -> None:
    """RFC 3501, 6.2.1: somebody between could have told it."""
    client = ImapClient(server(rule("AUTH=PLAIN", clients=("*",))))
    client.say('a ID ("name" "x")')
    assert "AUTH=PLAIN" not in announced(client)
    client.say("b STARTTLS")
    assert client.connection.session.has("AUTH=PLAIN")


@pytest.mark.parametrize(
    ("pattern", "client", "fits"),
    [
        ("*", "anything", True),
        ("*", "", False),
        ("Outlook", "outlook", True),
        ("Outlook", "Outlook 16", False),
        ("Out[l]ook", "Outlook", False),
        ("[x]*", "[X] mail", True),
    ],
)
def test_wildcards(pattern: str, client: str, fits: bool) -> None:
    assert bool(rules_for([rule("IDLE", clients=(pattern,))], "", client)) is fits


# --- the log ---------------------------------------------------------------------------------------


def test_the_log_tells_each_rule_once_with_its_reason() -> None:
    made = server(
        rule("IDLE", "MOVE", reason="loses changes"),
        rule("ID", clients=("Out*",), reason="odd"),
        rule("UNSELECT", users=("bob@example.org",)),
    )
    client = ImapClient(made)
    client.say("a CAPABILITY")
    assert [event for event, _ in made.audit.events] == ["connected"]
    client.say("b LOGIN alice@example.org secret")
    client.say('c ID ("name" "Outlook")')
    client.say("d NOOP")
    told = [fields for event, fields in made.audit.events if event == "withheld"]
    assert [(one["capabilities"], one["client"], one["reason"]) for one in told] == [
        ("IDLE MOVE", "", "loses changes"),
        ("ID", "Outlook", "odd"),
    ]
    assert told[0]["user"] == "alice@example.org"


def test_without_objectid_no_ids_are_told() -> None:
    client = ImapClient(server(rule("OBJECTID")), login=True)
    assert client.say("a CREATE x") == ["a OK CREATE completed"]
    assert "MAILBOXID" not in "".join(client.say("b SELECT x"))
