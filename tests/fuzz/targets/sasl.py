"""SASL mechanisms: lines are the client's responses, the first octet the mechanism. Nobody who does not know
the password proves that he does, and nothing but BadSasl and AuthenticationFailed is raised."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from contextlib import suppress

from mailserver.errors import AuthenticationFailed, BadSasl, MailError
from mailserver.wire.bearer import Refusal, WantsToken
from mailserver.wire.sasl import (
    MECHANISMS,
    Challenge,
    Step,
    WantsPassword,
    decode_base64,
    encode_base64,
    start,
)
from mailserver.wire.scram import Binding, Proven, ScramKeys, WantsKeys, derive_keys, fake_keys
from tests.fuzz.targets import options

NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"  # RFC 7677, 3
KEYS = derive_keys(b"pencil", b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
FAKE = fake_keys("user", b"secret", 4096)
BOUND = Binding(plus=False, offered=True, find=lambda kind: (b"data",) if kind == "tls-exporter" else ())
PLUS = Binding(plus=True, offered=True, find=BOUND.find)
TOKENS = [
    *(
        b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO\n",
        b"y,,",
        b"p=tls-exporter,,",
        b"a=x,",
        b"m=x,",
        b"c=biws,",
        b",p=",
        b"r=",
    ),
    *(
        b"n,a=user@example.org,\x01auth=Bearer x\x01\x01",
        b"user=a\x01auth=Bearer x\x01\x01",
        b"host=",
        b"\0",
        b"\n",
    ),
    *(b"\0user\0pencil", b"=2C", b"=3D", b"=", b",", b"\xc3\xa9", b"\xff", b"*", b"dGVzdA=="),
]


def check(data: bytes) -> None:
    _base64(data)
    way, data = options(data, len(MECHANISMS) * 4)
    mechanism = MECHANISMS[way % len(MECHANISMS)]
    binding = PLUS if mechanism.endswith("PLUS") else BOUND if way >= 2 * len(MECHANISMS) else Binding()
    keys = FAKE if way // len(MECHANISMS) % 2 else KEYS
    exchange = start(mechanism, NONCE, binding)
    assert exchange is not None
    challenges: list[bytes] = []
    for response in data.split(b"\n"):
        try:
            step: Step = exchange.respond(response)
            repr(step)
            if isinstance(step, WantsKeys):
                step = exchange.keys(keys)
        except (BadSasl, AuthenticationFailed):
            return
        if isinstance(step, Challenge):
            challenges.append(step.data)
            assert len(step.data) < 4096
            continue
        if isinstance(step, WantsToken):
            refused = exchange.refused(Refusal("invalid_token", "mail", "https://id.example.org"))
            assert refused is not None and refused.data.isascii()
        elif isinstance(step, WantsPassword):
            assert step.user and repr(step.password) not in repr(step)
        elif isinstance(step, Proven):
            _proven(response, challenges[-1], data.split(b"\n"), keys)
        return


def _proven(final: bytes, challenge: bytes, lines: list[bytes], keys: ScramKeys) -> None:
    """The proof is the one that only the password gives (RFC 5802, 3), computed here by other means."""
    assert keys is KEYS, "proven with keys that nobody knows a password of"
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", KEYS.salt, KEYS.iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    first = next(line for line in lines if line).split(b",", 2)[2]
    without, _, proof = final.rpartition(b",p=")
    signed = b",".join((first, challenge, without))
    signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
    assert b64decode(proof) == bytes(a ^ b for a, b in zip(client_key, signature, strict=True))


def _base64(line: bytes) -> None:
    with suppress(MailError):
        data = decode_base64(line)
        assert b64decode(line, validate=True) == data
        assert decode_base64(encode_base64(data)) == data
    assert encode_base64(line) == b64encode(line)
