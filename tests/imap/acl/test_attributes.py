"""Annotations and ids of mailboxes that are shared (RFC 5464, 3.3; RFC 8474, 5.1)."""

from __future__ import annotations

from typing import Any

from tests.helpers.imap_dialog import ImapClient
from tests.helpers.store import ALICE, append, now
from tests.imap.acl.sharing import WORK, grant, last


def test_annotations_of_a_shared_mailbox(alice: ImapClient, bob: ImapClient) -> None:
    """The right `l` and one to the messages are needed; private entries are each user's own."""
    alice.say('a SETMETADATA Work (/shared/comment "for all" /private/comment "mine")')
    ask = f'b GETMETADATA "{WORK}" (/shared/comment /private/comment /private/specialuse)'
    assert last(bob.say(ask)).startswith("b NO [NONEXISTENT]")
    grant(alice, "l")
    assert last(bob.say(ask)).startswith("b NO [NOPERM]")
    grant(alice, "lr")
    alice.say("e ENABLE METADATA")
    bob.dialog(
        f"""
        C: {ask}
        S: * METADATA "{WORK}" (/shared/comment "for all" /private/comment NIL /private/specialuse NIL)
        S: b OK GETMETADATA completed
        C: c SETMETADATA "{WORK}" (/shared/comment "by bob" /private/comment "bob's")
        S: c OK SETMETADATA completed
        C: d SETMETADATA "{WORK}" (/private/specialuse "\\\\Sent")
        S: d NO [USEATTR] …
        """
    )
    alice.dialog(
        """
        C: a GETMETADATA Work (/shared/comment /private/comment)
        S: * METADATA Work (/shared/comment "by bob" /private/comment "mine")
        S: * METADATA Work /shared/comment
        S: a OK GETMETADATA completed
        """
    )


def test_a_copy_in_another_account_keeps_its_emailid(store: Any, alice: ImapClient, bob: ImapClient) -> None:
    grant(alice, "lrswite")
    append(now(store.account(ALICE)), "Work", b"Subject: x\n\n\n", date=1.0)

    def emailid(client: ImapClient, mailbox: str) -> str:
        client.say(f'a SELECT "{mailbox}"')
        return client.say("b UID FETCH * (EMAILID SAVEDATE)")[0].partition("EMAILID ")[2]

    first = emailid(alice, "Work")
    assert emailid(bob, WORK) == first
    assert last(bob.say("c COPY 1 Archive")).startswith("c OK [COPYUID")
    assert last(bob.say("d MOVE 1 INBOX")).startswith("d OK")
    assert emailid(bob, "Archive") == emailid(bob, "INBOX") == first
    bob.say(f'e MOVE 1 "{WORK}"')
    assert emailid(alice, "Work") == first
