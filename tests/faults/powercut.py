"""The power goes out at every moment of a load: what a file system may have left then is started on.

A load runs once on a watched folder. Its operations are played again into a `Disk`, and after each of them
the states that a power cut may leave are made and a server is started on them. What clients had been told by
then has to be there whole, with its UIDs; of the command that was under way there may be everything, nothing,
or a part, but each message whole. STORE may be forgotten, for it promises no more than the death of the
process; so may the marks of POP3.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.crash.messages import message
from tests.faults.campaign import State, memory_folder
from tests.faults.disk import Disk, choices
from tests.faults.scenarios import SMALL, append, deliver, session
from tests.faults.world import START, Broken, Client, Refused, World
from tests.helpers.syscalls import Watched

REPORT = (0, "load@sender.example")
AFTER = "boot2/after"  # the name of the server that starts after the power cut: another boot
DATA = ("none", "torn", "all")


@define
class Told:
    """What clients know at a moment."""

    state: State


@define
class Recording:
    """Operations (call, path, arguments), and what was told between them."""

    steps: list[tuple[str, str, tuple[Any, ...]] | Told] = field(factory=list)
    resting: bool = True
    world: World | None = None

    def done(self, call: str, path: str, arguments: tuple[Any, ...]) -> None:
        if not self.resting:
            self.steps.append((call, path, arguments))

    def tell(self) -> None:
        world = self.world
        assert world is not None
        state = State(world.boxes(), world.elsewhere.received.copy(), world.queued())
        self.steps.append(Told(state))


Command = Callable[[World], None]


def record(folder: Path, setup: Command, commands: Sequence[Command]) -> Recording:
    """The folder `begin` is what was there before, on the disk; `data` is where the load runs."""
    recording = Recording()
    data = folder / "data"
    with Watched(str(data)).watching(lambda *_: None, recording.done):
        world = recording.world = World(data)
        setup(world)
        world.reactor.settle(5)
        world.store.stop()
        world.crash()
        shutil.copytree(data, folder / "begin")
        recording.resting = False
        world = recording.world = World(data, world.reactor.seconds() + 1)
        recording.tell()
        for command in commands:
            command(world)
            recording.tell()
        recording.resting = True
        world.crash()
    return recording


@define
class PowerCuts:
    """most: states that are looked at for each moment and kind of data. one: only one of them."""

    folder: Path
    recording: Recording
    dice: random.Random
    most: int
    states: int = 0
    cuts: int = 0
    one: bool = False

    def run(self, every: int = 1) -> None:
        """Raises Broken."""
        disk = Disk(self.folder / "begin")
        told: list[State] = []
        coming = [step.state for step in self.recording.steps if isinstance(step, Told)]
        for number, step in enumerate(self.recording.steps):
            if isinstance(step, Told):
                told.append(coming.pop(0))
                continue
            if not disk.do(*step) or not told:
                continue
            self.cuts += 1
            if self.cuts % every == 0:
                self._cut(disk, number, step, told, coming[0] if coming else told[-1])

    def _cut(self, disk: Disk, number: int, step: Any, told: list[State], coming: State) -> None:
        changes = disk.open_changes()
        left = [(kept, data) for kept in choices(changes, self.most, self.dice) for data in DATA]
        for kept, data in [self.dice.choice(left)] if self.one else left:
            folder = self.folder / "left"
            disk.rebuild(folder, kept, data, self.dice)
            try:
                self._look(folder, told, coming)
            except Broken as broken:
                names = [f"{'+' if kept(one) else '-'}{one.name}" for one in changes]
                what = f"{number} {step[0]} {step[1]}"
                raise Broken(f"cut after {what}, data {data}, names {names}: {broken}") from broken
            finally:
                shutil.rmtree(folder)
            self.states += 1

    def _look(self, left: Path, told: list[State], coming: State) -> None:
        world = World(left, START + 20_000.0, run=AFTER)
        try:
            world.manage(900.0)
            state = State(world.boxes(), world.elsewhere.received)
            if world.errors:
                raise Broken("\n".join(world.errors))
        finally:
            world.crash()
        check(state, told, coming)


def check(state: State, told: list[State], coming: State) -> None:
    """told: what clients were told so far, the latest last; coming: what they will be told next."""
    now, found = told[-1].counts(), state.counts()
    lost = (now & coming.counts()) - found
    if lost:
        raise Broken(f"promised and lost: {dict(lost)}")
    queued = _on_their_way(told[-1], coming)
    more = found.keys() - now.keys() - coming.counts().keys() - queued
    if more:
        raise Broken(f"from nowhere: {more}")
    most = {key: max(now[key], coming.counts()[key], 1) + (key in queued) for key in found}
    back = {key: found[key] for key in found if found[key] > most[key]}
    if back:
        raise Broken(f"more often than it was sent: {back}")
    gone = {number for _, number in now} & {number for _, number in coming.counts()}
    if nowhere := gone - {number for _, number in found}:
        raise Broken(f"nowhere any more: {nowhere}")
    sent = state.remote.keys() | coming.remote.keys()
    for number, address in told[-1].queued:
        user, _, domain = address.partition("@")
        arrived = (f"{user}/INBOX", number) in found if domain == "example.org" else (number, address) in sent
        if not arrived and not (user == "no" and REPORT in sent):
            raise Broken(f"accepted and never sent: {number} to {address}")
    _identities(state, told, coming)


def _on_their_way(now: State, coming: State) -> set[tuple[str, int]]:
    """Where the queue may have brought them meanwhile, once or, where it could not note that, again."""
    queued = {(f"{to.partition('@')[0]}/INBOX", number) for number, to in now.queued | coming.queued}
    passed = {number for number, _ in coming.remote.keys() - now.remote.keys()}  # in and out since
    return queued | {(f"{user}/INBOX", number) for number in passed for user in ("alice", "bob")}


def _identities(state: State, told: list[State], coming: State) -> None:
    """A UID stands for one message for ever; numbers that were told are not given again."""
    for name, box in state.boxes.items():
        known: dict[int, int] = {}
        uidnext = modseq = 0
        for one in told:
            if name in one.boxes and one.boxes[name].uidvalidity == box.uidvalidity:
                known |= {uid: number for uid, (number, _) in one.boxes[name].messages.items()}
                uidnext = max(uidnext, one.boxes[name].uidnext)
                modseq = max(modseq, one.boxes[name].modseq)
        latest = told[-1].boxes.get(name)
        if latest is not None and name in coming.boxes and latest.uidvalidity != box.uidvalidity:
            raise Broken(f"{name}: UIDVALIDITY {box.uidvalidity} after {latest.uidvalidity}")
        for uid, (number, _) in box.messages.items():
            if known.get(uid, number) != number:
                raise Broken(f"{name}: UID {uid} is {number} and was {known[uid]}")
            if uid not in known and uid < uidnext:
                raise Broken(f"{name}: UID {uid} was given again, below {uidnext}")
        if box.modseq < modseq or box.uidnext < uidnext:
            raise Broken(f"{name}: UIDNEXT {box.uidnext}, MODSEQ {box.modseq} after {uidnext}, {modseq}")


# --- loads ----------------------------------------------------------------------------------------


def _imap(*commands: bytes, user: str = "alice", folder: bytes = b"INBOX") -> Command:
    def act(world: World) -> None:
        client = session(world, folder, user)
        for command in commands:
            client.imap(command)
        client.close()

    return act


def _delivered(number: int, *to: str) -> Command:
    return lambda world: deliver(world, SMALL[number], *to)


def _delivered_as(number: int, *to: str) -> Command:
    return lambda world: deliver(world, number, *to)


def _appended(folder: str, *numbers: int) -> Command:
    return lambda world: append(world, folder, *(SMALL[number] for number in numbers), flags="\\Seen word")


def _pop3(*lines: bytes) -> Command:
    def act(world: World) -> None:
        client = Client(world, "pop3")
        for line in (b"USER alice@example.org", b"PASS x", *lines, b"QUIT"):
            with suppress(Refused):  # of an empty mailbox
                client.pop3(line)

    return act


def _managed(seconds: float) -> Command:
    return lambda world: world.manage(seconds)


def _together(*numbers: int) -> Command:
    """Deliveries that share a batch of the writer, of messages by their place in SMALL."""
    return _batch(*(SMALL[number] for number in numbers))


def _batch(*numbers: int) -> Command:

    def act(world: World) -> None:
        world.writer.hold = True
        clients = []
        for number in numbers:
            client = Client(world, "smtp")
            for line in (b"EHLO x", b"MAIL FROM:<load@sender.example>", b"RCPT TO:<alice@example.org>"):
                client.smtp(line + b"\r\n")
            client.smtp(b"RCPT TO:<bob@example.org>\r\n" if number % 2 else b"NOOP\r\n")
            client.smtp(b"DATA\r\n")
            wire = message(number).replace(b"\n", b"\r\n")
            client.connection.dataReceived(wire.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            clients.append(client)
        world.writer.hold = False
        world.writer.flush()
        for client in clients:
            client.smtp(b"")
            client.close()

    return act


def _begin(world: World) -> None:
    """Two accounts, mail, a folder, and something in the queue."""
    for number in range(3):
        deliver(world, SMALL[number], "alice")
    deliver(world, SMALL[3], "bob", "early@far.example")
    session(world, user="bob")
    session(world).imap(b"CREATE Work")
    append(world, "Work", SMALL[4], flags="\\Seen kept")
    session(world, b"INBOX").imap(b"STORE 2 +FLAGS.SILENT (\\Deleted word)")


LOADS: dict[str, tuple[Command, ...]] = {
    "delivery": (_delivered(5, "alice"), _delivered(6, "alice", "bob")),
    "batch": (_together(5, 6, 7, 8), _together(9, 10)),
    "queue": (
        _delivered(5, "x@far.example", "late@far.example", "no@far.example", "bob"),
        _managed(1.0),
        _delivered(6, "y@far.example"),
        _managed(200.0),
    ),
    "append": (_appended("Work", 5), _appended("INBOX", 6, 7)),
    "copy": (_imap(b"UID COPY 1:3 Work"), _imap(b"UID COPY 2 INBOX")),
    "move": (_imap(b"UID MOVE 1:2 Work"), _imap(b"UID MOVE 1 INBOX", folder=b"Work")),
    "expunge": (_imap(b"EXPUNGE"), _delivered(5, "alice"), _pop3(b"DELE 1")),
    "store": (_imap(b"STORE 1:3 +FLAGS (\\Flagged other)"), lambda world: world.reactor.settle(2.0)),
    "folders": (_imap(b"CREATE Fresh"), _imap(b"RENAME Work Play"), _imap(b"DELETE Fresh")),
}


def mixed(dice: random.Random, length: int) -> list[Command]:
    """Everything, in any order."""
    numbers = iter(range(20, 20 + 4 * length))
    some: list[Callable[[], Command]] = [
        lambda: _delivered(next(numbers), dice.choice(("alice", "bob"))),
        lambda: _delivered(next(numbers), "alice", "bob"),
        lambda: _delivered(next(numbers), "alice", f"r{next(numbers)}@far.example"),
        lambda: _together(next(numbers), next(numbers), next(numbers)),
        lambda: _managed(dice.choice((1.0, 70.0))),
        lambda: _appended(dice.choice(("Work", "INBOX")), next(numbers), next(numbers)),
        lambda: _imap(b"UID COPY 1:2 Work"),
        lambda: _imap(b"UID MOVE 1:%d Work" % dice.randrange(1, 5)),
        lambda: _imap(b"UID MOVE 1:%d INBOX" % dice.randrange(1, 5), folder=b"Work"),
        lambda: _imap(b"UID STORE %d +FLAGS (\\Deleted)" % dice.randrange(1, 9), b"EXPUNGE"),
        lambda: _imap(b"UID STORE 1:* +FLAGS (\\Seen)"),
        lambda: _pop3(b"DELE 1"),
        lambda: lambda world: world.reactor.settle(3.0),
    ]
    return [dice.choice(some)() for _ in range(length)]


def stream(deliveries: int) -> list[Command]:
    """Mail and nothing else, some of it in batches, some for the queue; now and then boxes are emptied, so
    that the thousandth delivery is as quick to look at as the first."""
    small = (number for number in count(200) if len(message(number)) < 2000)
    commands: list[Command] = []
    for batch in range(deliveries // 8):
        numbers = [next(small) for _ in range(8)]
        commands.append(_batch(*numbers[:6]))
        commands.append(_delivered_as(numbers[6], "alice", f"r{numbers[6]}@far.example"))
        commands.append(_delivered_as(numbers[7], "bob"))
        if batch % 4 == 3:
            commands.append(_managed(70.0))
            for user in ("alice", "bob"):
                commands.append(_imap(rb"STORE 1:* +FLAGS.SILENT (\Deleted)", b"EXPUNGE", user=user))
    return commands


def run(name: str, seed: int, *, every: int = 1, most: int = 16, length: int = 40) -> PowerCuts:
    """A load of `LOADS`, "mixed", or a "stream" of so many deliveries. Raises Broken."""
    folder = memory_folder()
    dice = random.Random(seed)
    try:
        commands = stream(length) if name == "stream" else LOADS.get(name) or mixed(dice, length)
        recording = record(folder, _begin, commands)
        cuts = PowerCuts(folder, recording, dice, most, one=name == "stream")
        cuts.run(every)
    finally:
        shutil.rmtree(folder)
    return cuts
