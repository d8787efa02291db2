"""SASL server mechanisms as state machines, and the base64 that carries them (RFC 4422, RFC 4954, 4).

A mechanism takes the client's responses, decoded, and says what is next. It looks nothing up: it asks for a
password check (`WantsPassword`), for keys (`WantsKeys`, answered with `keys`), for the client's certificate
(`WantsCertificate`) or for a look at a token (`WantsToken`, answered with `refused` where it is no good).
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Protocol

from attrs import field, frozen

from mailserver.errors import AuthenticationFailed, BadSasl
from mailserver.wire import bearer
from mailserver.wire.bearer import Refusal, WantsToken
from mailserver.wire.saslprep import saslprep
from mailserver.wire.scram import UNBOUND, Binding, Proven, ScramKeys, ScramServer, WantsKeys, utf8

MAX_ENCODED = 12_288  # RFC 4954, 4: a line of base64, without its CRLF
MAX_DECODED = MAX_ENCODED // 4 * 3


def decode_base64(line: bytes) -> bytes:
    """One response as it stands on the line, without CRLF.

    Raises BadSasl for everything that is not plain base64 (RFC 4954, 4: no white space, no other
    characters, right padding). `*` cancels an exchange and `=` is an empty initial response: both are the
    caller's to see first.
    """
    if len(line) > MAX_ENCODED:
        raise BadSasl("Authentication exchange line is too long", code=500, enhanced="5.5.6")
    if len(line) % 4 or line[-3:-2] == b"=":  # more than two: a2b_base64 would let it pass
        raise BadSasl
    try:
        return binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error:
        raise BadSasl from None


def encode_base64(data: bytes) -> bytes:
    """A challenge for the line, without CRLF; empty for an empty one."""
    return binascii.b2a_base64(data, newline=False)


@frozen
class Challenge:
    """Send this, before base64, and feed the answer."""

    data: bytes


@frozen
class WantsPassword:
    """The mechanism is over; whether it succeeded is for who can check a password."""

    user: str
    password: bytes = field(repr=False)


@frozen
class WantsCertificate:
    """The mechanism is over: may the owner of the certificate that TLS has verified act as `user`? ("": as
    whomever the certificate names.)"""

    user: str


Step = Challenge | WantsPassword | WantsKeys | Proven | WantsCertificate | WantsToken


class Mechanism(Protocol):
    """A mechanism in the middle of an exchange."""

    def respond(self, response: bytes | None) -> Step:
        """Take the client's response (None: there was no initial one). Raises BadSasl and
        AuthenticationFailed, and then the exchange is over."""
        ...

    def keys(self, keys: ScramKeys) -> Challenge:
        """Answer `WantsKeys`."""
        ...

    def refused(self, refusal: Refusal) -> Challenge | None:
        """The proof was no good. What the client is told before it is over, None for nothing."""
        ...


class _Plain:
    def keys(self, keys: ScramKeys) -> Challenge:
        """Nobody asked."""
        raise BadSasl

    def refused(self, refusal: Refusal) -> Challenge | None:
        return None


class Plain(_Plain):
    """RFC 4616. An authorization identity must be the one that logs in, or empty (CASES D5)."""

    def __init__(self) -> None:
        self._over = False

    def respond(self, response: bytes | None) -> Step:
        if response is None:
            return Challenge(b"")
        self._over = _once(self._over, response)
        parts = response.split(b"\0")
        if len(parts) != 3 or not parts[1]:
            raise BadSasl
        user = utf8(parts[1])
        if parts[0] and not _same_name(utf8(parts[0]), user):
            raise AuthenticationFailed
        return WantsPassword(user, parts[2])


class Login(_Plain):
    """LOGIN (draft-murchison-sasl-login): the name, then the password. The name may come at once."""

    def __init__(self) -> None:
        self._user = ""
        self._over = False

    def respond(self, response: bytes | None) -> Step:
        if response is None:
            return Challenge(b"Username:")
        if not self._user:
            if len(response) > MAX_DECODED or b"\0" in response or not response:
                raise BadSasl
            self._user = utf8(response)
            return Challenge(b"Password:")
        self._over = _once(self._over, response)
        return WantsPassword(self._user, response)


class External(_Plain):
    """RFC 4422, appendix A: the response is the authorization identity, or empty."""

    def __init__(self) -> None:
        self._over = False

    def respond(self, response: bytes | None) -> Step:
        if response is None:
            return Challenge(b"")
        self._over = _once(self._over, response)
        if b"\0" in response:
            raise BadSasl
        return WantsCertificate(utf8(response))


class Bearer(_Plain):
    """OAUTHBEARER (RFC 7628) and XOAUTH2: one response with the token; a refusal is told as JSON, which the
    client answers before the exchange fails."""

    def __init__(self, read: Callable[[bytes], WantsToken], tell: Callable[[Refusal], bytes]) -> None:
        self._read = read
        self._tell = tell
        self._over = False

    def respond(self, response: bytes | None) -> Step:
        if response is None:
            return Challenge(b"")
        self._over = _once(self._over, response)
        return self._read(response)

    def refused(self, refusal: Refusal) -> Challenge:
        return Challenge(self._tell(refusal))


class ScramSha256(_Plain):
    """SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, see `wire.scram`."""

    def __init__(self, nonce: str, binding: Binding) -> None:
        self._scram = ScramServer(nonce, binding)
        self._started = False

    def respond(self, response: bytes | None) -> Step:
        if response is None:
            if self._started:
                raise BadSasl
            return Challenge(b"")
        if len(response) > MAX_DECODED:
            raise BadSasl
        if self._started:
            return self._scram.final(response)
        self._started = True
        return self._scram.first(response)

    def keys(self, keys: ScramKeys) -> Challenge:
        return Challenge(self._scram.keys(keys))


PASSWORD_MECHANISMS = ("PLAIN", "LOGIN")
SCRAM = "SCRAM-SHA-256"
SCRAM_PLUS = "SCRAM-SHA-256-PLUS"
EXTERNAL = "EXTERNAL"
TOKEN_MECHANISMS = ("OAUTHBEARER", "XOAUTH2")

_MAKERS: dict[str, Callable[[str, Binding], Mechanism]] = {
    "PLAIN": lambda nonce, binding: Plain(),
    "LOGIN": lambda nonce, binding: Login(),
    SCRAM: ScramSha256,
    SCRAM_PLUS: ScramSha256,
    EXTERNAL: lambda nonce, binding: External(),
    "OAUTHBEARER": lambda nonce, binding: Bearer(bearer.oauthbearer, bearer.oauthbearer_refusal),
    "XOAUTH2": lambda nonce, binding: Bearer(bearer.xoauth2, bearer.xoauth2_refusal),
}
MECHANISMS = tuple(_MAKERS)


def start(mechanism: str, nonce: str, binding: Binding = UNBOUND) -> Mechanism | None:
    """A new exchange; None for a mechanism that is not known. `nonce`, `binding`: see `ScramServer`."""
    maker = _MAKERS.get(mechanism.upper())
    return maker(nonce, binding) if maker is not None else None


def _once(over: bool, response: bytes) -> bool:
    if over or len(response) > MAX_DECODED:
        raise BadSasl
    return True


def _same_name(one: str, other: str) -> bool:
    """Are two names one after SASLprep (RFC 4616, 2)? Case does not tell users apart here."""
    prepared, wanted = saslprep(one), saslprep(other)
    return prepared is not None and wanted is not None and prepared.casefold() == wanted.casefold()
