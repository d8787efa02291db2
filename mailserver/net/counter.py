"""How many connections are open: of an address, of a user, in all."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext


class ConnectionCounter:
    """Open connections per address and in all, shared by every service of the process."""

    def __init__(self) -> None:
        self._total = 0
        self._per_network: dict[str, int] = {}

    @property
    def total(self) -> int:
        return self._total

    @property
    def own(self) -> int:
        """Of this process alone."""
        return self._total

    @property
    def ahead(self) -> int:
        """How many more connections this process has than the one of the server with the fewest."""
        return 0

    def alone(self) -> AbstractContextManager[object]:
        """Nobody else counts meanwhile: for who looks at a limit, and then takes a place under it."""
        return nullcontext()

    def of(self, network: str) -> int:
        return self._per_network.get(network, 0)

    def add(self, network: str) -> None:
        """A connection is open."""
        self._total += 1
        self.join(network)

    def remove(self, network: str) -> None:
        self._total -= 1
        self.leave(network)

    def join(self, group: str) -> None:
        """An open connection counts here too (of a user, for one)."""
        self._per_network[group] = self._per_network.get(group, 0) + 1

    def leave(self, group: str) -> None:
        left = self._per_network[group] - 1
        if left:
            self._per_network[group] = left
        else:
            del self._per_network[group]
