"""What a worker is told when it starts: who it is, the settings in force, which descriptors it has inherited.

The master writes it to the worker's standard input, which stays open from then on: its end is the end of the
master, and no worker outlives that.
"""

from __future__ import annotations

import os
import pickle
import struct

from attrs import frozen

from mailserver.config.load import Loaded

LIFELINE = 0
_LENGTH = struct.Struct(">Q")


@frozen
class Inherited:
    """A listening socket. `family` as in `socket`, `proxied` as in `Listener`."""

    service: str
    fd: int
    family: int
    proxied: bool = False


@frozen
class Assignment:
    """number: of this worker, from 1. master: the process that has started it. run: names this start of the
    server. secret: what invented salts are made of. reactor: the module whose `install` makes the reactor.
    news: the descriptor to read news from; peers: those to write them to, by worker. table: see `table`."""

    number: int
    count: int
    master: int
    run: str
    loaded: Loaded
    secret: bytes
    reactor: str
    listeners: tuple[Inherited, ...]
    news: int
    peers: dict[int, int]
    table: int

    def packed(self) -> bytes:
        data = pickle.dumps(self)
        return _LENGTH.pack(len(data)) + data


def receive(fd: int = LIFELINE) -> Assignment:
    """[disk] In the worker, once. Raises EOFError where the master ended meanwhile."""
    (length,) = _LENGTH.unpack(_read(fd, _LENGTH.size))
    assignment = pickle.loads(_read(fd, length))  # noqa: S301  (from our own master, over a pipe it made)
    assert isinstance(assignment, Assignment)
    return assignment


def _read(fd: int, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = os.read(fd, length - len(data))
        if not piece:
            raise EOFError("the master has ended")
        data += piece
    return data
