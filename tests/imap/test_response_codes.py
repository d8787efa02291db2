"""Response codes (RFC 5530): what a command that cannot be done is answered with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mailserver import errors
from mailserver.errors import Busy, MailError, NoSpace, OverQuota, TemporaryFailure
from mailserver.imap.commands import Noop
from mailserver.imap.handlers import HANDLERS
from mailserver.store.index.database import Index, IndexDamaged
from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.store import ALICE, make_store, now

# The IANA registry, as far as what is in `errors` goes.
REGISTERED = frozenset(
    (
        *(
            "ALREADYEXISTS",
            "AUTHENTICATIONFAILED",
            "AUTHORIZATIONFAILED",
            "CANNOT",
            "CLIENTBUG",
            "CONTACTADMIN",
        ),
        *("CORRUPTION", "EXPIRED", "EXPUNGEISSUED", "INUSE", "LIMIT", "NONEXISTENT", "NOPERM", "OVERQUOTA"),
        *("PRIVACYREQUIRED", "SERVERBUG", "TOOBIG", "TRYCREATE", "UNAVAILABLE"),
    )
)


def kinds(base: type[MailError]) -> list[type[MailError]]:
    found = [base]
    for kind in base.__subclasses__():
        if kind.__module__ == errors.__name__:
            found += kinds(kind)
    return found


@pytest.mark.parametrize("kind", kinds(MailError), ids=lambda kind: kind.__name__)
def test_an_error_has_a_code_that_is_registered(kind: type[MailError]) -> None:
    assert kind.imap is None or kind.imap in REGISTERED


def failing(error: MailError) -> Callable[[FakeAccount], None]:
    def prepare(account: FakeAccount) -> None:
        account.failing = error

    return prepare


def few_keywords(account: FakeAccount) -> None:
    account.inbox.max_keywords = 2


def nothing(account: FakeAccount) -> None:
    """The store works."""


TABLE: list[tuple[str, str, Callable[[FakeAccount], None]]] = [
    ("SELECT nowhere", "NO [NONEXISTENT]", nothing),
    ("EXAMINE nowhere", "NO [NONEXISTENT]", nothing),
    ("STATUS nowhere (MESSAGES)", "NO [NONEXISTENT]", nothing),
    ("DELETE nowhere", "NO [NONEXISTENT]", nothing),
    ("RENAME nowhere x", "NO [NONEXISTENT]", nothing),
    ("GETQUOTA x", "NO [NONEXISTENT]", nothing),
    ("CREATE Trash", "NO [ALREADYEXISTS]", nothing),
    ("RENAME Trash Sent", "NO [ALREADYEXISTS]", nothing),
    ("CREATE a//b", "NO [CANNOT]", nothing),
    ("CREATE /", "NO [CANNOT]", nothing),
    ("DELETE INBOX", "NO [CANNOT]", nothing),
    ("APPEND INBOX {0}", "NO [CANNOT]", nothing),
    ("STORE 1 FLAGS (a b c)", "NO [LIMIT]", few_keywords),
    ("STORE 1 FLAGS (a b)", "OK", few_keywords),
    ("COPY 1 Trash", "NO [OVERQUOTA]", failing(OverQuota())),
    ("MOVE 1 Trash", "NO [OVERQUOTA]", failing(OverQuota())),
    ("COPY 1 Trash", "NO [OVERQUOTA]", failing(NoSpace())),
    ("COPY 1 Trash", "NO [UNAVAILABLE]", failing(TemporaryFailure())),
    ("COPY 1 Trash", "NO [UNAVAILABLE]", failing(Busy())),
    ("COPY 1 nowhere", "NO [TRYCREATE]", nothing),
    ("MOVE 1 nowhere", "NO [TRYCREATE]", nothing),
    ("UID COPY 1 nowhere", "NO [TRYCREATE]", nothing),
    ("APPEND nowhere {5}", "NO [TRYCREATE]", nothing),
    ('SETQUOTA "" (STORAGE 5)', "NO [NOPERM]", nothing),
    ("FETCH 2 FLAGS", "NO [EXPUNGEISSUED]", nothing),
    ("STORE 1:2 +FLAGS (\\Seen)", "NO [EXPUNGEISSUED]", nothing),
    ("COPY 1:2 Trash", "NO [EXPUNGEISSUED]", nothing),
    ("NOOP", "OK NOOP", nothing),
]


@pytest.mark.parametrize(("command", "answer", "prepare"), TABLE)
def test_which_code_a_command_is_refused_with(
    command: str, answer: str, prepare: Callable[[FakeAccount], None]
) -> None:
    """Of two messages the second has been expunged, and the client was not told yet."""
    account = FakeAccount()
    for _ in range(2):
        account.inbox.add(b"Subject: x\n\n")
    client = ImapClient(ImapServer(account), select="INBOX")
    account.inbox.expunge_now(2)
    prepare(account)
    lines = client.say(f"a {command}")
    if lines == ["+ OK"]:
        lines = client.say("12345")
    assert lines[-1].startswith(f"a {answer}"), lines


def test_log_in() -> None:
    server = ImapServer()
    assert ImapClient(server).say("a LOGIN alice wrong")[0].startswith("a NO [AUTHENTICATIONFAILED]")
    server.authenticator.cleartext = False
    assert ImapClient(server).say("a LOGIN alice secret")[0].startswith("a NO [PRIVACYREQUIRED]")


def test_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(session: object, command: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(HANDLERS, Noop, broken)
    assert ImapClient(login=True).say("a NOOP")[0].startswith("a NO [SERVERBUG]")


def test_an_index_that_cannot_be_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made anew, and found damaged again."""
    store = make_store(tmp_path)
    account = now(store.account(ALICE))

    def damaged(self: Index) -> None:
        raise IndexDamaged("page 3")

    monkeypatch.setattr(Index, "folders", damaged)
    with pytest.raises(TemporaryFailure) as caught:
        now(account.create("x"))
    assert caught.value.imap == "CORRUPTION"
