"""An extension for tests: no mail leaves. What is for other servers lies here, in mailboxes of its names."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from mailserver.delivery.routes import Router
from mailserver.interfaces import Target
from mailserver.wire.address import Mailbox, normalise


class CatchingRouter(Router):
    """Every address of another domain is a mailbox of this server. Nobody can log in to it."""

    def step(self, mailbox: Mailbox) -> Target | tuple[str, ...]:
        """One step on the way of an address."""
        found = super().step(mailbox)
        if isinstance(found, Target) and found.domain:
            return evolve(found, domain="", user=normalise(found.address))
        return found


def extend(parts: Any) -> None:
    """See docs/extending.rst."""
    parts.router = CatchingRouter(parts.settings)
