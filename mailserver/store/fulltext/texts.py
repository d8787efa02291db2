"""[disk] The texts of messages: read for the search index, and read to look for something.

Both are given the message's wire form, so that what the index says of a message is what reading it says. A
message that cannot be read has no text for a search, and is not in the index.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b

from mailserver.message.matching import Matcher
from mailserver.message.words import words_of
from mailserver.store import files, maildir
from mailserver.store.fulltext.database import Entry

LARGEST = 8 << 20  # octets of a file that is indexed; a larger one is read by each search

_PIECE = 1 << 20

Named = tuple[int, str]
"""UID and file name ("cur/…") of a message."""


def entry_of(uid: int, path: str, knows: Callable[[bytes], bool]) -> Entry | None:
    """What the index is to hold of a message; None where it cannot be read. knows: is this digest there?"""
    try:
        fd = files.open_message(path)
    except OSError:
        return None
    try:
        size = os.fstat(fd).st_size
        if size > LARGEST:
            return Entry(uid)
        data = _read(fd)
    except OSError:
        return None
    finally:
        os.close(fd)
    digest = blake2b(data, digest_size=16).digest()
    if knows(digest):
        return Entry(uid, digest)
    words = words_of(_wire(data))
    return Entry(uid) if words is None else Entry(uid, digest, words)


def containing(
    folder: str,
    messages: Sequence[Named],
    again: Callable[[Sequence[int]], Sequence[Named]],
    matcher: Matcher,
) -> list[int]:
    """UIDs of those that have the text. again: the names that messages have now, for those that were renamed
    since `messages` was made."""
    return [uid for uid, wire in _wires(folder, messages, again) if matcher.fits(wire)]


def _wires(
    folder: str, messages: Sequence[Named], again: Callable[[Sequence[int]], Sequence[Named]]
) -> Iterator[tuple[int, bytes]]:
    lost: list[int] = []
    for uid, name in messages:
        data = _content(f"{folder}/{name}")
        if data is None:
            lost.append(uid)
        else:
            yield uid, _wire(data)
    if not lost:
        return
    foreign: list[Named] = []
    for uid, name in again(lost):  # renamed by us
        data = _content(f"{folder}/{name}")
        if data is None:
            foreign.append((uid, name))
        else:
            yield uid, _wire(data)
    if foreign:  # by another program
        here = files.message_names(folder, "new") | files.message_names(folder, "cur")
        names = {maildir.base_of(name): name for name in here}
        for uid, name in foreign:
            found = names.get(maildir.base_of(name))
            data = None if found is None else _content(f"{folder}/{found}")
            if data is not None:
                yield uid, _wire(data)


def _content(path: str) -> bytes | None:
    try:
        fd = files.open_message(path)
    except OSError:
        return None
    try:
        return _read(fd)
    except OSError:
        return None
    finally:
        os.close(fd)


def _read(fd: int) -> bytes:
    return b"".join(files.chunks_of(fd))


def _wire(data: bytes) -> bytes:
    """The wire form. In pieces, for no other thread runs while octets are replaced."""
    if len(data) <= _PIECE:
        return files.to_wire(data)
    view = memoryview(data)
    pieces = []
    for start in range(0, len(data), _PIECE):
        after_cr = start > 0 and data[start - 1] == 13
        pieces.append(files.to_wire(bytes(view[start : start + _PIECE]), after_cr))
    return b"".join(pieces)
