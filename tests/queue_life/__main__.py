"""`python -m tests.queue_life [LIVES [HOURS]]`: the long form of tests/queue_life, each with its own seed."""

from __future__ import annotations

import shutil
import sys
import time

from tests.faults.campaign import memory_folder
from tests.queue_life.life import Broken, Life


def main() -> int:
    lives, hours = (*map(int, sys.argv[1:]), *(20, 48)[len(sys.argv) - 1 :])
    broken = 0
    for _ in range(lives):
        seed = time.time_ns() % 1_000_000
        folder = memory_folder()
        life = Life(folder / "queue", seed, hours)
        try:
            life.run()
        except Broken as error:
            broken += 1
            print(f"seed {seed}: {error}", file=sys.stderr, flush=True)
        finally:
            shutil.rmtree(folder)
        print(
            f"seed {seed}: {hours} hours, {len(life.accepted)} recipients, killed {life.kills} and stopped"
            f" {life.stops} times, {len(life.aside)} damaged",
            flush=True,
        )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
