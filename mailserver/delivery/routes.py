"""Where mail for an address goes: users, aliases, subaddresses, catch-all, postmaster (RFC 5321, 4.5.1).

One recipient becomes one or more targets. Aliases are followed to their ends, each address once; a chain
longer than `limits.alias_depth`, or one that only leads back to itself, is a loop. Nothing is cached that a
reload of the settings could make wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from zope.interface import implementer

from mailserver.config.schema import Domain
from mailserver.errors import BadAddress, NoSuchUser, RoutingLoop
from mailserver.interfaces import IRouter, Target
from mailserver.wire.address import Mailbox, domain_to_ascii, fold_local, key_of, parse_mailbox

# Names that the postmaster answers to where no user or alias has them: RFC 5321, 4.5.1; RFC 2142, 4; and
# the sender's name of our own reports.
_POSTMASTER_NAMES = frozenset(("postmaster", "abuse", "mailer-daemon"))
_MAX_TARGETS = 10_000


@implementer(IRouter)
class Router:
    """IRouter over the settings. `settings`: `.now` (Config) and `.users` (Users)."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings

    # --- IRouter ----------------------------------------------------------------------------------

    def resolve(self, address: str) -> Sequence[Target]:
        """The targets of a recipient; `postmaster` alone is that of the first domain."""
        mailbox = self.mailbox(address)
        return tuple(_Walk(self, self._settings.now.limits.alias_depth).run(mailbox))

    def is_local_domain(self, domain: str) -> bool:
        if domain in self._settings.now.domains:
            return True
        try:
            return domain_to_ascii(domain) in self._settings.now.domains
        except BadAddress:
            return False

    def owns(self, user: str, address: str) -> bool:
        """`user` may send as itself, as one of the aliases listed with it, and as a subaddress of these."""
        try:
            mailbox = parse_mailbox(address)
        except BadAddress:
            return False
        account = self._settings.users.users.get(user)
        if account is None or account.disabled:
            return False
        mine = {user, *account.aliases}
        return any(key in mine for key in self._spellings(mailbox))

    # --- parts ------------------------------------------------------------------------------------

    def mailbox(self, address: str) -> Mailbox:
        if address.lower() == "postmaster":
            domain = next(iter(self._settings.now.domains), "")
            if not domain:
                raise NoSuchUser
            return Mailbox("postmaster", domain)
        return parse_mailbox(address)

    def _spellings(self, mailbox: Mailbox) -> Iterator[str]:
        """The keys an address may be listed under: as it is, and without its subaddress (RFC 5233)."""
        key = key_of(mailbox)
        yield key
        domain = self._settings.now.domains.get(mailbox.domain)
        if domain is not None and domain.subaddress:
            at = mailbox.local.find(domain.subaddress, 1)
            if at > 0:
                yield key_of(Mailbox(mailbox.local[:at], mailbox.domain))

    def step(self, mailbox: Mailbox) -> Target | tuple[str, ...]:
        """One step: the target, or the addresses an alias stands for. Raises NoSuchUser."""
        domain = self._settings.now.domains.get(mailbox.domain)
        users = self._settings.users
        if domain is None:
            return Target(str(mailbox), domain=mailbox.domain)
        for key in self._spellings(mailbox):
            if key in users.users:
                return Target(str(mailbox), user=key)
            if key in users.aliases:
                return tuple(users.aliases[key])
        return self._role_or_catch_all(mailbox, domain)

    def _role_or_catch_all(self, mailbox: Mailbox, domain: Domain) -> Target:
        if fold_local(mailbox.local) in _POSTMASTER_NAMES:
            user = self._postmaster(domain)
            if user:
                return Target(str(mailbox), user=user)
        if domain.catch_all and domain.catch_all in self._settings.users.users:
            return Target(str(mailbox), user=domain.catch_all)
        raise NoSuchUser

    def _postmaster(self, domain: Domain) -> str:
        """The domain's postmaster: the one named, else its first user, else the first user of all."""
        users = self._settings.users.users
        if domain.postmaster in users:
            return domain.postmaster
        ending = "@" + domain.name
        own = next((user for user in users if user.endswith(ending)), "")
        return own or next(iter(users), "")


class _Walk:
    """One resolution: depth first, every address once."""

    def __init__(self, router: Router, depth: int) -> None:
        self._router = router
        self._depth = depth
        self._seen: set[str] = set()
        self._copies: set[str] = set()
        self._targets: list[Target] = []
        self._looped = False
        self._unknown: NoSuchUser | None = None

    def run(self, mailbox: Mailbox) -> list[Target]:
        found = self._router.step(mailbox)
        if isinstance(found, Target):
            return [found]
        self._seen.add(key_of(mailbox))
        self._follow(found)
        if self._targets:
            return self._targets
        if self._looped or self._unknown is None:
            raise RoutingLoop
        raise self._unknown

    def _follow(self, first: tuple[str, ...]) -> None:
        """Aliases without recursion: (depth, address) still to look at."""
        waiting = [(1, address) for address in reversed(first)]
        while waiting:
            depth, address = waiting.pop()
            try:
                mailbox = self._router.mailbox(address)
                key = key_of(mailbox)
                if key in self._seen:
                    self._looped = self._looped or not self._targets
                    continue
                self._seen.add(key)
                found = self._router.step(mailbox)
            except (NoSuchUser, BadAddress) as error:
                # A member that is gone must not stop the mail of the others.
                self._unknown = error if isinstance(error, NoSuchUser) else NoSuchUser(cause=error)
                continue
            if isinstance(found, Target):
                self._add(found)
            elif depth >= self._depth:
                self._looped = True
            else:
                waiting += [(depth + 1, member) for member in reversed(found)]

    def _add(self, target: Target) -> None:
        """One copy for each mailbox and each remote address (CASES C15)."""
        key = target.user or target.address.lower()
        if key not in self._copies and len(self._targets) < _MAX_TARGETS:
            self._copies.add(key)
            self._targets.append(target)
