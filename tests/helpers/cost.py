"""What something may cost: CPU time of this thread, so that other work on the machine does not count."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

TRACED = 10  # under coverage every line costs that much more


@contextmanager
def cheaper_than(seconds: float) -> Iterator[None]:
    """Fails where the block takes longer. The bounds in the tests are several times what is measured: they
    tell linear growth from quadratic, not a fast machine from a slow one."""
    limit = seconds * (TRACED if sys.gettrace() is not None else 1)
    began = time.thread_time()
    yield
    spent = time.thread_time() - began
    assert spent < limit, f"{spent:.3f} s of CPU, not below {limit:g}"
