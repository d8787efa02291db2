"""Messages from one account into another: COPY and MOVE to and from other users' mailboxes.

The files get a second name in the spool, under the lock of the account they come from, and are filed from
there as what is delivered is: linked where that is possible, all or none, durable before the answer. A move
removes the source after that, so there is never less than one copy (RFC 6851, 4.4).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from attrs import evolve

from mailserver.disk import durable
from mailserver.errors import MessageGone
from mailserver.rights import FLAG_RIGHTS
from mailserver.store import object_ids
from mailserver.store.filing import SYSTEM_FLAGS, Paper
from mailserver.store.index.database import Index
from mailserver.store.index.rows import Row
from mailserver.store.ledger import Ledger
from mailserver.store.operations import locate
from mailserver.store.spool import Spool


def permitted(flags: Iterable[str], rights: str) -> frozenset[str]:
    """Flags that may be set with these rights; the others are lost (RFC 4314, 4: COPY, APPEND)."""
    of = {"\\seen": "s", "\\deleted": "t"}
    return frozenset(flag for flag in flags if of.get(flag.lower(), "w") in rights)


def settable(rights: str) -> int:
    """The flag bits that these rights allow to change (RFC 4314, 4: STORE)."""
    seen, deleted = SYSTEM_FLAGS["\\seen"], SYSTEM_FLAGS["\\deleted"]
    bits = {"s": seen, "t": deleted, "w": ~(seen | deleted)}
    allowed = 0
    for letter in FLAG_RIGHTS:
        if letter in rights:
            allowed |= bits[letter]
    return allowed


def take_out(
    ledger: Ledger, opened: Index, directory: str, uids: Sequence[int], *, spool: Spool, rights: str
) -> list[Paper]:
    """For Ledger.run: second names of these messages. Raises MessageGone where one is missing."""
    folder = ledger.folder(opened, directory)
    rows = opened.rows(folder, uids)
    path = ledger.folder_path(directory)
    keywords = ledger.keywords_of(folder).names
    papers: list[Paper] = []
    try:
        for row in rows:
            name = locate(path, row.name)
            if name is None:
                raise MessageGone
            flags = permitted(_names(row, keywords), rights)
            paper = spool.link(os.path.join(path, name), wire=row.wire, date=row.date, flags=flags)
            unique = object_ids.unique_for(name, row.date, row.wire, ledger.around.names.host)
            papers.append(evolve(paper, unique=unique))
        if len(rows) != len(uids):
            raise MessageGone
    except BaseException:
        for paper in papers:
            durable.unlink_quietly(paper.path)
        raise
    return papers


def _names(row: Row, keywords: Sequence[str]) -> list[str]:
    names = [name for name, bit in SYSTEM_FLAGS.items() if row.flags & bit]
    high = row.flags >> len(SYSTEM_FLAGS)
    return names + [word for number, word in enumerate(keywords) if high >> number & 1]
