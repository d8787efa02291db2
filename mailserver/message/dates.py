"""The Date field: the day that is written there, and the moment it means (RFC 5322, 3.3, 4.3; RFC 5256, 2.2).

Never raises; linear in the length of the value.
"""

from __future__ import annotations

import re
from datetime import date
from typing import NamedTuple

from mailserver.message.parameters import without_comments

MAX_VALUE = 1000
EPOCH = date(1970, 1, 1).toordinal()
DAY = 86400

_DATE = re.compile(
    rb"(?<!\d)(\d{1,2})[ \t-]+([A-Za-z]{3})[a-z]*[ \t-]+(\d{2,4})(?!\d)"
    rb"(?:[ \t]+(\d{1,2}):(\d{1,2})(?::(\d{1,2}))?(?!\d)(?:[ \t]*([+-]\d{4}(?!\d)|[A-Za-z]{1,5}))?)?"
)
_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1
    )
}
_ZONES = {  # RFC 5322, 4.3; the one-letter zones and all others mean nothing
    b"EDT": -4,
    b"EST": -5,
    b"CDT": -5,
    b"CST": -6,
    b"MDT": -6,
    b"MST": -7,
    b"PDT": -7,
    b"PST": -8,
}


class Sent(NamedTuple):
    """day: days since the epoch, time and zone disregarded; seconds: since the epoch."""

    day: int
    seconds: int


def sent(value: bytes) -> Sent | None:
    """What an unfolded Date field says; None where no day can be read. A zone that is none is UTC, a time
    that is none is midnight (RFC 5256, 2.2)."""
    value = value[:MAX_VALUE]
    match = _DATE.search(without_comments(value) if b"(" in value else value)
    if match is None:
        return None
    day_text, month_text, year_text, hour_text, minute_text, second_text, zone = match.groups()
    year = int(year_text)
    if year < 50:  # RFC 5322, 4.3
        year += 2000
    elif year < 1000:
        year += 1900
    try:
        day = date(year, _MONTHS.get(month_text.lower(), 0), int(day_text)).toordinal() - EPOCH
    except ValueError:
        return None
    seconds = day * DAY
    if hour_text is not None:
        hour, minute, second = int(hour_text), int(minute_text), int(second_text or 0)
        if hour < 24 and minute < 60 and second <= 60:
            seconds += hour * 3600 + minute * 60 + second - _offset(zone)
    return Sent(day, seconds)


def _offset(zone: bytes | None) -> int:
    """Seconds east of UTC."""
    if zone is None:
        return 0
    if zone[:1] not in b"+-":
        return _ZONES.get(zone.upper(), 0) * 3600
    hours, minutes = int(zone[1:3]), int(zone[3:])
    if hours > 23 or minutes > 59:
        return 0
    offset = hours * 3600 + minutes * 60
    return offset if zone[:1] == b"+" else -offset
