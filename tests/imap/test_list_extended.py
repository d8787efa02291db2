"""LIST with options, STATUS in LIST, CREATE with a special use (RFC 5258, 5819, 6154, 8438)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, succeed

from mailserver.errors import LimitReached, NoSuchMailbox, TemporaryFailure
from mailserver.imap import commands as c
from mailserver.imap import replies
from mailserver.imap.grammar.command import parse_command
from mailserver.imap.listing_extended import list_extended
from mailserver.imap.protocol import ImapConnection
from mailserver.interfaces import FolderInfo
from tests.helpers.cost import cheaper_than
from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.store import ALICE, make_store, now

FRUIT = "INBOX Fruit Fruit/Apple Fruit/Banana Tofu Vegetable Vegetable/Broccoli Vegetable/Corn"
LIKED = "INBOX Fruit/Banana Fruit/Peach Vegetable Vegetable/Broccoli"
FOO = "INBOX foo2 foo2/bar1 foo2/bar2 baz2 baz2/bar2 baz2/bar22 baz2/bar222 eps2 eps2/mamba qux2/bar2"
FOO_LIKED = "foo2/bar1 foo2/bar2 baz2/bar2 baz2/bar22 baz2/bar222 eps2 eps2/mamba qux2/bar2"
CHILDINFO = '("CHILDINFO" ("SUBSCRIBED"))'


def ask(line: str, folders: str, subscribed: str = "", children: bool = False) -> list[str]:
    """What follows `* LIST`, without the attributes that tell of children unless `children`."""
    command = parse_command((b"a LIST " + line.encode(),))
    assert isinstance(command, c.ListExtended)
    infos = [FolderInfo(name.removesuffix("!"), selectable=name[-1] != "!") for name in folders.split()]
    answer = []
    for entry in list_extended(infos, subscribed.split(), command):
        told = replies.listing("LIST", entry).decode().removeprefix("* LIST ").rstrip()
        if not children:
            told = told.replace("\\HasNoChildren", "").replace("\\HasChildren", "")
            told = " ".join(told.split()).replace("( ", "(").replace(" )", ")")
        answer.append(told.replace(' "/" ', " "))
    return answer


def test_examples_2_and_5_of_the_rfc() -> None:
    expected = [
        "(\\Subscribed) INBOX",
        "(\\Subscribed) Fruit/Banana",
        "(\\Subscribed) Vegetable",
        "(\\Subscribed) Vegetable/Broccoli",
        "(\\NonExistent \\Subscribed) Fruit/Peach",
    ]
    assert ask('(SUBSCRIBED) "" "*"', FRUIT, LIKED) == expected
    assert ask('(REMOTE SUBSCRIBED SUBSCRIBED) "" "*" RETURN (CHILDREN)', FRUIT, LIKED) == expected


@pytest.mark.parametrize("options", ["()", "(REMOTE)"])
def test_examples_3_and_4_of_the_rfc(options: str) -> None:
    assert ask(f'{options} "" "%" RETURN (CHILDREN)', FRUIT, children=True) == [
        "(\\HasNoChildren) INBOX",
        "(\\HasChildren) Fruit",
        "(\\HasNoChildren) Tofu",
        "(\\HasChildren) Vegetable",
    ]


def test_example_6_of_the_rfc() -> None:
    """A return option adds no names: nothing of Fruit/Peach, which does not exist."""
    assert ask('(REMOTE) "" "*" RETURN (SUBSCRIBED)', FRUIT, LIKED) == [
        "(\\Subscribed) INBOX",
        "() Fruit",
        "() Fruit/Apple",
        "(\\Subscribed) Fruit/Banana",
        "() Tofu",
        "(\\Subscribed) Vegetable",
        "(\\Subscribed) Vegetable/Broccoli",
        "() Vegetable/Corn",
    ]


def test_example_7_of_the_rfc() -> None:
    folders = "INBOX Drafts Sent Sent/March2004 Sent/December2003 Sent/a/b Other"
    assert ask('"" ("INBOX" "Drafts" "Sent/%")', folders) == [
        "() INBOX",
        "() Drafts",
        "() Sent/March2004",
        "() Sent/December2003",
        "(\\NonExistent) Sent/a",
    ]


def test_example_8_of_the_rfc() -> None:
    folders, recursive = "INBOX Foo Foo/Bar Foo/Baz Moo", '(SUBSCRIBED RECURSIVEMATCH) "" "%"'
    assert ask('(SUBSCRIBED) "" "*"', folders, "Foo/Baz") == ["(\\Subscribed) Foo/Baz"]
    assert ask('(SUBSCRIBED) "" "%"', folders, "Foo/Baz") == []
    assert ask(recursive, folders, "Foo/Baz") == [f"() Foo {CHILDINFO}"]
    assert ask(recursive, folders, "Foo Foo/Baz") == [f"(\\Subscribed) Foo {CHILDINFO}"]
    assert ask(recursive, "INBOX Foo/Bar Foo/Baz Moo", "Foo/Baz") == [f"(\\NonExistent) Foo {CHILDINFO}"]
    assert ask(recursive, folders) == []
    assert ask(f"{recursive} RETURN (CHILDREN)", folders, "Foo Moo", children=True) == [
        "(\\HasChildren \\Subscribed) Foo",
        "(\\HasNoChildren \\Subscribed) Moo",
    ]


def test_example_9_of_the_rfc() -> None:
    """baz2 and qux2 are not told: what is below them is (RFC 5258, 3.5)."""
    assert set(ask('(RECURSIVEMATCH SUBSCRIBED) "" "*2"', FOO, FOO_LIKED)) == {
        f"() foo2 {CHILDINFO}",
        "(\\Subscribed) foo2/bar2",
        "(\\Subscribed) baz2/bar2",
        "(\\Subscribed) baz2/bar22",
        "(\\Subscribed) baz2/bar222",
        f"(\\Subscribed) eps2 {CHILDINFO}",
        "(\\Subscribed) qux2/bar2",
    }


def test_example_10_of_the_rfc() -> None:
    assert ask('"" ("foo" "foo/*")', "INBOX foo", "foo/bar") == ["() foo"]
    assert ask('(SUBSCRIBED) "" "foo/*"', "INBOX foo", "foo/bar") == ["(\\NonExistent \\Subscribed) foo/bar"]
    assert ask('(SUBSCRIBED RECURSIVEMATCH) "" foo RETURN (CHILDREN)', "foo", "foo/bar", children=True) == [
        f"(\\HasNoChildren) foo {CHILDINFO}"
    ]


def test_example_11_of_the_rfc() -> None:
    """A level that is no mailbox, with the store telling of it and without."""
    for folders in ("music/rock", "music! music/rock"):
        assert ask('() "" *', folders) == ["() music/rock"]
        assert ask('() "" %', folders, children=True) == ["(\\NonExistent \\HasChildren) music"]
        assert ask('"" (% music/rock)', folders) == ["() music/rock"]


def test_an_empty_pattern_matches_nothing() -> None:
    assert ask('() "" ""', FRUIT) == []
    assert ask('"" ("" Tofu)', FRUIT) == ["() Tofu"]
    assert ask('Fruit/ ("" "A%")', FRUIT) == ["() Fruit/Apple"]


def test_each_name_is_told_once() -> None:
    assert ask('"" (Tofu T* %ofu tofu Tofu)', FRUIT) == ["() Tofu"]


def test_H5_many_patterns() -> None:
    names = " ".join(f"a{number}/b" for number in range(1000))
    patterns = " ".join("*a%" * 20 for _ in range(100))
    with cheaper_than(2):
        ask(f'"" ({patterns})', names)
    with pytest.raises(LimitReached):
        ask(f'"" ({patterns} x)', names)


# --- dialogs ---------------------------------------------------------------------------------------


@pytest.fixture
def server(fake_server: ImapServer) -> ImapServer:
    return fake_server


def test_special_use_as_option(client: ImapClient) -> None:
    """RFC 6154, 5.2"""
    client.dialog(
        """
        C: t2 LIST (SPECIAL-USE) "" "*" RETURN (SPECIAL-USE)
        S: * LIST (\\HasNoChildren \\Archive) "/" Archive
        S: * LIST (\\HasNoChildren \\Drafts) "/" Drafts
        S: * LIST (\\HasNoChildren \\Junk) "/" Junk
        S: * LIST (\\HasNoChildren \\Sent) "/" Sent
        S: * LIST (\\HasNoChildren \\Trash) "/" Trash
        S: t2 OK LIST completed
        C: t3 UNSUBSCRIBE Trash
        S: t3 OK UNSUBSCRIBE completed
        C: t4 LIST (SPECIAL-USE SUBSCRIBED) "" (Sent Trash INBOX)
        S: * LIST (\\HasNoChildren \\Sent \\Subscribed) "/" Sent
        S: t4 OK LIST completed
        """
    )


def test_status_in_list(client: ImapClient) -> None:
    """RFC 5819, 3: "foo" does not meet what is selected, so only what is below it is told."""
    client.dialog(
        """
        C: a CREATE foo/bar
        S: a OK …CREATE completed
        C: b SUBSCRIBE foo/bar
        S: b OK SUBSCRIBE completed
        C: c SUBSCRIBE INBOX
        S: c OK SUBSCRIBE completed
        C: A02 LIST (SUBSCRIBED RECURSIVEMATCH) "" (INBOX fo%) RETURN (STATUS (MESSAGES SIZE) SUBSCRIBED)
        S: * LIST (\\HasNoChildren \\Subscribed) "/" INBOX
        S: * STATUS INBOX (MESSAGES 0 SIZE 0)
        S: * LIST (\\HasChildren) "/" foo ("CHILDINFO" ("SUBSCRIBED"))
        S: A02 OK LIST completed
        """
    )


def test_size_in_status(client: ImapClient) -> None:
    """RFC 8438, 4"""
    client.send(b"a APPEND INBOX {10+}\r\nSubject: x\r\nb APPEND INBOX {6+}\r\na: b\r\n\r\n")
    client.dialog(
        """
        C: A01 STATUS INBOX (MESSAGES SIZE UIDNEXT)
        S: * STATUS INBOX (MESSAGES 2 SIZE 16 UIDNEXT 3)
        S: A01 OK STATUS completed
        C: A04 LIST "" INBOX RETURN (STATUS (MESSAGES SIZE))
        S: * LIST (\\HasNoChildren) "/" INBOX
        S: * STATUS INBOX (MESSAGES 2 SIZE 16)
        S: A04 OK LIST completed
        """
    )


def test_folder_that_goes_before_its_status(
    server: ImapServer, client: ImapClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 5819, 2: no STATUS, and the LIST says why; trouble of ours costs the STATUS only."""
    errors: list[Exception] = [NoSuchMailbox(), TemporaryFailure()]

    def fail(account: FakeAccount, name: str) -> object:
        def run() -> None:
            raise errors.pop(0)

        return account.later_call(run)

    monkeypatch.setattr(FakeAccount, "status", fail)
    client.dialog(
        """
        C: a LIST "" (Junk Sent) RETURN (STATUS (MESSAGES))
        S: * LIST (\\NonExistent \\HasNoChildren \\Junk) "/" Junk
        S: * LIST (\\HasNoChildren \\Sent) "/" Sent
        S: a OK LIST completed
        """
    )


def test_many_folders_are_compared_in_a_thread(client: ImapClient, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []

    def in_thread(connection: ImapConnection, function: Callable[[], object]) -> Deferred[object]:
        called.append(function)
        return succeed(function())

    monkeypatch.setattr(ImapConnection, "in_thread", in_thread)
    for number in range(60):
        client.say(f"c CREATE f{number:02}")
    patterns = " ".join(f"f{number:02}" for number in range(60))
    assert len(client.say(f'a LIST "" ({patterns})')) == 61
    assert len(called) == 1


def test_create_with_special_use(client: ImapClient) -> None:
    """RFC 6154, 5.3; one mailbox for one use here."""
    client.dialog(
        """
        C: t3 CREATE Everything (USE (\\All))
        S: t3 NO [USEATTR] That special use is not possible here
        C: t4 CREATE Mine (USE (\\Drafts \\Sent))
        S: t4 NO [USEATTR] That special use is not possible here
        C: t5 CREATE Mine (USE (\\Sent))
        S: t5 NO [USEATTR] …
        C: t6 DELETE Sent
        S: t6 OK DELETE completed
        C: t7 CREATE Mine (use (\\sent))
        S: t7 OK …CREATE completed
        C: t8 LIST (SPECIAL-USE) "" M*
        S: * LIST (\\HasNoChildren \\Sent) "/" Mine
        S: t8 OK LIST completed
        C: t9 CREATE Plain (USE ())
        S: t9 OK …CREATE completed
        C: t10 LIST "" Everything
        S: t10 OK LIST completed
        """
    )


def test_lists_of_the_real_store(tmp_path: Path) -> None:
    client = ImapClient(ImapServer(now(make_store(tmp_path).account(ALICE))), login=True)
    client.dialog(
        """
        C: a CREATE Reise/Rom (USE (\\Junk))
        S: a NO [USEATTR] …
        C: b DELETE Junk
        S: b OK DELETE completed
        C: c CREATE Reise/Rom (USE (\\Junk))
        S: c OK …CREATE completed
        C: d SUBSCRIBE Reise/Rom
        S: d OK SUBSCRIBE completed
        C: e LIST (SPECIAL-USE) "" (R% Reise/%) RETURN (SUBSCRIBED STATUS (UIDNEXT SIZE))
        S: * LIST (\\HasNoChildren \\Junk \\Subscribed) "/" Reise/Rom
        S: * STATUS Reise/Rom (UIDNEXT 1 SIZE 0)
        S: e OK LIST completed
        C: f LIST (SUBSCRIBED RECURSIVEMATCH) "" Reise
        S: * LIST (\\HasChildren) "/" Reise ("CHILDINFO" ("SUBSCRIBED"))
        S: f OK LIST completed
        C: g DELETE Reise
        S: g OK DELETE completed
        C: h LIST () "" R%
        S: * LIST (\\NonExistent \\HasChildren) "/" Reise
        S: h OK LIST completed
        C: i DELETE Reise/Rom
        S: i OK DELETE completed
        C: j LIST (SUBSCRIBED) "" R*
        S: * LIST (\\NonExistent \\HasNoChildren \\Subscribed) "/" Reise/Rom
        S: j OK LIST completed
        """
    )
