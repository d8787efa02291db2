"""COMPRESS=DEFLATE as a layer between a connection and its transport (RFC 4978; RFC 1951).

What is written is one batch of output, and leaves with a sync flush: the client can read all of it. What
comes in is inflated a step at a time, and while a step waits for its turn nothing more is read, so that a
bomb costs what any other input of its inflated size costs (CASES H19).

The compressor is the large part of a connection's memory (256 KiB). It is worth something only for as long
as output comes, and DEFLATE may go on after a sync flush with a compressor that knows nothing of what was
before. So a process keeps those of the connections that wrote last, and the others none (`Compressors`).
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall

LEVEL = 4  # measured on texts: 17 ms a MiB to 0.28 of it; level 6: 42 ms to 0.27
STEP = 64 * 1024  # octets inflated in one turn of the reactor
PIECE = 64  # what a piece counts at least: one turn delivers no more than STEP / PIECE
KEPT = 128  # compressors of a process: 32 MiB
_MARKER = b"\0\0\xff\xff"  # the end of a sync flush


class Compressors:
    """The compressors of a process, those used last."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._used: OrderedDict[Any, Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self._used)

    def of(self, owner: object) -> Any:
        """The compressor of this owner; a new one where it has none or had to give it up."""
        found = self._used.get(owner)
        if found is not None:
            self._used.move_to_end(owner)
            return found
        made = self._used[owner] = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        if len(self._used) > self._kept:
            self._used.popitem(last=False)
        return made

    def drop(self, owner: object) -> None:
        self._used.pop(owner, None)


COMPRESSORS = Compressors()


class Deflated:
    """Stands for the transport of a connection.

    deliver: takes inflated octets, at most STEP in a turn
    broken:  what came is no DEFLATE, or its end: nothing more can be read
    """

    def __init__(
        self,
        transport: Any,
        reactor: Any,
        deliver: Callable[[bytes], None],
        broken: Callable[[], None],
        compressors: Compressors = COMPRESSORS,
    ) -> None:
        self.transport = transport
        self._reactor = reactor
        self._deliver = deliver
        self._broken = broken
        self._compressors = compressors
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._input = b""
        self._used = 0  # octets of `_input` that are inflated; a few are kept to find a marker
        self._more = False  # the inflater holds output back
        self._paused = False
        self._held = False  # the transport is paused because a turn must come first
        self._working = False
        self._ended = False
        self._later: IDelayedCall | None = None

    # --- what a connection uses of its transport --------------------------------------------------

    def write(self, data: bytes) -> None:
        compressor = self._compressors.of(self)
        self.transport.write(compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))

    def pauseProducing(self) -> None:
        self._paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        if self._waiting:  # that comes first
            self._held = True
            self._soon()
        elif not self._held:
            self.transport.resumeProducing()

    def registerProducer(self, producer: object, streaming: bool) -> None:
        self.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        self.transport.unregisterProducer()

    def loseConnection(self) -> None:
        self.stop()
        self.transport.loseConnection()

    def abortConnection(self) -> None:
        self.stop()
        self.transport.abortConnection()

    # --- input ------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Octets from the transport."""
        if not self._ended:
            self._input += data
            if not (self._working or self._paused or self._later):
                self._work()

    def stop(self) -> bytes:
        """The layer ends: the octets that were not inflated. The compressor is given up."""
        self._ended = True
        self._compressors.drop(self)
        if self._later is not None:
            self._later.cancel()
            self._later = None
        rest, self._input = self._input[self._used :], b""
        self._used = 0
        return rest

    @property
    def _waiting(self) -> bool:
        return self._more or self._used < len(self._input)

    def _soon(self) -> None:
        if self._later is None and not (self._ended or self._working):
            self._later = self._reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        self._later = None
        if not self._paused:
            self._work()

    def _work(self) -> None:
        """Inflate and deliver what one turn may; then read on, or take another turn."""
        self._working = True
        try:
            self._deliver_step()
        except zlib.error:
            self.stop()
            self._broken()
        finally:
            self._working = False
        if self._ended:
            return
        kept = max(self._used - len(_MARKER) + 1, 0)
        self._input, self._used = self._input[kept:], self._used - kept
        self._hold(self._waiting)
        if self._held and not self._paused:
            self._soon()

    def _hold(self, wanted: bool) -> None:
        if wanted and not self._held:
            self._held = True
            self.transport.pauseProducing()
        elif self._held and not wanted:
            self._held = False
            if not self._paused:
                self.transport.resumeProducing()

    def _deliver_step(self) -> None:
        room = STEP
        while room > 0 and self._waiting and not (self._paused or self._ended):
            piece = self._next_piece()
            data = self._inflate.decompress(piece, room)
            self._used -= len(self._inflate.unconsumed_tail)
            self._more = len(data) == room
            room -= max(len(data), PIECE)
            if data:
                self._deliver(data)
            if self._inflate.eof and not self._ended:
                raise zlib.error

    def _next_piece(self) -> bytes:
        """Up to the end of a flush: what stands behind it may be no DEFLATE any more (RFC 8437, 4.1)."""
        begin = self._used
        found = self._input.find(_MARKER, max(begin - len(_MARKER) + 1, 0))
        self._used = found + len(_MARKER) if found >= 0 else len(self._input)
        return self._input[begin : self._used]
