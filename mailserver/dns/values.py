"""Answers and failures of the resolver."""

from __future__ import annotations

from enum import Enum
from typing import Any

from attrs import frozen

MAX_CHAIN = 16  # CNAMEs followed (CASES G11)


class Status(Enum):
    """FOUND: records. NODATA: the name is, the type is not. NXDOMAIN: the name is not (RFC 2308, 2)."""

    FOUND = "found"
    NODATA = "nodata"
    NXDOMAIN = "nxdomain"


@frozen
class Answer:
    """What a server said about one name and type.

    records: dnspython rdata objects. name: the canonical name after CNAMEs, lower case, no final dot.
    secure: the AD bit (RFC 6840, 5.7) of a resolver on this machine; of others it is not believed, for their
    answers may be changed on the way.
    """

    status: Status
    name: str
    records: tuple[Any, ...] = ()
    ttl: float = 0.0
    secure: bool = False


class DnsFailure(Exception):
    """No answer, or none that can be used: SERVFAIL, REFUSED, time-out, a CNAME loop, a name that is no
    name. The question may have an answer later, except where `hopeless`."""

    def __init__(self, reason: str, *, hopeless: bool = False) -> None:
        super().__init__(reason)
        self.hopeless = hopeless
