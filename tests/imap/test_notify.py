"""NOTIFY: what one session is told of what others do, in the selected mailbox and in others (RFC 5465)."""

from __future__ import annotations

import random
from typing import Any

import pytest

from mailserver.events import MessagesChanged, MetadataChanged, NameChanged, Naming
from mailserver.imap import commands as c
from mailserver.imap.grammar.command import parse_command
from mailserver.imap.grammar.cursor import BadSyntax
from mailserver.imap.notify import MAX_NAMES, Notifier
from mailserver.interfaces import MailboxStatus
from tests.helpers.imap_dialog import ImapClient, ImapServer, compare
from tests.helpers.store import ALICE, BOB, append, deliver, drop_file, now
from tests.helpers.store import account_dir as account_path

ALL = "(MessageNew MessageExpunge FlagChange)"


@pytest.fixture
def client(server: ImapServer) -> ImapClient:
    """The session that is told."""
    made = ImapClient(server, login=True)
    for name in ("Lists", "Lists/Lemonade", "Lists/Im2000", "misc"):
        made.say(f"c CREATE {name}")
    return made


@pytest.fixture
def other(server: ImapServer, client: ImapClient) -> ImapClient:
    """The session that does something."""
    return ImapClient(server, login=True)


def told(client: ImapClient, *lines: str) -> None:
    """All that came without a command being given."""
    client.server.settle()
    compare(client.take().decode("latin-1").splitlines(), list(lines))


def parse(line: str) -> c.Notify:
    command = parse_command((b"a NOTIFY " + line.encode(),))
    assert isinstance(command, c.Notify)
    return command


# --- grammar --------------------------------------------------------------------------------------


def test_the_command_of_the_first_example_with_both_events() -> None:
    """The examples in section 3.1 leave parentheses out; `Lists MessageNew` alone is BAD (section 5)."""
    command = parse(
        "set status (selected MessageNew (uid body.peek[header.fields (from to subject)]) MessageExpunge)"
        " (subtree Lists (MessageNew MessageExpunge))"
    )
    selected, lists = command.groups
    assert command.status
    assert selected.which == "SELECTED"
    assert selected.events == {"MESSAGENEW", "MESSAGEEXPUNGE"}
    assert [item.name for item in selected.items] == ["UID", "BODY[]"]
    assert (lists.which, lists.names, lists.items) == ("SUBTREE", ("Lists",), ())


def test_the_commands_of_section_6() -> None:
    first = parse("set (mailboxes INBOX (Messagenew messageExpunge)) (personal (SubscriptionChange))")
    assert [group.names for group in first.groups] == [("INBOX",), ()]
    second = parse(
        "set (selected (Messagenew (uid flags) messageExpunge))"
        " (personal (MessageNew FlagChange MessageExpunge))"
    )
    assert [item.name for item in second.groups[0].items] == ["UID", "FLAGS"]
    assert second.groups[1].events == {"MESSAGENEW", "FLAGCHANGE", "MESSAGEEXPUNGE"}


def test_names_and_none() -> None:
    command = parse('SET (mailboxes (inbox "a b" a) NONE) (selected-delayed NONE)')
    assert command.groups[0].names == ("INBOX", "a b", "a")
    assert not command.groups[0].events
    assert parse("none").groups == ()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "SOME",
        "SET",
        "SET STATUS",
        "SET STATUS()",
        "SET ()",
        "SET (personal)",
        "SET (personal ())",
        "SET (nobody (MailboxName))",
        "SET (mailboxes (MailboxName))",
        "SET (subtree () (MailboxName))",
        "SET (personal (MessageNew))",  # RFC 5465, 5: both or neither
        "SET (personal (MessageExpunge))",
        "SET (personal (FlagChange))",
        "SET (personal (MessageNew (UID) MessageExpunge))",  # RFC 5465, 8: for the selected mailbox only
        "SET (selected (MailboxName))",  # RFC 5465, 6.1
        "SET (selected (MessageNew (NOTHING) MessageExpunge))",
        f"SET (selected {ALL}) (selected-delayed {ALL})",
        f"SET (selected {ALL}) ",
        f"SET (selected {ALL}",
        "NONE (selected NONE)",
    ],
)
def test_what_is_no_notify(line: str) -> None:
    with pytest.raises(BadSyntax):
        parse(line)


@pytest.mark.parametrize("event", ["AnnotationChange", "Weather"])
def test_events_that_are_not_supported(client: ImapClient, event: str) -> None:
    answer = client.say(f"a NOTIFY SET (personal (MessageNew MessageExpunge {event}))")
    assert answer == [
        "a NO [BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange"
        " MailboxMetadataChange ServerMetadataChange)] Unsupported event"
    ]


def test_more_than_a_session_may_have(client: ImapClient) -> None:
    names = " ".join(f"n{n}" for n in range(1001))
    assert client.say(f"a NOTIFY SET (mailboxes ({names}) {ALL}) (personal NONE)") == [
        "a NO [NOTIFICATIONOVERFLOW] Too much to be notified of"
    ]
    groups = " ".join(["(personal NONE)"] * 101)
    assert client.say(f"a NOTIFY SET {groups}")[0].startswith("a NO [NOTIFICATIONOVERFLOW]")


# --- other mailboxes ------------------------------------------------------------------------------


def test_the_example_of_section_3_1(store: Any, client: ImapClient) -> None:
    answer = client.say(
        "b notify set status (selected (MessageNew (uid body.peek[header.fields (from to subject)])"
        " MessageExpunge)) (subtree Lists (MessageNew MessageExpunge))"
    )
    compare(
        answer,
        [
            "* STATUS Lists (MESSAGES 0 UIDNEXT 1 UIDVALIDITY …)",
            "* STATUS Lists/Im2000 (MESSAGES 0 UIDNEXT 1 UIDVALIDITY …)",
            "* STATUS Lists/Lemonade (MESSAGES 0 UIDNEXT 1 UIDVALIDITY …)",
            "b OK NOTIFY completed",
        ],
    )
    client.say("c select inbox")
    deliver(store, folder="Lists/Lemonade")
    told(client, "* STATUS Lists/Lemonade (MESSAGES 1 UIDNEXT 2 UIDVALIDITY …)")
    deliver(store, folder="misc")
    told(client)
    deliver(store, data=b"Subject: Re: good morning\nFrom: alice@example.org\nTo: bob@example.org\n\nx\n")
    told(
        client,
        "* 1 EXISTS",
        "* 1 RECENT",
        "* 1 FETCH (UID 1 BODY[HEADER.FIELDS (from to subject)] {75}",
        "Subject: Re: good morning",
        "From: alice@example.org",
        "To: bob@example.org",
        "",
        ")",
    )


def test_flags_and_expunges_of_another_mailbox(store: Any, client: ImapClient, other: ImapClient) -> None:
    deliver(store, folder="misc")
    deliver(store, folder="misc")
    client.say(f"a NOTIFY SET (mailboxes misc {ALL})")
    other.say("s SELECT misc")
    other.say("a STORE 1:2 +FLAGS (\\Seen)")
    told(client, "* STATUS misc (UNSEEN 0 UIDVALIDITY …)")
    other.say("b STORE 1 +FLAGS (\\Deleted)")
    told(client, "* STATUS misc (UNSEEN 0 UIDVALIDITY …)")
    other.say("c EXPUNGE")
    told(client, "* STATUS misc (MESSAGES 1 UIDNEXT 3 UIDVALIDITY …)")


def test_flags_only_where_they_are_asked_for(store: Any, client: ImapClient, other: ImapClient) -> None:
    deliver(store, folder="misc")
    client.say("a NOTIFY SET (personal (MessageNew MessageExpunge))")
    other.say("s SELECT misc")
    other.say("a STORE 1 +FLAGS (\\Seen)")
    told(client)


def test_none_of_a_mailbox_wins_over_other_groups(store: Any, client: ImapClient) -> None:
    client.say(f"a NOTIFY SET (personal {ALL}) (mailboxes misc NONE)")
    deliver(store, folder="misc")
    told(client)
    deliver(store, folder="Lists")
    told(client, "* STATUS Lists (MESSAGES 1 …)")


@pytest.mark.parametrize("which", ["personal", "inboxes", "subtree Lists", "mailboxes (x Lists/Lemonade y)"])
def test_sets_of_mailboxes_that_hold_one(store: Any, client: ImapClient, which: str) -> None:
    client.say(f"a NOTIFY SET ({which} {ALL})")
    deliver(store, folder="Lists/Lemonade")
    told(client, "* STATUS Lists/Lemonade (MESSAGES 1 …)")


@pytest.mark.parametrize(
    "which", ["subscribed", "subtree List", "mailboxes Lists", 'mailboxes "Lists/*"', 'subtree "%"']
)
def test_sets_of_mailboxes_that_do_not(store: Any, client: ImapClient, which: str) -> None:
    """No wildcards (RFC 5465, 6.6)."""
    client.say(f"a NOTIFY SET ({which} {ALL})")
    deliver(store, folder="Lists/Lemonade")
    told(client)


def test_subscribed_follows_the_subscriptions(store: Any, client: ImapClient, other: ImapClient) -> None:
    """RFC 5465, 6.4; whoever changes them."""
    client.say(f"a NOTIFY SET (subscribed {ALL})")
    deliver(store, folder="misc")
    told(client)
    other.say("a SUBSCRIBE misc")
    deliver(store, folder="misc")
    told(client, "* STATUS misc (MESSAGES 2 …)")
    client.say("b UNSUBSCRIBE misc")
    deliver(store, folder="misc")
    told(client)


def test_the_selected_mailbox_is_not_told_as_another(store: Any, client: ImapClient) -> None:
    """RFC 5465, 3.1: SELECTED overrides what other groups say, also where it is left out."""
    client.say("s SELECT INBOX")
    client.say(f"a NOTIFY SET (personal {ALL})")
    deliver(store)
    told(client)
    client.say("u UNSELECT")
    deliver(store)
    told(client, "* STATUS INBOX (MESSAGES 2 …)")


def test_several_changes_while_a_client_does_not_read_are_one(store: Any, client: ImapClient) -> None:
    client.say(f"a NOTIFY SET (personal {ALL})")
    client.connection.pauseProducing()
    for _ in range(5):
        deliver(store, folder="misc")
    told(client)
    client.connection.resumeProducing()
    told(client, "* STATUS misc (MESSAGES 5 UIDNEXT 6 UIDVALIDITY …)")


def test_what_the_client_does_itself_is_not_told(store: Any, client: ImapClient) -> None:
    """RFC 5465, 5"""
    deliver(store)
    client.say(
        f"a NOTIFY SET (selected {ALL}) (personal (MessageNew MessageExpunge MailboxName SubscriptionChange))"
    )
    client.say("s SELECT INBOX")
    client.dialog(
        """
        C: b COPY 1 misc
        S: b OK [COPYUID … 1 1] COPY completed
        C: c CREATE fresh/one
        S: c OK … CREATE completed
        C: d SUBSCRIBE fresh
        S: d OK SUBSCRIBE completed
        C: e RENAME fresh newer/still
        S: e OK RENAME completed
        C: f DELETE newer/still/one
        S: f OK DELETE completed
        C: g APPEND misc {3+}
        """
    )
    (line,) = client.send(b"abc\r\n").splitlines()
    assert line.startswith(b"g OK [APPENDUID ")
    told(client)
    assert client.say("h MOVE 1 misc")[1:] == ["* 1 EXPUNGE", "h OK MOVE completed"]
    told(client)


def test_a_delivery_beside_an_own_copy_is_told(store: Any, client: ImapClient) -> None:
    deliver(store)
    client.say(f"a NOTIFY SET (personal {ALL})")
    client.say("s SELECT INBOX")
    original = client.connection.session.put

    def late(name: str, uids: Any) -> None:
        deliver(store, folder="misc")
        original(name, uids)

    client.connection.session.put = late
    answer = client.say("b COPY 1 misc")
    assert answer[0].startswith("b OK [COPYUID")
    compare(answer[1:], ["* STATUS misc (MESSAGES 2 …)"])


def test_a_foreign_delivery_that_another_session_notices(
    store: Any, client: ImapClient, other: ImapClient
) -> None:
    client.say(f"a NOTIFY SET (personal {ALL})")
    drop_file(account_path(store) / ".misc", "1.foreign")
    other.say("s STATUS misc (MESSAGES)")
    told(client, "* STATUS misc (MESSAGES 1 …)")


def test_events_that_other_processes_could_not_tell(store: Any, client: ImapClient) -> None:
    """RFC 5465, 5.8"""
    client.say(f"a NOTIFY SET (personal {ALL})")
    store.look_everywhere()
    told(client, "* OK [NOTIFICATIONOVERFLOW] …")
    deliver(store, folder="misc")
    told(client)


def test_other_accounts_are_not_told_of(store: Any, client: ImapClient) -> None:
    client.say(f"a NOTIFY SET (personal {ALL})")
    deliver(store, BOB)
    told(client)


# --- the selected mailbox -------------------------------------------------------------------------


@pytest.fixture
def watching(store: Any, client: ImapClient) -> ImapClient:
    for _ in range(3):
        deliver(store)
    client.say("s SELECT INBOX")
    return client


def test_events_of_the_selected_mailbox_come_at_once(
    watching: ImapClient, other: ImapClient, store: Any
) -> None:
    watching.say(f"a NOTIFY SET (selected {ALL})")
    other.say("s SELECT INBOX")
    other.say("a STORE 2 +FLAGS (\\Deleted)")
    told(watching, "* 2 FETCH (UID 2 FLAGS (\\Deleted \\Recent))")
    other.say("b EXPUNGE")
    told(watching, "* 2 EXPUNGE")
    deliver(store)
    told(watching, "* 3 EXISTS", "* 3 RECENT")


def test_selected_delayed_keeps_the_numbers(watching: ImapClient, other: ImapClient, store: Any) -> None:
    """RFC 5465, 6.1.2: EXPUNGE waits for a command that allows it; what came after it waits too."""
    watching.say(f"a NOTIFY SET (selected-delayed {ALL})")
    other.say("s SELECT INBOX")
    other.say("a STORE 2 +FLAGS (\\Deleted)")
    told(watching, "* 2 FETCH (UID 2 FLAGS (\\Deleted \\Recent))")
    other.say("b EXPUNGE")
    deliver(store)
    told(watching)
    assert watching.say("c FETCH 3 UID") == ["* 3 FETCH (UID 3)", "c OK FETCH completed"]
    compare(watching.say("d NOOP"), ["* 2 EXPUNGE", "* 3 EXISTS", "* 3 RECENT", "d OK NOOP completed"])


def test_selected_delayed_is_told_in_idle(watching: ImapClient, other: ImapClient) -> None:
    watching.say(f"a NOTIFY SET (selected-delayed {ALL})")
    other.say("s SELECT INBOX")
    other.say("a STORE 2 +FLAGS.SILENT (\\Deleted)")
    other.say("b EXPUNGE")
    watching.take()
    assert watching.say("i IDLE") == ["+ idling", "* 2 EXPUNGE"]


def test_idle_tells_the_same_events(watching: ImapClient, other: ImapClient, store: Any) -> None:
    """RFC 5465, 4: no flags here, and STATUS of another mailbox."""
    both = "MessageExpunge))"
    watching.say(f"a NOTIFY SET (selected (MessageNew (UID FLAGS) {both} (mailboxes misc (MessageNew {both}")
    assert watching.say("i IDLE") == ["+ idling"]
    other.say("s SELECT INBOX")
    other.say("a STORE 2 +FLAGS (\\Seen)")
    told(watching)
    deliver(store)
    told(watching, "* 4 EXISTS", "* 4 RECENT", "* 4 FETCH (UID 4 FLAGS (\\Recent))")
    deliver(store, folder="misc")
    told(watching, "* STATUS misc (MESSAGES 1 …)")
    assert watching.say("DONE") == ["i OK IDLE completed"]


@pytest.mark.parametrize("line", ["NONE", "SET (selected NONE)", "SET (mailboxes misc (MailboxName))"])
def test_nothing_of_the_selected_mailbox(
    watching: ImapClient, other: ImapClient, store: Any, line: str
) -> None:
    """Numbers stay as they are until the client asks again (RFC 5465, 3.1)."""
    watching.say(f"a NOTIFY {line}")
    other.say("s SELECT INBOX")
    other.say("a STORE 2 +FLAGS (\\Deleted)")
    other.say("b EXPUNGE")
    deliver(store)
    told(watching)
    assert watching.say("b NOOP") == ["b OK NOOP completed"]
    assert watching.say("c IDLE") == ["+ idling"]
    assert watching.say("DONE") == ["c OK IDLE completed"]
    assert watching.say("d FETCH 3 UID") == ["* 3 FETCH (UID 3)", "d OK FETCH completed"]
    compare(
        watching.say(f"e NOTIFY SET (selected {ALL})"),
        ["* 2 EXPUNGE", "* 3 EXISTS", "* 3 RECENT", "e OK NOTIFY completed"],
    )


def test_an_own_expunge_is_told_without_events(watching: ImapClient) -> None:
    watching.say("a NOTIFY NONE")
    watching.say("b STORE 2 +FLAGS.SILENT (\\Deleted)")
    assert watching.say("c EXPUNGE") == ["* 2 EXPUNGE", "c OK EXPUNGE completed"]


def test_no_fetch_of_an_own_message(watching: ImapClient, store: Any) -> None:
    """RFC 5465, 5.2: of one that comes beside it, yes."""
    watching.say("a NOTIFY SET (selected (MessageNew (UID) MessageExpunge))")
    compare(
        watching.say("b COPY 1 INBOX"), ["* 4 EXISTS", "* 4 RECENT", "b OK [COPYUID … 1 4] COPY completed"]
    )
    deliver(store)
    told(watching, "* 5 EXISTS", "* 5 RECENT", "* 5 FETCH (UID 5)")


def test_what_comes_during_a_command_is_told_after_it(
    store: Any, watching: ImapClient, other: ImapClient
) -> None:
    """A FETCH by number tells no EXPUNGE; a client that asked for SELECTED gets it right behind."""
    watching.say("a NOTIFY SET (selected (MessageNew (UID) MessageExpunge))")
    session = watching.connection.session
    session.running = c.Noop(b"x")
    other.say("s SELECT INBOX")
    other.say("a STORE 1 +FLAGS.SILENT (\\Deleted)")
    other.say("b EXPUNGE")
    deliver(store)
    told(watching)
    session.running = None
    compare(
        watching.say("b FETCH 1:2 UID"),
        [
            "* 2 FETCH (UID 2)",
            "b NO [EXPUNGEISSUED] …",
            "* 1 EXPUNGE",
            "* 3 EXISTS",
            "* 3 RECENT",
            "* 3 FETCH (UID 4)",
        ],
    )


def test_no_command_comes_between_the_pieces_of_a_large_message(store: Any) -> None:
    """The FETCH of a new message that is read from the disk, and NOOP behind it."""
    server = ImapServer(now(store.account(ALICE)))
    client = ImapClient(server, select="INBOX")
    client.say("a NOTIFY SET (selected (MessageNew (BODY.PEEK[]) MessageExpunge))")
    client.connection.pauseProducing()
    body = b"Subject: x\n\n" + b"line of text\n" * 200_000
    deliver(store, data=body)
    client.feed(b"n NOOP\r\n")
    client.server.settle()
    assert client.take() == b""
    client.connection.resumeProducing()
    client.server.settle()
    sent = client.take()
    begin, _, rest = sent.partition(b" {")
    size, _, literal = rest.partition(b"}\r\n")
    assert begin == b"* 1 EXISTS\r\n* 1 RECENT\r\n* 1 FETCH (BODY[]"
    assert literal[: int(size)].endswith(body.replace(b"\n", b"\r\n"))
    assert literal[int(size) :] == b")\r\nn OK NOOP completed\r\n"


def test_the_selected_mailbox_goes(watching: ImapClient, other: ImapClient) -> None:
    other.say("c CREATE x")
    watching.say("s SELECT x")
    watching.say(f"a NOTIFY SET (selected {ALL})")
    other.say("d DELETE x")
    told(watching, "* BYE The selected mailbox is gone")


class Copy:
    """What a client knows of its mailbox from the responses that it gets: (UID, flags) by number."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str]] = []
        self.exists = 0

    def take(self, lines: list[str]) -> None:
        for line in lines:
            word = line.split(" ")
            if word[0] != "*" or not word[1].isdigit():
                continue
            number = int(word[1])
            if word[2] == "EXPUNGE":
                del self.rows[number - 1]
                self.exists -= 1
            elif word[2] == "EXISTS":
                assert number >= self.exists
                self.exists = number
            elif word[2] == "FETCH":
                assert number <= self.exists, "FETCH before EXISTS"
                uid, _, flags = line.partition("(UID ")[2].partition(" FLAGS (")
                row = (int(uid), flags.rstrip(")").replace(" \\Recent", "").replace("\\Recent", ""))
                if number == len(self.rows) + 1:
                    self.rows.append(row)
                else:
                    assert self.rows[number - 1][0] == row[0]
                    self.rows[number - 1] = row


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("which", ["selected", "selected-delayed"])
def test_H11_a_client_that_only_listens_knows_the_mailbox(
    store: Any, client: ImapClient, other: ImapClient, which: str, seed: int
) -> None:
    """RFC 5465, 1: no command but NOTIFY, and at all times what it was told is what there is."""
    chance = random.Random(seed)
    client.say("s SELECT INBOX")
    other.say("s SELECT INBOX")
    client.say(f"a NOTIFY SET ({which} (MessageNew (UID FLAGS) MessageExpunge FlagChange))")
    copy = Copy()
    for _ in range(60):
        count = len(now(store.account(ALICE)).store._mailboxes[ALICE, ""].uids)
        number = chance.randint(1, max(count, 1))
        flag = chance.choice(["\\Seen", "\\Deleted", "$Label", "\\Flagged"])
        step = chance.randrange(7)
        if step <= 2 or not count:
            deliver(store)
        elif step <= 4:
            other.say(f"b STORE {number} {chance.choice('+-')}FLAGS ({flag})")
        else:
            other.say(chance.choice(["c EXPUNGE", f"c COPY {number} INBOX", f"c MOVE {number} misc"]))
        if which == "selected-delayed" and chance.random() < 0.3:
            copy.take(client.say("n NOOP"))
        other.say("n NOOP")
        client.server.settle()
        copy.take(client.take().decode().splitlines())
        if which == "selected":
            there = other.say("f UID FETCH 1:* FLAGS") if count or copy.rows else []
            known = Copy()
            known.exists = 1 << 30
            known.take([line.replace("(FLAGS", "(UID 0 FLAGS") for line in there])
            assert copy.rows == known.rows
    copy.take(client.say("n NOOP"))
    known = Copy()
    known.exists = 1 << 30
    known.take(other.say("f UID FETCH 1:* FLAGS"))
    assert copy.rows == known.rows


# --- names ----------------------------------------------------------------------------------------


def test_names_that_come_and_go(client: ImapClient, other: ImapClient) -> None:
    client.say("a NOTIFY SET (personal (MailboxName))")
    other.say("a CREATE NewMailbox")
    told(client, '* LIST (\\HasNoChildren) "/" NewMailbox')
    other.say("b CREATE NewMailbox/Child")
    told(client, '* LIST (\\HasNoChildren) "/" NewMailbox/Child', '* LIST (\\HasChildren) "/" NewMailbox')
    other.say("c DELETE NewMailbox/Child")
    told(
        client,
        '* LIST (\\NonExistent \\HasNoChildren) "/" NewMailbox/Child',
        '* LIST (\\HasNoChildren) "/" NewMailbox',
    )
    other.say("d CREATE deep/down")
    told(
        client,
        '* LIST (\\HasChildren) "/" deep',
        '* LIST (\\HasNoChildren) "/" deep/down',
        '* LIST (\\HasChildren) "/" deep',
    )


def test_the_example_of_a_renamed_mailbox(client: ImapClient, other: ImapClient) -> None:
    """RFC 5465, 5.4: one response for the name, none for what is below it."""
    for name in ("OldMailbox", "OldMailbox/Child"):
        other.say(f"c CREATE {name}")
    client.say("a NOTIFY SET (mailboxes OldMailbox (MailboxName))")
    other.say("a RENAME OldMailbox NewMailbox")
    told(client, '* LIST (\\HasChildren) "/" NewMailbox ("OLDNAME" (OldMailbox))')


def test_inbox_renamed(store: Any, client: ImapClient, other: ImapClient) -> None:
    client.say("a NOTIFY SET (personal (MailboxName))")
    other.say("a RENAME INBOX older")
    told(client, '* LIST (\\HasNoChildren) "/" older ("OLDNAME" (INBOX))')


def test_subscriptions(client: ImapClient, other: ImapClient) -> None:
    client.say("a NOTIFY SET (personal (SubscriptionChange))")
    other.say("a SUBSCRIBE misc")
    told(client, '* LIST (\\HasNoChildren \\Subscribed) "/" misc')
    other.say("b UNSUBSCRIBE misc")
    told(client, '* LIST (\\HasNoChildren) "/" misc')
    other.say("c SUBSCRIBE nowhere")
    told(client, '* LIST (\\NonExistent \\HasNoChildren \\Subscribed) "/" nowhere')
    other.say("d CREATE x")
    told(client)


def test_an_unsubscribed_mailbox_is_told_to_who_watches_the_subscribed(
    client: ImapClient, other: ImapClient
) -> None:
    other.say("a SUBSCRIBE misc")
    client.say("a NOTIFY SET (subscribed (SubscriptionChange))")
    other.say("b UNSUBSCRIBE misc")
    told(client, '* LIST (\\HasNoChildren) "/" misc')


# --- limits, ends ---------------------------------------------------------------------------------


def test_more_than_can_be_told(client: ImapClient, other: ImapClient, store: Any) -> None:
    client.say(f"a NOTIFY SET (selected {ALL}) (personal (SubscriptionChange MessageNew MessageExpunge))")
    client.connection.pauseProducing()
    for number in range(MAX_NAMES + 1):
        other.say(f"a SUBSCRIBE n{number}")
    client.connection.resumeProducing()
    told(client, "* OK [NOTIFICATIONOVERFLOW] Too much to tell: notifications are off")
    deliver(store, folder="misc")
    told(client)


def test_a_failing_notify_leaves_the_former_one(store: Any, client: ImapClient) -> None:
    client.say(f"a NOTIFY SET (personal {ALL})")
    client.say("b NOTIFY SET (personal (Weather))")
    client.say("c NOTIFY SET (personal (MessageNew))")
    deliver(store, folder="misc")
    told(client, "* STATUS misc (MESSAGES 1 …)")


@pytest.mark.parametrize("how", ["LOGOUT", "NOTIFY NONE", "lost", "SET"])
def test_nobody_watches_in_the_end(store: Any, client: ImapClient, how: str) -> None:
    """A delivery costs nothing more than before."""
    client.say(f"a NOTIFY SET (personal {ALL})")
    assert store.changes._watchers
    if how == "lost":
        client.lose()
    elif how == "SET":
        client.say(f"b NOTIFY SET (selected {ALL})")
    else:
        client.say(f"b {how}")
        if how == "LOGOUT":
            client.lose()
    assert not store.changes._watchers


def test_metadata_and_flags_as_values() -> None:
    notifier = Notifier(
        parse("SET (mailboxes a (MailboxMetadataChange)) (personal (ServerMetadataChange))").groups
    )
    notifier.push(MetadataChanged(ALICE, "a", ("/shared/comment",)), None, None)
    notifier.push(MetadataChanged(ALICE, "b", ("/shared/comment",)), None, None)
    notifier.push(MetadataChanged(ALICE, "", ("/shared/admin",)), None, None)
    assert notifier.take_metadata() == {"a": ("/shared/comment",), "": ("/shared/admin",)}
    status = MailboxStatus(1, 0, 1, 2, 9, 77, 5, 0)
    notifier = Notifier(parse(f"SET (personal {ALL})").groups)
    notifier.push(MessagesChanged(ALICE, "a", status, flags=True), None, None)
    (waiting,) = notifier.take_mailboxes(None).values()
    assert waiting.values(True) == [("UNSEEN", 1), ("HIGHESTMODSEQ", 77), ("UIDVALIDITY", 9)]


def test_metadata_that_changed(client: ImapClient, store: Any) -> None:
    """RFC 5465, 5.6, 5.7"""
    client.say("a NOTIFY SET (personal (MailboxMetadataChange ServerMetadataChange))")
    store.changes.post(MetadataChanged(ALICE, "INBOX", ("/shared/comment",)))
    told(client, "* METADATA INBOX /shared/comment")
    store.changes.post(MetadataChanged(ALICE, "", ("/shared/comment", "/private/x")))
    told(client, '* METADATA "" /shared/comment /private/x')


def test_everything_that_is_posted_is_told_to_subscribers(store: Any, client: ImapClient) -> None:
    posted: list[Any] = []
    end = store.changes.subscribe(posted.append)
    client.say("a CREATE x")
    append(store.get(ALICE), "x", b"\nx\n")
    end()
    client.say("b DELETE x")
    named = [one for one in posted if isinstance(one, NameChanged)]
    assert named == [NameChanged(ALICE, "x", Naming.CREATED)]
    assert [one.status.messages for one in posted if getattr(one, "added", ())] == [1]
