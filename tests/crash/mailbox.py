"""A mailbox as it lies on the disk and as IMAP shows it, against what is known of it.

Rules (the numbers stand in CASES F1, H13, H21, J2, J8): what was accepted is there, whole; nothing partial is
visible; a UID stands for one message for ever, and new ones are greater than all before; a message is there
twice only if a client had to send it again without having seen an answer, or the queue had to.
"""

from __future__ import annotations

import imaplib
import random
import re
from collections import Counter
from pathlib import Path

from attrs import define, field

from tests.crash.messages import fault, message, number_of
from tests.crash.record import Record
from tests.helpers.server import PASSWORD, Server

imaplib._MAXLINE = 1 << 30  # the longest campaigns leave more than 100,000 messages in a mailbox
_UID = re.compile(r",I=([0-9]+)-([0-9]+)")


class Broken(AssertionError):
    """A promise was broken."""


@define
class Mailbox:
    """One user's INBOX over all cycles.

    known:    UIDs there are, with the numbers of their messages
    removed:  UIDs that a client deleted and was told so
    doubtful: UIDs that a client asked to delete, without having seen the answer
    """

    user: str
    record: Record
    known: dict[int, int] = field(factory=dict)
    ever: Counter[int] = field(factory=Counter)  # copies of each number that ever were there
    removed: set[int] = field(factory=set)
    doubtful: set[int] = field(factory=set)
    highest: int = 0
    uidvalidity: int = 0
    modseq: int = 0

    def asked_to_delete(self, uids: set[int], done: bool) -> None:
        if done:
            self.doubtful -= uids
            self.removed |= uids
        else:
            self.doubtful |= uids

    def check_files(self, maildir: Path) -> None:
        """The Maildir with no server on it."""
        found: dict[int, Path] = {}
        for path in [*(maildir / "new").iterdir(), *(maildir / "cur").iterdir()]:
            match = _UID.search(path.name)
            if match is None:
                raise Broken(f"{self.user}: {path.name} has no UID in its name")
            validity, uid = int(match[1]), int(match[2])
            self.uidvalidity = self.uidvalidity or validity
            if validity != self.uidvalidity:
                raise Broken(f"{self.user}: UIDVALIDITY {validity} after {self.uidvalidity}")
            if uid in found:
                raise Broken(f"{self.user}: UID {uid} twice: {found[uid].name} and {path.name}")
            found[uid] = path
        self._check_known(set(found))
        self._check_new({uid: path for uid, path in found.items() if uid not in self.known})
        self._check_accepted()

    def awaited(self) -> list[int]:
        """Numbers of accepted messages that are not here; after a check of an idle server there are none."""
        expected = self.record.of_user(self.user)
        return [number for number, copies in expected.items() if self.ever[number] < copies.accepted]

    def _check_known(self, found: set[int]) -> None:
        back = found & self.removed
        if back:
            raise Broken(
                f"{self.user}: UIDs {sorted(back)[:9]} are there again after their deletion was confirmed"
            )
        lost = set(self.known) - found - self.removed - self.doubtful
        if lost:
            raise Broken(f"{self.user}: UIDs {sorted(lost)[:9]} are lost")
        self.removed |= self.doubtful - found
        self.doubtful.clear()
        for uid in self.removed & set(self.known):
            del self.known[uid]

    def _check_new(self, files: dict[int, Path]) -> None:
        for uid, path in sorted(files.items()):
            if uid <= self.highest:
                raise Broken(f"{self.user}: new message {path.name} has a UID not above {self.highest}")
            data = path.read_bytes()
            problem = fault(data)
            if problem:
                raise Broken(f"{self.user}: {path.name}: {problem}")
            number = number_of(data)
            assert number is not None
            self.known[uid] = number
            self.ever[number] += 1
        self.highest = max(self.highest, *files) if files else self.highest

    def _check_accepted(self) -> None:
        expected = self.record.of_user(self.user)
        for number, copies in expected.items():
            there = self.ever[number]
            if there < copies.accepted and not copies.queued:
                raise Broken(f"{self.user}: message {number} was accepted and is not there")
            again = self.record.kills if copies.queued else 0
            if there > copies.accepted + copies.unanswered + again:
                raise Broken(f"{self.user}: message {number} is there {there} times: {copies}")
        unknown = set(self.ever) - set(expected)
        if unknown:
            raise Broken(f"{self.user}: nobody sent {sorted(unknown)[:9]}")

    def check_imap(self, server: Server, dice: random.Random, bodies: int | None = 3) -> None:
        """What the server shows after its start: the same messages, by the same UIDs. `bodies`: how many are
        compared octet by octet, None for all."""
        client = imaplib.IMAP4(server.host, server.ports["imap"], timeout=60)
        try:
            client.login(f"{self.user}@{server.domain}", PASSWORD)
            client.select("INBOX", readonly=True)
            self._check_numbers(client)
            shown = {int(word) for word in client.uid("SEARCH", "ALL")[1][0].split()}
            missing, more = set(self.known) - shown, shown - set(self.known)
            more = {uid for uid in more if uid <= self.highest}  # the queue goes on delivering
            if missing or more:
                raise Broken(
                    f"{self.user}: IMAP lacks {sorted(missing)[:9]} and has besides {sorted(more)[:9]}"
                )
            uids = sorted(self.known)
            if bodies is not None:
                uids = dice.sample(uids, min(bodies, len(uids)))
            for at in range(0, len(uids), 50):
                self._check_bodies(client, uids[at : at + 50])
        finally:
            client.logout()

    def _check_numbers(self, client: imaplib.IMAP4) -> None:
        validity, uidnext = (_untagged(client, name) for name in ("UIDVALIDITY", "UIDNEXT"))
        if self.uidvalidity and validity != self.uidvalidity:
            raise Broken(f"{self.user}: UIDVALIDITY {validity} after {self.uidvalidity}")
        modseq = _untagged(client, "HIGHESTMODSEQ")
        if modseq < self.modseq:
            raise Broken(f"{self.user}: HIGHESTMODSEQ {modseq} after {self.modseq}")
        self.modseq = modseq
        if uidnext <= max(self.highest, *self.removed, 0):
            raise Broken(f"{self.user}: UIDNEXT {uidnext} is not above {self.highest}")

    def _check_bodies(self, client: imaplib.IMAP4, uids: list[int]) -> None:
        if not uids:
            return
        answers = client.uid("FETCH", ",".join(map(str, uids)), "(UID BODY.PEEK[])")[1]
        for answer in answers:
            if not isinstance(answer, tuple):
                continue
            match = re.search(rb"UID ([0-9]+)", answer[0])
            assert match is not None
            number = self.known[int(match[1])]
            if not answer[1].replace(b"\r\n", b"\n").endswith(message(number)):
                raise Broken(f"{self.user}: IMAP shows another message than {number} by UID {int(match[1])}")


def _untagged(client: imaplib.IMAP4, name: str) -> int:
    value = client.untagged_responses[name][0]
    assert isinstance(value, bytes)
    return int(value)
