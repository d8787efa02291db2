"""SEARCH keys that look at whole messages: TEXT and BODY, transfer encodings and charsets undone.

The mailbox's search index answers for most messages at once; the others are read in threads, some at a time.
"""

from __future__ import annotations

from mailserver.imap.search.source import Rows, Source
from mailserver.imap.values import SearchText

FEW = 200  # messages that are read faster than the index is asked
PART = 200  # messages that are read in one go
OCTETS = 1024 * 1024  # of them, more or less


async def by_text(key: SearchText, rows: Rows, source: Source) -> Rows:
    """Those of `rows` (ascending) that have the text."""
    if not key.text:
        return rows
    found: Rows = []
    unsure = rows
    if len(rows) > FEW:
        found, unsure = await source.indexed(key, rows)
    source.reading(len(unsure))
    part: Rows = []
    octets = 0
    for row in unsure:
        part.append(row)
        octets += source.sizes[row]
        if len(part) >= PART or octets >= OCTETS:
            found += await source.containing(key, part)
            await source.rest(octets)
            part, octets = [], 0
    if part:
        found += await source.containing(key, part)
    return sorted(found)
