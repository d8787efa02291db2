"""`python -m tests.soak [SECONDS [CLIENTS [WORKERS]]]`: the long form of tests/soak."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tests.soak.soak import GROWTH, Soak


def main() -> int:
    seconds, clients, workers = (*map(int, sys.argv[1:]), *(600, 200, 1)[len(sys.argv) - 1 :])
    folder = Path(tempfile.mkdtemp(prefix="mailserver-soak-"))
    print(f"{clients} clients for {seconds} s, {workers} processes, in {folder}", flush=True)
    soak = Soak(folder, clients, seconds, workers, lambda line: print(line, flush=True))
    soak.run()
    print(f"memory at the end: {soak.grown():.3f} of what it was in the middle")
    shutil.rmtree(folder)
    return 0 if soak.grown() <= GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
