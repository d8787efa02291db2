"""What the tests of shared mailboxes say again and again."""

from __future__ import annotations

from tests.helpers.imap_dialog import ImapClient
from tests.helpers.store import ALICE, BOB

CAROL = "carol@example.org"
WORK = f"Other Users/{ALICE}/Work"


def last(lines: list[str]) -> str:
    return lines[-1]


def grant(alice: ImapClient, rights: str, who: str = BOB, mailbox: str = "Work") -> None:
    assert alice.say(f'g SETACL {mailbox} {who} "{rights}"') == ["g OK SETACL completed"]
