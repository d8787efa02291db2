"""ESEARCH over several mailboxes (RFC 7377)."""

from __future__ import annotations

import pytest

from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_dialog import ImapClient, ImapServer


@pytest.fixture
def account() -> FakeAccount:
    """Messages with the subject "chad" everywhere but in Drafts."""
    made = FakeAccount()
    for name in ("folder1", "folder2", "folder2/banana", "folder2/banana/split", "folder2/peach", "Gärten"):
        made.create(name)
    for name, box in made.boxes.items():
        box.add(b"Subject: other\n\n", ["\\Seen"])
        if name != "Drafts":
            box.add(b"Subject: chad\n\n")
    made.subscribed = {"INBOX", "folder1", "gone"}
    return made


def names(account: FakeAccount, sources: str, select: str = "") -> list[str]:
    lines = ImapClient(ImapServer(account), login=True, select=select).say(f"t ESEARCH {sources}subject chad")
    assert lines[-1] == "t OK ESEARCH completed"
    found = []
    for line in lines[:-1]:
        assert line.startswith('* ESEARCH (TAG "t" MAILBOX ') and line.endswith(") UID ALL 2")
        found.append(line.split(" MAILBOX ")[1].partition(" UIDVALIDITY ")[0].strip('"'))
    return found


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ("IN (mailboxes folder1 subtree folder2) ", "folder1 folder2 banana split peach"),
        ('IN (mailboxes "folder1" subtree-one "folder2") ', "folder1 folder2 banana peach"),
        ("IN (mailboxes (folder1 inbox folder1 none) MAILBOXES folder1) ", "INBOX folder1"),
        ("IN (subscribed) ", "INBOX folder1"),
        ("IN (subtree (folder2/banana folder2/peach)) ", "banana split peach"),
        ("IN (mailboxes none) ", ""),
        ("IN (mailboxes Drafts) ", ""),  # no response without a message
        ("IN (mailboxes G&AOQ-rten) ", "G&AOQ-rten"),
    ],
)
def test_which_mailboxes(account: FakeAccount, sources: str, expected: str) -> None:
    found = names(account, sources)
    assert [name.rpartition("/")[2] for name in found] == expected.split()
    assert names(account, sources, select="folder1") == found


def test_all_mailboxes(account: FakeAccount) -> None:
    every = {name for name in account.boxes if name not in ("Drafts", "Gärten")} | {"G&AOQ-rten"}
    for sources in ("IN (personal) ", "IN (inboxes) ", "IN (personal subtree folder2) "):
        found = names(account, sources)
        assert len(found) == len(every) and set(found) == every


def test_the_selected_mailbox(account: FakeAccount) -> None:
    assert names(account, "", select="folder1") == ["folder1"]
    assert names(account, "IN (selected) ", select="folder1") == ["folder1"]
    assert names(account, "IN (selected mailboxes folder1 mailboxes INBOX) ", "folder1") == [
        "folder1",
        "INBOX",
    ]


@pytest.mark.parametrize(
    ("command", "state"),
    [
        ("ESEARCH ALL", ""),  # nothing selected
        ("ESEARCH IN (selected personal) ALL", ""),
        ("ESEARCH IN (personal) RETURN (UPDATE) ALL", ""),
        ("ESEARCH IN (personal) RETURN (SAVE) ALL", "INBOX"),
        ("ESEARCH IN (selected personal) RETURN (SAVE) ALL", "INBOX"),
        ("ESEARCH IN (selected-delayed) ALL", "INBOX"),
        ("ESEARCH IN () ALL", "INBOX"),
        ("ESEARCH IN (mailboxes) ALL", "INBOX"),
        ("ESEARCH IN (mailboxes ()) ALL", "INBOX"),
        ("ESEARCH IN (personal (scope x)) ALL", "INBOX"),
        ("ESEARCH IN (personal)", "INBOX"),
        ("UID ESEARCH ALL", "INBOX"),
    ],
)
def test_what_is_bad(account: FakeAccount, command: str, state: str) -> None:
    client = ImapClient(ImapServer(account), login=True, select=state)
    assert client.say("b " + command)[-1].startswith("b BAD")


def test_return_options_are_those_of_each_mailbox(account: FakeAccount) -> None:
    client = ImapClient(ImapServer(account), login=True)
    client.dialog(
        """
        C: a ESEARCH IN (mailboxes (INBOX Drafts)) RETURN (COUNT MIN PARTIAL -1:-1) 1:100
        S: * ESEARCH (TAG "a" MAILBOX INBOX UIDVALIDITY …) UID MIN 1 COUNT 2 PARTIAL (-1:-1 2)
        S: * ESEARCH (TAG "a" MAILBOX Drafts UIDVALIDITY …) UID MIN 1 COUNT 1 PARTIAL (-1:-1 1)
        S: a OK ESEARCH completed
        C: b ESEARCH IN (personal) CHARSET NONE ALL
        S: b NO [BADCHARSET (US-ASCII UTF-8)] Unknown charset
        """
    )


def test_save_is_of_the_selected_mailbox(account: FakeAccount) -> None:
    client = ImapClient(ImapServer(account), select="folder1")
    client.dialog(
        """
        C: a ESEARCH RETURN (SAVE) UNSEEN
        S: a OK ESEARCH completed
        C: b SEARCH $
        S: * SEARCH 2
        S: b OK SEARCH completed
        C: c ESEARCH IN (mailboxes (folder1 INBOX)) $
        S: * ESEARCH (TAG "c" MAILBOX folder1 …) UID ALL 2
        S: c OK ESEARCH completed
        C: d ESEARCH RETURN (SAVE) CHARSET NONE ALL
        S: d NO …
        C: e SEARCH $
        S: * SEARCH
        S: e OK SEARCH completed
        """
    )


def test_others_are_neither_changed_nor_selected(account: FakeAccount) -> None:
    client = ImapClient(ImapServer(account), select="folder1")
    client.say("a ESEARCH IN (personal) BODY x")
    assert all(not box.listeners for name, box in account.boxes.items() if name != "folder1")
    client.dialog(
        """
        C: b SEARCH ALL
        S: * SEARCH 1 2
        S: b OK SEARCH completed
        """
    )
    assert "* 2 RECENT" in client.say("c EXAMINE INBOX")
