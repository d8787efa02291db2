"""Commands on the connection itself: who is there, and how the two talk (RFC 3501, 6.1, 6.2)."""

from __future__ import annotations

from attrs import field, frozen

from mailserver.imap.commands.base import Command


@frozen
class Capability(Command):
    NAME = "CAPABILITY"


@frozen
class Noop(Command):
    NAME = "NOOP"


@frozen
class Logout(Command):
    NAME = "LOGOUT"


@frozen
class Id(Command):
    """RFC 2971; None where the client sent NIL."""

    NAME = "ID"
    parameters: tuple[tuple[bytes, bytes | None], ...] | None


@frozen
class StartTls(Command):
    NAME = "STARTTLS"


@frozen
class Authenticate(Command):
    """`initial`: the initial response before base64 decoding (RFC 4959: b"=" is an empty one), or None."""

    NAME = "AUTHENTICATE"
    mechanism: str
    initial: bytes | None = field(default=None, repr=False)


@frozen
class Login(Command):
    NAME = "LOGIN"
    user: bytes
    password: bytes = field(repr=False)


@frozen
class Enable(Command):
    """RFC 5161; upper case."""

    NAME = "ENABLE"
    capabilities: tuple[str, ...]


@frozen
class Idle(Command):
    NAME = "IDLE"


@frozen
class Unauthenticate(Command):
    """RFC 8437"""

    NAME = "UNAUTHENTICATE"


@frozen
class Compress(Command):
    """RFC 4978"""

    NAME = "COMPRESS"
    mechanism: str
