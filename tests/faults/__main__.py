"""`python -m tests.faults [SCENARIO…]`: every fault of every scenario, or of those that are named."""

from __future__ import annotations

import sys
import time

from tests.faults.campaign import failures
from tests.faults.scenarios import SCENARIOS


def main() -> int:
    total = 0
    broken: list[str] = []
    for name in sys.argv[1:] or SCENARIOS:
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
