"""Which user a log-in name means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.auth.passwords import hash_password
from mailserver.auth.users import Directory
from tests.helpers.settings import make_settings

SCRAM = (
    "{SCRAM-SHA-256}4096,Y8UpLN3CkpHZPjhYscapAw==,5kXB/cLOIsqXj/XzIbApi4XHyIXv2JPD6BM4US2vJJA=,"
    "Ff+5IjXASxaS8bNNVKJlSUdkHVC06DhCWy1rp+ol7Fs="
)
USERS = {
    "alice@example.org": {"aliases": ["al@example.org"]},
    "böb@example.org": {},
    "o'neil@example.org": {},
    '"a b"@example.org': {},
}


def found(name: str) -> str:
    user = Directory(make_settings(USERS)).find(name)
    return user.address if user is not None else ""


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("alice@example.org", "alice@example.org"),
        ("Alice@EXAMPLE.org", "alice@example.org"),
        ("ALICE", "alice@example.org"),
        ("bo\u0308b", "böb@example.org"),
        ("\uff41lice", "alice@example.org"),
        ("o'neil", "o'neil@example.org"),
        ('"a b"', '"a b"@example.org'),
    ],
)
def test_names_of_users(name: str, address: str) -> None:
    assert found(name) == address


@pytest.mark.parametrize(
    "name",
    ["", "al@example.org", "al", "alice+tag@example.org", "alice@example.com", "@example.org", "alice@",
     "a b", "alice@example.org ", " alice", "alice\0", "alice@example.org\n", "x" * 1000, "\ud800",
     "alice@example.org@example.org"],
)  # fmt: skip
def test_names_of_nobody(name: str) -> None:
    assert found(name) == ""


@pytest.mark.parametrize(
    "name",
    ["%", "*", "%u", "%{user}", "%{env:HOME}", "al%", "a*", "?lice", "alice)(|(uid=*", "' or 1=1 --", "\\",
     "{alice}", "alice\\@example.org", "$USER", "../alice", "~alice"],
)  # fmt: skip
def test_D10_nothing_is_expanded(name: str) -> None:
    assert found(name) == ""
    assert found(name + "@example.org") == ""


def test_local_parts_need_one_domain() -> None:
    directory = Directory(make_settings(USERS, domains=["example.org", "example.com"]))
    assert directory.find("alice") is None
    assert directory.find("alice@example.org") is not None


def test_disabled_users_are_found_to_be_told_apart() -> None:
    user = Directory(make_settings({"alice@example.org": {"disabled": True}})).find("alice")
    assert user is not None
    assert user.disabled


def test_scram_is_for_all_or_nobody() -> None:
    settings = make_settings({"a@example.org": "{PLAIN}x", "b@example.org": SCRAM})
    directory = Directory(settings)
    assert directory.scram_for_all()
    hashed = hash_password("x")
    settings.change({"a@example.org": "{PLAIN}x", "b@example.org": hashed})
    assert not directory.scram_for_all()
    settings.change({"a@example.org": "{PLAIN}x", "b@example.org": {"password": hashed, "disabled": True}})
    assert directory.scram_for_all()
    settings.change({})
    assert not directory.scram_for_all()


def test_D1_unknown_users_get_the_usual_iterations() -> None:
    assert Directory(make_settings({"a@example.org": "{PLAIN}x"})).scram_shape() == (15_000, 16)
    assert Directory(make_settings({"a@example.org": "{PLAIN}x", "b@example.org": SCRAM})).scram_shape() == (
        4096,
        16,
    )


@given(st.text(max_size=60) | st.text("alice@exmp.org%*'\"\\ ", max_size=25))
def test_any_name(name: str) -> None:
    assert found(name) in ("", *USERS)
