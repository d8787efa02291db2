"""Names of files, folders and accounts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.errors import CannotName
from mailserver.store import maildir
from mailserver.store.maildir import NameMaker, directory_of, folder_of, parse
from tests.helpers.names import check_directory


def test_a_name_of_ours_is_read_back() -> None:
    name = NameMaker("mx.example").message(1700000000.25, 54, 58, 1234, 77)
    assert name.startswith("1700000000.M250000P") and name.endswith(".mx.example,S=54,W=58,I=1234-77")
    parsed = parse(name + ":2,FS")
    assert parsed == maildir.Name(name, "FS", 54, 58, 1234, 77)


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("1.2.host", maildir.Name("1.2.host", "")),
        ("1.2.host:2,", maildir.Name("1.2.host", "")),
        ("1.2.host:2,RSx", maildir.Name("1.2.host", "RSx")),
        ("1.2.host:1,x", maildir.Name("1.2.host", "")),
        ("1.2.host,S=12:2,S", maildir.Name("1.2.host,S=12", "S", 12)),
        ("1.2,S=-1,W=x,I=1-", maildir.Name("1.2,S=-1,W=x,I=1-", "")),
        ("1.2,I=1-99999999999", maildir.Name("1.2,I=1-99999999999", "")),
        ("1.2,S=" + "9" * 30, maildir.Name("1.2,S=" + "9" * 30, "")),
    ],
)
def test_names_of_others(name: str, parsed: maildir.Name) -> None:
    assert parse(name) == parsed


@given(st.text(max_size=60))
def test_any_name_can_be_read(name: str) -> None:
    parsed = parse(name)
    assert name.startswith(parsed.base)


def test_F8_names_are_unique_whatever_the_clock_says() -> None:
    one, other = NameMaker("h"), NameMaker("h")
    names = [maker.unique(5.0) for maker in (one, other) for _ in range(1000)]
    assert len(set(names)) == 2000


def test_host_names_cannot_break_a_name() -> None:
    name = NameMaker("a/b:c,d").unique(0)
    assert "/" not in name and ":" not in name and "," not in name


def test_I16_letters() -> None:
    flags = maildir.flags_of("DFRSTabz", 3)
    assert flags == 31 | 1 << 5 | 1 << 6
    assert maildir.letters_for(flags) == "DFRSTab"
    assert maildir.other_letters("FPSaz", 1) == "Pz"
    assert maildir.letters_for(8, "Pz") == "PSz"
    assert maildir.letters_for(1 << 40) == ""


@pytest.mark.parametrize(
    ("name", "directory"),
    [
        ("INBOX", ""),
        ("inBox", ""),
        ("inbox/x", ".INBOX.x"),
        ("Sent", ".Sent"),
        ("Archive/2024/März", ".Archive.2024.M&AOQ-rz"),
        ("A&B", ".A&-B"),
        ("with space", ".with space"),
        ("-", ".-"),
        ("curious", ".curious"),
    ],
)
def test_folder_names_there_and_back(name: str, directory: str) -> None:
    assert directory_of(name) == directory
    assert folder_of(directory) == maildir.normal_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../x",
        "a/../../b",
        "/etc",
        "~u",
        ".",
        "..",
        "a//b",
        "a/",
        "a.b",
        ".hidden",
        "cur",
        "new",
        "tmp",
        "a/cur",
        "a\0b",
        "a\rb",
        "a\nb",
        "a\u2028b",
        "x" * 256,
        "/".join("x" * 1000),
        "\ud800",
        "ü" * 100,
    ],
)
def test_I1_names_that_are_refused(name: str) -> None:
    with pytest.raises(CannotName):
        directory_of(name)


@given(st.text(max_size=40))
def test_I1_one_name_one_directory_inside_the_account(name: str) -> None:
    check_directory(name)


@pytest.mark.parametrize(
    "directory", ["cur", ".", "..", "...", ".a..b", ".a.", ".&AGE-", ".INBOX", ".inbox.x", ".a\udcff", ".~x"]
)
def test_I3_directories_that_are_no_folders(directory: str) -> None:
    assert folder_of(directory) is None


def test_superiors() -> None:
    assert list(maildir.with_superiors(["a/b/c", "INBOX", "a b"]).items()) == [
        ("INBOX", True),
        ("a", False),
        ("a/b", False),
        ("a/b/c", True),
        ("a b", True),
    ]


@pytest.mark.parametrize(
    ("user", "path"),
    [
        ("alice@example.org", "/m/example.org/alice"),
        ("a/b@example.org", "/m/example.org/a%2Fb"),
        ("..@example.org", "/m/example.org/%2E."),
        ("a%2Fb@example.org", "/m/example.org/a%252Fb"),
        ("grüße@example.org", "/m/example.org/grüße"),
        ("a\0b@example.org", "/m/example.org/a%00b"),
        ("a@b@example.org", "/m/example.org/a@b"),
    ],
)
def test_C10_accounts_stay_under_the_root(user: str, path: str) -> None:
    assert maildir.account_path("/m", user) == path


@pytest.mark.parametrize("user", ["alice", "@example.org", "alice@", "x" * 300 + "@example.org"])
def test_C10_no_account(user: str) -> None:
    with pytest.raises(CannotName):
        maildir.account_path("/m", user)


PARTS = st.sampled_from(
    [*",:;SWIDX=2-", ",S=", ",W=", ",I=", ",D=", ":2,", "12", "\u0663", "9" * 19, "host", "FS"]
)


@given(st.lists(PARTS, max_size=12).map("".join))
def test_the_usual_way_to_parse_says_what_the_other_says(name: str) -> None:
    assert parse(name) == maildir._parse_unusual(name)
