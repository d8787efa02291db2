"""[disk] The texts of messages: read for the search index, and read to look for something.

Both are given the message's wire form, so that what the index says of a message is what reading it says. A
message that cannot be read has no text for a search, and is not in the index.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b

from mailserver.message.matching import Matcher
from mailserver.message.words import words_of
from mailserver.store import files, maildir
from mailserver.store.fulltext.database import Entry

LARGEST = 8 << 20  # octets of a file that is indexed; a larger one is read by each search

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
    words = words_of(files.to_wire(data))
    return Entry(uid) if words is None else Entry(uid, digest, words)


def containing(
    folder: str,
    messages: Sequence[Named],
    again: Callable[[Sequence[int]], Sequence[Named]],
    matcher: Matcher,
) -> list[int]:
    """UIDs of those that have the text. again: the names that messages have now, for those that were renamed
    since `messages` was made."""
    return [uid for uid, fits in _looked_at(folder, messages, again, matcher) if fits]


def _looked_at(
    folder: str,
    messages: Sequence[Named],
    again: Callable[[Sequence[int]], Sequence[Named]],
    matcher: Matcher,
) -> Iterator[tuple[int, bool]]:
    lost: list[int] = []
    for uid, name in messages:
        fits = _fits(f"{folder}/{name}", matcher)
        if fits is None:
            lost.append(uid)
        else:
            yield uid, fits
    if not lost:
        return
    foreign: list[Named] = []
    for uid, name in again(lost):  # renamed by us
        fits = _fits(f"{folder}/{name}", matcher)
        if fits is None:
            foreign.append((uid, name))
        else:
            yield uid, fits
    if foreign:  # by another program
        here = files.message_names(folder, "new") | files.message_names(folder, "cur")
        names = {maildir.base_of(name): name for name in here}
        for uid, name in foreign:
            found = names.get(maildir.base_of(name))
            fits = None if found is None else _fits(f"{folder}/{found}", matcher)
            if fits is not None:
                yield uid, fits


def _fits(path: str, matcher: Matcher) -> bool | None:
    """None where the message cannot be read."""
    try:
        fd = files.open_message(path)
    except OSError:
        return None
    try:
        with files.room_for(os.fstat(fd).st_size):
            return matcher.fits(_wire(fd))
    except OSError:
        return None
    finally:
        os.close(fd)


def _read(fd: int) -> bytes:
    return b"".join(files.chunks_of(fd))


def _wire(fd: int) -> bytes:
    """The wire form. In pieces, for no other thread runs while octets are replaced, and no second copy of a
    large message is made."""
    gathered = io.BytesIO()
    after_cr = False
    for chunk in files.chunks_of(fd):
        gathered.write(files.to_wire(chunk, after_cr))
        after_cr = chunk.endswith(b"\r")
    return gathered.getvalue()
