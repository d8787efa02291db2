"""Bodies as the sender of SMTP reads them."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed


class Whole:
    """A body in memory."""

    def __init__(self, data: bytes) -> None:
        self.whole: bytes | None = data
        self.closed = False

    def read(self) -> Deferred[bytes]:
        raise AssertionError("it is whole")

    def close(self) -> None:
        self.closed = True


class Sliced(Whole):
    """A body that comes in slices."""

    def __init__(self, data: bytes, step: int) -> None:
        super().__init__(data)
        self.whole = None
        self.slices = [data[i : i + step] for i in range(0, len(data), step)]

    def read(self) -> Deferred[bytes]:
        return succeed(self.slices.pop(0) if self.slices else b"")
