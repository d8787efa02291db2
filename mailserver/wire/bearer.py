"""What OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's and Microsoft's, without an RFC) carry.

RFC 7628: `n,a=user@example.org,^Aauth=Bearer TOKEN^A^A`, where ^A is octet 1; other pairs are passed over.
XOAUTH2: `user=user@example.org^Aauth=Bearer TOKEN^A^A`.
"""

from __future__ import annotations

import json
import re

from attrs import field, frozen

from mailserver.errors import AuthenticationFailed, BadSasl
from mailserver.wire.scram import saslname, utf8

MAX_TOKEN = 8192
_SEPARATOR = "\x01"
_PAIR = re.compile(r"([A-Za-z]+)=([\t\n\r\x20-\x7e]*)")
_CREDENTIALS = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]+=*) *")  # RFC 6750, 2.1


@frozen
class WantsToken:
    """The mechanism is over, but for a refusal: is the token good, and `user`'s? ("": whose it says.)"""

    user: str
    token: str = field(repr=False)


@frozen
class Refusal:
    """Why a token was refused (RFC 6750, 3.1), and where a better one is to be had.

    status:        "invalid_token", "insufficient_scope"
    scope:         what a token must be good for, "" for nothing in particular
    configuration: the OpenID configuration of the provider, "" for none
    """

    status: str
    scope: str = ""
    configuration: str = ""


def oauthbearer(message: bytes) -> WantsToken:
    """client-resp of RFC 7628, 3.1. Raises BadSasl, AuthenticationFailed."""
    header, found, rest = utf8(message).partition(_SEPARATOR)
    parts = header.split(",")
    if not found or len(parts) != 3 or parts[2]:
        raise BadSasl
    flag, authzid, _ = parts
    if flag[:2] == "p=":
        raise AuthenticationFailed  # nothing here can be bound to a channel
    if flag not in ("n", "y") or (authzid and authzid[:2] != "a="):
        raise BadSasl
    return WantsToken(saslname(authzid[2:]) if authzid else "", _token(_pairs(rest)))


def xoauth2(message: bytes) -> WantsToken:
    """Raises BadSasl, AuthenticationFailed."""
    user, found, rest = utf8(message).partition(_SEPARATOR)
    if not found or user[:5] != "user=" or not user[5:] or "\0" in user:
        raise BadSasl
    return WantsToken(user[5:], _token(_pairs(rest)))


def _pairs(text: str) -> dict[str, str]:
    """`key=value^A` … `^A`"""
    if not text.endswith(_SEPARATOR):
        raise BadSasl
    pairs: dict[str, str] = {}
    for written in text[:-1].split(_SEPARATOR)[:-1]:
        pair = _PAIR.fullmatch(written)
        if pair is None or pair[1] in pairs:
            raise BadSasl
        pairs[pair[1]] = pair[2]
    return pairs


def _token(pairs: dict[str, str]) -> str:
    """ "" where there is none, which is how clients ask where to get one (RFC 7628, 4.3)."""
    credentials = _CREDENTIALS.fullmatch(pairs.get("auth", ""))
    return credentials[1] if credentials is not None and len(credentials[1]) <= MAX_TOKEN else ""


def oauthbearer_refusal(refusal: Refusal) -> bytes:
    """RFC 7628, 3.2.2"""
    answer = {"status": refusal.status}
    if refusal.scope:
        answer["scope"] = refusal.scope
    if refusal.configuration:
        answer["openid-configuration"] = refusal.configuration
    return json.dumps(answer).encode("ascii")


def xoauth2_refusal(refusal: Refusal) -> bytes:
    status = "403" if refusal.status == "insufficient_scope" else "401"
    return json.dumps({"status": status, "schemes": "Bearer", "scope": refusal.scope}).encode("ascii")
