"""mpop: POP3 with pipelining, into a Maildir."""

from __future__ import annotations

import mailbox

import pytest

from tests.clients.support import Account, Programs, lines, message


def configure(programs: Programs, account: Account, service: str, auth: str, *options: str) -> None:
    mailbox.Maildir(programs.home / "Mail")
    programs.write(
        ".mpoprc",
        lines(
            "account default", "host localhost", f"port {account.port(service)}", "tls on",
            f"tls_starttls {'on' if service == 'pop3' else 'off'}", f"tls_trust_file {account.authority}",
            f"auth {auth}", f"user {account.user}", f"password {account.password}",
            f"delivery maildir {programs.home}/Mail", *options,
        ),
    )  # fmt: skip


def bodies(programs: Programs) -> dict[str, str]:
    found = mailbox.Maildir(programs.home / "Mail")
    return {made["Subject"]: made.get_payload() for made in found}


@pytest.mark.parametrize("service", ["pop3", "pop3s"])
@pytest.mark.parametrize("auth", ["on", "user", "plain", "login", "scram-sha-256"])
def test_fetch_and_delete(programs: Programs, account: Account, service: str, auth: str) -> None:
    account.deliver(*(message(f"m{number}", ".\n" * number) for number in range(1, 4)))
    configure(programs, account, service, auth, "pipelining on")
    programs.run("mpop", "--keep=off")
    assert {subject: len(body) for subject, body in bodies(programs).items()} == {
        "m1": 2, "m2": 4, "m3": 6
    }  # fmt: skip
    assert account.fetch() == []


def test_only_new_ones(programs: Programs, account: Account) -> None:
    account.deliver(message("one"))
    configure(programs, account, "pop3s", "on", "keep on")
    programs.run("mpop")
    account.deliver(message("two"))
    programs.run("mpop")
    programs.run("mpop")
    assert len(mailbox.Maildir(programs.home / "Mail")) == 2
    assert account.subjects() == ["one", "two"]


def test_two_hundred_messages(programs: Programs, account: Account) -> None:
    account.deliver(*(message(f"m{number}", f"body {number}\n" * 100) for number in range(200)))
    configure(programs, account, "pop3s", "on", "pipelining auto", "keep off")
    programs.run("mpop")
    assert len(bodies(programs)) == 200
    assert account.fetch() == []


def test_server_information(programs: Programs, account: Account) -> None:
    configure(programs, account, "pop3", "on")
    output = programs.run("mpop", "--serverinfo")
    for word in ("PIPELINING", "TOP", "UIDL", "PLAIN", "LOGIN", "SCRAM-SHA-256"):
        assert word in output


def test_a_wrong_password(programs: Programs, account: Account) -> None:
    configure(programs, account, "pop3s", "user")
    text = (programs.home / ".mpoprc").read_text().replace(f"password {account.password}", "password wrong")
    programs.write(".mpoprc", text)
    programs.run("mpop", status=77)
