"""Password hashes: made, checked, and compared (RFC 4616, 2; RFC 5802, 5.1).

    $argon2id$ $argon2i$ $argon2d$    argon2; argon2id is what new passwords get
    $2a$ $2b$ $2y$                    bcrypt
    $6$ $5$ $y$ $gy$ $1$              crypt(3), where the C library knows them
    {SSHA} {SSHA256} {SSHA512}        base64 of hash and salt, as LDAP servers have them
    {SCRAM-SHA-256}                   iterations,salt,storedkey,serverkey, as Dovecot has them
    {PLAIN}                           the password itself
    {ARGON2ID} {BLF-CRYPT} {SHA512-CRYPT} {CRYPT} …     Dovecot's prefixes before the first three kinds

Hashes whose cost would stop the server are refused. Compares take the same time whether they fail early or
late. An empty password never matches. Passwords are prepared with SASLprep before they are hashed; a hash
that another program made of the octets as they were typed matches too.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
import secrets
from base64 import b64encode
from collections.abc import Callable

import argon2.low_level as argon2
import bcrypt
from argon2.exceptions import Argon2Error, InvalidHashError

from mailserver.auth import crypt
from mailserver.wire.scram import (
    DEFAULT_ITERATIONS,
    MAX_ITERATIONS,
    MIN_ITERATIONS,
    SALT_SIZE,
    ScramKeys,
    derive_keys,
    prepare,
)

SCHEMES = ("argon2id", "scram-sha-256", "bcrypt", "sha512-crypt", "plain")
MAX_PASSWORD = 4096  # octets; RFC 4616, 2 asks for 255
MAX_ROUNDS = 1_000_000  # of $5$ and $6$: a quarter of a second
DUMMY = (  # nobody's password: hashed against for unknown users, with the parameters of new ones
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdCEhIQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

_TIME_COST, _MEMORY_KIB, _PARALLELISM = 2, 19 * 1024, 1
_ARGON2 = re.compile(
    r"\$argon2(id|i|d)\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{16,172})",
    re.ASCII,
)
_ARGON2_TYPES = {"id": argon2.Type.ID, "i": argon2.Type.I, "d": argon2.Type.D}
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}", re.ASCII)
_SHA_CRYPT = re.compile(
    r"\$[56]\$(?:rounds=(\d{1,9})\$)?[^$:\n\x00]{1,16}\$([./A-Za-z0-9]{43}|[./A-Za-z0-9]{86})"
)
_MD5_CRYPT = re.compile(r"\$1\$[^$:\n\x00]{0,8}\$[./A-Za-z0-9]{22}")
_YESCRYPT = re.compile(r"\$g?y\$j[./0-9A-C][./0-9A-Za-z]\$[./A-Za-z0-9]{0,86}\$[./A-Za-z0-9]{43}")
_PREFIX = re.compile(r"\{([A-Za-z0-9-]+)\}")
_CRYPT_PREFIXES = frozenset(
    ("ARGON2ID", "ARGON2I", "ARGON2D", "BLF-CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "MD5-CRYPT", "CRYPT")
)
_PLAIN_PREFIXES = frozenset(("PLAIN", "CLEARTEXT", "CLEAR"))
_SALTED = {"SSHA": "sha1", "SSHA256": "sha256", "SSHA512": "sha512"}


def hash_password(password: str, scheme: str = "argon2id") -> str:
    """What to store of a password. Raises ValueError for one that could never log in."""
    prepared = prepare(password.encode("utf-8"))
    if not is_possible(prepared):
        raise ValueError(f"a password has 1 to {MAX_PASSWORD} octets and no NUL")
    if scheme == "argon2id":
        return argon2.hash_secret(
            prepared, secrets.token_bytes(16), _TIME_COST, _MEMORY_KIB, _PARALLELISM, 32, argon2.Type.ID
        ).decode("ascii")
    if scheme == "scram-sha-256":
        return scram_text(derive_keys(prepared, secrets.token_bytes(SALT_SIZE), DEFAULT_ITERATIONS))
    if scheme == "bcrypt":
        if len(prepared) > 72:
            raise ValueError("bcrypt takes passwords of 72 octets at the most")
        return bcrypt.hashpw(prepared, bcrypt.gensalt(12)).decode("ascii")
    if scheme == "sha512-crypt":
        made = crypt.crypt(prepared, f"$6${secrets.token_hex(8)}$".encode())
        if made is None:
            raise ValueError("there is no crypt(3) with SHA-512 on this machine")
        return made.decode("ascii")
    if scheme == "plain":
        return "{PLAIN}" + password
    raise ValueError(f"unknown scheme {scheme!r} ({', '.join(SCHEMES)})")


def is_possible(password: bytes) -> bool:
    """False for what can be nobody's password."""
    return 0 < len(password) <= MAX_PASSWORD and b"\0" not in password


def verify(stored: str, password: bytes) -> bool:
    """Is this the password? Never raises. Costly but for `is_cheap` ones: call it in a thread."""
    if not is_possible(password):
        return False
    parts = _split(stored)
    if parts is None:
        return False
    matches, value = parts
    prepared = prepare(password)
    if matches(value, prepared):
        return True
    return prepared != password and matches(value, password)


def check_hash(stored: str) -> None:
    """Raise ValueError, without the hash in its text, where nobody could ever log in with this one."""
    prefix, value = _prefix(stored)
    if _split(stored) is None:
        raise ValueError(_complaint(prefix, value))
    if prefix in _PLAIN_PREFIXES and ("\0" in value or len(value.encode("utf-8", "replace")) > MAX_PASSWORD):
        raise ValueError(f"a password has 1 to {MAX_PASSWORD} octets and no NUL")


def is_cheap(stored: str) -> bool:
    """True where `verify` takes microseconds and may run in the reactor."""
    prefix = _prefix(stored)[0]
    return prefix in _PLAIN_PREFIXES or prefix in _SALTED


def plain_password(stored: str) -> bytes | None:
    """The password itself where it is stored so, else None."""
    prefix, value = _prefix(stored)
    return value.encode("utf-8", "replace") if prefix in _PLAIN_PREFIXES and value else None


def scram_keys(stored: str, salt: bytes = b"", iterations: int = DEFAULT_ITERATIONS) -> ScramKeys | None:
    """Keys for SCRAM-SHA-256: read from {SCRAM-SHA-256}, or derived from {PLAIN} with this salt, which takes
    `iterations` times half a microsecond. None for hashes, which have none."""
    prefix, value = _prefix(stored)
    if prefix == "SCRAM-SHA-256":
        return _parse_scram(value)
    plain = plain_password(stored)
    return derive_keys(plain, salt or secrets.token_bytes(SALT_SIZE), iterations) if plain else None


def has_scram_keys(stored: str) -> bool:
    """Can this user log in with SCRAM-SHA-256? Cheap."""
    prefix, value = _prefix(stored)
    return prefix in _PLAIN_PREFIXES or (prefix == "SCRAM-SHA-256" and _parse_scram(value) is not None)


def scram_text(keys: ScramKeys) -> str:
    """Keys as they are stored: {SCRAM-SHA-256}iterations,salt,storedkey,serverkey."""
    octets = (keys.salt, keys.stored_key, keys.server_key)
    return f"{{SCRAM-SHA-256}}{keys.iterations}," + ",".join(
        b64encode(part).decode("ascii") for part in octets
    )


# --- what kind of hash ----------------------------------------------------------------------------


Matcher = Callable[[str, bytes], bool]


def _prefix(stored: str) -> tuple[str, str]:
    """The {SCHEME} in upper case, "" where there is none, and what follows."""
    found = _PREFIX.match(stored)
    return (found[1].upper(), stored[found.end() :]) if found else ("", stored)


def _split(stored: str) -> tuple[Matcher, str] | None:
    """How to compare, and with what; None where the hash is not one that could match."""
    prefix, value = _prefix(stored)
    if prefix in _PLAIN_PREFIXES:
        return (_matches_plain, value) if value else None
    if prefix in _SALTED:
        parts = _parse_salted(value, _SALTED[prefix])
        return (_SALTED_MATCHERS[prefix], value) if parts else None
    if prefix == "SCRAM-SHA-256":
        return (_matches_scram, value) if _parse_scram(value) else None
    if prefix and prefix not in _CRYPT_PREFIXES:
        return None
    if _argon2_type(value) is not None:
        return _matches_argon2, value
    found = _BCRYPT.fullmatch(value)
    if found:
        return (_matches_bcrypt, value) if 4 <= int(found[1]) <= 16 else None
    return (_matches_crypt, value) if _is_crypt(value) and crypt.available() else None


def _is_crypt(value: str) -> bool:
    if not value.isascii():
        return False
    found = _SHA_CRYPT.fullmatch(value)
    if found:
        right_size = len(found[2]) == (86 if value[1] == "6" else 43)
        return right_size and (found[1] is None or 1000 <= int(found[1]) <= MAX_ROUNDS)
    return bool(_MD5_CRYPT.fullmatch(value) or _YESCRYPT.fullmatch(value))


def _complaint(prefix: str, value: str) -> str:
    """Why `_split` said no."""
    if prefix and prefix not in (*_PLAIN_PREFIXES, *_SALTED, *_CRYPT_PREFIXES, "SCRAM-SHA-256"):
        return f"the scheme {{{prefix}}} is not known"
    if not value:
        return "an empty password or hash never matches"
    if prefix == "SCRAM-SHA-256":
        return (
            "not {SCRAM-SHA-256}ITERATIONS,SALT,STOREDKEY,SERVERKEY in base64 "
            f"with {MIN_ITERATIONS} to {MAX_ITERATIONS} iterations"
        )
    if value.startswith("$argon2"):
        return "damaged, or costs too much (at most 1 GiB and 64 passes)"
    if value.startswith("$2"):
        return "damaged, or costs too much (bcrypt: 4 to 16)"
    if value.startswith(("$1$", "$5$", "$6$", "$y$", "$gy$")):
        if not crypt.available():
            return "the C library of this machine has no crypt_r"
        return f"damaged, or costs too much (at most rounds={MAX_ROUNDS})"
    return "not a password hash"


# --- each kind ------------------------------------------------------------------------------------


def _matches_plain(value: str, password: bytes) -> bool:
    expected = value.encode("utf-8", "replace")
    return hmac.compare_digest(expected, password) or hmac.compare_digest(prepare(expected), password)


def _parse_salted(value: str, algorithm: str) -> tuple[bytes, bytes] | None:
    """Digest and salt."""
    octets = _base64(value)
    size = hashlib.new(algorithm).digest_size
    if octets is None or not size < len(octets) <= size + 64:
        return None
    return octets[:size], octets[size:]


def _salted_matcher(algorithm: str) -> Matcher:
    def matches(value: str, password: bytes) -> bool:
        parts = _parse_salted(value, algorithm)
        if parts is None:
            return False
        digest, salt = parts
        return hmac.compare_digest(hashlib.new(algorithm, password + salt).digest(), digest)

    return matches


_SALTED_MATCHERS = {prefix: _salted_matcher(algorithm) for prefix, algorithm in _SALTED.items()}


def _parse_scram(value: str) -> ScramKeys | None:
    parts = value.split(",")
    if len(parts) != 4 or not parts[0].isascii() or not parts[0].isdigit() or len(parts[0]) > 9:
        return None
    salt, stored_key, server_key = (_base64(part) for part in parts[1:])
    if not salt or stored_key is None or server_key is None or not 8 <= len(salt) <= 64:
        return None
    if len(stored_key) != 32 or len(server_key) != 32:
        return None
    if not MIN_ITERATIONS <= int(parts[0]) <= MAX_ITERATIONS:
        return None
    return ScramKeys(int(parts[0]), salt, stored_key, server_key)


def _matches_scram(value: str, password: bytes) -> bool:
    keys = _parse_scram(value)
    if keys is None:
        return False
    made = derive_keys(password, keys.salt, keys.iterations)
    return hmac.compare_digest(made.stored_key, keys.stored_key)


def _argon2_type(value: str) -> argon2.Type | None:
    """The kind of an argon2 hash; None where it is none, or asks for more than 1 GiB or 64 passes."""
    found = _ARGON2.fullmatch(value)
    if found is None:
        return None
    memory, passes, lanes = int(found[2]), int(found[3]), int(found[4])
    if not 8 * lanes <= memory <= 1024 * 1024 or not 1 <= passes <= 64 or not 1 <= lanes <= 64:
        return None
    return _ARGON2_TYPES[found[1]]


def _matches_argon2(value: str, password: bytes) -> bool:
    kind = _argon2_type(value)
    if kind is None:
        return False
    try:
        return argon2.verify_secret(value.encode("ascii"), password, kind)
    except (Argon2Error, InvalidHashError):
        return False


def _matches_bcrypt(value: str, password: bytes) -> bool:
    if len(password) > 72:  # bcrypt sees 72 octets: what is longer would match by its beginning
        return False
    try:
        return bcrypt.checkpw(password, value.encode("ascii"))
    except ValueError:
        return False


def _matches_crypt(value: str, password: bytes) -> bool:
    made = crypt.crypt(password, value.encode("ascii"))
    return made is not None and hmac.compare_digest(made, value.encode("ascii"))


def _base64(text: str) -> bytes | None:
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
