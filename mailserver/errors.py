"""One exception tree for everything that a client may be told.

Each error carries what every protocol needs to make its own reply of it: an SMTP reply code and
enhanced code (RFC 3463), an IMAP response code (RFC 5530), a POP3 response code (RFC 2449, 3206),
and a text that is safe to send. What only the log may see (paths, exceptions) travels as `cause`.
"""

from __future__ import annotations


class MailError(Exception):
    """Something a client is told. Subclasses fix the codes; an instance may override them.

    `text` is sent to the client as it stands: one line of ASCII, no path, no configuration, no secret.
    `cause` is for the log only.
    """

    code: int = 451
    enhanced: str = "4.3.0"
    imap: str | None = None
    pop3: str | None = None
    text: str = "Requested action aborted: local error"

    def __init__(
        self,
        text: str | None = None,
        *,
        code: int | None = None,
        enhanced: str | None = None,
        imap: str | None = None,
        pop3: str | None = None,
        cause: object = None,
    ) -> None:
        if text is not None:
            self.text = text
        if code is not None:
            self.code = code
        if enhanced is not None:
            self.enhanced = enhanced
        if imap is not None:
            self.imap = imap
        if pop3 is not None:
            self.pop3 = pop3
        self.cause = cause
        super().__init__(self.text)

    @property
    def temporary(self) -> bool:
        """True where the same request may succeed later (RFC 5321, 4.2.1)."""
        return 400 <= self.code < 500


# --- temporary -----------------------------------------------------------------------------------


class TemporaryFailure(MailError):
    """A fault on our side: disk, database, resolver (RFC 5530 UNAVAILABLE)."""

    code, enhanced, imap, pop3 = 451, "4.3.0", "UNAVAILABLE", "SYS/TEMP"
    text = "Temporary failure on our side, try again later"


class DiskStuck(TemporaryFailure):
    """The disk has not answered for long. What was begun may still come to its end, and nobody is told."""

    text = "The disk does not answer, try again later"


class NoSpace(TemporaryFailure):
    """The disk is full (ENOSPC, EDQUOT) or below its reserve."""

    code, enhanced, imap = 452, "4.3.1", "OVERQUOTA"
    text = "Insufficient system storage"


class Busy(TemporaryFailure):
    """A bounded pool or queue of ours is full."""

    code, enhanced, imap = 454, "4.7.0", "UNAVAILABLE"
    text = "Too busy, try again later"


class ServiceUnavailable(TemporaryFailure):
    """The server stops, or this connection is over a limit; the connection closes (RFC 5321, 3.8)."""

    code, enhanced, imap = 421, "4.3.2", "UNAVAILABLE"
    text = "Service not available, closing transmission channel"


class TooManyConnections(ServiceUnavailable):
    """More connections from one address than `limits.connections_per_ip`."""

    code, enhanced = 421, "4.7.0"
    text = "Too many connections from your address"


class TooManyOfUser(TemporaryFailure):
    """More connections of one user than `limits.connections_per_user` (RFC 5530 LIMIT)."""

    code, enhanced, imap = 454, "4.7.0", "LIMIT"
    text = "Too many connections of this user"


# --- mailboxes and messages ----------------------------------------------------------------------


class OverQuota(MailError):
    """The mailbox's owner has no room left (RFC 5530, RFC 9208)."""

    code, enhanced, imap, pop3 = 452, "4.2.2", "OVERQUOTA", "SYS/PERM"
    text = "Mailbox is full"


class MessageTooLarge(MailError):
    """Larger than `limits.message_size` (RFC 1870, RFC 7889)."""

    code, enhanced, imap = 552, "5.3.4", "TOOBIG"
    text = "Message size exceeds fixed maximum message size"


class NoSuchMailbox(MailError):
    """No mailbox (folder) of that name (RFC 5530 NONEXISTENT)."""

    code, enhanced, imap = 550, "5.1.1", "NONEXISTENT"
    text = "No such mailbox"


class MailboxExists(MailError):
    """The name is taken (RFC 5530 ALREADYEXISTS)."""

    code, enhanced, imap = 550, "5.2.0", "ALREADYEXISTS"
    text = "Mailbox already exists"


class CannotName(MailError):
    """The name or the operation on it is not possible here (RFC 5530 CANNOT)."""

    code, enhanced, imap = 550, "5.1.3", "CANNOT"
    text = "That mailbox name is not possible here"


class NotPermitted(MailError):
    """Forbidden to this user (RFC 5530 NOPERM)."""

    code, enhanced, imap = 550, "5.7.1", "NOPERM"
    text = "Not permitted"


class LimitReached(MailError):
    """A configured limit (RFC 5530 LIMIT)."""

    code, enhanced, imap = 452, "4.3.1", "LIMIT"
    text = "A limit of this server is reached"


class MessageGone(MailError):
    """The message was expunged by another session or program (RFC 5530 EXPUNGEISSUED)."""

    code, enhanced, imap = 550, "5.2.0", "EXPUNGEISSUED"
    text = "Message no longer exists"


# --- addresses and routing -----------------------------------------------------------------------


class NoSuchUser(MailError):
    """The local part is unknown in one of our domains."""

    code, enhanced = 550, "5.1.1"
    text = "No such user here"


class BadAddress(MailError):
    """Not an address by RFC 5321, 4.1.2."""

    code, enhanced = 501, "5.1.3"
    text = "Bad address syntax"


class RelayDenied(MailError):
    """A domain that is not ours, from someone who may not relay."""

    code, enhanced = 550, "5.7.1"
    text = "Relaying denied"


class RoutingLoop(MailError):
    """Aliases that lead back, or more hops than a sane path has (RFC 5321, 6.3)."""

    code, enhanced = 554, "5.4.6"
    text = "Routing loop detected"


# --- authentication ------------------------------------------------------------------------------


class AuthenticationFailed(MailError):
    """Unknown user or wrong password: always this one text (RFC 4954, RFC 5530, RFC 3206)."""

    code, enhanced, imap, pop3 = 535, "5.7.8", "AUTHENTICATIONFAILED", "AUTH"
    text = "Authentication credentials invalid"


class CannotAuthenticate(TemporaryFailure):
    """Who could say whether the log-in is right does not answer (RFC 4954, 6; RFC 5530; RFC 3206)."""

    code, enhanced, imap, pop3 = 454, "4.7.0", "UNAVAILABLE", "SYS/TEMP"
    text = "Temporary authentication failure"


class EncryptionRequired(MailError):
    """Log-in in clear text is not allowed here (RFC 4954: 538 is for AUTH, 530 for STARTTLS)."""

    code, enhanced, imap, pop3 = 538, "5.7.11", "PRIVACYREQUIRED", "AUTH"
    text = "Encryption required for requested authentication mechanism"


class BadSasl(MailError):
    """A SASL response that cannot be decoded or does not fit the mechanism (RFC 4954, 4)."""

    code, enhanced = 501, "5.5.2"
    text = "Cannot decode response"
