"""Ten IMAP clients on one mailbox of a real store, each keeping what it is told; a model of what may be told.

Commits happen when a command is given; that they have happened, the sessions learn in a later turn of the
reactor, so commands overlap. Other programs deliver, rename and remove files meanwhile. Clients come and go:
one with QRESYNC comes back with what it remembers. Checked at every response: numbers, UIDs and texts belong
together, EXISTS never falls, nothing vanishes where that may not be told, flags of a message at one MODSEQ
are the same for everybody, MODSEQ rises. Checked when all is quiet: each client knows the mailbox as it is.

`python -m tests.imap.model [SECONDS [SEED]]` runs seed after seed for as long.
"""

from __future__ import annotations

import os
import random
import re
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from itertools import takewhile
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from mailserver.delivery.body import MemoryBody
from mailserver.delivery.local import LocalDelivery
from mailserver.disk.group_commit import Crew, _Submission, run_batch
from mailserver.disk.threads import Inbox, _Job
from mailserver.imap.flags import SYSTEM_FLAGS
from mailserver.interfaces import KEYWORD, Target
from mailserver.store.store import MailStore
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.settings import make_settings
from tests.helpers.store import ALICE, Listener, StoreClock, account_dir, drop_file, envelope
from tests.helpers.threads import ImmediatePool, ImmediateWriter

T = TypeVar("T")
FLAGS = ("\\Seen", "\\Deleted", "\\Deleted", "\\Flagged", "\\Answered", "$A", "$B")
BY_NUMBER = re.compile(r"(FETCH|STORE|SEARCH|UID SEARCH \d) ?")
ITEMS = ("UID FLAGS", "FLAGS", "UID MODSEQ", "FLAGS MODSEQ", "UID BODY.PEEK[]", "UID BODY[]", "UID ENVELOPE")


# --- a store whose news come later -------------------------------------------------------------------


class LateReactor:
    """What threads hand to the reactor waits for `turn`."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[Any, ...]] = deque()

    def callFromThread(self, *call: Any) -> None:
        self.waiting.append(call)

    def turn(self) -> bool:
        some = bool(self.waiting)
        for _ in range(len(self.waiting)):
            function, *args = self.waiting.popleft()
            function(*args)
        return some


class LatePool(ImmediatePool):
    inbox: Inbox

    def run(self, key: Hashable, function: Callable[..., T], *args: Any) -> Deferred[T]:
        job = _Job(function, args)
        job.run()
        self.inbox.post(job.fire)
        return job.deferred


class LateWriter(ImmediateWriter):
    inbox: Inbox

    def _run(self, batch: list[_Submission]) -> None:
        run_batch(batch, Crew(0))
        for submission in batch:
            self.inbox.post(submission.fire)


# --- what clients read ------------------------------------------------------------------------------


def responses(data: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Lines with `{n}` for each literal, and the literals."""
    at = 0
    while at < len(data):
        line, literals = b"", []
        while True:
            end = data.index(b"\r\n", at)
            line += data[at:end]
            at = end + 2
            announced = re.search(rb"\{(\d+)\}$", line)
            if announced is None:
                break
            literals.append(data[at : at + int(announced[1])])
            at += int(announced[1])
        yield line.decode("latin-1"), literals


def numbers_of(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition(":")
        yield from range(int(first), int(last or first) + 1)


def set_of(numbers: list[int]) -> str:
    return ",".join(map(str, numbers))


class Client:
    """mode: "", "CONDSTORE" or "QRESYNC". uids: by number, None for what was not fetched yet; flags, modseqs,
    highest: what it remembers, also while it is away."""

    def __init__(self, world: World, name: str, mode: str) -> None:
        self.world, self.name, self.mode = world, name, mode
        self.flags: dict[int, frozenset[str]] = {}
        self.modseqs: dict[int, int] = {}
        self.uids: list[int | None] = []
        self.highest = self.validity = self.number = 0
        self.line = ""
        self.log: deque[str] = deque(maxlen=100)
        self.seen = self.told = 0
        self.whole = False
        self.connect()

    # --- what it does

    def connect(self) -> None:
        self.wire = self.world.wire()
        self.away, self.ready, self.idling = False, False, False
        self.resolved, self.uids = True, []
        self.queue = ["LOGIN alice@example.org secret", *([f"ENABLE {self.mode}"] if self.mode else [])]
        self.queue.append(self.selection())
        self.next()

    def selection(self) -> str:
        if self.mode != "QRESYNC" or not self.highest:
            self.flags.clear()
            self.modseqs.clear()
            return "SELECT INBOX"
        chance, more = self.world.chance, ""
        known = sorted(self.flags)
        if known and chance.random() < 0.5:
            more += f" 1:{known[-1]}"
        if known and self.whole and chance.random() < 0.5:
            some = sorted(chance.sample(range(len(known)), min(len(known), 3)))
            more += f" ({set_of([n + 1 for n in some])} {set_of([known[n] for n in some])})"
        return f"SELECT INBOX (QRESYNC ({self.validity} {self.highest}{more}))"

    def lose(self) -> None:
        """What it remembers are the messages before the first that it never fetched: the others are new."""
        self.wire.lose()
        self.away, self.line, self.queue = True, "", []
        if self.ready:
            whole = list(takewhile(self.flags.__contains__, self.uids))
            self.whole = len(whole) == len(self.uids)  # then it knows the numbers as well
            for uid in self.flags.keys() - set(whole):
                self.forget(uid)

    @property
    def busy(self) -> bool:
        return bool(self.line) and not self.idling

    def next(self) -> None:
        if self.queue and not self.line:
            self.give(self.queue.pop(0))

    def give(self, line: str) -> None:
        self.number += 1
        self.line, self.seen, self.told = line, 0, 0
        self.heard: set[int] = set()  # whose flags were told since the command was given
        self.dated: set[int] = set()  # whose MODSEQ was
        self.silent: set[int] = set()
        if ".SILENT" in line:
            numbers = numbers_of(line.removeprefix("UID ").split()[1])
            named = self.uids if line.startswith("UID") else dict(enumerate(self.uids, 1))
            self.silent = (
                {n for n in numbers if n in named}
                if line.startswith("UID")
                else {uid for n in numbers if (uid := named.get(n)) is not None}
            )
        self.log.append(f"C: {line}")
        if line.startswith("SELECT"):
            self.uids, self.resolved = [], self.mode != "QRESYNC" or "QRESYNC" not in line
        self.wire.feed(f"t{self.number} {line}\r\n".encode())

    # --- what it is told

    def read(self) -> None:
        if self.away:
            return
        for line, literals in responses(self.wire.take()):
            self.log.append(f"S: {line}")
            try:
                self.response(line, literals)
            except AssertionError as error:
                error.add_note("\n  ".join([f"{self.name} ({self.mode}) {self.uids}", *self.log]))
                raise

    def response(self, line: str, literals: list[bytes]) -> None:
        tagged = re.match(rf"t{self.number} (OK|NO|BAD) (.*)", line)
        if tagged is not None:
            self.done(tagged[1], tagged[2])
        elif line.startswith("* VANISHED (EARLIER) "):
            assert not self.resolved or "VANISHED" in self.line
            for uid in numbers_of(line[21:]):
                assert uid not in self.uids, "EARLIER for a message with a number"
                self.forget(uid)
        elif line.startswith("* VANISHED "):
            assert self.mode == "QRESYNC"
            self.resolve()
            for uid in numbers_of(line[11:]):
                self.vanished(uid)
        elif (match := re.match(r"\* (\d+) (EXISTS|EXPUNGE|FETCH)(.*)", line)) is not None:
            self.numbered(int(match[1]), match[2], match[3], literals)
        elif (match := re.match(r"\* OK \[(\w+) (\d+)\]", line)) is not None:
            self.code(match[1], int(match[2]))
        elif line.startswith("* SEARCH"):
            self.found(line)
        elif line.startswith("+ idling"):
            self.idling = True
        assert not line.startswith("* BYE"), line

    def numbered(self, number: int, what: str, rest: str, literals: list[bytes]) -> None:
        if what == "EXISTS":
            assert number >= len(self.uids), "EXISTS fell"
            self.uids += [None] * (number - len(self.uids))
            return
        self.resolve()
        assert number <= len(self.uids), f"{what} of a number that is not known"
        if what == "EXPUNGE":
            assert self.mode != "QRESYNC"
            assert not BY_NUMBER.match(self.line), "EXPUNGE during FETCH, STORE, SEARCH"
            uid = self.uids.pop(number - 1)
            if uid is not None:
                self.forget(uid)
        else:
            self.fetched(number, rest, literals)

    def vanished(self, uid: int) -> None:
        assert not BY_NUMBER.match(self.line), "VANISHED during FETCH, STORE, SEARCH"
        if uid in self.uids:
            self.uids.remove(uid)
        else:  # one of those that were announced and not fetched yet
            before = [n for n, known in enumerate(self.uids) if known is not None and known < uid]
            place = before[-1] + 1 if before else 0
            assert self.uids[place : place + 1] == [None], f"VANISHED {uid}, which was not announced"
            del self.uids[place]
        self.forget(uid)

    def forget(self, uid: int) -> None:
        self.flags.pop(uid, None)
        self.modseqs.pop(uid, None)

    def fetched(self, number: int, rest: str, literals: list[bytes]) -> None:
        uid, modseq = re.search(r"UID (\d+)", rest), re.search(r"MODSEQ \((\d+)\)", rest)
        flags = re.search(r"FLAGS \(([^)]*)\)", rest)
        if uid is not None:
            known = self.uids[number - 1]
            assert known in (None, int(uid[1])), "another message under this number"
            self.uids[number - 1] = int(uid[1])
        if self.mode and "FETCH" not in self.line:
            assert uid is not None and modseq is not None, f"without UID or MODSEQ: {rest}"
        owner = self.uids[number - 1]
        if owner is None:
            return
        if modseq is not None:
            assert int(modseq[1]) >= self.modseqs.get(owner, 0), "MODSEQ fell"
            self.modseqs[owner] = int(modseq[1])
            self.dated.add(owner)
            self.seen = max(self.seen, int(modseq[1]))
        if flags is not None:
            self.flags[owner] = frozenset(flags[1].split()) - {"\\Recent"}
            self.heard.add(owner)
            if modseq is not None:
                self.world.at(owner, int(modseq[1]), self.flags[owner])
        if literals:
            self.world.text(owner, literals[0])

    def code(self, name: str, value: int) -> None:
        if name == "HIGHESTMODSEQ":
            self.told = value
        elif name == "UIDVALIDITY":
            assert self.validity in (0, value)
            self.validity = value

    def found(self, line: str) -> None:
        numbers = [int(number) for number in re.sub(r" \(MODSEQ \d+\)", "", line)[8:].split()]
        assert numbers == sorted(set(numbers))
        if "UID SEARCH" not in self.line:
            assert all(number <= len(self.uids) for number in numbers)

    def resolve(self) -> None:
        """After VANISHED (EARLIER) what is remembered are the first messages of the mailbox."""
        if not self.resolved:
            self.resolved = True
            known = sorted(self.flags)
            assert len(known) <= len(self.uids), "something went and was not told"
            self.uids[: len(known)] = known

    def done(self, status: str, rest: str) -> None:
        assert status != "BAD", f"{self.line}: {rest}"
        self.resolve()
        code = re.match(r"\[HIGHESTMODSEQ (\d+)\]", rest)
        highest = int(code[1]) if code is not None else self.told
        if self.ready or self.line.startswith("SELECT"):
            self.highest = highest or max(self.highest, self.seen)
        if self.line.startswith("SELECT"):
            self.ready = True
        failed = self.judge(rest) if "UNCHANGEDSINCE" in self.line else set()
        for uid in self.silent - failed - self.heard:
            if uid in self.flags:
                self.flags[uid] = self.stored(self.flags[uid])
        self.line, self.idling = "", False
        unknown = None in self.uids or any(uid not in self.flags for uid in self.uids)
        if self.ready and unknown and not self.queue:
            first = max((uid for uid in self.flags), default=0) + 1 if None in self.uids else 1
            items = "UID FLAGS MODSEQ" if self.mode else "UID FLAGS"
            self.queue.append(f"UID FETCH {first if self.world.chance.random() < 0.8 else 1}:* ({items})")

    def stored(self, flags: frozenset[str]) -> frozenset[str]:
        """What STORE .SILENT makes of the flags, of which the client is not told."""
        what = re.search(r"([+-]?)FLAGS.SILENT \((.*)\)", self.line)
        assert what is not None
        given = frozenset(what[2].split())
        return flags | given if what[1] == "+" else flags - given if what[1] == "-" else given

    def judge(self, rest: str) -> set[int]:
        """What failed has been told as it is now, and is newer (RFC 7162, 3.1.3)."""
        since = int(re.search(r"UNCHANGEDSINCE (\d+)", self.line)[1])  # type: ignore[index]
        modified = re.search(r"MODIFIED ([0-9:,]+)", rest)
        failed: set[int] = set()
        for number in numbers_of(modified[1]) if modified is not None else ():
            uid = number if self.line.startswith("UID") else self.uids[number - 1]
            if uid is not None:
                assert self.modseqs.get(uid, since + 1) > since
                failed.add(uid)
        for uid in self.silent & self.dated - failed - self.heard:
            self.world.passed(uid, self.modseqs[uid], since)
        return failed


# --- the world --------------------------------------------------------------------------------------


class World:
    def __init__(self, folder: str, seed: int, clients: int = 10) -> None:
        self.chance = random.Random(seed)
        self.late = LateReactor()
        inbox = Inbox(self.late)  # type: ignore[arg-type]
        pool, writer = LatePool(inbox), LateWriter(inbox)
        pool.inbox = writer.inbox = inbox
        settings = make_settings(data_dir=folder)
        self.store = MailStore(settings, StoreClock(), pool, writer, inbox, host="mx")
        self.store.writer.start()
        self.store.spool.prepare()
        self.texts: dict[int, bytes] = {}
        self.history: dict[tuple[int, int], frozenset[str]] = {}
        self.clients: list[Client] = []
        self.count = 0
        account = self.wait(self.store.account(ALICE))
        self.folder = account_dir(self.store)
        self.mailbox = self.wait(account.open("INBOX", Listener()))
        self.server = ImapServer(account)
        for _ in range(8):
            self.deliver()
        modes = ("QRESYNC", "CONDSTORE", "QRESYNC", "")
        self.clients += [Client(self, f"c{n}", modes[n % 4]) for n in range(clients)]
        self.settle()

    def wire(self) -> Any:
        """A new connection."""
        return ImapClient(self.server)

    def wait(self, deferred: Deferred[Any]) -> Any:
        results: list[Any] = []
        deferred.addBoth(results.append)
        while not results:
            assert self.late.turn()
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]

    def turn(self) -> bool:
        some = self.late.turn()
        self.server.settle()
        for client in self.clients:
            client.read()
        return some

    def settle(self) -> None:
        """Until nobody waits for anything."""
        for _ in range(1000):
            some = self.turn()
            for client in self.clients:
                client.next()
            if not some and not any(client.busy or client.queue for client in self.clients):
                return
        raise AssertionError(f"waiting: {[client.line for client in self.clients]}")

    # --- what everybody agrees on

    def at(self, uid: int, modseq: int, flags: frozenset[str]) -> None:
        assert self.history.setdefault((uid, modseq), flags) == flags, f"UID {uid} at MODSEQ {modseq}"

    def passed(self, uid: int, modseq: int, since: int) -> None:
        """A conditional STORE has changed it: what it was before is not newer than the condition."""
        before = [when for one, when in self.history if one == uid and when < modseq]
        assert max(before, default=0) <= since

    def text(self, uid: int, text: bytes) -> None:
        subject = text.partition(b"Subject: ")[2].partition(b"\r\n")[0]
        assert self.texts.setdefault(uid, subject) == subject, "another message's text"

    def check(self) -> None:
        """All is quiet: every client says NOOP, and knows all."""
        self.settle()
        self.store.reactor.advance(1)
        for client in self.clients:
            if client.away:
                client.connect()
            elif client.idling:
                client.wire.feed(b"DONE\r\n")
        self.settle()
        for _ in range(2):
            for client in self.clients:
                client.queue.append("NOOP")
                client.next()
            self.settle()
        mailbox = self.mailbox
        names = [self.names(bits) for bits in mailbox.flags]
        for client in self.clients:
            assert client.uids == list(mailbox.uids), client.name
            assert client.flags == dict(zip(mailbox.uids, names, strict=True)), client.name
            if client.mode == "QRESYNC":
                assert client.highest <= mailbox.highestmodseq
                known = dict(zip(mailbox.uids, mailbox.modseqs, strict=True))
                assert all(known[uid] == modseq for uid, modseq in client.modseqs.items()), client.name

    def names(self, bits: int) -> frozenset[str]:
        found = {name.decode() for bit, name in SYSTEM_FLAGS if bits & bit}
        return frozenset(
            found | {k for n, k in enumerate(self.mailbox.keywords) if bits >> (KEYWORD + n) & 1}
        )

    # --- what happens

    def deliver(self) -> None:
        self.count += 1
        content = b"Subject: %d\n\ntext\n" % self.count
        if self.chance.random() < 0.7:
            targets = (Target(ALICE, ALICE),)
            LocalDelivery(self.store).deliver(envelope(), b"", MemoryBody(content), targets)
        else:
            drop_file(self.folder, f"{self.count}.foreign", content)

    def outside(self) -> None:
        """Another program at the files."""
        names = [f"{sub}/{name}" for sub in ("new", "cur") for name in os.listdir(self.folder / sub)]
        if not names:
            return
        chosen = self.folder / self.chance.choice(sorted(names))
        with suppress(FileNotFoundError):  # a server in another process was quicker
            if self.chance.random() < 0.3:
                chosen.unlink()
                return
            base, _, letters = chosen.name.partition(":2,")
            changed = "".join(sorted(set(letters) ^ {self.chance.choice("FSR")}))
            os.rename(chosen, self.folder / "cur" / f"{base}:2,{changed}")

    def step(self) -> None:
        chance, client = self.chance, self.chance.choice(self.clients)
        luck = chance.random()
        if luck < 0.06 or len(self.mailbox.uids) < 3:
            self.deliver()
        elif luck < 0.09:
            self.outside()
        elif luck < 0.12 and not client.away:
            client.lose()
        elif client.away:
            client.connect()
        elif client.idling:
            if chance.random() < 0.3:
                client.wire.feed(b"DONE\r\n")
        elif not client.busy:
            if not client.queue:
                client.queue.append(self.command(client))
            client.next()
        if chance.random() < 0.5:
            self.turn()

    def command(self, client: Client) -> str:
        chance = self.chance
        kind = chance.choice(
            ("FETCH", "FETCH", "STORE", "STORE", "STORE", "SEARCH", "COPY", "MOVE", "EXPUNGE", "NOOP", "IDLE")
        )
        if kind in ("NOOP", "IDLE", "EXPUNGE") or not client.uids:
            return kind if client.uids else "NOOP"
        uid = chance.random() < 0.5
        prefix, numbers = ("UID ", self.some_uids()) if uid else ("", self.some(len(client.uids)))
        if kind == "FETCH":
            items = chance.choice(ITEMS if client.mode else [item for item in ITEMS if "MODSEQ" not in item])
            more = ""
            if client.mode and chance.random() < 0.3:
                vanished = " VANISHED" if uid and client.mode == "QRESYNC" else ""
                more = f" (CHANGEDSINCE {max(client.highest - chance.randrange(5), 1)}{vanished})"
            return f"{prefix}FETCH {numbers} ({items}){more}"
        if kind == "STORE":
            condition = ""
            if client.mode and chance.random() < 0.4:
                condition = f" (UNCHANGEDSINCE {max(client.highest - chance.randrange(3), 0)})"
            flags = " ".join(sorted(set(chance.sample(FLAGS, chance.randint(0, 2)))))
            silent = chance.choice(("", ".SILENT"))
            sign = chance.choice(("", "+", "+", "-"))
            return f"{prefix}STORE {numbers}{condition} {sign}FLAGS{silent} ({flags})"
        if kind == "SEARCH":
            keys = ["ALL", "SEEN", "NOT DELETED", "1:3", "SUBJECT 1", *(["MODSEQ 5"] if client.mode else [])]
            return f"{prefix}SEARCH {chance.choice(keys)}"
        return f"{prefix}{kind} {numbers} {chance.choice(('INBOX', 'INBOX', 'Trash'))}"

    def some(self, limit: int) -> str:
        low = self.chance.randint(1, max(limit, 1))
        return f"{low}:{min(low + self.chance.randrange(4), max(limit, 1))}"

    def some_uids(self) -> str:
        uid = self.chance.choice(list(self.mailbox.uids)) if self.mailbox.uids else 1
        return f"{uid}:{uid + self.chance.randrange(6)}"


def run(folder: str, seed: int, steps: int = 300, every: int = 100) -> World:
    """Raises AssertionError, with the dialogs of those who were concerned."""
    return live(World(folder, seed), seed, steps, every)


W = TypeVar("W", bound=World)


def live(world: W, seed: int, steps: int, every: int) -> W:
    """Steps, with a look at all that clients know after every so many. Raises as `run`."""
    try:
        for number in range(1, steps + 1):
            world.step()
            if number % every == 0:
                world.check()
    except BaseException as error:
        error.add_note(f"seed {seed}")
        for client in world.clients:
            if client.name == re.split("[:\n]", str(error))[0]:
                error.add_note("\n  ".join([f"{client.name} ({client.mode}) {client.uids}", *client.log]))
        raise
    return world


def main(what: str, one: Callable[[str, int], object]) -> int:
    """Worlds of 600 steps or so for the seconds, and from the seed, that the command line says. one: a world
    in a folder of its own."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 1_000_000
    end, first = time.monotonic() + seconds, seed
    print(f"seeds from {seed}, for {seconds:g} s{what}", flush=True)
    while time.monotonic() < end:
        with tempfile.TemporaryDirectory(prefix="mailserver-model-") as folder:
            one(folder, seed)
        seed += 1
    print(f"{seed - first} worlds of ten sessions, and no client was ever told a wrong thing")
    return 0


if __name__ == "__main__":
    sys.exit(main("", lambda folder, seed: run(folder, seed, steps=600)))
