"""Users in an SQLite file beside mailserver.toml, users.sqlite:

CREATE TABLE users (address TEXT PRIMARY KEY, password TEXT NOT NULL)

Addresses in lower case; passwords as `mailserver hash` prints them.
"""

import sqlite3
from contextlib import closing
from functools import partial

from twisted.cred.checkers import AllowAnonymousAccess, ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from zope.interface import implementer

from mailserver.auth.passwords import DUMMY, verify
from mailserver.delivery.routes import Router
from mailserver.errors import TemporaryFailure
from mailserver.interfaces import Target
from mailserver.wire.address import key_of, normalise


def password_of(path, address):
    """What is stored for an address; None for an address that is nobody's."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0)) as database:
        row = database.execute("SELECT password FROM users WHERE address = ?", (address,)).fetchone()
    return row[0] if row else None


@implementer(ICredentialsChecker)
class SqliteUsers:
    """Who may log in."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, path, pool):
        self.path, self.pool = path, pool

    def requestAvatarId(self, credentials):
        return self.pool.run(partial(self.check, credentials.username.lower(), credentials.password))

    def check(self, address, password):
        """In a thread. A hash is run for unknown users too, so that time does not tell who is known."""
        stored = password_of(self.path, address)
        if not verify(stored or DUMMY, password) or stored is None:
            raise UnauthorizedLogin("unknown user or wrong password")
        return address


class SqliteRouter(Router):
    """Who gets mail, and from which address a user may send; users.toml is asked second."""

    def __init__(self, settings, path):
        super().__init__(settings)
        self.path = path

    def step(self, mailbox):
        address = key_of(mailbox)
        try:
            known = self.is_local_domain(mailbox.domain) and password_of(self.path, address) is not None
        except sqlite3.Error as error:
            raise TemporaryFailure(cause=error) from error
        return Target(str(mailbox), user=address) if known else super().step(mailbox)

    def owns(self, user, address):
        return normalise(address) == user or super().owns(user, address)


def extend(parts):
    path = parts.settings.now.path.with_name("users.sqlite")
    parts.checkers[:] = [AllowAnonymousAccess(), SqliteUsers(path, parts.hashing)]
    parts.router = SqliteRouter(parts.settings, path)
