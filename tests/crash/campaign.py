"""Cycles of start, load, kill -9 and comparison, all on one data directory."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mailserver.store.index.database import FILE as INDEX
from tests.crash.load import GONE, REMOTE, append, delete, deliver
from tests.crash.mailbox import Broken, Mailbox
from tests.crash.record import Record
from tests.crash.sink import Sink
from tests.helpers.server import Server, eventually

CONNECTIONS = 4
LONGEST = 0.5  # seconds of load before the kill
EARLY = 0.15  # how many kills come while the server starts
POLITE = 0.1  # how many ends are a SIGTERM under the same load (CASES F13)
NO_INDEX = 0.05  # how often the indexes are lost as well: UIDs are in the names, UIDNEXT is in the folder


class Campaign:
    """workers: processes of the server, all killed at once. kills: how many there were; early, lost: of them
    during a start, and before a loss of the indexes; stops: ends by SIGTERM."""

    def __init__(self, folder: Path, seed: int, workers: int = 1) -> None:
        self.dice = random.Random(seed)
        self.record = Record(random.Random(seed + 1))
        self.sink = Sink()
        self.server = Server(
            folder,
            services=("smtp", "imap", "pop3"),
            keys={"workers": workers},
            relay={
                "networks": ["127.0.0.0/8"],
                "retry": ["1s"],
                "routes": {"remote.example": f"127.0.0.1:{self.sink.port}"},
            },
        )
        self.mailboxes = [Mailbox(user, self.record) for user in ("alice", "bob")]
        self.kills = self.early = self.lost = self.stops = 0
        self._threads: list[threading.Thread] = []
        self._pause = threading.Event()
        self._faults: list[BaseException] = []

    def cycle(self) -> None:
        """One start, one end, and everything compared. Raises Broken."""
        self.server.start(ready=False)
        if self.dice.random() < EARLY:
            self._pause.wait(self.dice.uniform(0, 1.5))
            self.early += 1
        else:
            self.server.wait_ready()
            self._check_shown(3)
            self._load()
            if self.dice.random() < POLITE:
                self._stop()
                self.stops += 1
        if self.server.process is not None:
            self.server.kill()
            self.kills += 1
        self._join()
        self._check_files()
        if self.dice.random() < NO_INDEX:
            self._lose_indexes()

    def finish(self) -> None:
        """A last start: everything is shown, and what was accepted for elsewhere arrives there."""
        self.server.start()
        wanted = {number for number, copies in self.record.of_user(REMOTE).items() if copies.accepted}
        eventually(lambda: wanted <= set(self.sink.received), 60, "accepted mail for elsewhere arrives")
        eventually(self._queue_is_empty, 60, "the queue gets empty")
        self._stop()
        self._check_files()
        self.server.start()
        self._check_shown(None)
        self._stop()
        lost = [(mailbox.user, number) for mailbox in self.mailboxes for number in mailbox.awaited()]
        if lost:
            raise Broken(f"accepted and nowhere: {lost[:9]}")
        if self.sink.faults:
            raise Broken(self.sink.faults[0])
        if "Traceback" in self.server.log():
            raise Broken(f"the server's log has a traceback: {self.server.folder}")

    def _stop(self) -> None:
        status = self.server.stop()
        if status:
            raise Broken(f"the server ended with status {status}")

    def _queue_is_empty(self) -> bool:
        return not any(path.is_file() for path in (self.server.data / "queue" / "messages").rglob("*"))

    def close(self) -> None:
        self.server.kill()
        self.sink.close()

    def summary(self) -> str:
        copies = [self.record.of_user(mailbox.user) for mailbox in self.mailboxes]
        there = sum(len(mailbox.known) for mailbox in self.mailboxes)
        doubles = sum(
            mailbox.ever[number] - 1
            for mailbox, of_user in zip(self.mailboxes, copies, strict=True)
            for number in of_user
            if mailbox.ever[number] > 1
        )
        removed = sum(len(mailbox.removed) for mailbox in self.mailboxes)
        relayed, again = len(self.sink.received), self.sink.received.total() - len(self.sink.received)
        return (
            f"{self.kills} kills ({self.early} during a start, {self.lost} with the indexes lost), "
            f"{self.stops} stops, {self.record.accepted} accepted, {there} there, {removed} deleted, "
            f"{doubles} twice without an answer seen, {relayed} relayed ({again} again)"
        )

    # --- one cycle --------------------------------------------------------------------------------

    def _load(self) -> None:
        server, record = self.server, self.record
        bob = self.mailboxes[1]
        known, dice = set(bob.known), random.Random(self.dice.random())
        work: list[Callable[[], None]] = [lambda: deliver(server, record) for _ in range(CONNECTIONS)]
        work.append(lambda: append(server, record))
        work.append(lambda: delete(server, known, bob.asked_to_delete, dice))
        self._threads = [threading.Thread(target=self._guard, args=(job,), daemon=True) for job in work]
        for thread in self._threads:
            thread.start()
        self._pause.wait(self.dice.uniform(0, LONGEST))

    def _guard(self, job: Callable[[], None]) -> None:
        try:
            job()
        except GONE:
            return
        except BaseException as error:
            self._faults.append(error)

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(30)
        self._threads = []
        self.record.hung_up()
        if self._faults:
            raise self._faults[0]
        if self.record.refused:
            raise Broken(f"refused: {self.record.refused[0]}")

    def _lose_indexes(self) -> None:
        for mailbox in self.mailboxes:
            for path in self.server.maildir(mailbox.user).glob(INDEX + "*"):
                path.unlink()
        self.lost += 1

    def _check_files(self) -> None:
        for mailbox in self.mailboxes:
            maildir = self.server.maildir(mailbox.user)
            if maildir.exists():
                mailbox.check_files(maildir)

    def _check_shown(self, bodies: int | None) -> None:
        for mailbox in self.mailboxes:
            try:
                mailbox.check_imap(self.server, self.dice, bodies)
            except GONE as error:
                process = self.server.process
                status = process.poll() if process is not None else "none"
                log = self.server.log()[-3000:]
                raise Broken(f"{error!r} while no kill was due (process: {status}); log: {log}") from error


def run(
    folder: Path,
    kills: int,
    seed: int,
    tell: Callable[[str], None] = lambda line: None,
    *,
    workers: int = 1,
) -> Campaign:
    """So many kills, then the last look. `tell` is given a line of progress now and then."""
    campaign = Campaign(folder, seed, workers)
    began = time.monotonic()
    try:
        while campaign.kills < kills:
            campaign.cycle()
            cycles = campaign.kills + campaign.stops
            if cycles % 10 == 0:
                tell(f"{campaign.summary()}, {(time.monotonic() - began) / cycles:.2f} s each")
        campaign.finish()
    finally:
        campaign.close()
    return campaign
