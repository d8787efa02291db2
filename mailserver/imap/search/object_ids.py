"""SEARCH keys for ids (RFC 8474, 6), which are case-sensitive."""

from __future__ import annotations

from mailserver.imap.search.header import by_header
from mailserver.imap.search.source import SLICE, Rows, Source
from mailserver.imap.values import SearchObject
from mailserver.message.threads import thread_id

_EMAILID = 100  # octets that could be looked at in the time that one takes


async def by_object(key: SearchObject, rows: Rows, source: Source) -> Rows:
    if key.item == "THREADID":
        wanted = key.identity.encode("ascii")
        return await by_header(lambda header: thread_id(header) == wanted, rows, source)
    found: Rows = []
    for start in range(0, len(rows), SLICE):
        part = rows[start : start + SLICE]
        ids = source.email_ids(part)
        found += [row for row, identity in zip(part, ids, strict=True) if identity == key.identity]
        await source.rest(len(part) * _EMAILID)
    return found
