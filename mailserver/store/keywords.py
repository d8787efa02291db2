"""The keywords of a folder, by number: the bit of a flag, and up to 26 the letter in a file name.

The index has the numbers that count. What runs with the account locked enters a new keyword there; a mailbox
in memory numbers one for itself, beforehand, and another process may enter another one at the same number
meanwhile. So a change of flags names its keywords (`names_in`), and is given the numbers of the index under
the lock (`translated`); and the mailbox learns what the index has with each change it is told (`learn`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence

from mailserver.interfaces import KEYWORD


class Keywords:
    """Of one folder. `names` is one list for ever."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = list(names)
        self._numbers = {name.lower(): number for number, name in enumerate(self.names)}
        self._lock = threading.Lock()

    def number(self, name: str, limit: int | None) -> int:
        """The number of a keyword (case-blind), a new one up to `limit` (None: no limit); -1 else."""
        number = self._numbers.get(name.lower())
        if number is not None:
            return number
        with self._lock:
            number = self._numbers.get(name.lower())
            if number is None:
                if limit is not None and len(self.names) >= limit:
                    return -1
                number = len(self.names)
                self.names.append(name)
                self._numbers[name.lower()] = number
            return number

    def learn(self, names: Sequence[str]) -> None:
        """What the index has. What was only numbered here goes behind it."""
        if self.names[: len(names)] == list(names):
            return
        with self._lock:
            known = {name.lower() for name in names}
            self.names[:] = [*names, *(name for name in self.names if name.lower() not in known)]
            self._numbers = {name.lower(): number for number, name in enumerate(self.names)}

    def names_in(self, flags: int) -> dict[int, str]:
        """The keywords among flags, by number."""
        high = flags >> KEYWORD
        return {number: name for number, name in enumerate(self.names) if high >> number & 1} if high else {}

    def translated(self, flags: int, names: Mapping[int, str]) -> int:
        """Flags whose keywords had other numbers; new ones are entered."""
        high = 0
        for name in names.values():
            high |= 1 << self.number(name, None)
        return flags & ((1 << KEYWORD) - 1) | high << KEYWORD
