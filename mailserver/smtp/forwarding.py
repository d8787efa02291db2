"""Mail that an alias sends on to another server, and comes back from there (RFC 5321, 6.3; CASES G15).

The address that it is forwarded from stands in the message, as Delivered-To. Who gets a message for an alias
whose address is there already has forwarded it before: it is refused, and the first round is the last one.
Without the field a loop ends by the number of Received fields, after `limits.hops` servers. Aliases within
this server need none of it: the router follows them to their ends.

What one recipient's copy went through is nothing to the others, who may not know of him. So it is told where
a message has no other, as our Received field tells its recipient (RFC 5321, 7.2).
"""

from __future__ import annotations

import re

from mailserver.errors import RoutingLoop
from mailserver.interfaces import Recipient
from mailserver.message.headers import Headers
from mailserver.smtp.policy import Policy
from mailserver.smtp.transaction import Transaction

_UNSAFE = re.compile(r"[\x00-\x20\x7f]")  # blanks of a quoted local part would let the field be folded


class Forwarding(Policy):
    """Adds the field, and refuses what has come around."""

    def on_header(self, transaction: Transaction, data: bytes) -> bytes:
        forwarded = [recipient.address for recipient in transaction.recipients if _is_forwarded(recipient)]
        if not forwarded:
            return data
        passed = {value.strip().lower() for value in Headers(data).get_all(b"delivered-to")}
        again = [address for address in forwarded if _value(address).lower() in passed]
        if len(again) == len(transaction.recipients):
            raise RoutingLoop("Mail forwarding loop")
        if len(transaction.recipients) > 1:
            return data
        return b"Delivered-To: %b\n%b" % (_value(forwarded[0]), data)


def _is_forwarded(recipient: Recipient) -> bool:
    """Does the address stand for one at another server?"""
    given = recipient.address.lower()
    return any(target.domain and target.address.lower() != given for target in recipient.targets)


def _value(address: str) -> bytes:
    return _UNSAFE.sub("?", address).encode("utf-8", "replace")
