"""curl with smtp, imap and pop3 addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.support import Account, Programs, message, parse

BOTH = pytest.mark.parametrize("secure", [True, False], ids=["tls", "starttls"])


def curl(
    programs: Programs,
    account: Account,
    service: str,
    path: str,
    *options: str | Path,
    status: int | None = 0,
) -> str:
    scheme = {"submission": "smtp", "submissions": "smtps"}.get(service, service)
    return programs.run(
        "curl", "--silent", "--show-error", "--ssl-reqd", "--cacert", account.authority,
        "--user", f"{account.user}:{account.password}", *options,
        f"{scheme}://localhost:{account.port(service)}/{path}", status=status,
    )  # fmt: skip


@BOTH
@pytest.mark.parametrize("mechanism", ["*", "PLAIN", "LOGIN"])
def test_smtp(programs: Programs, account: Account, other: Account, secure: bool, mechanism: str) -> None:
    path = programs.home / "message"
    path.write_bytes(message("curled", ".\nx\n", account.user).as_bytes().replace(b"\n", b"\r\n"))
    curl(
        programs, account, "submissions" if secure else "submission", "client.example", "--login-options",
        f"AUTH={mechanism}", "--mail-from", account.user, "--mail-rcpt", other.user, "--upload-file", path,
    )  # fmt: skip
    (got,) = other.fetch()
    assert (got["Subject"], got.get_content()) == ("curled", ".\nx\n")


@BOTH
@pytest.mark.parametrize("mechanism", ["*", "PLAIN", "LOGIN"])
def test_imap(programs: Programs, account: Account, secure: bool, mechanism: str) -> None:
    service = "imaps" if secure else "imap"
    options = ("--login-options", f"AUTH={mechanism}")
    account.deliver(message("one"), message("two", "text\n"))
    assert '"/" INBOX' in curl(programs, account, service, "", *options)
    assert parse(curl(programs, account, service, "INBOX;UID=2", *options).encode())["Subject"] == "two"
    assert curl(programs, account, service, "INBOX;UID=2;SECTION=TEXT", *options) == "text\r\n"
    assert curl(programs, account, service, "INBOX?SUBJECT%20one", *options).split() == ["*", "SEARCH", "1"]


def test_imap_upload_and_commands(programs: Programs, account: Account) -> None:
    path = programs.home / "message"
    path.write_bytes(message("uploaded").as_bytes().replace(b"\n", b"\r\n"))
    curl(programs, account, "imaps", "Drafts", "--upload-file", path)
    assert account.subjects("Drafts") == ["uploaded"]
    output = curl(programs, account, "imaps", "", "--request", 'STATUS "Drafts" (MESSAGES UIDNEXT)')
    assert "MESSAGES 1 UIDNEXT 2" in output
    curl(programs, account, "imaps", "Drafts", "--request", "STORE 1 +FLAGS (\\Deleted)")
    assert account.flags("Drafts") == {"uploaded": {"\\Deleted", "\\Seen"}}
    curl(programs, account, "imaps", "Drafts", "--request", "EXPUNGE")
    assert account.subjects("Drafts") == []


@BOTH
@pytest.mark.parametrize("mechanism", ["*", "PLAIN", "LOGIN"])
def test_pop3(programs: Programs, account: Account, secure: bool, mechanism: str) -> None:
    service = "pop3s" if secure else "pop3"
    options = ("--login-options", f"AUTH={mechanism}")
    account.deliver(message("one"), message("two", ".\n"))
    listed = curl(programs, account, service, "", *options).splitlines()
    assert [line.split()[0] for line in listed] == ["1", "2"]
    got = parse(curl(programs, account, service, "2", *options).encode())
    assert (got["Subject"], got.get_content()) == ("two", ".\n")
    curl(programs, account, service, "1", "--request", "DELE", "--head", *options)
    assert account.subjects() == ["two"]


@pytest.mark.parametrize("service", ["imap", "pop3"])
def test_tls_is_wanted_first(programs: Programs, account: Account, service: str) -> None:
    """Nothing to log in with is offered in clear: curl's "access denied"."""
    programs.run(
        "curl", "--silent", "--user", f"{account.user}:{account.password}",
        f"{service}://localhost:{account.port(service)}/", status=67,
    )  # fmt: skip


def test_submission_in_clear(programs: Programs, account: Account) -> None:
    """curl goes on without a log-in, and is told what is missing."""
    output = programs.run(
        "curl", "--silent", "--verbose", "--user", f"{account.user}:{account.password}", "--mail-from",
        account.user, "--mail-rcpt", account.user, "--upload-file", "-",
        f"smtp://localhost:{account.port('submission')}/", status=55,
    )  # fmt: skip
    assert "530 5.7.0 " in output


@pytest.mark.parametrize("service", ["submissions", "imaps", "pop3s"])
def test_a_wrong_password(programs: Programs, account: Account, service: str) -> None:
    curl(programs, account, service, "", "--user", f"{account.user}:wrong", status=67)
