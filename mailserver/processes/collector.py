"""How often Python looks for cycles of objects that nobody needs.

With its own settings it looks at 700 new objects, at every tenth time at all that are young, and again and
again at everything: while 100 000 rows of a mailbox are made that takes a third of the time, and each look at
everything stops all threads for 0.1 s and more. What the server makes are few cycles, and what it has made
when it starts stays.
"""

from __future__ import annotations

import gc

YOUNG = 5_000  # objects: less than a millisecond
OFTEN = 10  # times until those that are young are looked at, some milliseconds
RARELY = 50


def calm() -> None:
    """Once, when everything is made."""
    gc.freeze()
    gc.set_threshold(YOUNG, OFTEN, RARELY)
