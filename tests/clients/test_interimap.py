"""InterIMAP: two accounts kept alike by QRESYNC, with LIST-STATUS, MULTIAPPEND, COMPRESS and UIDPLUS."""

from __future__ import annotations

import random
import re
import subprocess
from collections import Counter
from collections.abc import Iterable

import pytest

from tests.clients.support import Account, Programs, lines, message
from tests.helpers.server import eventually

FOLDERS = ("INBOX", "Archive", "Sent", "Work", "Work/Inner & Ä")


def quoted(folder: str) -> str:
    """As imaplib wants a name: in modified UTF-7, between quotes."""
    return '"' + folder.replace("&", "&-").replace("Ä", "&AMQ-") + '"'


class Pair:
    """Two accounts of the server, one of which is InterIMAP's "local" one."""

    def __init__(self, programs: Programs, near: Account, far: Account) -> None:
        self.near, self.far = near, far
        self._programs = programs
        self.config = programs.write("interimap.conf", lines(
            f"database = {programs.home}/state.db", "",
            "[local]", *self._server(near), "compress = NO", "",
            "[remote]", *self._server(far), "compress = YES",
        ))  # fmt: skip

    @staticmethod
    def _server(account: Account) -> Iterable[str]:
        yield from ("type = imaps", "host = localhost", f"port = {account.port('imaps')}", "auth = PLAIN")
        yield from (f"username = {account.user}", f"password = {account.password}", "SSL_verify = YES")
        yield f"SSL_CAfile = {account.authority}"

    def sync(self) -> str:
        return self._programs.run("interimap", f"--config={self.config}")

    def differences(self) -> list[object]:
        """Messages that are in one account only, by folder, subject and flags."""
        near, far = (
            Counter(
                (folder, subject, *sorted(flags))
                for folder in FOLDERS
                for subject, flags in side.flagged(quoted(folder))
            )
            for side in (self.near, self.far)
        )
        return [*(near - far), *(far - near)]

    def delete(self, folder: str) -> None:
        """On the remote side, and from what InterIMAP remembers."""
        targets = ("--target=remote", "--target=database")
        self._programs.run("interimap", f"--config={self.config}", *targets, "--delete", folder)


@pytest.fixture
def pair(programs: Programs, account: Account, other: Account) -> Pair:
    programs.path("interimap")
    client = account.imap()
    for folder in FOLDERS[3:]:
        assert client.create(quoted(folder))[0] == "OK"
    client.logout()
    account.deliver(*(message(f"near {number}", "ä\n" * number) for number in range(5)))
    other.deliver(*(message(f"far {number}") for number in range(5)))
    made = Pair(programs, account, other)
    made.sync()
    return made


def test_all_of_both_is_on_either_side(pair: Pair) -> None:
    assert sorted(pair.near.subjects()) == sorted(f"{side} {n}" for side in ("near", "far") for n in range(5))
    assert pair.differences() == []
    near, far = (
        {made["Subject"]: made.get_content() for made in side.fetch()} for side in (pair.near, pair.far)
    )
    assert near == far


def test_a_reconnect_without_changes_moves_nothing(pair: Pair) -> None:
    pair.sync()
    assert not re.search(r"UID|Appended|Removed|Updated", pair.sync())
    assert len(pair.far.subjects()) == 10


def test_renamed_and_deleted_folders(pair: Pair) -> None:
    near = pair.near.imap()
    assert near.rename(quoted("Work/Inner & Ä"), "Other")[0] == "OK"
    near.logout()
    pair.delete("Work/Inner &- &AMQ-")
    pair.sync()
    far = pair.far.imap()
    listed = b"\n".join(far.list()[1])
    far.logout()
    assert b"Other" in listed
    assert b"Inner" not in listed


def test_what_happens_is_told_to_one_that_watches(pair: Pair, programs: Programs) -> None:
    """NOTIFY on both sides; nothing is asked for."""
    words = (programs.path("interimap"), f"--config={pair.config}", "--watch=900", "--notify")
    with (
        open(programs.home / "watch.log", "wb") as log,
        subprocess.Popen(words, env=programs.environment, stdout=log, stderr=subprocess.STDOUT) as watching,
    ):
        try:
            pair.near.deliver(message("news"))
            eventually(lambda: "news" in pair.far.subjects())
            far = pair.far.imap()
            far.select("INBOX")
            far.store("2", "+FLAGS", "(\\Flagged)")
            [subject] = [name for name, flags in pair.far.flags().items() if "\\Flagged" in flags]
            eventually(lambda: "\\Flagged" in pair.near.flags()[subject])
            far.append(quoted("Work"), "", "", message("filed").as_bytes())
            eventually(lambda: pair.near.subjects(quoted("Work")) == ["filed"])
            far.logout()
            assert watching.poll() is None, (programs.home / "watch.log").read_text()
        finally:
            watching.terminate()


@pytest.mark.parametrize("seed", range(2))
def test_some_days_of_work_on_both_sides(pair: Pair, seed: int) -> None:
    rng = random.Random(seed)
    for day in range(6):
        for side in (pair.near, pair.far):
            work(side, rng, f"{seed}.{day}")
        pair.sync()
        assert pair.differences() == [], f"day {day}"


def work(account: Account, rng: random.Random, day: str) -> None:
    """New mail, flags, moves, deletions: at random."""
    account.deliver(*(message(f"{account.local_part} {day}.{n}") for n in range(rng.randrange(4))))
    client = account.imap()
    for folder in rng.sample(FOLDERS, 3):
        client.select(quoted(folder))
        uids = client.uid("SEARCH", "ALL")[1][0].decode().split()
        for uid in rng.sample(uids, min(3, len(uids))):
            match rng.randrange(4):
                case 0:
                    flag = rng.choice(("\\Seen", "\\Flagged", "\\Answered", "$Forwarded", "word"))
                    client.uid("STORE", uid, rng.choice("+-") + "FLAGS", f"({flag})")
                case 1:
                    client.uid("MOVE", uid, quoted(rng.choice(FOLDERS)))
                case 2:
                    client.uid("STORE", uid, "+FLAGS.SILENT", "(\\Deleted)")
                    client.uid("EXPUNGE", uid)
                case 3:
                    client.uid("COPY", uid, quoted(rng.choice(FOLDERS)))
    client.logout()
