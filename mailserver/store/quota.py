"""How much an account may hold and holds (RFC 9208).

The use is the sum over the rows of its folders, which are changed in the commit that changes the messages:
a recount gives the same. The limit is the user's own, or `limits.quota`.
"""

from __future__ import annotations

from typing import Any

from mailserver.interfaces import QuotaUsage
from mailserver.store.ledger import Ledger


def limit_of(settings: Any, user: str) -> int:
    """In octets, 0 for none."""
    known = settings.users.users.get(user)
    if known is not None and known.quota is not None:
        return int(known.quota)
    return int(settings.now.limits.quota)


def usage_of(settings: Any, ledger: Ledger) -> QuotaUsage:
    """As of the last commit."""
    used, messages = ledger.usage
    return QuotaUsage(used, messages, limit_of(settings, ledger.user))
