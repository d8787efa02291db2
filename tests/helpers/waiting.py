"""Waiting for one of several files or sockets, by whatever number: select(2) ends at 1024, and a test process
has had many."""

from __future__ import annotations

import selectors
from collections.abc import Iterable
from typing import Any


def readable(files: Iterable[Any], seconds: float) -> list[Any]:
    """Those that can be read, or were closed by the other end, after at most `seconds`."""
    with selectors.DefaultSelector() as selector:
        for file in files:
            selector.register(file, selectors.EVENT_READ)
        return [key.fileobj for key, _ in selector.select(seconds)]
