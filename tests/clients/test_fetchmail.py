"""fetchmail over POP3 and IMAP."""

from __future__ import annotations

import mailbox

import pytest

from tests.clients.support import Account, Programs, lines, message


def configure(programs: Programs, account: Account, protocol: str, how: str, keep: bool = False) -> None:
    service = {"pop3": "pop3", "imap": "imap"}[protocol] + ("s" if how == "tls" else "")
    tls = "ssl" if how == "tls" else 'sslproto "tls1.2+"'
    uidl = "uidl" if keep and protocol == "pop3" else ""
    (programs.home / "mbox").touch()
    programs.write(
        "fetchmailrc",
        lines(
            f"poll localhost protocol {protocol} port {account.port(service)} {uidl}",
            f'  user "{account.user}" password "{account.password}" {tls} sslcertck',
            f'  sslcertfile "{account.authority}" {"keep" if keep else "fetchall"}',
            f"""  mda "sed '1i From MAILER Mon Nov 23 00:00:00 2026' >> {programs.home}/mbox" """,
        ),
    )


def fetch(programs: Programs, status: int | None = 0) -> str:
    """Fetch once; what came is in `mbox`."""
    return programs.run("fetchmail", "-f", programs.home / "fetchmailrc", "--nosyslog", "-v", status=status)


def subjects(programs: Programs) -> list[str]:
    return [made["Subject"] for made in mailbox.mbox(programs.home / "mbox")]


@pytest.mark.parametrize("how", ["starttls", "tls"])
@pytest.mark.parametrize("protocol", ["pop3", "imap"])
def test_fetch_and_delete(programs: Programs, account: Account, protocol: str, how: str) -> None:
    account.deliver(*(message(f"m{number}", ".\n..\n" * number) for number in range(5)))
    configure(programs, account, protocol, how)
    fetch(programs)
    assert subjects(programs) == [f"m{number}" for number in range(5)]
    assert account.fetch() == []
    fetch(programs, status=1)  # no mail


def test_pop3_keeps_on_the_server(programs: Programs, account: Account) -> None:
    account.deliver(message("one"), message("two"))
    configure(programs, account, "pop3", "tls", keep=True)
    fetch(programs)
    fetch(programs, status=1)
    account.deliver(message("three"))
    fetch(programs)
    assert subjects(programs) == ["one", "two", "three"]
    assert account.subjects() == ["one", "two", "three"]


def test_imap_marks_as_seen(programs: Programs, account: Account) -> None:
    account.deliver(message("one"), message("two"))
    configure(programs, account, "imap", "starttls", keep=True)
    fetch(programs)
    assert account.flags() == {"one": {"\\Seen"}, "two": {"\\Seen"}}
    fetch(programs, status=1)
    assert subjects(programs) == ["one", "two"]


@pytest.mark.parametrize("protocol", ["pop3", "imap"])
def test_a_wrong_password(programs: Programs, account: Account, protocol: str) -> None:
    configure(programs, account, protocol, "tls")
    path = programs.home / "fetchmailrc"
    programs.write("fetchmailrc", path.read_text().replace(f'"{account.password}"', '"wrong"'))
    fetch(programs, status=3)
