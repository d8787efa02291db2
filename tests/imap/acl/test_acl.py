"""Mailboxes of other users: lists of rights, and what each command needs (RFC 4314; RFC 2342; RFC 8440)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailserver.config.schema import User
from mailserver.disk import durable
from mailserver.imap import commands as c
from mailserver.imap.grammar.command import parse_command
from mailserver.imap.grammar.cursor import BadSyntax
from mailserver.store.sharing.acl import Acls
from tests.helpers.imap_dialog import ImapClient, compare
from tests.helpers.store import ALICE, BOB, account_dir, append, deliver, now
from tests.imap.acl.sharing import CAROL, WORK, grant, last

# --- the lists ------------------------------------------------------------------------------------


def test_the_owner_has_all_rights(alice: ImapClient) -> None:
    alice.dialog(
        """
        C: a MYRIGHTS Work
        S: * MYRIGHTS Work lrswipkxteacd
        S: a OK MYRIGHTS completed
        C: b GETACL Work
        S: * ACL Work alice@example.org lrswipkxteacd
        S: b OK GETACL completed
        C: c LISTRIGHTS Work alice
        S: * LISTRIGHTS Work alice lrswipkxteacd
        S: c OK LISTRIGHTS completed
        C: d LISTRIGHTS Work bob
        S: * LISTRIGHTS Work bob "" l r s w i p k x t e a c d
        S: d OK LISTRIGHTS completed
        C: e SETACL Work alice lr
        S: e NO [CANNOT] The owner of a mailbox has all rights
        C: f DELETEACL Work alice@example.org
        S: f NO [CANNOT] The owner of a mailbox has all rights
        C: g MYRIGHTS nowhere
        S: g NO [NONEXISTENT] No such mailbox
        C: h GETACL nowhere
        S: h NO [NONEXISTENT] No such mailbox
        C: i SETACL nowhere bob lr
        S: i NO [NONEXISTENT] No such mailbox
        """
    )


def test_the_examples_of_sections_2_1_1_and_3(alice: ImapClient) -> None:
    """`d` stands for e and t, any member of `c` brings `c` back, plus and minus change what is there."""
    alice.dialog(
        """
        C: a SetAcl Work bob lrswida
        S: a OK SETACL completed
        C: b getacl Work
        S: * ACL Work alice@example.org lrswipkxteacd bob@example.org lrswitead
        S: b OK GETACL completed
        C: c Setacl Work bob lrswikda
        S: c OK SETACL completed
        C: d getAcl Work
        S: * ACL Work alice@example.org lrswipkxteacd bob@example.org lrswikteacd
        S: d OK GETACL completed
        C: e SETACL Work bob lrswi
        S: e OK SETACL completed
        C: f SETACL Work bob +cda
        S: f OK SETACL completed
        C: g SETACL Work bob -sw
        S: g OK SETACL completed
        C: h GETACL Work
        S: * ACL Work alice@example.org lrswipkxteacd bob@example.org lrikxteacd
        S: h OK GETACL completed
        C: i SETACL Work bob lrQswicda
        S: i BAD Unknown right
        C: j SETACL Work bob lrqswicda
        S: j BAD Unknown right
        C: k DeleteAcl Work bob
        S: k OK DELETEACL completed
        C: l GETACL Work
        S: * ACL Work alice@example.org lrswipkxteacd
        S: l OK GETACL completed
        C: m SETACL Work nobody lr
        S: m NO No such user here
        """
    )


@pytest.mark.parametrize(
    "line",
    [
        "SETACL x",
        "SETACL x y",
        "SETACL x y z w",
        'SETACL x "" lr',
        "SETACL x - lr",
        "SETACL x y lr0",
        "SETACL x y =lr",
        *(
            "DELETEACL x",
            'DELETEACL x ""',
            "GETACL",
            "GETACL x y",
            "LISTRIGHTS x",
            "MYRIGHTS",
            "MYRIGHTS x y",
        ),
    ],
)
def test_what_is_no_command(line: str) -> None:
    with pytest.raises(BadSyntax):
        parse_command((b"a " + line.encode(),))


def test_an_identifier_is_prepared_by_saslprep() -> None:
    """RFC 4314, 3"""
    command = parse_command((b"a SETACL x ", "b\u00ado\u00adb".encode(), b" lr"))
    assert isinstance(command, c.SetAcl)
    assert command.identifier == "bob"
    for identifier in (b"\xff", "a\u0007".encode(), "\u00ad".encode()):
        with pytest.raises(BadSyntax):
            parse_command((b"a DELETEACL x ", identifier, b""))


def test_anyone_and_negative_rights(
    alice: ImapClient, bob: ImapClient, client: Callable[[str], ImapClient]
) -> None:
    grant(alice, "lrs", "anyone")
    grant(alice, "w")
    grant(alice, "s", f"-{BOB}")
    assert bob.say(f'a MYRIGHTS "{WORK}"')[0] == f'* MYRIGHTS "{WORK}" lrw'
    assert client(CAROL).say(f'a MYRIGHTS "{WORK}"')[0] == f'* MYRIGHTS "{WORK}" lrs'
    assert alice.say("b GETACL Work")[0].endswith(f"anyone lrs {BOB} w -{BOB} s")


def test_the_file_is_one_that_dovecot_reads(store: Any, alice: ImapClient, bob: ImapClient) -> None:
    path = account_dir(store) / ".Work" / "dovecot-acl"
    grant(alice, "lrc")
    grant(alice, "l", "anyone")
    assert path.read_text() == f"user={BOB} lrkx\nanyone l\n"
    path.write_text(f"group=staff lr\nowner lrw\nuser={BOB} :lookup read write-seen post\n-user={BOB} r\n")
    assert bob.say(f'a MYRIGHTS "{WORK}"')[0] == f'* MYRIGHTS "{WORK}" lsp'
    grant(alice, "l", "anyone")
    assert path.read_text().splitlines()[:2] == ["group=staff lr", "owner lrw"]
    alice.say("x DELETEACL Work anyone")
    for who in (BOB, f"-{BOB}"):
        alice.say(f"x DELETEACL Work {who}")
    path.write_text("")
    alice.say("d SETACL Work bob l")
    alice.say("d DELETEACL Work bob")
    assert not path.exists()


def test_a_file_that_changes_at_once_is_seen(tmp_path: Path) -> None:
    """I7: not the time stamp alone, while it is young; later one `stat` is enough."""
    path = tmp_path / "dovecot-acl"
    clock = [0]
    acls = Acls(lambda: clock[0])
    path.write_text("anyone l\n")
    stamp = os.stat(path).st_mtime_ns
    clock[0] = stamp + 1
    assert acls.read(str(tmp_path)).rights_of(BOB) == "l"
    path.write_text("anyone r\n")
    os.utime(path, ns=(stamp, stamp))
    assert acls.read(str(tmp_path)).rights_of(BOB) == "r"
    clock[0] = stamp + 3_000_000_000
    assert acls.read(str(tmp_path)) is acls.read(str(tmp_path))


# --- listing --------------------------------------------------------------------------------------


def test_namespace_and_list(alice: ImapClient, bob: ImapClient) -> None:
    """RFC 2342, 5.7; RFC 4314, 4: A/B without A."""
    alice.say("c CREATE Work/Deep")
    alice.say("c CREATE Secret")
    grant(alice, "lr", mailbox="Work/Deep")
    bob.dialog(
        f"""
        C: a NAMESPACE
        S: * NAMESPACE (("" "/")) (("Other Users/" "/")) NIL
        S: a OK NAMESPACE completed
        C: b LIST "" "Other Users/%"
        S: * LIST (\\Noselect \\HasChildren) "/" "Other Users/{ALICE}"
        S: b OK LIST completed
        C: c LIST "" "Other Users/*"
        S: * LIST (\\HasNoChildren) "/" "{WORK}/Deep"
        S: * LIST (\\Noselect \\HasChildren) "/" "Other Users/{ALICE}"
        S: * LIST (\\Noselect \\HasChildren) "/" "{WORK}"
        S: c OK LIST completed
        """
    )
    alice.dialog(
        """
        C: b LIST "" "Other Users*"
        S: b OK LIST completed
        """
    )


def test_list_with_rights(alice: ImapClient, bob: ImapClient) -> None:
    """RFC 8440: no MYRIGHTS for what was not selected itself."""
    alice.say("c CREATE Work/Deep")
    grant(alice, "lrs", mailbox="Work/Deep")
    bob.say(f'x SUBSCRIBE "{WORK}/Deep"')
    bob.dialog(
        f"""
        C: a LIST "" (INBOX "Other Users/*") RETURN (MYRIGHTS)
        S: * LIST (\\HasNoChildren) "/" INBOX
        S: * MYRIGHTS INBOX lrswipkxteacd
        S: * LIST (\\HasNoChildren) "/" "{WORK}/Deep"
        S: * MYRIGHTS "{WORK}/Deep" lrs
        S: a OK LIST completed
        C: b LIST (SUBSCRIBED RECURSIVEMATCH) "" "Other Users/*/Work" RETURN (MYRIGHTS)
        S: * LIST (\\NonExistent \\HasChildren) "/" "{WORK}" ("CHILDINFO" ("SUBSCRIBED"))
        S: b OK LIST completed
        C: c LSUB "" "Other*"
        S: * LSUB () "/" "{WORK}/Deep"
        S: c OK LSUB completed
        """
    )


def test_only_accounts_that_share_are_looked_into(store: Any, alice: ImapClient, bob: ImapClient) -> None:
    grant(alice, "lr")
    bob.say('a LIST "" *')
    asked: list[str] = []
    original = store.threads.run

    def run(key: Any, *rest: Any) -> Any:
        asked.append(key)
        return original(key, *rest)

    store.threads.run = run
    bob.say('a LIST "" *')
    assert set(asked) == {ALICE, BOB}
    asked.clear()
    alice.say('a LIST "" *')
    assert set(asked) == {ALICE}


def test_the_file_of_shares_is_made_again(
    store: Any, tmp_path: Path, alice: ImapClient, bob: ImapClient
) -> None:
    grant(alice, "lr")
    shares = tmp_path / "shares"
    assert shares.read_text() == f"{ALICE}\t{BOB}\n"
    shares.unlink()
    assert len(bob.say('a LIST "" "Other Users/*/Work"')) == 2
    assert shares.read_text() == f"{ALICE}\t{BOB}\n"
    alice.say("d DELETEACL Work bob")
    assert shares.read_text() == ""
    assert len(bob.say('a LIST "" "Other Users/*"')) == 1


# --- what each command needs (RFC 4314, 4) --------------------------------------------------------

COMMANDS = [
    ("r", "SELECT {}"),
    ("r", "EXAMINE {}"),
    ("r", "STATUS {} (MESSAGES)"),
    ("r", "GETQUOTAROOT {}"),
    ("a", "GETACL {}"),
    ("a", "SETACL {} carol lr"),
    ("a", "DELETEACL {} carol"),
    ("a", "LISTRIGHTS {} carol"),
    ("x", "DELETE {}"),
    ("k", 'CREATE "{}/New"'),
    ("i", "APPEND {} {{1+}}\r\nx"),
    ("i", "COPY 1 {}"),
]


@pytest.mark.parametrize(("right", "line"), COMMANDS)
def test_the_right_that_a_command_needs(
    store: Any, alice: ImapClient, bob: ImapClient, right: str, line: str
) -> None:
    """Without it NOPERM, or where the mailbox cannot be listed the same as for one that is not there."""
    deliver(store, BOB)
    bob.say("s SELECT INBOX")
    name = WORK if '"' in line else f'"{WORK}"'
    everything_else = "".join(letter for letter in "lrswipkxtea" if letter != right)
    grant(alice, everything_else)
    answer = last(bob.say(f"a {line.format(name)}"))
    assert answer.startswith("a NO [NOPERM]"), answer
    grant(alice, everything_else.replace("l", ""))
    hidden = last(bob.say(f"a {line.format(name)}"))
    absent = last(bob.say(f"a {line.format(name.replace('Work', 'Wrok'))}"))
    if not line.startswith("CREATE"):
        assert hidden == absent
    assert hidden.startswith(("a NO [NONEXISTENT]", "a NO [TRYCREATE]", "a NO [NOPERM]"))
    bob.say("s SELECT INBOX")
    grant(alice, right)
    assert last(bob.say(f"a {line.format(name)}")).startswith("a OK")


@pytest.mark.parametrize("rights", ["l", "r", "i", "k", "x", "a"])
def test_any_of_these_shows_the_own_rights(alice: ImapClient, bob: ImapClient, rights: str) -> None:
    grant(alice, rights)
    assert bob.say(f'a MYRIGHTS "{WORK}"')[0].startswith(f'* MYRIGHTS "{WORK}" {rights}')
    grant(alice, "swpte")
    assert bob.say(f'a MYRIGHTS "{WORK}"') == ["a NO [NONEXISTENT] No such mailbox"]


@pytest.mark.parametrize(
    "name",
    [
        "Other Users",
        "Other Users/",
        f"Other Users/{ALICE}",
        f"Other Users/{BOB}/INBOX",
        "Other Users/nobody@example.org/INBOX",
        "Other Users/../../etc/INBOX",
        f"Other Users/{ALICE}/../bob",
        f"Other Users/{CAROL}/INBOX",
    ],
)
def test_I1_names_that_lead_nowhere(tmp_path: Path, bob: ImapClient, name: str) -> None:
    """Carol has never logged in: no account is made by looking."""
    bob.say('x LIST "" *')
    before = {path.name for path in tmp_path.rglob("*")}
    for line in ("SELECT", "MYRIGHTS", "GETACL", "DELETE"):
        assert last(bob.say(f'a {line} "{name}"')).startswith("a NO [NONEXISTENT]"), line
    assert last(bob.say(f'a CREATE "{name}/x"')).startswith("a NO ")
    assert last(bob.say(f'a RENAME Trash "{name}"')).startswith("a NO ")
    assert {path.name for path in tmp_path.rglob("*")} == before


def test_own_mailboxes_do_not_stand_there(bob: ImapClient) -> None:
    assert last(bob.say('a CREATE "Other Users"')).startswith("a NO ")
    assert last(bob.say('a CREATE "Other Users/x"')).startswith("a NO ")
    assert last(bob.say('a RENAME Trash "Other Users"')).startswith("a NO ")


def test_create_inherits_and_delete_forgets(store: Any, alice: ImapClient, bob: ImapClient) -> None:
    grant(alice, "lrkx")
    assert last(bob.say(f'a CREATE "{WORK}/a/b"')).startswith("a OK")
    assert bob.say(f'b MYRIGHTS "{WORK}/a"')[0] == f'* MYRIGHTS "{WORK}/a" lrkxc'
    assert last(bob.say(f'c RENAME "{WORK}/a" "{WORK}/c"')) == "c OK RENAME completed"
    assert bob.say(f'd MYRIGHTS "{WORK}/c/b"')[0].endswith(" lrkxc")
    assert last(bob.say(f'e DELETE "{WORK}/c/b"')) == "e OK DELETE completed"
    alice.say("f CREATE Work/c/b")
    grant(alice, "", mailbox="Work/c")
    assert last(bob.say(f'g CREATE "{WORK}/c/d"')).startswith("g NO ")
    assert last(bob.say(f'h RENAME "{WORK}/c/b" stolen')) == "h NO [CANNOT] A mailbox stays with its owner"
    assert not (account_dir(store, BOB) / ".stolen").exists()


def test_who_cannot_list_a_mailbox_does_not_learn_of_it_by_create(alice: ImapClient, bob: ImapClient) -> None:
    alice.say("c CREATE Work/Secret")
    grant(alice, "lk")
    assert last(bob.say(f'a CREATE "{WORK}/Secret"')).startswith("a NO [NONEXISTENT]")


# --- messages -------------------------------------------------------------------------------------


@pytest.fixture
def filled(store: Any, alice: ImapClient) -> ImapClient:
    for flags in ((), ("\\Deleted", "\\Draft"), ("\\Answered",), ("$Forwarded", "\\Seen")):
        append(store.get(ALICE), "Work", b"Subject: x\n\nbody\n", flags)
    return alice


def flags_of(client: ImapClient, mailbox: str) -> list[str]:
    client.say(f'x EXAMINE "{mailbox}"')
    lines = client.say("x UID FETCH 1:* (FLAGS)")[:-1]
    return [
        line.partition("FLAGS (")[2].replace(" \\Recent", "").replace("\\Recent", "").rstrip(")")
        for line in lines
    ]


@pytest.mark.parametrize(
    ("rights", "permanent", "code"),
    [
        ("lr", "", "READ-ONLY"),
        ("lri", "", "READ-WRITE"),
        ("lre", "", "READ-WRITE"),
        ("lrs", "\\Seen", "READ-WRITE"),
        ("lrt", "\\Deleted", "READ-WRITE"),
        ("lrw", "\\Answered \\Flagged \\Draft $Forwarded \\*", "READ-WRITE"),
        ("lrswt", "\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded \\*", "READ-WRITE"),
    ],
)
def test_flags_that_may_be_set(
    filled: ImapClient, bob: ImapClient, rights: str, permanent: str, code: str
) -> None:
    """RFC 4314, 5.1.1 and 5.2"""
    grant(filled, rights)
    lines = bob.say(f'a SELECT "{WORK}"')
    assert any(line.startswith(f"* OK [PERMANENTFLAGS ({permanent})]") for line in lines), lines
    assert last(lines) == f"a OK [{code}] SELECT completed"


def test_store_changes_what_may_be_changed(filled: ImapClient, bob: ImapClient) -> None:
    """RFC 4314, 4: not NO where one of the flags may be changed."""
    grant(filled, "lrs")
    bob.say(f'a SELECT "{WORK}"')
    assert last(bob.say("b STORE 1 +FLAGS (\\Seen \\Flagged \\Deleted)")) == "b OK STORE completed"
    assert last(bob.say("c STORE 1 +FLAGS (\\Flagged)")) == "c NO [NOPERM] Not permitted"
    assert last(bob.say("d STORE 2 FLAGS (\\Seen)")) == "d OK STORE completed"
    assert last(bob.say("e STORE 4 FLAGS ()")) == "e OK STORE completed"
    assert last(bob.say("f STORE 1 +FLAGS ($New)")).startswith("f NO ")
    assert flags_of(filled, "Work") == ["\\Seen", "\\Deleted \\Seen \\Draft", "\\Answered", "$Forwarded"]


def test_fetch_sets_seen_only_with_the_right(filled: ImapClient, bob: ImapClient) -> None:
    grant(filled, "lri")
    bob.say(f'a SELECT "{WORK}"')
    assert last(bob.say("b FETCH 1 BODY[TEXT]")) == "b OK FETCH completed"
    assert flags_of(filled, "Work")[0] == ""
    grant(filled, "lris")
    bob.say("c FETCH 1 BODY[TEXT]")
    assert flags_of(filled, "Work")[0] == "\\Seen"


def test_expunge_and_close(filled: ImapClient, bob: ImapClient) -> None:
    grant(filled, "lrt")
    bob.say(f'a SELECT "{WORK}"')
    assert last(bob.say("b EXPUNGE")) == "b NO [NOPERM] Not permitted"
    assert last(bob.say("c CLOSE")) == "c OK CLOSE completed"
    assert len(flags_of(filled, "Work")) == 4
    grant(filled, "lre")
    bob.say(f'd SELECT "{WORK}"')
    assert bob.say("e EXPUNGE") == ["* 2 EXPUNGE", "e OK EXPUNGE completed"]


@pytest.mark.parametrize(
    ("rights", "expected"),
    [
        ("rwis", ["\\Draft", "\\Answered", "\\Seen $Forwarded"]),
        ("rsti", ["\\Deleted", "", "\\Seen"]),
    ],
)
def test_the_example_of_copy(
    store: Any, alice: ImapClient, bob: ImapClient, rights: str, expected: list[str]
) -> None:
    """RFC 4314, 4: flags that may not be set are lost."""
    for flags in (("\\Draft", "\\Deleted"), ("\\Answered",), ("$Forwarded", "\\Seen")):
        append(store.get(BOB), "Drafts", b"Subject: copied\n\nbody\n", flags, 86400.0)
    grant(alice, rights)
    bob.say("s SELECT Drafts")
    compare(bob.say(f'a COPY 1:3 "{WORK}"'), ["a OK [COPYUID … 1:3 1:3] COPY completed"])
    assert flags_of(alice, "Work") == expected
    assert alice.say("b FETCH 1 INTERNALDATE")[0] == '* 1 FETCH (INTERNALDATE " 2-Jan-1970 00:00:00 +0000")'
    assert b"Subject: copied\r\n\r\nbody\r\n" in alice.send(b"c FETCH 1 BODY.PEEK[]\r\n")
    assert not [name for _, _, names in os.walk(store.spool.path) for name in names]


def test_append_keeps_the_flags_that_may_be_set(alice: ImapClient, bob: ImapClient) -> None:
    grant(alice, "ist")
    answer = bob.say(f'a APPEND "{WORK}" (\\Seen \\Flagged $x \\Deleted) {{3+}}\r\nabc')
    compare(answer, ["a OK [APPENDUID … 1] APPEND completed"])
    assert flags_of(alice, "Work") == ["\\Deleted \\Seen"]


def test_an_append_that_is_refused_before_it_comes(alice: ImapClient, bob: ImapClient) -> None:
    """A box that one may only throw into takes large messages as well."""
    grant(alice, "l")
    assert bob.say(f'a APPEND "{WORK}" {{100000}}') == ["a NO [NOPERM] Not permitted"]
    grant(alice, "i")
    assert bob.say(f'a APPEND "{WORK}" {{100000}}') == ["+ OK"]
    assert last(bob.say("x" * 100_000)).startswith("a OK")


def test_move_between_accounts(filled: ImapClient, bob: ImapClient, store: Any) -> None:
    """RFC 6851, 3.3: i there, t and e here; the file goes, it is not copied."""
    grant(filled, "lrie")
    bob.say(f'a SELECT "{WORK}"')
    assert last(bob.say("b MOVE 1 INBOX")) == "b NO [NOPERM] Not permitted"
    grant(filled, "lrite")
    compare(
        bob.say("c MOVE 1,3 INBOX"),
        [
            "* OK [COPYUID … 1,3 1:2] Moved",
            "* 3 EXPUNGE",
            "* 1 EXPUNGE",
            "* FLAGS …",
            "* OK …",
            "c OK MOVE completed",
        ],
    )
    assert len(flags_of(filled, "Work")) == 2
    bob.say("s SELECT INBOX")
    compare(bob.say(f'd MOVE 1:2 "{WORK}"')[1:], ["* 2 EXPUNGE", "* 1 EXPUNGE", "d OK MOVE completed"])
    assert len(flags_of(filled, "Work")) == 4


def test_H17_a_copy_that_fails_leaves_nothing(filled: ImapClient, bob: ImapClient, store: Any) -> None:
    grant(filled, "lr")
    bob.say(f'a SELECT "{WORK}"')
    for path in (account_dir(store) / ".Work" / "cur").iterdir():
        if ":2,R" in path.name:
            path.unlink()
    assert last(bob.say("b COPY 1:4 INBOX")).startswith("b NO [EXPUNGEISSUED]")
    assert flags_of(bob, "INBOX") == []
    assert not [name for _, _, names in os.walk(store.spool.path) for name in names]


@pytest.mark.parametrize("command", ["COPY", "MOVE"])
@pytest.mark.parametrize("call", ["link", "rename_noreplace", "fsync"])
def test_H17_between_accounts_all_or_none(
    filled: ImapClient, bob: ImapClient, store: Any, monkeypatch: pytest.MonkeyPatch, command: str, call: str
) -> None:
    """Whatever call fails, the target has all or nothing, and no message is without a place."""
    grant(filled, "lrte")
    bob.say(f'a SELECT "{WORK}"')
    original = getattr(durable.calls, call)
    for failing in range(8):
        count = iter(range(100))

        def fail(*args: Any, number: int = failing, calls: Any = count, **how: Any) -> Any:
            if next(calls) == number:
                raise OSError(errno.ENOSPC, "full")
            return original(*args, **how)

        with monkeypatch.context() as patch:
            patch.setattr(durable.calls, call, fail)
            answer = last(bob.say(f"b UID {command} 1:4 INBOX"))
        there = len(flags_of(bob, "INBOX"))
        bob.say(f's SELECT "{WORK}"')
        here = len(flags_of(filled, "Work"))
        assert there % 4 == 0 and here + there >= 4
        if answer.startswith("b OK"):
            assert failing and (here, there % 4) == (0 if command == "MOVE" else 4, 0)
            break
        assert answer.startswith("b NO ")
    else:
        raise AssertionError("it never succeeds")
    assert not [name for _, _, names in os.walk(store.spool.path) for name in names]


def test_between_accounts_without_links(
    filled: ImapClient, bob: ImapClient, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file may have no further name, it is copied, with its date."""
    grant(filled, "lr")
    append(store.get(ALICE), "Work", b"Subject: dated\n\nbody\n", (), 86400.0)
    bob.say(f'a SELECT "{WORK}"')

    def link(*args: Any, **how: Any) -> None:
        raise OSError(errno.EMLINK, "too many links")

    monkeypatch.setattr(durable.calls, "link", link)
    compare(bob.say("b COPY 5 INBOX"), ["b OK [COPYUID … 5 1] COPY completed"])
    bob.say("s SELECT INBOX")
    (name,) = (account_dir(store, BOB) / "new").iterdir()
    assert name.read_bytes() == b"Subject: dated\n\nbody\n"
    assert name.stat().st_mtime == 86400 and name.stat().st_nlink == 1


def test_the_quota_is_the_owners(store: Any, alice: ImapClient, bob: ImapClient) -> None:
    users = store.settings.users.users
    users[ALICE] = User(ALICE, "{PLAIN}secret", quota=2048)
    grant(alice, "lri")
    bob.dialog(
        f"""
        C: a GETQUOTAROOT "{WORK}"
        S: * QUOTAROOT "{WORK}" "Other Users/{ALICE}"
        S: * QUOTA "Other Users/{ALICE}" (STORAGE 0 2)
        S: a OK GETQUOTAROOT completed
        C: b GETQUOTA "Other Users/{ALICE}"
        S: * QUOTA "Other Users/{ALICE}" (STORAGE 0 2)
        S: b OK GETQUOTA completed
        C: c GETQUOTA "Other Users/{CAROL}"
        S: c NO [NONEXISTENT] No such quota root
        C: d GETQUOTAROOT INBOX
        S: * QUOTAROOT INBOX ""
        S: * QUOTA "" ()
        S: d OK GETQUOTAROOT completed
        """
    )
    assert last(bob.say(f'e APPEND "{WORK}" {{3000+}}\r\n{"x" * 3000}')).startswith("e NO [OVERQUOTA]")


def test_recent_stays_the_owners(store: Any, alice: ImapClient, bob: ImapClient) -> None:
    grant(alice, "lrs")
    deliver(store, folder="Work")
    assert "* 1 RECENT" in bob.say(f'a SELECT "{WORK}"')
    assert "* 1 RECENT" in alice.say("a SELECT Work")


def test_changes_reach_all_sessions(store: Any, filled: ImapClient, bob: ImapClient) -> None:
    grant(filled, "lrswt")
    filled.say("s SELECT Work")
    bob.say(f's SELECT "{WORK}"')
    bob.say("a STORE 1 +FLAGS (\\Flagged)")
    compare(filled.say("b NOOP"), ["* 1 FETCH (FLAGS (\\Flagged…))", "b OK NOOP completed"])
    filled.say("c STORE 1 +FLAGS (\\Seen)")
    compare(bob.say("c NOOP"), ["* 1 FETCH (FLAGS (\\Flagged \\Seen…))", "c OK NOOP completed"])


# --- rights that change ---------------------------------------------------------------------------


def test_rights_that_change_while_the_mailbox_is_selected(filled: ImapClient, bob: ImapClient) -> None:
    """RFC 4314, 5.1.1"""
    grant(filled, "lrs")
    bob.say(f'a SELECT "{WORK}"')
    grant(filled, "lr")
    compare(
        bob.say("b NOOP"),
        ["* FLAGS (…)", "* OK [PERMANENTFLAGS ()] No permanent flags permitted", "b OK NOOP completed"],
    )
    assert last(bob.say("c STORE 1 +FLAGS (\\Seen)")).startswith("c NO ")
    grant(filled, "lrt")
    assert last(bob.say("d STORE 1 +FLAGS (\\Deleted)")) == "d OK STORE completed"
    bob.say("e IDLE")
    grant(filled, "l")
    assert bob.take() == b"* BYE The selected mailbox is gone\r\n"


def test_a_mailbox_that_may_not_be_read_any_more(filled: ImapClient, bob: ImapClient) -> None:
    grant(filled, "lr")
    bob.say(f'a SELECT "{WORK}"')
    grant(filled, "l")
    assert "* BYE The selected mailbox is gone" in bob.say("b FETCH 1 FLAGS")
    assert bob.closed


def test_a_user_with_the_right_administers(
    alice: ImapClient, bob: ImapClient, client: Callable[[str], ImapClient]
) -> None:
    grant(alice, "lra")
    assert bob.say(f'a SETACL "{WORK}" carol lr') == ["a OK SETACL completed"]
    assert len(client(CAROL).say('a LIST "" "Other Users/*"')) == 3
    assert bob.say(f'b GETACL "{WORK}"')[0] == f'* ACL "{WORK}" {ALICE} lrswipkxteacd {BOB} lra {CAROL} lr'
    assert bob.say(f'c LISTRIGHTS "{WORK}" alice')[0] == f'* LISTRIGHTS "{WORK}" alice lrswipkxteacd'


# --- NOTIFY ---------------------------------------------------------------------------------------


def told(client: ImapClient, *lines: str) -> None:
    client.server.settle()
    compare(client.take().decode("latin-1").splitlines(), list(lines))


def test_notify_of_others_mailboxes(store: Any, filled: ImapClient, bob: ImapClient) -> None:
    """RFC 5465, 5.4 and 5.9: mailboxes that are granted and withdrawn."""
    bob.say('a NOTIFY SET (subtree "Other Users" (MessageNew MessageExpunge MailboxName))')
    deliver(store, folder="Work")
    told(bob)
    grant(filled, "l")
    told(
        bob,
        f'* LIST (\\HasNoChildren) "/" "{WORK}"',
        f'* LIST (\\NonExistent \\HasChildren) "/" "Other Users/{ALICE}"',
    )
    deliver(store, folder="Work")
    told(bob)
    grant(filled, "lr")
    deliver(store, folder="Work")
    told(bob, f'* STATUS "{WORK}" (MESSAGES 7 …)')
    filled.say("r RENAME Work Job")
    told(bob, f'* LIST (\\HasNoChildren) "/" "Other Users/{ALICE}/Job" ("OLDNAME" ("{WORK}"))')
    filled.say("r SETACL Job bob r")
    told(
        bob,
        f'* LIST (\\NonExistent \\HasNoChildren) "/" "Other Users/{ALICE}/Job"',
        f'* LIST (\\NonExistent \\HasNoChildren) "/" "Other Users/{ALICE}"',
    )


def test_notify_of_what_may_not_be_read(alice: ImapClient, bob: ImapClient, store: Any) -> None:
    """RFC 5465, 3.1"""
    grant(alice, "l")
    assert bob.say(f'a NOTIFY SET STATUS (mailboxes "{WORK}" (MessageNew MessageExpunge))') == [
        f'* LIST (\\NoAccess) "/" "{WORK}"',
        "a OK NOTIFY completed",
    ]
    deliver(store, folder="Work")
    told(bob)


def test_personal_are_the_own_ones(store: Any, alice: ImapClient, bob: ImapClient) -> None:
    grant(alice, "lr")
    bob.say("a NOTIFY SET (personal (MessageNew MessageExpunge))")
    deliver(store, folder="Work")
    told(bob)
    deliver(store, BOB)
    told(bob, "* STATUS INBOX (MESSAGES 1 …)")


def test_nobody_watches_in_the_end(store: Any, alice: ImapClient, bob: ImapClient) -> None:
    grant(alice, "lr")
    bob.say("a NOTIFY SET (personal (MessageNew MessageExpunge))")
    bob.say(f'b SELECT "{WORK}"')
    bob.lose()
    assert not store.changes._watchers
    assert not store.changes._of_rights


# --- APPEND in its other forms --------------------------------------------------------------------


def test_replace_needs_to_remove_here_and_to_insert_there(
    store: Any, alice: ImapClient, bob: ImapClient
) -> None:
    """RFC 8508, 4.1. Where the old message may not go, no new one comes."""
    append(now(store.account(ALICE)), "Work", b"a: b\n\nold\n")
    for rights in ("lr", "lri", "lrit", "lrie"):
        grant(alice, rights)
        bob.say(f'a SELECT "{WORK}"')
        assert bob.say(f'b REPLACE 1 "{WORK}" {{3}}')[-1].startswith("b NO [")
        assert bob.say("c REPLACE 1 Drafts {3}")[-1].startswith("c NO [")
    assert now(now(store.account(ALICE)).status("Work")).messages == 1
    assert now(now(store.account(BOB)).status("Drafts")).messages == 0
    grant(alice, "lrte")
    bob.say(f'a SELECT "{WORK}"')
    assert bob.send(f'b REPLACE 1 "{WORK}" {{3+}}\r\nnew\r\n'.encode()).splitlines()[-1].startswith(b"b NO [")
    assert bob.send(b"c REPLACE 1 Drafts {3+}\r\nnew\r\n").endswith(b"c OK REPLACE completed\r\n")
    assert now(now(store.account(ALICE)).status("Work")).messages == 0


def test_a_url_needs_the_right_to_read(store: Any, alice: ImapClient, bob: ImapClient) -> None:
    append(now(store.account(ALICE)), "Work", b"a: b\n\nold\n")
    command = f'a APPEND Drafts CATENATE (URL "/{WORK.replace(" ", "%20")}/;UID=1")'
    for rights in ("", "l", "lit"):
        grant(alice, rights)
        assert last(bob.say(command)).startswith("a NO ["), rights
    grant(alice, "lr")
    assert last(bob.say(command)).startswith("a OK [")
