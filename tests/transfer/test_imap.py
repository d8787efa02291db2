"""Accounts from other IMAP servers: one of ours over TLS, and a scripted one for what others do."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from mailserver.transfer import imap_client, imap_source
from mailserver.transfer.account import LocalAccount
from mailserver.transfer.imap_client import ImapClient, parse
from mailserver.transfer.imap_client import Server as Source
from mailserver.transfer.imap_source import ImapSource, _date
from mailserver.transfer.values import SourceError
from tests.helpers.server import PASSWORD, Server
from tests.transfer.samples import ALICE, bring, held, mail, make_maildir
from tests.transfer.test_running import command, log_in

# --- a real server ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(
        tmp_path_factory.mktemp("server"), services=("imap", "imaps"), users=("alice", "bob")
    ) as made:
        root = make_maildir(tmp_path_factory.mktemp("m") / "m", range(5), "RS")
        make_maildir(root / ".Work.Caf&AOk-", range(3), "Fa")
        (root / ".Work.Caf&AOk-" / "dovecot-keywords").write_text("0 Urgent\n")
        make_maildir(root / ".Sent", range(2), "S")
        assert command(made, "mailbox", "import", ALICE, root).returncode == 0
        yield made


def any_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def source(server: Server, tls: str = "implicit", **how: Any) -> Source:
    service = "imaps" if tls == "implicit" else "imap"
    how.setdefault("password", PASSWORD)
    return Source(server.host, server.ports[service], ALICE, tls=tls, context=any_certificate(), **how)


SPECIAL = {"\\Sent": "Sent", "\\Trash": "Trash", "\\Drafts": "Drafts"}


@pytest.mark.parametrize("tls", ["implicit", "starttls", "none"])
def test_all_of_an_account(server: Server, account: LocalAccount, tls: str) -> None:
    report = bring(account, ImapSource(source(server, tls), 1 << 20, special=SPECIAL))
    assert (report.total("imported"), report.failed, report.stopped) == (10, 0, "")
    inbox = held(account, "INBOX")
    assert set(inbox) == {mail(number).encode() for number in range(5)}
    assert inbox[mail(3).encode()].flags == {"\\Seen", "\\Answered"}
    assert inbox[mail(3).encode()].date == 1_600_000_003
    assert held(account, "Work/Café")[mail(0).encode()].flags == {"\\Flagged", "Urgent"}
    again = bring(account, ImapSource(source(server, tls), 1 << 20, special=SPECIAL))
    assert (again.total("imported"), again.total("before")) == (0, 10)


def test_only_what_is_new(server: Server, account: LocalAccount) -> None:
    bring(account, ImapSource(source(server), 1 << 20), lambda name: name == "INBOX")
    imap = log_in(server)
    imap.append("INBOX", "", None, b"Subject: later\r\n\r\nx\r\n")
    imap.logout()
    report = bring(account, ImapSource(source(server), 1 << 20), lambda name: name == "INBOX")
    assert (report.total("imported"), report.total("before")) == (1, 5)


def test_the_command(server: Server, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text(PASSWORD + "\n")
    line = (
        *(
            "import",
            "imap",
            "bob",
            "--host",
            server.host,
            "--port",
            str(server.ports["imaps"]),
            "--login",
            ALICE,
        ),
        *("--any-certificate", "--password-file", tmp_path / "pw", "--exclude", "INBOX"),
    )
    dry = command(server, *line, "--dry-run", "--json")
    assert (dry.returncode, json.loads(dry.stdout)["imported"]) == (0, 5), dry.stderr
    assert json.loads(dry.stdout)["octets"] > 0
    done = command(server, *line)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Work/Café: 3 imported" in done.stdout
    assert "Sent: 2 imported" in done.stdout
    assert "5 were there" in command(server, *line).stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "no terminal to ask for the password"),
        (("--password-env", "NOTHING_HERE"), "there is no environment variable NOTHING_HERE"),
        (("--password-file", "/nonexistent"), "/nonexistent: No such file or directory"),
        (("--password-env", "WRONG", "--any-certificate"), "refuses the log-in of bob@example.org"),
        (("--password-env", "WRONG"), "its certificate is not good: "),
        (
            ("--password-env", "WRONG", "--tls", "none", "--host", "mail.example"),
            "password would go in clear",
        ),
    ],
)
def test_what_cannot_be_is_told(server: Server, arguments: tuple[str, ...], told: str) -> None:
    import os  # noqa: PLC0415

    line = ("import", "imap", "bob", "--host", server.host, "--port", str(server.ports["imaps"]), *arguments)
    done = command(server, *line, stdin=-3, env={**os.environ, "WRONG": "hush-hush"})
    assert done.returncode == 1
    assert told in done.stderr
    assert "hush-hush" not in done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1


# --- a scripted one --------------------------------------------------------------------------------


class Scripted:
    """Answers by the first words of a command (behind UID); `%s` is the tag. A list is for one time after
    the other."""

    def __init__(self, answers: dict[str, Any], greeting: bytes = b"* OK hello\r\n") -> None:
        self.answers = {
            "CAPABILITY": b"* CAPABILITY IMAP4rev1 NAMESPACE\r\n%s OK\r\n",
            "LOGIN": b"%s OK\r\n",
            "NAMESPACE": b'* NAMESPACE (("" "/")) NIL NIL\r\n%s OK\r\n',
            "LIST": b'* LIST () "/" INBOX\r\n%s OK\r\n',
            "EXAMINE": b"* 0 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n%s OK\r\n",
            **answers,
        }
        self.greeting = greeting
        self.commands: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with suppress(OSError), connection, connection.makefile("rb") as lines:
                connection.sendall(self.greeting)
                for line in lines:
                    if not self._answer(connection, line):
                        break

    def _answer(self, connection: socket.socket, line: bytes) -> bool:
        tag, _, text = line.rstrip(b"\r\n").partition(b" ")
        words = text.decode("latin-1").split(" ")
        self.commands.append(text.decode("latin-1"))
        if words[0] == "LOGOUT":
            return False
        name = words[0] if words[0] != "UID" else f"UID {words[1]}"
        answer = self.answers.get(name, b"%s BAD what\r\n")
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        connection.sendall(answer.replace(b"%s", tag))
        return not answer.endswith(b"\r\n.")

    def source(self, **how: Any) -> ImapSource:
        server = Source("127.0.0.1", self.listener.getsockname()[1], "me", "pass word", tls="none")
        return ImapSource(server, how.pop("limit", 1000), **how)

    def close(self) -> None:
        self.listener.close()


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    made: list[Scripted] = []

    def make(greeting: bytes = b"* OK hello\r\n", **answers: Any) -> Scripted:
        made.append(Scripted({name.replace("_", " "): answer for name, answer in answers.items()}, greeting))
        return made[-1]

    yield make
    for one in made:
        one.close()


def names(origin: ImapSource) -> dict[str, str]:
    with closing(origin):
        return {folder.origin: folder.name for folder in origin.folders()}


def test_B8_a_greeting_that_keeps_us_from_tls(scripted: Callable[..., Scripted]) -> None:
    server = scripted(
        b"* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] hello\r\n",
        CAPABILITY=b"* CAPABILITY IMAP4rev1 STARTTLS\r\n%s OK\r\n",
        STARTTLS=b"%s OK\r\n",
    )
    port = server.listener.getsockname()[1]
    client = ImapClient(Source("127.0.0.1", port, "me", "pass word", tls="starttls"), 1000)
    with closing(client), pytest.raises(SourceError, match="no STARTTLS"):
        client.connect()
    assert set(server.commands) <= {"LOGOUT"}


def test_names_below_INBOX_and_of_others(scripted: Callable[..., Scripted]) -> None:
    """Courier and Cyrus: a prefix for one's own folders, and other people's beside them."""
    server = scripted(
        NAMESPACE=b'* NAMESPACE (("INBOX." ".")) (("user." ".")) (("shared." "."))\r\n%s OK\r\n',
        LIST=b'* LIST () "." INBOX\r\n* LIST () "." "INBOX.Sent Items"\r\n* LIST () "." {9}\r\nINBOX.a.b\r\n'
        b'* LIST (\\Noselect) "." INBOX.a\r\n* LIST () "." user.bob\r\n'
        b'* LIST () "." INBOX.Entw&APw-rfe\r\n%s OK\r\n',
    )
    assert names(server.source(special=SPECIAL)) == {
        "INBOX": "INBOX",
        "INBOX.Sent Items": "Sent",
        "INBOX.a.b": "a/b",
        "INBOX.Entwürfe": "Entwürfe",
    }
    assert names(server.source(special=SPECIAL, into="Old")) == {
        "INBOX": "Old",
        "INBOX.Sent Items": "Old/Sent Items",
        "INBOX.a.b": "Old/a/b",
        "INBOX.Entwürfe": "Old/Entwürfe",
    }


def test_special_uses_and_views(scripted: Callable[..., Scripted]) -> None:
    """Gmail"""
    server = scripted(
        CAPABILITY=b"* CAPABILITY IMAP4rev1 SPECIAL-USE LIST-EXTENDED\r\n%s OK\r\n",
        LIST=b'* LIST (\\HasNoChildren) "/" "INBOX"\r\n* LIST (\\All) "/" "[Gmail]/All Mail"\r\n'
        b'* LIST (\\Sent) "/" "[Gmail]/Sent Mail"\r\n* LIST (\\Flagged) "/" "[Gmail]/Starred"\r\n%s OK\r\n',
    )
    origin = server.source(special=SPECIAL)
    assert names(origin) == {"INBOX": "INBOX", "[Gmail]/Sent Mail": "Sent"}
    assert origin.passed_over == ["[Gmail]/All Mail", "[Gmail]/Starred"]
    assert 'LIST "" "*" RETURN (SPECIAL-USE)' in server.commands


SIZES = b"* 1 FETCH (UID 4 RFC822.SIZE 9)\r\n* 2 FETCH (RFC822.SIZE 9 UID 6)\r\n%s OK\r\n"
EXAMINED = b"* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n%s OK\r\n"


def text_of(number: int, uid: int) -> bytes:
    return (
        b'* %d FETCH (FLAGS (\\Seen \\Recent $Junk) UID %d INTERNALDATE " 1-Jan-2020 00:00:00 +0100" '
        b"BODY[] {8}\r\n"
        b"A: %d\r\n\r\n)\r\n" % (number, uid, uid)
    )


BOTH = text_of(1, 4) + text_of(2, 6) + b"%s OK\r\n"


def test_texts_in_any_order_and_what_nobody_asked_for(
    scripted: Callable[..., Scripted], account: LocalAccount
) -> None:
    fetched = b"* 3 EXISTS\r\n* 1 FETCH (FLAGS ())\r\n" + text_of(2, 6) + text_of(1, 4) + b"%s OK\r\n"
    server = scripted(EXAMINE=EXAMINED, FETCH=SIZES, UID_FETCH=fetched)
    assert bring(account, server.source()).total("imported") == 2
    one = held(account, "INBOX")[b"A: 4\n\n"]
    assert (one.flags, one.date) == ({"\\Seen", "$Junk"}, 1577833200.0)
    assert 'LOGIN "me" "pass word"' in server.commands
    assert 'EXAMINE "INBOX"' in server.commands


@pytest.mark.parametrize("first", [b"", text_of(2, 6)])
def test_answers_to_two_commands_in_one_another(
    scripted: Callable[..., Scripted], account: LocalAccount, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    """RFC 3501, 5.5: a server may work on both at once, and end the second one first. Dovecot does."""
    monkeypatch.setattr(imap_source, "PORTION_MESSAGES", 1)
    rest = (b"" if first else text_of(2, 6)) + text_of(1, 4) + b"%s OK\r\ni8 OK\r\n"
    server = scripted(EXAMINE=EXAMINED, FETCH=SIZES, UID_FETCH=[first, rest])
    report = bring(account, server.source())
    assert (report.total("imported"), report.failed) == (2, 0)
    assert sorted(held(account, "INBOX")) == [b"A: 4\n\n", b"A: 6\n\n"]


def test_a_message_that_does_not_come_is_told(
    scripted: Callable[..., Scripted], account: LocalAccount
) -> None:
    server = scripted(EXAMINE=EXAMINED, FETCH=SIZES, UID_FETCH=text_of(1, 4) + b"%s OK\r\n")
    report = bring(account, server.source())
    assert report.total("imported") == 1
    assert "did not send it" in report.folders[0].failed["7.6"]


def test_a_connection_that_is_lost_goes_on(
    scripted: Callable[..., Scripted], account: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap_source, "PORTION_MESSAGES", 1)
    server = scripted(
        EXAMINE=EXAMINED,
        FETCH=SIZES,
        UID_FETCH=[
            text_of(1, 4) + b"%s OK\r\n",
            b"* 2 FETCH (UID 6 BODY[] {8}\r\nA\r\n.",
            text_of(2, 6) + b"%s OK\r\n",
        ],
    )
    report = bring(account, server.source())
    assert (report.total("imported"), report.stopped) == (2, "")
    assert sorted(held(account, "INBOX")) == [b"A: 4\n\n", b"A: 6\n\n"]
    assert server.commands.count('EXAMINE "INBOX"') == 2


def test_a_connection_that_is_always_lost_ends_it(
    scripted: Callable[..., Scripted], account: LocalAccount
) -> None:
    server = scripted(EXAMINE=EXAMINED, FETCH=SIZES, UID_FETCH=b"* BYE enough\r\n.")
    report = bring(account, server.source())
    assert report.stopped == "127.0.0.1 says goodbye: enough"
    assert server.commands.count('EXAMINE "INBOX"') == 3


def test_messages_without_text_too_large_or_gone(
    scripted: Callable[..., Scripted], account: LocalAccount
) -> None:
    sizes = SIZES.replace(b"9 UID 6", b"2000 UID 6").replace(b"%s", b"* 3 FETCH (UID 8)\r\n%s")
    server = scripted(EXAMINE=EXAMINED, FETCH=sizes, UID_FETCH=b"* 1 FETCH (UID 4 BODY[] NIL)\r\n%s OK\r\n")
    report = bring(account, server.source())
    assert report.folders[0].failed == {
        "7.4": "the server gives no text",
        "7.6": "larger than limits.message_size (2000 octets)",
        "7.8": "the server did not send it (expunged there meanwhile?)",
    }
    assert report.total("imported") == 0


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"greeting": b"* BYE go away\r\n"}, "refuses: BYE go away"),
        (
            {"LOGIN": b"%s NO [AUTHENTICATIONFAILED] no\r\n"},
            "refuses the log-in of me: NO [AUTHENTICATIONFAILED] no",
        ),
        ({"CAPABILITY": b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n%s OK\r\n"}, "takes no password"),
        ({"LIST": b"* LIST () {99999999999}\r\n"}, "a string of 99999999999 octets"),
        ({"LIST": b"x" * 2_000_000}, "a line without end"),
        ({"LIST": b"%s NO \x1b[2J\r\n"}, "NO ?"),
        ({"greeting": b""}, "no answer in time"),
    ],
)
def test_a_server_that_does_not_behave(
    scripted: Callable[..., Scripted],
    account: LocalAccount,
    monkeypatch: pytest.MonkeyPatch,
    answers: dict[str, bytes],
    told: str,
) -> None:
    monkeypatch.setattr(imap_client, "ANSWER_SECONDS", 0.5)
    with pytest.raises(SourceError) as caught:
        bring(account, scripted(**answers).source())
    assert told in str(caught.value)


def test_what_came_in_clear_behind_STARTTLS_is_an_attack(scripted: Callable[..., Scripted]) -> None:
    server = scripted(
        CAPABILITY=b"* CAPABILITY IMAP4rev1 STARTTLS\r\n%s OK\r\n", STARTTLS=b"%s OK\r\n* CAPABILITY X\r\n"
    )
    port = server.listener.getsockname()[1]
    client = ImapClient(Source("127.0.0.1", port, "me", "x", tls="starttls"), 1000)
    with closing(client), pytest.raises(SourceError, match="in clear"):
        client.connect()


def test_no_password_without_the_TLS_that_was_asked_for(scripted: Callable[..., Scripted]) -> None:
    server = scripted()
    client = ImapClient(
        Source("127.0.0.1", server.listener.getsockname()[1], "me", "x", tls="starttls"), 1000
    )
    with closing(client), pytest.raises(SourceError, match="no STARTTLS"):
        client.connect()
    assert not any("LOGIN" in line or "AUTHENTICATE" in line for line in server.commands)


def test_a_token(scripted: Callable[..., Scripted]) -> None:
    server = scripted(
        CAPABILITY=b"* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\n%s OK\r\n",
        AUTHENTICATE=b"+ eyJzdGF0dXMiOiI0MDEifQ==\r\n",
    )
    server.answers[""] = b"i2 NO [AUTHENTICATIONFAILED] expired\r\n"
    port = server.listener.getsockname()[1]
    client = ImapClient(Source("127.0.0.1", port, "me", token="abc", tls="none"), 1000)
    with closing(client), pytest.raises(SourceError, match=r"refuses the log-in of me: NO .* expired"):
        client.connect()
        client.log_in()
    assert "AUTHENTICATE XOAUTH2 dXNlcj1tZQFhdXRoPUJlYXJlciBhYmMBAQ==" in server.commands


# --- values ----------------------------------------------------------------------------------------


def test_responses_are_parsed() -> None:
    assert parse([b'* 1 FETCH (A NIL "q\\"x" (b (c)) BODY[TEXT]<0> ', b"lit)", b" END)"]) == [
        *(b"*", b"1", b"FETCH"),
        [b"A", None, b'q"x', [b"b", [b"c"]], b"BODY[TEXT]<0>", b"lit)", b"END"],
    ]
    assert parse([b"* OK [PERMANENTFLAGS (\\Seen \\*)] text"])[2] == b"[PERMANENTFLAGS (\\Seen \\*)]"
    assert parse([b")))((({{{" + b"(" * 1000]) is not None


def test_internal_dates() -> None:
    assert _date(b"24-Nov-2026 03:07:34 +0000") == 1795489654
    assert _date(b" 1-Jan-2020 00:00:00 -0130") == 1577842200
    assert _date(b"1-Foo-2020 00:00:00 +0000") is None
    assert _date(b"") is None
