"""The rule sets: which policies make up the MX service, LMTP, and submission."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import Factory, field, frozen

from mailserver.interfaces import IRouter, QuotaUsage
from mailserver.message.addresses import parse_addresses
from mailserver.smtp.dialects import LMTP, SMTP, Dialect
from mailserver.smtp.forwarding import Forwarding
from mailserver.smtp.policy import (
    Complete,
    FreeSpace,
    Hold,
    Limits,
    LocalOnly,
    LogInFirst,
    NoRelay,
    OwnSender,
    Policy,
    Quota,
    Rule,
    rules_of,
)


def _heard(moment: str) -> Any:
    return field(
        init=False, default=Factory(lambda service: rules_of(service.policies, moment), takes_self=True)
    )


@frozen
class Service:
    """One kind of SMTP service. `log_in`: AUTH is offered. What its policies have to say stands sorted by the
    moment at which they are asked."""

    log_in: bool
    policies: tuple[Policy, ...]
    dialect: Dialect = SMTP
    on_sender: tuple[Rule, ...] = _heard("on_sender")
    on_recipient: tuple[Rule, ...] = _heard("on_recipient")
    on_header: tuple[Callable[..., bytes], ...] = _heard("on_header")
    on_message: tuple[Rule, ...] = _heard("on_message")


def service(
    name: str,
    settings: Any,
    router: IRouter,
    quota: Callable[[str], QuotaUsage | None],
    clock: Callable[[], float],
    *,
    filters: Sequence[Policy] = (),
) -> Service:
    """The service of that name. "smtp": mail from anyone for local users; "lmtp": the same from a queue next
    door (RFC 2033); any other is a submission, mail from users for anyone."""
    space, limits, room = FreeSpace(settings, clock), (Limits(settings), Forwarding()), Quota(quota)
    if name == "smtp":
        return Service(False, (space, NoRelay(router), *limits, room, *filters))
    if name == "lmtp":
        return Service(False, (space, LocalOnly(router), *limits, room, *filters), LMTP)
    first = LogInFirst(), OwnSender(), Hold(settings)
    complete = Complete(settings, addresses_of)
    return Service(True, (*first, space, NoRelay(router), *limits, room, complete, *filters))


def addresses_of(value: bytes) -> list[str] | None:
    """The addresses of a From or Sender value; None where one of them is not complete."""
    found: list[str] = []
    for address in parse_addresses(value):
        if not address.mailbox or not address.host or address.route:
            return None
        try:
            found.append(f"{address.mailbox.decode('utf-8')}@{address.host.decode('utf-8')}")
        except UnicodeDecodeError:
            return None
    return found
