"""How much an account may hold and holds (RFC 9208).

The use is the sum over the rows of its folders, which are changed in the commit that changes the messages:
a recount gives the same. The limits are the user's own, or those of `[limits]`.
"""

from __future__ import annotations

from typing import Any

from mailserver.interfaces import Quota, QuotaUsage
from mailserver.store.ledger import Ledger


def limit_of(settings: Any, user: str) -> Quota:
    known = settings.users.users.get(user)
    octets, messages = (None, None) if known is None else (known.quota, known.quota_messages)
    limits = settings.now.limits
    return Quota(
        limits.quota if octets is None else octets,
        limits.quota_messages if messages is None else messages,
    )


def usage_of(settings: Any, ledger: Ledger) -> QuotaUsage:
    """As of the last commit."""
    used, messages = ledger.usage
    return QuotaUsage(used, messages, limit_of(settings, ledger.user))
