"""`python -m tests.large_queue [MESSAGES]`: the long form of tests/large_queue."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tests.large_queue.large import Large


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    for distinct in (False, True):
        folder = Path(tempfile.mkdtemp(prefix="mailserver-queue-", dir="/var/tmp"))
        print(f"{count} messages, {'each' if distinct else 'none'} with its own destination, in {folder}")
        Large(folder, count, distinct, lambda line: print(f"  {line}", flush=True)).run()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
