"""users.toml: users, their aliases, and addresses that fan out."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path

import pytest

from mailserver.config.load import read
from mailserver.config.problems import ConfigError
from mailserver.config.schema import User, Users
from tests.helpers.files import CONFIG, USERS, write_site, write_users


def users_of(folder: Path, text: str) -> Users:
    return read(write_site(folder, users=text)).users


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        users_of(folder, text)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_users_and_aliases(tmp_path: Path) -> None:
    users = users_of(tmp_path, USERS)
    assert users.users == {
        "alice@example.org": User("alice@example.org", "{PLAIN}secret", ("al@example.org",)),
        "bob@example.org": User("bob@example.org", "{PLAIN}hunter2"),
    }
    assert users.aliases == {
        "al@example.org": ("alice@example.org",),
        "team@example.org": ("alice@example.org", "bob@elsewhere.example"),
    }


def test_addresses_are_normalised(tmp_path: Path) -> None:
    users = users_of(
        tmp_path,
        """
        [users."Alice@EXAMPLE.org."]
        password = "{PLAIN}x"
        quota = "5 GiB"
        disabled = true
        aliases = ["AL@Example.ORG"]
        """,
    )
    assert users.users["alice@example.org"] == User(
        "alice@example.org", "{PLAIN}x", ("al@example.org",), 5 * 1024**3, disabled=True
    )


def test_an_empty_file_is_no_fault(tmp_path: Path) -> None:
    assert users_of(tmp_path, "") == Users()


def test_several_files_make_one(tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text('[users."carol@example.org"]\npassword = "{PLAIN}x"\n')
    path = write_site(tmp_path, 'users_file = ["users.toml", "more.toml"]\n' + CONFIG)
    assert list(read(path).users.users) == ["alice@example.org", "bob@example.org", "carol@example.org"]


@pytest.mark.parametrize(
    "password",
    [
        "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdCEhIQ$" + 43 * "A",
        "$2b$12$" + 53 * "a",
        "$6$salt$" + 86 * "a",
        "$5$salt$" + 43 * "a",
        "{SSHA}" + b64encode(bytes(28)).decode(),
        "{SCRAM-SHA-256}4096,c2FsdHNhbHQ=," + ",".join([b64encode(bytes(32)).decode()] * 2),
        "{PLAIN}with spaces é",
    ],
)
def test_every_scheme_of_the_contract(tmp_path: Path, password: str) -> None:
    users = users_of(tmp_path, f"[users.\"alice@example.org\"]\npassword = '{password}'\n")
    assert users.users["alice@example.org"].password == password


WRONG = {
    "no_password": ("[users.'a@example.org']\n", 'users."a@example.org".password: missing ($argon2id$'),
    "clear_password": (
        "[users.'a@example.org']\npassword='x'\n",
        'users."a@example.org".password: not a password',
    ),
    "empty_password": (
        "[users.'a@example.org']\npassword='{PLAIN}'\n",
        'users."a@example.org".password: an empty',
    ),
    "no_address": ("[users.alice]\npassword='{PLAIN}x'\n", "users.alice: 'alice' is not an address"),
    "bad_address": (
        "[users.'a b@example.org']\npassword='{PLAIN}x'\n",
        "users.\"a b@example.org\": 'a b@example.org' is",
    ),
    "other_domain": (
        "[users.'a@example.net']\npassword='{PLAIN}x'\n",
        'users."a@example.net": the domain example.net is not served here (add [domains."example.net"])',
    ),
    "user_twice": (
        "[users.'a@example.org']\npassword='{PLAIN}x'\n[users.'A@example.org']\npassword='{PLAIN}y'\n",
        'users."A@example.org": a@example.org is a user (users.toml) already (one meaning each)',
    ),
    "alias_is_a_user": (
        "[users.'a@example.org']\npassword='{PLAIN}x'\naliases=['b@example.org']\n"
        "[users.'b@example.org']\npassword='{PLAIN}y'\n",
        'users."a@example.org".aliases[0]: b@example.org is a user (users.toml) already',
    ),
    "alias_of_two": (
        "[users.'a@example.org']\npassword='{PLAIN}x'\naliases=['c@example.org']\n"
        "[users.'b@example.org']\npassword='{PLAIN}y'\naliases=['c@example.org']\n",
        'users."b@example.org".aliases[0]: c@example.org is an alias of a@example.org (users.toml) already',
    ),
    "own_address": (
        "[users.'a@example.org']\npassword='{PLAIN}x'\naliases=['a@example.org']\n",
        'users."a@example.org".aliases[0]: a@example.org is the user\'s own address',
    ),
    "alias_table_and_user": (
        "[users.'a@example.org']\npassword='{PLAIN}x'\n[aliases]\n'a@example.org'=['b@x.example']\n",
        'aliases."a@example.org": a@example.org is a user (users.toml) already',
    ),
    "alias_table_and_alias": (
        "[users.'a@example.org']\npassword='{PLAIN}x'\naliases=['b@example.org']\n"
        "[aliases]\n'b@example.org'=['b@x.example']\n",
        'aliases."b@example.org": b@example.org is an alias of a@example.org (users.toml) already',
    ),
    "bad_target": (
        "[aliases]\n'a@example.org'=['nobody']\n",
        "aliases.\"a@example.org\"[0]: 'nobody' is not an address (local-part@domain)",
    ),
    "target_not_a_list": (
        "[aliases]\n'a@example.org'='b@x.example'\n",
        'aliases."a@example.org": expected a list, got a string',
    ),
    "no_target": (
        "[aliases]\n'a@example.org'=[]\n",
        'aliases."a@example.org": an empty list (at least one address)',
    ),
    "bad_quota": (
        "[users.'a@example.org']\npassword='{PLAIN}x'\nquota='lots'\n",
        "users.\"a@example.org\".quota: 'lots' is not a size",
    ),
    "unknown_key": (
        "[users.'a@example.org']\npassword='{PLAIN}x'\nqouta='1 MB'\n",
        'users."a@example.org".qouta: unknown key (did you mean "quota"?)',
    ),
    "unknown_table": ("[user.'a@example.org']\n", 'user: unknown key (did you mean "users"?)'),
    "syntax": ("[users.a\n", "line 1, column 9: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_K1_a_wrong_users_file_is_told_with_its_key(tmp_path: Path, name: str) -> None:
    text, expected = WRONG[name]
    [line] = problems(tmp_path, text)
    assert line.startswith(f"users.toml: {expected}"), line


def test_an_alias_to_a_local_nobody_is_warned_of(tmp_path: Path) -> None:
    text = USERS + '"all@example.org" = ["alice@example.org", "crol@example.org", "al@example.org"]\n'
    loaded = read(write_site(tmp_path, users=text))
    assert [str(warning).partition(": ")[2] for warning in loaded.warnings] == [
        'aliases."all@example.org"[1]: crol@example.org is no user and no alias'
    ]


def test_a_users_file_that_is_a_fifo_does_not_hang(tmp_path: Path) -> None:
    path = write_site(tmp_path)
    (tmp_path / "users.toml").unlink()
    os.mkfifo(tmp_path / "users.toml")
    with pytest.raises(ConfigError, match="is not a file"):
        read(path)


def test_ten_thousand_users_are_read_quickly(tmp_path: Path) -> None:
    text = "".join(f'[users."u{n}@example.org"]\npassword = "{{PLAIN}}x"\n' for n in range(10_000))
    write_users(tmp_path, text)
    assert len(users_of(tmp_path, text).users) == 10_000
