"""One scenario with one fault after the other, each on a fresh copy of the same data directory.

What has to hold, whatever fails:

- every command is answered, by a yes or by a temporary no; nothing unexpected is raised on the way;
- after a yes and a kill at that moment a new start finds what was promised, once and whole;
- after a no there is what was there before, or of what removes or brings several messages a part;
- UIDs stand for the messages that they stood for, UIDVALIDITY stays, MODSEQ does not go back;
- when the fault is over, without a restart, the same command succeeds, and sessions see what is on the disk;
- a fault that came once leaves no file that is nobody's.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field

from tests.faults.injector import Fault, Injector
from tests.faults.scenarios import SMALL, Scenario, deliver
from tests.faults.world import Box, Broken, Refused, World
from tests.helpers.syscalls import Watched

LONG = 900.0  # seconds, in which the queue has tried everything again
FIRST, SECOND, PROBE = SMALL[6], SMALL[9], SMALL[12]  # numbers of messages; a scenario may use two


def memory_folder() -> Path:
    """Where files cost nothing."""
    shared = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="mailserver-faults-", dir=shared if shared.is_dir() else None))


@define
class State:
    """What users and other servers have. remote: (number, address), how often it came; queued: what waits."""

    boxes: dict[str, Box]
    remote: Counter[tuple[int, str]]
    queued: set[tuple[int, str]] = field(factory=set)

    def counts(self) -> Counter[tuple[str, int]]:
        return Counter((name, one[0]) for name, box in self.boxes.items() for one in box.messages.values())

    def flags(self) -> dict[tuple[str, int], set[str]]:
        found: dict[tuple[str, int], set[str]] = {}
        for name, box in self.boxes.items():
            for number, flags in box.messages.values():
                found.setdefault((name, number), set()).add(flags)
        return found


def state_of(world: World) -> State:
    """After the queue has delivered all."""
    world.manage(LONG)
    return State(world.boxes(), world.elsewhere.received.copy())


@define
class Run:
    """All faults of one scenario. folder: for the copies."""

    scenario: Scenario
    folder: Path
    cases: int = 0
    refused: int = 0
    before: State = field(init=False)
    after: State = field(init=False)
    again: State = field(init=False)  # after a first time that left nothing and a second one
    probed: State = field(init=False)
    faults: list[Fault] = field(init=False)
    calls: list[str] = field(init=False)
    _number: int = 0
    _at: float = 0.0

    def __attrs_post_init__(self) -> None:
        """Prepares the template and runs without faults."""
        template = self.folder / "template"
        template.mkdir()
        injector = Injector()
        with Watched(str(self.folder)).watching(injector.see):
            world = World(template)
            self.scenario.setup(world)
            world.reactor.settle(5)
            world.store.stop()
            world.crash()
            self._at = world.reactor.seconds() + 1
            self.before = self._restarted(template, self._at, managed=False)
            world = self._begin()
            injector.resting = False
            self.scenario.act(world, FIRST)
            injector.resting = True
            self.after = self._killed(world)
            deliver(world, PROBE, "alice")
            self.probed = state_of(world)
            self._end(world)
            world = self._begin()
            self.scenario.act(world, SECOND)
            self.again = state_of(world)
            self._end(world)
        self.faults = list(injector.faults())
        self.calls = [f"{call} {path}" for call, path, _ in injector.trace]

    # --- folders ----------------------------------------------------------------------------------

    def _copy(self, source: Path) -> Path:
        self._number += 1
        target = self.folder / f"copy{self._number}"
        shutil.copytree(source, target, symlinks=True, ignore=_no_pipes)
        return target

    def _begin(self) -> World:
        return World(self._copy(self.folder / "template"), self._at)

    def _end(self, world: World) -> None:
        world.crash()
        shutil.rmtree(world.folder)

    def _restarted(self, source: Path, at: float, managed: bool = True) -> State:
        world = World(self._copy(source), at)
        try:
            return state_of(world) if managed else State(world.boxes(), Counter())
        finally:
            self._end(world)

    def _killed(self, world: World) -> State:
        """As a new server finds it after a kill now; what other servers had from the old one counts."""
        state = self._restarted(world.folder, world.reactor.seconds() + 1)
        state.remote += world.elsewhere.received
        return state

    # --- one fault --------------------------------------------------------------------------------

    def check(self, fault: Fault) -> None:
        """Raises Broken."""
        injector = Injector(fault)
        with Watched(str(self.folder)).watching(injector.see):
            world = self._begin()
            try:
                self._check(fault, injector, world)
            except Broken as broken:
                told = "\n  ".join([str(broken), *injector.failed[:12], *world.errors[:3]])
                raise Broken(f"{self.scenario.name}: {fault} ({self.calls[fault.at]}): {told}") from broken
            finally:
                injector.resting = True
                self._end(world)

    def _check(self, fault: Fault, injector: Injector, world: World) -> None:
        self.cases += 1
        injector.resting = False
        yes = self._act(world, FIRST)
        injector.resting = True
        killed = self._killed(world)
        if yes:
            promised(killed, self.before, self.after, fault.lasting or self.scenario.queue)
        else:
            self.refused += 1
            allowed(killed, self.before, self.after)
        injector.resting = False
        world.reactor.settle(3.0)  # what follows in the background fails as well
        injector.fault = None
        injector.resting = True
        world.reactor.settle(200.0)
        if yes or not self.scenario.again:
            deliver(world, PROBE, "alice")
            final = state_of(world)
            if yes:
                promised(final, self.before, self.probed, fault.lasting)
            else:
                allowed(final, self.before, self.probed)
        else:
            done = self._act(world, SECOND)
            final = state_of(world)
            if not done and (not fault.lasting or final.counts() != self.after.counts()):
                raise Broken("it is refused although nothing fails any more")
            repeated(final, self.before, self.after, self.again)
        if world.errors:
            raise Broken("an unexpected error")
        removes = any(" unlink " in one for one in injector.failed)  # at the next start, then
        if not (fault.lasting or removes) and (left := world.leftovers()):
            raise Broken(f"left: {left}")
        same(final, self._killed(world))

    def _act(self, world: World, number: int) -> bool:
        try:
            self.scenario.act(world, number)
        except Refused:
            return False
        return True


def _no_pipes(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "kick"]


# --- the oracle -----------------------------------------------------------------------------------


def _identities(state: State, before: State) -> None:
    """UIDs, UIDVALIDITY and MODSEQ against those of before."""
    for name, box in before.boxes.items():
        now = state.boxes.get(name)
        if now is None:
            continue
        if now.uidvalidity != box.uidvalidity:
            raise Broken(f"{name}: UIDVALIDITY {now.uidvalidity} after {box.uidvalidity}")
        if now.modseq < box.modseq or now.uidnext < box.uidnext:
            raise Broken(f"{name}: {now} after {box}")
        for uid, (number, _) in now.messages.items():
            if uid in box.messages and box.messages[uid][0] != number:
                raise Broken(f"{name}: UID {uid} is {number} and was {box.messages[uid][0]}")
            if uid not in box.messages and uid < box.uidnext:
                raise Broken(f"{name}: UID {uid} was given again")


def promised(state: State, before: State, after: State, twice: bool) -> None:
    """What was promised: on other servers at least once, here exactly once, unless what was done could not be
    undone before it was done again (`twice`)."""
    _identities(state, before)
    if state.boxes.keys() != after.boxes.keys():
        raise Broken(f"folders are {sorted(state.boxes)}, not {sorted(after.boxes)}")
    lost, more = after.counts() - state.counts(), state.counts() - after.counts()
    if lost or (more and not (twice and more.keys() <= after.counts().keys())):
        raise Broken(f"promised and not there: {dict(lost)}; there and not promised: {dict(more)}")
    if state.flags() != after.flags():
        raise Broken(f"flags are {state.flags()}, not {after.flags()}")
    lacking = after.remote.keys() - state.remote.keys()
    if lacking:
        raise Broken(f"never sent: {lacking}")


def allowed(state: State, before: State, after: State) -> None:
    """After a no: nothing is lost that both have, nothing is there that neither has, and what moves is
    somewhere."""
    _identities(state, before)
    _within(state, before.counts(), after.counts())
    flags, old, new = state.flags(), before.flags(), after.flags()
    for key, found in flags.items():
        known = old.get(key, set()) | new.get(key, set())
        if not all(_part_of(one, known) for one in found):
            raise Broken(f"{key} has the flags {found}")
    unknown = state.remote.keys() - after.remote.keys() - before.remote.keys()
    if unknown:
        raise Broken(f"sent although refused: {unknown}")


def _part_of(flags: str, known: set[str]) -> bool:
    """What could not be taken back has no keywords, for these stand elsewhere."""
    return any(set(flags.split()) <= set(one.split()) for one in known)


def _within(state: State, old: Counter[tuple[str, int]], new: Counter[tuple[str, int]]) -> None:
    found = state.counts()
    lost = (old & new) - found
    more = found - (old | new)
    if lost or more:
        raise Broken(f"lost: {dict(lost)}; from nowhere: {dict(more)}")
    everywhere, least = _by_number(found), _by_number(old) & _by_number(new)
    if least - everywhere:
        raise Broken(f"nowhere any more: {dict(least - everywhere)}")


def _by_number(counts: Counter[tuple[str, int]]) -> Counter[int]:
    found: Counter[int] = Counter()
    for (_, number), count in counts.items():
        found[number] += count
    return found


def repeated(state: State, before: State, after: State, again: State) -> None:
    """After a no and then a yes: what the second promised, and of the first at most what it would have
    brought."""
    _identities(state, before)
    lost = again.counts() - state.counts()
    more = (state.counts() - again.counts()) - (after.counts() - before.counts())
    if lost or more:
        raise Broken(f"promised and not there: {dict(lost)}; from nowhere: {dict(more)}")
    lacking = again.remote.keys() - state.remote.keys()
    if lacking:
        raise Broken(f"never sent: {lacking}")


def same(live: State, fresh: State) -> None:
    """What sessions see, and what a new start finds."""
    if live.counts() != fresh.counts() or live.flags() != fresh.flags():
        raise Broken(f"sessions see {live.boxes}, a new start {fresh.boxes}")


def failures(scenario: Scenario, most: int = 1 << 30, seed: int = 0) -> Iterator[tuple[Run, str]]:
    """Run faults of a scenario, at most so many of all; what is broken, "" for a fault that was borne."""
    folder = memory_folder()
    try:
        run = Run(scenario, folder)
        for fault in random.Random(seed).sample(run.faults, min(most, len(run.faults))):
            try:
                run.check(fault)
            except Broken as broken:
                yield run, str(broken)
            else:
                yield run, ""
    finally:
        shutil.rmtree(folder)
