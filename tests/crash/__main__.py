"""`python -m tests.crash [KILLS [SEED [WORKERS]]]`: the long form of tests/crash. What failed is kept."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.campaign import run


def main() -> int:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 1_000_000
    workers = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    folder = Path(tempfile.mkdtemp(prefix="mailserver-crash-"))
    print(f"{kills} kills with seed {seed} in {folder}", flush=True)
    try:
        campaign = run(folder, kills, seed, lambda line: print(line, flush=True), workers=workers)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}\nkept: {folder} (seed {seed})", file=sys.stderr)
        raise
    print(f"all promises kept: {campaign.summary()}")
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
