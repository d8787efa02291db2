"""Password hashes: those of other programs (Dovecot, crypt(3), argon2, bcrypt), and hostile ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mailserver.auth import crypt, passwords
from mailserver.auth.passwords import (
    DUMMY,
    check_hash,
    has_scram_keys,
    hash_password,
    is_cheap,
    plain_password,
    scram_keys,
    scram_text,
    verify,
)
from mailserver.wire.scram import derive_keys

# "sécret b", hashed by `doveadm pw`
BY_DOVECOT = [
    "{BLF-CRYPT}$2y$05$qazrViwJGoSzD3XCgswHbehdFQZYlB0aHC2s0ru6qsmMp4BN1vl3q",
    "{SHA512-CRYPT}$6$7iHvIeGGkTfqoy5Z$HaY9QfmNTpuiIKakRzREzE1QEstgVZsoCcLWLdRM.i5iqd1xFKe9MZ.FuGTjCxoKvG5bt2L4M"
    "Nob7zNq.tWi11",
    "{SHA256-CRYPT}$5$4xsRgapa4ed0MIjs$/qO/55xvzUr1L42dT3JM9CyA2iYDMdqT6gZh6p3H9f.",
    "{MD5-CRYPT}$1$WUrcS4aH$jgaswhMroCqF20pPbGZ880",
    "{CRYPT}$2y$05$vlZUIipNDVc3oMrC8WtbbOymqWSTmOODUggg6MflkCHCdf.OYBKaa",
    "{SSHA}/GHv+7Ig1SJdn1x058Zmcirx1Ja06Hrj",
    "{SSHA256}8Klm8HYkylhYvYvCyf586KUy2FnqUBBFdd/dxaMo+CJy2CXj",
    "{SSHA512}Aonf7Xi7U37VB9o+8kpD+5tSe2n6oGoc9Wh/wbRrW36qCvdTEbWvSami5BmYew+8AanRoi6akJuZykYrzFLLDE2LKqw=",
    "{SCRAM-SHA-256}4096,Y8UpLN3CkpHZPjhYscapAw==,5kXB/cLOIsqXj/XzIbApi4XHyIXv2JPD6BM4US2vJJA=,"
    "Ff+5IjXASxaS8bNNVKJlSUdkHVC06DhCWy1rp+ol7Fs=",
    "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$PL6peUf5lVjhr5olXt0pJQ$QUFM7GFS2VkHj1TGJNybIWU8dASdBDCK7oq+itWQhRM",
    "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$AmCn8GAO1OZ17JOnnpq0kw$msTyNZJ4ElqHF39BBBV9vjzz4agWWmlPCoQA5gtAhfg",
]
PASSWORD = "sécret b".encode()
YESCRYPT = "$y$j9T$abcdefghijkl$XFQnRmFDoRnfefa6tLCdzcaB9xoGhmmkRgfG1lm0pK1"  # "secret"
KEYS = "W22ZaJ0SNY7soEsUEjb6gQ=="
KEY = "5kXB/cLOIsqXj/XzIbApi4XHyIXv2JPD6BM4US2vJJA="


@pytest.mark.parametrize("stored", BY_DOVECOT, ids=lambda stored: stored[1 : stored.index("}")])
def test_hashes_of_another_program(stored: str) -> None:
    check_hash(stored)
    assert verify(stored, PASSWORD)
    assert not verify(stored, b"secret b")
    assert not verify(stored, PASSWORD + b"\0")
    if "}$" in stored:
        assert verify(stored[stored.index("}") + 1 :], PASSWORD)


@pytest.mark.parametrize("scheme", passwords.SCHEMES)
def test_made_here(scheme: str) -> None:
    stored = hash_password("pässword 1", scheme)
    check_hash(stored)
    assert verify(stored, "pässword 1".encode())
    assert not verify(stored, b"password 1")
    assert not verify(stored, b"")


def test_new_ones_are_argon2id() -> None:
    assert hash_password("x").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_yescrypt_of_debian() -> None:
    check_hash(YESCRYPT)
    assert verify(YESCRYPT, b"secret")
    assert not verify(YESCRYPT, b"Secret")


def test_D1_the_dummy_costs_as_much_as_a_new_hash() -> None:
    assert DUMMY.split("$")[1:4] == hash_password("x").split("$")[1:4]
    assert len(DUMMY) == len(hash_password("x"))
    check_hash(DUMMY)
    assert not verify(DUMMY, b"secret")


@pytest.mark.parametrize("stored", [*BY_DOVECOT, "{PLAIN}secret", YESCRYPT, DUMMY, "{PLAIN}", ""])
def test_D5_an_empty_password_never_matches(stored: str) -> None:
    assert not verify(stored, b"")


def test_D2_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(passwords.hmac, "compare_digest", lambda *pair: bool(compared.append(pair)))
    for stored in ("{PLAIN}secret", BY_DOVECOT[1], BY_DOVECOT[5], BY_DOVECOT[8]):
        compared.clear()
        assert not verify(stored, PASSWORD)
        assert compared, stored


def test_bcrypt_beyond_72_octets_is_refused_without_an_error() -> None:
    stored = hash_password("x" * 72, "bcrypt")
    assert verify(stored, b"x" * 72)
    assert not verify(stored, b"x" * 73)
    with pytest.raises(ValueError, match="72"):
        hash_password("x" * 73, "bcrypt")


@pytest.mark.parametrize("password", ["", "a\0b", "x" * 5000])
def test_passwords_that_could_never_log_in(password: str) -> None:
    with pytest.raises(ValueError, match="NUL"):
        hash_password(password)


def test_an_unknown_scheme() -> None:
    with pytest.raises(ValueError, match="md4"):
        hash_password("x", "md4")


@pytest.mark.parametrize("scheme", ["argon2id", "plain", "scram-sha-256"])
def test_saslprep_makes_one_of_several_spellings(scheme: str) -> None:
    """RFC 4616, 2: the decomposed, the composed and the full-width form are one password."""
    stored = hash_password("cafe\u0301", scheme)
    assert verify(stored, "caf\u00e9".encode())
    assert verify(stored, "\uff43af\u00e9".encode())


def test_a_hash_of_octets_that_were_not_prepared() -> None:
    raw = "{SSHA}" + BY_DOVECOT[5][6:]
    assert verify(raw, PASSWORD)
    assert verify("{PLAIN}a\tb", b"a\tb")  # a tab is prohibited in SASLprep
    latin1 = crypt.crypt(b"caf\xe9", b"$6$salt$")
    assert latin1 is not None
    assert verify(latin1.decode(), b"caf\xe9")


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ("", "empty"),
        ("{PLAIN}", "empty"),
        ("secret", "not a password hash"),
        ("{CRAM-MD5}abc", "CRAM-MD5"),
        ("{SSHA}", "empty"),
        ("{SSHA}AAAA", "not a password hash"),
        ("$6$rounds=999999999$salt$" + "a" * 86, "rounds=1000000"),
        ("$5$rounds=1000001$salt$" + "a" * 43, "rounds=1000000"),
        ("$6$rounds=10$salt$" + "a" * 86, "rounds"),
        ("$6$salt$" + "a" * 43, "damaged"),
        ("$6$sält$" + "a" * 86, "damaged"),
        ("$y$jFT$abcdefghijkl$" + "a" * 43, "too much"),
        ("$2b$31$" + "a" * 53, "too much"),
        ("$2b$12$" + "a" * 52, "damaged"),
        ("$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHRzYWx0$" + "a" * 43, "too much"),
        ("$argon2id$v=19$m=8,t=999,p=1$c2FsdHNhbHRzYWx0$" + "a" * 43, "too much"),
        ("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$", "damaged"),
        (f"{{SCRAM-SHA-256}}1,{KEYS},{KEY},{KEY}", "4096"),
        (f"{{SCRAM-SHA-256}}1000000000,{KEYS},{KEY},{KEY}", "1000000"),
        (f"{{SCRAM-SHA-256}}4096,{KEYS},{KEYS},{KEY}", "STOREDKEY"),
        (f"{{SCRAM-SHA-256}}4096,{KEYS},{KEY}", "STOREDKEY"),
        ("{PLAIN}a\0b", "NUL"),
        ("*", "not a password hash"),
        ("!", "not a password hash"),
    ],
)
def test_D11_hashes_that_are_refused(stored: str, reason: str) -> None:
    with pytest.raises(ValueError, match="(?i)" + reason):
        check_hash(stored)
    assert not verify(stored, b"secret")
    if len(stored) > 20:
        with pytest.raises(ValueError) as caught:
            check_hash(stored)
        assert stored[-20:] not in str(caught.value)


def test_what_needs_no_thread() -> None:
    assert is_cheap("{PLAIN}secret")
    assert is_cheap(BY_DOVECOT[5])
    assert not any(is_cheap(stored) for stored in (DUMMY, BY_DOVECOT[0], BY_DOVECOT[8], YESCRYPT))


def test_scram_keys() -> None:
    expected = derive_keys(PASSWORD, bytes(range(16)), 4096)
    assert scram_keys("{PLAIN}sécret b", bytes(range(16)), 4096) == expected
    assert scram_keys(scram_text(expected)) == expected
    assert scram_keys(DUMMY) is None
    assert has_scram_keys("{PLAIN}x")
    assert has_scram_keys(BY_DOVECOT[8])
    assert not has_scram_keys(BY_DOVECOT[0])
    stored = scram_keys(BY_DOVECOT[8])
    assert stored is not None
    assert derive_keys(PASSWORD, stored.salt, stored.iterations) == stored


def test_the_password_itself() -> None:
    assert plain_password("{PLAIN}{x}y") == b"{x}y"
    assert plain_password("{plain}x") == b"x"
    assert plain_password(DUMMY) is None


def test_without_a_crypt_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crypt, "_crypt_r", lambda: None)
    assert not verify(YESCRYPT, b"secret")
    with pytest.raises(ValueError, match="crypt_r"):
        check_hash(YESCRYPT)
    with pytest.raises(ValueError, match="crypt"):
        hash_password("x", "sha512-crypt")


_PIECES = (
    "{PLAIN}",
    "{SSHA}",
    "{SCRAM-SHA-256}",
    "$6$",
    "$1$",
    "$y$j9T$",
    "$2b$04$",
    "rounds=",
    "AAAA",
    ",",
    "$",
    "\ud800",
)


@hypothesis_settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=40) | st.lists(st.sampled_from(_PIECES), max_size=6).map("".join), st.binary(max_size=30)
)
def test_any_stored_text_and_password(stored: str, password: bytes) -> None:
    matched = verify(stored, password)
    try:
        check_hash(stored)
    except ValueError:
        assert not matched or stored.startswith("{")
