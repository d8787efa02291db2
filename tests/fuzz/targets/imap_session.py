"""Whole IMAP sessions over a mailbox in memory: the same answers however the octets are cut, and no internal
error; listeners, timers and files are gone when the client is."""

from __future__ import annotations

from tests.fuzz.targets import options
from tests.fuzz.targets.imap import TOKENS as _TOKENS
from tests.imap.test_fuzz import run

TOKENS = [
    *_TOKENS,
    *(
        b"l LOGIN alice@example.org secret\r\n",
        b"a UID FETCH 1:* ALL\r\n",
        b"a EXPUNGE\r\n",
        b"a MOVE 1 Trash\r\n",
    ),
    *(
        b"a COPY 1:* Trash\r\n",
        b"a RENAME INBOX d\r\n",
        b"a CREATE a/b\r\n",
        b"a CLOSE\r\n",
        b"a UNAUTHENTICATE\r\n",
    ),
]
STATES = ["", "l LOGIN alice@example.org secret", "s SELECT INBOX"]
MOST = 2_000_000  # octets of answers to 4 KiB of commands


def check(data: bytes) -> None:
    way, data = options(data, 6)
    state, step = STATES[way % 3], 1 + way * 7
    if b"COMPRESS" in data.upper():
        return  # tests/imap/test_fuzz.py does
    whole = run(data, state, max(1, len(data)), False)
    assert b"[SERVERBUG]" not in whole
    assert len(whole) < MOST
    assert run(data, state, step, way >= 3) == whole
