"""Limits of octets and messages, and who may set them (RFC 9208)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailserver.config.schema import Imap, User, Users, Without
from mailserver.errors import MailError, OverQuota
from mailserver.imap.grammar.command import parse_command
from mailserver.imap.grammar.cursor import BadSyntax
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.store import ALICE, BOB, append, deliver, make_store, now

CAROL = "carol@example.org"
ROOT = f"Other Users/{BOB}"
TEXT = b"Subject: x\n\nbody\n"


@pytest.fixture
def store(tmp_path: Path) -> Any:
    """alice administers."""
    made = make_store(tmp_path, imap={"administrators": (ALICE,)})
    made.settings.users = Users({name: User(name, "{PLAIN}secret") for name in (ALICE, BOB, CAROL)}, {})
    return made


@pytest.fixture
def client(store: Any) -> Callable[[str], ImapClient]:
    def make(user: str) -> ImapClient:
        server = ImapServer(now(store.account(user)))
        server.settings = store.settings
        server.factory.settings = store.settings
        return ImapClient(server, login=True)

    return make


def limit(store: Any, user: str, **fields: Any) -> None:
    known = store.settings.users.users
    store.settings.users = Users({**known, user: User(user, "{PLAIN}secret", **fields)}, {})


# --- what is announced and told -------------------------------------------------------------------


def test_quotaset_is_announced_to_who_may(client: Callable[[str], ImapClient]) -> None:
    for user, may in ((ALICE, True), (BOB, False)):
        words = client(user).say("c CAPABILITY")[0].split()
        assert {"QUOTA", "QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE"} <= set(words)
        assert ("QUOTASET" in words) is may


def test_the_examples_of_the_rfc(store: Any, client: Callable[[str], ImapClient]) -> None:
    """4.1.1, 4.1.2 and 4.1.3, with our names of quota roots and without rounding."""
    limit(store, BOB, quota=111 * 1024, quota_messages=1000)
    account = now(store.account(BOB))
    append(account, "INBOX", b"Subject: x\n\n" + b"x" * 50_000)
    append(account, "Sent", TEXT)
    client(BOB).dialog(
        """
        C: G0002 GETQUOTAROOT INBOX
        S: * QUOTAROOT INBOX ""
        S: * QUOTA "" (STORAGE 49 111 MESSAGE 2 1000)
        S: G0002 OK GETQUOTAROOT completed
        C: G0003 GETQUOTAROOT not-yet/there
        S: * QUOTAROOT not-yet/there ""
        S: * QUOTA "" (STORAGE 49 111 MESSAGE 2 1000)
        S: G0003 OK GETQUOTAROOT completed
        """
    )
    client(ALICE).dialog(
        f"""
        C: S0000 GETQUOTA "{ROOT}"
        S: * QUOTA "{ROOT}" (STORAGE 49 111 MESSAGE 2 1000)
        S: S0000 OK GETQUOTA completed
        C: S0001 SETQUOTA "{ROOT}" (STORAGE 510)
        S: * QUOTA "{ROOT}" (STORAGE 49 510)
        S: S0001 OK SETQUOTA completed
        C: S0002 SETQUOTA "{ROOT}" (message 5)
        S: * QUOTA "{ROOT}" (MESSAGE 2 5)
        S: S0002 OK SETQUOTA completed
        C: S0003 GETQUOTAROOT "{ROOT}/Sent"
        S: * QUOTAROOT "{ROOT}/Sent" "{ROOT}"
        S: * QUOTA "{ROOT}" (MESSAGE 2 5)
        S: S0003 OK GETQUOTAROOT completed
        C: S0004 SETQUOTA "{ROOT}" ()
        S: * QUOTA "{ROOT}" ()
        S: S0004 OK SETQUOTA completed
        """
    )


def test_deleted_and_their_storage(store: Any, client: Callable[[str], ImapClient]) -> None:
    account = now(store.account(ALICE))
    for number in range(12):
        append(account, "INBOX", TEXT, flags=("\\Deleted",) if number < 4 else ())
    size = len(TEXT.replace(b"\n", b"\r\n"))
    client(ALICE).dialog(
        f"""
        C: S0003 STATUS INBOX (MESSAGES DELETED DELETED-STORAGE)
        S: * STATUS INBOX (MESSAGES 12 DELETED 4 DELETED-STORAGE {4 * size})
        S: S0003 OK STATUS completed
        """
    )


def test_limits_of_all_users_and_of_one(store: Any, client: Callable[[str], ImapClient]) -> None:
    store.settings.change(limits={"quota": 1 << 20, "quota_messages": 7})
    limit(store, BOB, quota_messages=0)
    assert client(ALICE).say('a GETQUOTA ""')[0] == '* QUOTA "" (STORAGE 0 1024 MESSAGE 0 7)'
    assert client(BOB).say('a GETQUOTA ""')[0] == '* QUOTA "" (STORAGE 0 1024)'


# --- SETQUOTA -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (f'SETQUOTA "{ROOT}" (STORAGE 0)', "NO [CANNOT] STORAGE cannot be limited to that"),
        (f'SETQUOTA "{ROOT}" (MESSAGE 9223372036854775807)', "NO [CANNOT] MESSAGE cannot be limited to that"),
        (f'SETQUOTA "{ROOT}" (STORAGE 5 MAILBOX 7)', "NO [CANNOT] No limit is possible for MAILBOX"),
        ('SETQUOTA "Other Users/nobody@example.org" ()', "NO [NONEXISTENT] No such quota root"),
        (f'SETQUOTA "{ROOT}/Sent" ()', "NO [NONEXISTENT] No such quota root"),
        ('SETQUOTA "!partition/sda4" (STORAGE 1)', "NO [NONEXISTENT] No such quota root"),
        ('GETQUOTA "!partition/sda4"', "NO [NONEXISTENT] No such quota root"),
    ],
)
def test_what_cannot_be_set(client: Callable[[str], ImapClient], command: str, answer: str) -> None:
    admin = client(ALICE)
    assert admin.say(f"a {command}") == [f"a {answer}"]
    assert admin.say(f'b GETQUOTA "{ROOT}"')[0] == f'* QUOTA "{ROOT}" ()'


def test_only_administrators_set_quotas(store: Any, client: Callable[[str], ImapClient]) -> None:
    """Not even the owner, who has all rights in his mailboxes (6), and nobody looks at others' numbers."""
    limit(store, BOB, quota=1024)
    bob, carol = client(BOB), client(CAROL)
    assert bob.say('a SETQUOTA "" (STORAGE 99)') == ["a NO [NOPERM] Not permitted"]
    assert carol.say(f'a SETQUOTA "{ROOT}" (STORAGE 99)') == ["a NO [NOPERM] Not permitted"]
    assert carol.say(f'b GETQUOTA "{ROOT}"') == ["b NO [NONEXISTENT] No such quota root"]
    assert carol.say(f'c GETQUOTAROOT "{ROOT}/INBOX"')[-1].startswith("c NO ")
    assert bob.say('d GETQUOTA ""')[0] == '* QUOTA "" (STORAGE 0 1)'
    for work in (carol.account.quota_of(BOB), carol.account.set_quota(BOB, None)):  # type: ignore[arg-type]
        with pytest.raises(MailError):
            now(work)


def test_the_administrators_own_root(client: Callable[[str], ImapClient]) -> None:
    client(ALICE).dialog(
        """
        C: a SETQUOTA "" (STORAGE 512 MESSAGE 3)
        S: * QUOTA "" (STORAGE 0 512 MESSAGE 0 3)
        S: a OK SETQUOTA completed
        """
    )


def test_a_resource_named_twice_is_no_command() -> None:
    with pytest.raises(BadSyntax):
        parse_command((b'a SETQUOTA "" (STORAGE 1 storage 2)',))
    with pytest.raises(BadSyntax):
        parse_command((b'a SETQUOTA "" (STORAGE 9223372036854775808)',))


# --- what is enforced -----------------------------------------------------------------------------


def test_the_number_of_messages(store: Any, client: Callable[[str], ImapClient]) -> None:
    """APPEND of one and of several, COPY; what moves within the account or goes makes no more of them."""
    limit(store, ALICE, quota_messages=3)
    alice = client(ALICE)
    append(alice.account, "INBOX", TEXT)
    append(alice.account, "INBOX", TEXT)
    assert alice.say("a APPEND INBOX {1+}\r\nx {1+}\r\ny") == ["a NO [OVERQUOTA] Mailbox is full"]
    alice.say("s SELECT INBOX")
    alice.dialog(
        """
        C: b COPY 1:2 Sent
        S: b NO [OVERQUOTA] Mailbox is full
        C: c COPY 1 Sent
        S: c OK [COPYUID … 1 1] COPY completed
        C: d APPEND INBOX {20000}
        S: d NO [OVERQUOTA] Mailbox is full
        C: e MOVE 1 Sent
        S: * OK [COPYUID … 1 2] …
        S: * 1 EXPUNGE
        S: e OK MOVE completed
        """
    )
    assert alice.say("f UID REPLACE 2 INBOX {3+}\r\nabc")[-1].startswith("f OK")
    assert alice.say("g APPEND INBOX {1+}\r\nx") == ["g NO [OVERQUOTA] Mailbox is full"]
    alice.say("h STORE 1 +FLAGS (\\Deleted)")
    alice.say("i EXPUNGE")
    assert alice.say("j APPEND INBOX {1+}\r\nx")[-1].startswith("j OK")


def test_between_accounts_the_owner_of_the_target_counts(
    store: Any, client: Callable[[str], ImapClient]
) -> None:
    limit(store, BOB, quota_messages=1)
    alice, bob = client(ALICE), client(BOB)
    bob.say("a CREATE Work")
    bob.say(f'b SETACL Work {ALICE} "lrswite"')
    append(alice.account, "INBOX", TEXT)
    append(alice.account, "INBOX", TEXT)
    alice.say("s SELECT INBOX")
    assert alice.say(f'c COPY 1:2 "{ROOT}/Work"') == ["c NO [OVERQUOTA] Mailbox is full"]
    assert alice.say(f'd MOVE 1 "{ROOT}/Work"')[-1] == "d OK MOVE completed"
    assert alice.say(f'e APPEND "{ROOT}/Work" {{1+}}\r\nx') == ["e NO [OVERQUOTA] Mailbox is full"]


def test_a_limit_counts_from_the_next_command_on(store: Any, client: Callable[[str], ImapClient]) -> None:
    """Also for a session that is open, and for mail that comes."""
    admin, bob = client(ALICE), client(BOB)
    assert bob.say("a APPEND INBOX {1+}\r\nx")[-1].startswith("a OK")
    admin.say(f'b SETQUOTA "{ROOT}" (MESSAGE 1)')
    assert bob.say("c APPEND INBOX {1+}\r\nx") == ["c NO [OVERQUOTA] Mailbox is full"]
    with pytest.raises(OverQuota) as refused:
        deliver(store, BOB, TEXT)
    assert (refused.value.code, refused.value.enhanced) == (452, "4.2.2")
    assert not store.quota(BOB).fits(1)
    admin.say(f'd SETQUOTA "{ROOT}" (MESSAGE 2)')
    deliver(store, BOB, TEXT)


def test_several_deliveries_of_one_batch_stop_at_the_limit(store: Any) -> None:
    limit(store, BOB, quota_messages=2)
    outcomes = []
    for _ in range(4):
        try:
            deliver(store, BOB, TEXT)
            outcomes.append(True)
        except OverQuota:
            outcomes.append(False)
    assert outcomes == [True, True, False, False]


@pytest.mark.parametrize("capability", ["QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE"])
def test_a_resource_that_is_switched_off_is_not_told_and_not_set(
    store: Any, client: Callable[[str], ImapClient], capability: str
) -> None:
    limit(store, BOB, quota=2048, quota_messages=5)
    store.settings.change(imap=Imap((Without((capability,), "it stumbles"),), administrators=(ALICE,)))
    kept, gone = ("MESSAGE 0 9", "STORAGE") if "STORAGE" in capability else ("STORAGE 0 9", "MESSAGE")
    name = kept.split()[0]
    admin = client(ALICE)
    assert admin.say(f'a SETQUOTA "{ROOT}" ({name} 9)')[0] == f'* QUOTA "{ROOT}" ({kept})'
    assert admin.say(f'b SETQUOTA "{ROOT}" ({gone} 9)')[-1].startswith("b NO [CANNOT]")
    user = store.settings.users.users[BOB]
    assert (user.quota, user.quota_messages) == ((2048, 9) if gone == "STORAGE" else (9 * 1024, 5))
