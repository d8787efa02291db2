"""msmtp: the sendmail of many users, with the log-in mechanisms of GNU SASL."""

from __future__ import annotations

import pytest

from tests.clients.support import Account, Programs, lines, message


def configure(programs: Programs, account: Account, service: str, auth: str) -> None:
    programs.write(
        ".msmtprc",
        lines(
            "account default", "host localhost", f"port {account.port(service)}", "domain client.example",
            "tls on", f"tls_starttls {'on' if service == 'submission' else 'off'}",
            f"tls_trust_file {account.authority}", f"auth {auth}", f"user {account.user}",
            f"password {account.password}", f"from {account.user}",
        ),
    )  # fmt: skip


@pytest.mark.parametrize("service", ["submission", "submissions"])
@pytest.mark.parametrize("auth", ["on", "plain", "login", "scram-sha-256"])
def test_sending(programs: Programs, account: Account, other: Account, service: str, auth: str) -> None:
    configure(programs, account, service, auth)
    made = message("by msmtp", "Grüße\n.\n", account.user, other.user)
    programs.run("msmtp", "--", other.user, data=made.as_bytes())
    (got,) = other.fetch()
    assert (got["Subject"], got.get_content()) == ("by msmtp", "Grüße\n.\n")


def test_recipients_from_the_header(programs: Programs, account: Account, other: Account) -> None:
    configure(programs, account, "submission", "on")
    made = message("by msmtp", sender=account.user, to=other.user)
    made["Bcc"] = account.user
    programs.run("msmtp", "-t", data=made.as_bytes())
    assert [copy["Bcc"] for copy in (*account.fetch(), *other.fetch())] == [None, None]


def test_server_information(programs: Programs, account: Account) -> None:
    configure(programs, account, "submission", "on")
    output = programs.run("msmtp", "--serverinfo")
    for word in ("STARTTLS", "PIPELINING", "SIZE", "AUTH", "PLAIN", "LOGIN"):
        assert word in output


def test_an_unknown_recipient(programs: Programs, account: Account) -> None:
    configure(programs, account, "submission", "on")
    output = programs.run(
        "msmtp", "nobody@example.org", data=message("x").as_bytes(), status=65
    )  # EX_DATAERR
    assert "550" in output and "5.1.1" in output


def test_a_wrong_password(programs: Programs, account: Account) -> None:
    configure(programs, account, "submission", "on")
    text = (programs.home / ".msmtprc").read_text().replace(f"password {account.password}", "password wrong")
    programs.write(".msmtprc", text)
    output = programs.run("msmtp", account.user, data=message("x").as_bytes(), status=77)  # EX_NOPERM
    assert "535 5.7.8" in output or "authentication failed" in output
