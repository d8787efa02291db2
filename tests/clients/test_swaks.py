"""swaks: SMTP transactions as a person would type them."""

from __future__ import annotations

import pytest

from tests.clients.support import Account, Programs, message


def swaks(programs: Programs, account: Account, service: str, *options: str, status: int | None = 0) -> str:
    return programs.run(
        "swaks", "--server", "localhost", "--port", str(account.port(service)), "--ehlo", "client.example",
        "--tls-verify", "--tls-ca-path", account.authority, *options, status=status,
    )  # fmt: skip


def log_in(account: Account, mechanism: str) -> tuple[str, ...]:
    return ("--auth", mechanism, "--auth-user", account.user, "--auth-password", account.password)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize(("service", "tls"), [("submission", "--tls"), ("submissions", "--tls-on-connect")])
def test_submission(programs: Programs, account: Account, mechanism: str, service: str, tls: str) -> None:
    output = swaks(
        programs, account, service, tls, *log_in(account, mechanism), "--from", account.user,
        "--to", account.user, "--header", "Subject: from swaks", "--body", ".dots\n..\n.",
    )  # fmt: skip
    assert "235 2.7.0" in output
    (got,) = account.fetch()
    assert (got["Subject"], got.get_content().rstrip("\n")) == ("from swaks", ".dots\n..\n.")


def test_mx_with_starttls(programs: Programs, account: Account) -> None:
    output = swaks(
        programs, account, "smtp", "--tls", "--from", "a@remote.example", "--to", account.user, "--data",
        "Subject: secret\\nTo: you\\n\\nbody",
    )  # fmt: skip
    assert "=== TLS started" in output
    (got,) = account.fetch()
    assert "ESMTPS" in got["Received"]


def test_pipelining(programs: Programs, account: Account, other: Account) -> None:
    output = swaks(
        programs, account, "smtp", "--pipeline", "--from", "a@remote.example", "--to",
        f"{account.user},nobody@example.org,{other.user}", status=None,
    )  # fmt: skip
    assert "550 5.1.1" in output
    assert len(account.fetch()) == len(other.fetch()) == 1


def test_relaying_is_refused(programs: Programs, account: Account) -> None:
    output = swaks(
        programs, account, "smtp", "--from", "a@remote.example", "--to", "b@elsewhere.example", status=24
    )
    assert "550 5.7.1" in output


def test_submission_wants_a_log_in(programs: Programs, account: Account) -> None:
    output = swaks(
        programs, account, "submission", "--tls", "--from", account.user, "--to", account.user, status=23
    )
    assert "530 5.7.0" in output


def test_no_log_in_in_clear(programs: Programs, account: Account) -> None:
    output = swaks(
        programs, account, "submission", *log_in(account, "PLAIN"), "--to", account.user, status=28
    )
    assert "AUTH" not in output.partition("250 ")[0]


def test_a_wrong_password(programs: Programs, account: Account) -> None:
    wrong = ("--auth", "PLAIN", "--auth-user", account.user, "--auth-password", "wrong")
    output = swaks(programs, account, "submission", "--tls", *wrong, "--to", account.user, status=28)
    assert "535 5.7.8" in output


def test_a_message_from_a_file(programs: Programs, account: Account) -> None:
    made = message("a file", "line\n" * 20_000)
    path = programs.home / "message"
    path.write_bytes(made.as_bytes())
    swaks(programs, account, "smtp", "--from", "a@remote.example", "--to", account.user, "--data", f"@{path}")
    (got,) = account.fetch()
    assert got.get_content().rstrip("\n") == ("line\n" * 20_000).rstrip("\n")
