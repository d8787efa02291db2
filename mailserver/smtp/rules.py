"""The rule sets: which policies make up the MX service, LMTP, and submission."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from mailserver.interfaces import IRouter, QuotaUsage
from mailserver.message.addresses import parse_addresses
from mailserver.smtp.dialects import LMTP, SMTP, Dialect
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
)


@frozen
class Service:
    """One kind of SMTP service. `log_in`: AUTH is offered."""

    log_in: bool
    policies: tuple[Policy, ...]
    dialect: Dialect = SMTP


def mx(
    settings: Any,
    router: IRouter,
    quota: Callable[[str], QuotaUsage | None],
    clock: Callable[[], float],
    filters: Sequence[Policy] = (),
) -> Service:
    """Mail from anyone for local users."""
    policies = FreeSpace(settings, clock), NoRelay(router), Limits(settings), Quota(quota)
    return Service(False, (*policies, *filters))


def lmtp(
    settings: Any,
    router: IRouter,
    quota: Callable[[str], QuotaUsage | None],
    clock: Callable[[], float],
    filters: Sequence[Policy] = (),
) -> Service:
    """Mail for local users from a queue next door (RFC 2033)."""
    policies = FreeSpace(settings, clock), LocalOnly(router), Limits(settings), Quota(quota)
    return Service(False, (*policies, *filters), LMTP)


def submission(
    settings: Any,
    router: IRouter,
    quota: Callable[[str], QuotaUsage | None],
    clock: Callable[[], float],
    filters: Sequence[Policy] = (),
) -> Service:
    """Mail from users for anyone."""
    return Service(
        True,
        (
            LogInFirst(),
            OwnSender(),
            Hold(settings),
            FreeSpace(settings, clock),
            NoRelay(router),
            Limits(settings),
            Quota(quota),
            Complete(settings, addresses_of),
            *filters,
        ),
    )


MAKERS: dict[str, Callable[..., Service]] = {"smtp": mx, "lmtp": lmtp}
"""What makes a service by its name; any other is `submission`."""


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
