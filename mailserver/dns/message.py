"""Questions and answers on the wire, with dnspython. Pure.

An answer counts only if id, question and kind are ours; the CNAME chain inside it is followed here.
"""

from __future__ import annotations

from collections.abc import Callable

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
from attrs import frozen

from mailserver.dns.values import MAX_CHAIN, Answer, DnsFailure, Status

PAYLOAD = 1232  # EDNS: what passes every path without fragments (DNS flag day 2020)
MAX_RECORDS = 512  # of one answer; the rest is not looked at (CASES G11)


class Truncated(Exception):
    """TC is set: ask again over TCP (RFC 7766, 5)."""


class NotOurs(Exception):
    """Not an answer to this question: go on waiting (RFC 5452, 4)."""


class NoEdns(Exception):
    """FORMERR or NOTIMP to a question with EDNS: ask without (RFC 6891, 7)."""


@frozen
class Alias:
    """The answer ends in a CNAME to a name that must be asked for."""

    target: str
    ttl: float
    secure: bool = False


@frozen
class Question:
    """One question, ready to send."""

    id: int
    name: dns.name.Name
    rdtype: dns.rdatatype.RdataType
    wire: bytes
    edns: bool


def make_question(name: str, rdtype: str, random_id: Callable[[], int], edns: bool = True) -> Question:
    """Raises DnsFailure where `name` can not be a domain name."""
    try:
        owner = dns.name.from_text(name.rstrip(".") + ".")
    except dns.exception.DNSException as error:
        raise DnsFailure(f"{name!r} is not a domain name", hopeless=True) from error
    kind = dns.rdatatype.from_text(rdtype)
    message = dns.message.make_query(owner, kind)
    message.id = random_id()
    if edns:
        message.use_edns(0, 0, PAYLOAD)
        message.flags |= dns.flags.AD  # RFC 6840, 5.7: we understand AD
    return Question(message.id, owner, kind, message.to_wire(), edns)


def read_answer(question: Question, wire: bytes) -> Answer | Alias:
    """Raises NotOurs, Truncated, NoEdns, DnsFailure."""
    if wire[:2] != question.id.to_bytes(2, "big") or len(wire) < 12 or not wire[2] & 0x80:
        raise NotOurs
    if wire[2] & 0x02:  # TC; what was cut off need not be parseable
        raise Truncated
    try:
        message = dns.message.from_wire(wire, ignore_trailing=True)
    except Exception as error:  # dnspython raises what it likes on hostile input
        raise DnsFailure("the answer cannot be read") from error
    asked = message.question
    if asked:
        if len(asked) != 1 or asked[0].name != question.name or asked[0].rdtype != question.rdtype:
            raise NotOurs
    elif message.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise NotOurs
    rcode = message.rcode()
    if question.edns and rcode in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
        raise NoEdns
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise DnsFailure(f"{dns.rcode.to_text(rcode)} for {text_of(question.name)}")
    return _follow(question, message)


def text_of(name: dns.name.Name) -> str:
    """Lower case, without the final dot; "" for the root."""
    return name.to_text(omit_final_dot=True).lower() if len(name) > 1 else ""


def _follow(question: Question, message: dns.message.Message) -> Answer | Alias:
    """Along the CNAMEs of the answer section (RFC 1034, 3.6.2)."""
    secure = bool(message.flags & dns.flags.AD)
    by_owner = {(rrset.name, rrset.rdtype): rrset for rrset in message.answer if rrset.rdclass == 1}
    owner = question.name
    ttl = float("inf")
    for _ in range(MAX_CHAIN + 1):
        found = by_owner.get((owner, question.rdtype))
        if found is not None:
            records = tuple(found)[:MAX_RECORDS]
            return Answer(Status.FOUND, text_of(owner), records, min(ttl, found.ttl), secure)
        alias = by_owner.get((owner, dns.rdatatype.CNAME))
        if alias is None:
            break
        ttl = min(ttl, alias.ttl)
        owner = alias[0].target
    else:
        raise DnsFailure(f"a CNAME loop at {text_of(question.name)}")
    if message.rcode() == dns.rcode.NXDOMAIN:
        return Answer(Status.NXDOMAIN, text_of(owner), (), min(ttl, _negative_ttl(message)), secure)
    if owner != question.name and not _negative(message):
        return Alias(text_of(owner), ttl, secure)
    return Answer(Status.NODATA, text_of(owner), (), min(ttl, _negative_ttl(message)), secure)


def _negative(message: dns.message.Message) -> bool:
    """Does the server itself say that there is nothing more (RFC 2308, 2.2)?"""
    return any(rrset.rdtype == dns.rdatatype.SOA for rrset in message.authority)


def _negative_ttl(message: dns.message.Message) -> float:
    """RFC 2308, 5: the lesser of the SOA's TTL and its MINIMUM."""
    for rrset in message.authority:
        if rrset.rdtype == dns.rdatatype.SOA:
            return float(min(rrset.ttl, rrset[0].minimum))
    return 60.0
