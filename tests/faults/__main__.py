"""`python -m tests.faults [NAME…]`: every fault of every scenario, then power cuts during every load; or
those that are named, loads as `cut-NAME`."""

from __future__ import annotations

import sys
import time

from tests.faults import powercut
from tests.faults.campaign import failures
from tests.faults.scenarios import SCENARIOS
from tests.faults.world import Broken

CUTS = "cut-"
STREAM = 1000  # deliveries, with a cut after each operation
MIXED = 4  # mixed loads, each with a seed of its own


def cut(name: str) -> list[str]:
    """Power cuts; what is broken."""
    broken: list[str] = []
    for _ in range(MIXED if name == "mixed" else 1):
        began, seed = time.monotonic(), time.time_ns() % 1_000_000
        found = f"seed {seed}"
        try:
            length = STREAM if name == "stream" else 40
            cuts = powercut.run(name, seed, every=4 if name == "mixed" else 1, most=8, length=length)
            found = f"{cuts.cuts} moments, {cuts.states} states, {time.monotonic() - began:.0f} s"
        except Broken as error:
            broken.append(f"{CUTS}{name} with seed {seed}: {error}")
            print(broken[-1], file=sys.stderr, flush=True)
        print(f"{CUTS}{name}: {found}", flush=True)
    return broken


def main() -> int:
    total = 0
    broken: list[str] = []
    for name in sys.argv[1:] or [*SCENARIOS, *(CUTS + load for load in (*powercut.LOADS, "mixed", "stream"))]:
        if name.startswith(CUTS):
            broken += cut(name.removeprefix(CUTS))
            continue
        began, cases, refused, found = time.monotonic(), 0, 0, 0
        for run, what in failures(SCENARIOS[name]):
            cases, refused = run.cases, run.refused
            if what:
                found += 1
                broken.append(what)
                print(what, file=sys.stderr, flush=True)
        total += cases
        seconds = time.monotonic() - began
        print(f"{name}: {cases} faults, {refused} refused, {found} broken, {seconds:.0f} s", flush=True)
    print(f"{total} faults in all, {len(broken)} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
