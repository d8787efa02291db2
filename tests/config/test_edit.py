"""Edits of users.toml as text: what is not meant stays as it is, to the octet."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.config.edit import CannotEdit, add_user, has_user, remove_user, set_password, set_values

FILE = """\
# Staff of example.org.   (keep sorted)

# Alice, since 2019
[users."alice@example.org"]   # boss
password = "{PLAIN}old"  # to be changed
aliases  = [
    "al@example.org",   # short
]

["users".'Bob@Example.org']
disabled=true
  password  =  'hash'

# Everybody
[aliases]
"team@example.org" = ["alice@example.org"]
# the end
"""


def test_add_goes_behind_the_last_user() -> None:
    assert add_user(
        FILE, "carol@example.org", {"password": "h", "aliases": ["c@x.org"], "quota": "5 GiB"}
    ) == (
        FILE.replace(
            "'hash'\n",
            "'hash'\n\n[users.\"carol@example.org\"]\n"
            'password = "h"\naliases = ["c@x.org"]\nquota = "5 GiB"\n',
        )
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", '[users."a@b.c"]\npassword = "h"\n'),
        ("# only this", '# only this\n\n[users."a@b.c"]\npassword = "h"\n'),
        ("[users]\n", '[users]\n\n[users."a@b.c"]\npassword = "h"\n'),
        ("[aliases]\n", '[aliases]\n\n[users."a@b.c"]\npassword = "h"\n'),
        (
            '[users."x@b.c"]\npassword="1"\n[aliases]\n',
            '[users."x@b.c"]\npassword="1"\n\n[users."a@b.c"]\npassword = "h"\n\n[aliases]\n',
        ),
    ],
)
def test_add_to_small_files(text: str, expected: str) -> None:
    assert add_user(text, "a@b.c", {"password": "h"}) == expected


def test_a_password_changes_and_nothing_else() -> None:
    assert set_password(FILE, "alice@example.org", "$argon2id$new") == FILE.replace(
        '"{PLAIN}old"', '"$argon2id$new"'
    )
    assert set_password(FILE, "bob@example.org", "new") == FILE.replace("'hash'", '"new"')


def test_a_password_that_was_missing_is_added() -> None:
    text = '[users."a@b.c"]\nquota = 5\n'
    assert set_password(text, "a@b.c", "h") == '[users."a@b.c"]\nquota = 5\npassword = "h"\n'


def test_values_are_changed_and_added_and_comments_stay() -> None:
    text = (
        '[users."a@b.c"]\npassword = "h"\nquota = 5_000 # little\n# quota_messages: none\n\n'
        '[users."d@b.c"]\npassword = "h"\n'
    )
    assert set_values(text, "a@b.c", {"quota": "1 MiB", "quota_messages": 7}) == text.replace(
        "5_000 # little\n", '"1 MiB" # little\nquota_messages = 7\n'
    )
    assert set_values(text, "d@b.c", {"quota": 0}) == text + "quota = 0\n"
    cut = '[users."a@b.c"]\npassword = "h"'
    assert set_values(cut, "a@b.c", {"quota": "0"}) == cut + '\nquota = "0"\n'


def test_remove_takes_the_table_and_leaves_comments() -> None:
    assert remove_user(FILE, "bob@example.org") == FILE.replace(
        "[\"users\".'Bob@Example.org']\ndisabled=true\n  password  =  'hash'\n\n", ""
    )
    left = remove_user(FILE, "alice@example.org")
    assert "# Alice, since 2019" in left
    assert tomllib.loads(left)["users"].keys() == {"Bob@Example.org"}


def test_remove_the_only_user() -> None:
    assert remove_user('[users."a@b.c"]\npassword = "h"\n', "a@b.c") == ""
    assert remove_user('[users]\n[users."a@b.c"]\npassword = "h"\n', "a@b.c") == "[users]\n"


@pytest.mark.parametrize(
    "edit", [lambda t: set_password(t, "no@b.c", "h"), lambda t: remove_user(t, "no@b.c")]
)
def test_a_user_who_is_not_there(edit: object) -> None:
    with pytest.raises(CannotEdit, match="not there"):
        edit(FILE)  # type: ignore[operator]


def test_a_user_who_is_there_already_in_another_spelling() -> None:
    with pytest.raises(CannotEdit, match="there already"):
        add_user(FILE, "bob@example.org", {"password": "h"})
    assert has_user(FILE, "bob@example.org")


@pytest.mark.parametrize(
    "text",
    [
        'users = { "a@b.c" = { password = "h" } }\n',
        'users."a@b.c".password = "h"\n',
        '[users]\n"a@b.c" = { password = "h" }\n',
        '[users."a@b.c"]\npassword = """\nh"""\n',
        'x = """\n[users."a@b.c"]\npassword = "no"\n"""\n[users]\n"a@b.c" = {password = "h"}\n',
    ],
)
def test_what_cannot_be_edited_safely_is_refused(text: str) -> None:
    with pytest.raises(CannotEdit):
        set_password(text, "a@b.c", "new")


def test_windows_line_ends_survive() -> None:
    text = '[users."a@b.c"]\r\npassword = "h" # c\r\n'
    assert set_password(text, "a@b.c", "n") == '[users."a@b.c"]\r\npassword = "n" # c\r\n'


@settings(max_examples=150)
@given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: text))
def test_any_password_reads_back(password: str) -> None:
    text = set_password(add_user("", "a@b.c", {"password": "h"}), "a@b.c", password)
    assert tomllib.loads(text)["users"]["a@b.c"]["password"] == password


@settings(max_examples=150)
@given(st.text(alphabet="[]users.\"a@b.c'=#\n{} password\\", max_size=120))
def test_no_text_is_changed_wrongly(text: str) -> None:
    """Whatever the file looks like: the change that was asked for, or CannotEdit, or it is no TOML."""
    try:
        before = tomllib.loads(text)
        after = tomllib.loads(add_user(text, "z@b.c", {"password": "h"}))
    except (tomllib.TOMLDecodeError, CannotEdit):
        return
    assert after.pop("users") == {**before.pop("users", {}), "z@b.c": {"password": "h"}}
    assert after == before
