"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's side (RFC 5802, RFC 7677).

The server keeps `ScramKeys`, never needs the password, and takes the nonce from outside. It asks for the
keys of a name with `WantsKeys`; who answers gives keys for unknown names too (`fake_keys`), so that the
exchange looks the same and merely fails at the end. Extensions are skipped; `m` fails (RFC 5802, 5.1).

Channel binding (RFC 5802, 6): -PLUS is `p` and nothing else, over a type that the connection has. Without
-PLUS a `y` says that the client would have bound itself but saw no offer: where -PLUS was offered, somebody
between has taken it out of the list, and the exchange fails.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Sequence

from attrs import field, frozen

from mailserver.errors import AuthenticationFailed, BadSasl
from mailserver.wire.saslprep import saslprep

MIN_ITERATIONS = 4096  # RFC 7677, 4
MAX_ITERATIONS = 1_000_000  # half a second of PBKDF2: more would be an attack by a stored hash
DEFAULT_ITERATIONS = 15_000  # RFC 7677, 4: "around 15,000"
SALT_SIZE = 16
MAX_NONCE = 512

_SASLNAME = re.compile(r"(?:[^\x00=,]|=2C|=3D)+")
_NONCE = re.compile(r"[\x21-\x2b\x2d-\x7e]+")
_CB_NAME = re.compile(r"[A-Za-z0-9.-]+")
_EXTENSION = re.compile(r"[A-Za-z]=[^\x00,]+")
_RESERVED = frozenset("anmrcsipve")  # RFC 5802, 5.1: none of them can be an extension


@frozen
class ScramKeys:
    """What a server stores of a password (RFC 5802, 3). Enough to impersonate the server: a secret."""

    iterations: int
    salt: bytes
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


def derive_keys(password: bytes, salt: bytes, iterations: int) -> ScramKeys:
    """The keys of a password. Takes about half a microsecond an iteration, without the GIL."""
    salted = hashlib.pbkdf2_hmac("sha256", prepare(password), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return ScramKeys(iterations, salt, hashlib.sha256(client_key).digest(), server_key)


def fake_keys(name: str, secret: bytes, iterations: int, salt_size: int = SALT_SIZE) -> ScramKeys:
    """Keys that nobody can prove, the same for a name each time (RFC 5802, 9; CASES D1)."""
    stored_key = hmac.digest(secret, b"stored\0" + name.encode("utf-8", "surrogatepass"), "sha256")
    server_key = hmac.digest(secret, b"server\0" + name.encode("utf-8", "surrogatepass"), "sha256")
    return ScramKeys(iterations, salt_for(name, secret, salt_size), stored_key, server_key)


def salt_for(name: str, secret: bytes, size: int = SALT_SIZE) -> bytes:
    """A salt that belongs to a name for as long as `secret` lives; at most 32 octets."""
    return hmac.digest(secret, b"salt\0" + name.encode("utf-8", "surrogatepass"), "sha256")[:size]


def prepare(password: bytes) -> bytes:
    """Normalize(str) of RFC 5802, 2.2; octets that cannot be prepared stay as they are."""
    if password.isascii() and b"\x7f" not in password and min(password, default=0) >= 0x20:
        return password
    try:
        prepared = saslprep(password.decode("utf-8"))
    except UnicodeDecodeError:
        return password
    return prepared.encode("utf-8") if prepared else password


@frozen
class WantsKeys:
    """Answer with `ScramServer.keys`. `user` is the name as it came, decoded."""

    user: str


@frozen
class Proven:
    """The client knows the password of `user`. `final` proves the same of the server to the client."""

    user: str
    final: bytes
    keys: ScramKeys


@frozen
class Binding:
    """Channel binding of an exchange.

    plus:    the mechanism is the -PLUS one
    offered: the -PLUS one was announced to this client
    find:    the data of a type of binding, any of which is right; none for a type that there is not
    """

    plus: bool = False
    offered: bool = False
    find: Callable[[str], Sequence[bytes]] = field(default=lambda kind: (), repr=False)


UNBOUND = Binding()


class ScramServer:
    """One exchange: `first`, `keys`, `final`, each once and in this order.

    nonce: the server's part; printable ASCII without a comma, new for each exchange (RFC 5802, 5.1).
    """

    def __init__(self, nonce: str, binding: Binding = UNBOUND) -> None:
        self._server_nonce = nonce
        self._binding = binding
        self._data: Sequence[bytes] = (b"",)  # what may be bound to, after the GS2 header
        self._gs2_header = ""
        self._first_bare = ""
        self._server_first = ""
        self._nonce = ""
        self._user = ""
        self._keys: ScramKeys | None = None

    def first(self, message: bytes) -> WantsKeys:
        """client-first-message. Raises BadSasl, AuthenticationFailed."""
        text = utf8(message)
        parts = text.split(",", 2)
        if len(parts) < 3:
            raise BadSasl
        flag, authzid, self._first_bare = parts
        self._gs2_header = f"{flag},{authzid},"
        self._bind(flag)
        attributes = self._first_bare.split(",")
        if attributes[0].startswith("m="):
            raise AuthenticationFailed  # a mandatory extension (RFC 5802, 5.1)
        if len(attributes) < 2 or attributes[0][:2] != "n=" or attributes[1][:2] != "r=":
            raise BadSasl
        _check_extensions(attributes[2:])
        self._user = saslname(attributes[0][2:])
        if authzid and authzid[:2] != "a=":
            raise BadSasl
        if authzid and saslname(authzid[2:]) != self._user:
            raise AuthenticationFailed  # nobody acts for somebody else here
        nonce = attributes[1][2:]
        if len(nonce) > MAX_NONCE or not _NONCE.fullmatch(nonce):
            raise BadSasl
        self._nonce = nonce + self._server_nonce
        return WantsKeys(self._user)

    def keys(self, keys: ScramKeys) -> bytes:
        """server-first-message for the keys that were asked for."""
        self._keys = keys
        salt = b64encode(keys.salt).decode("ascii")
        self._server_first = f"r={self._nonce},s={salt},i={keys.iterations}"
        return self._server_first.encode("ascii")

    def final(self, message: bytes) -> Proven:
        """client-final-message. Raises BadSasl, AuthenticationFailed (a wrong proof)."""
        keys, self._keys = self._keys, None  # one proof for one challenge
        if keys is None:
            raise BadSasl
        without_proof, found, proof_text = utf8(message).rpartition(",p=")
        attributes = without_proof.split(",")
        if not found or len(attributes) < 2:
            raise BadSasl
        if attributes[0][:2] != "c=" or attributes[1][:2] != "r=":
            raise BadSasl
        _check_extensions(attributes[2:])
        same_binding = self._is_bound(attributes[0][2:])
        same_nonce = hmac.compare_digest(attributes[1][2:].encode(), self._nonce.encode())
        if not same_binding or not same_nonce:
            raise AuthenticationFailed
        auth_message = f"{self._first_bare},{self._server_first},{without_proof}".encode()
        if not _proves(keys, auth_message, _proof(proof_text)):
            raise AuthenticationFailed
        signature = hmac.digest(keys.server_key, auth_message, "sha256")
        return Proven(self._user, b"v=" + b64encode(signature), keys)

    def _bind(self, flag: str) -> None:
        """gs2-cbind-flag (RFC 5802, 6, 7)."""
        binding = self._binding
        if flag in ("n", "y"):
            if binding.plus or (flag == "y" and binding.offered):
                raise AuthenticationFailed
        elif flag[:2] == "p=" and _CB_NAME.fullmatch(flag[2:]):
            self._data = binding.find(flag[2:]) if binding.plus else ()
            if not self._data:
                raise AuthenticationFailed  # a type that this connection does not have
        else:
            raise BadSasl

    def _is_bound(self, written: str) -> bool:
        """Is this the GS2 header with the data of this very channel?"""
        header, given = self._gs2_header.encode("utf-8"), written.encode("utf-8")
        return any(hmac.compare_digest(given, b64encode(header + data)) for data in self._data)


def _proves(keys: ScramKeys, auth_message: bytes, proof: bytes) -> bool:
    """RFC 5802, 3: H(ClientProof XOR ClientSignature) is StoredKey."""
    signature = hmac.digest(keys.stored_key, auth_message, "sha256")
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), keys.stored_key)


def _proof(text: str) -> bytes:
    try:
        proof = binascii.a2b_base64(text.encode("utf-8"), strict_mode=True)
    except binascii.Error:
        raise BadSasl from None
    if len(proof) != 32 or len(text) != 44:
        raise BadSasl
    return proof


def utf8(data: bytes) -> str:
    """Raises BadSasl."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadSasl from None


def saslname(text: str) -> str:
    """saslname: `=2C` is a comma, `=3D` an equals sign, any other `=` is an error."""
    if not _SASLNAME.fullmatch(text):
        raise BadSasl
    return text.replace("=2C", ",").replace("=3D", "=")


def _check_extensions(attributes: list[str]) -> None:
    for attribute in attributes:
        if not _EXTENSION.fullmatch(attribute):
            raise BadSasl
        if attribute[0] == "m":
            raise AuthenticationFailed
        if attribute[0] in _RESERVED:
            raise BadSasl
