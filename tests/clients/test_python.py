"""Python's own clients: send, then read by IMAP and POP3."""

from __future__ import annotations

import imaplib
import poplib
import smtplib
from email.message import EmailMessage

import pytest

from tests.clients.support import SECONDS, Account, message, parse

TEXT = "Grüße\n.\n..\n" + "x" * 900 + "\n"


def smtp(account: Account, how: str) -> smtplib.SMTP:
    if how == "submissions":
        return smtplib.SMTP_SSL("localhost", account.port(how), timeout=SECONDS, context=account.context())
    client = smtplib.SMTP("localhost", account.port("submission"), timeout=SECONDS)
    client.starttls(context=account.context())
    return client


@pytest.mark.parametrize("how", ["submission", "submissions"])
def test_the_whole_cycle(account: Account, other: Account, how: str) -> None:
    sent = message("the cycle", TEXT, sender=account.user, to=other.user)
    with smtp(account, how) as client:
        client.login(account.user, account.password)
        assert client.send_message(sent) == {}
    (got,) = other.fetch()
    assert got.get_content() == TEXT
    assert (got["From"], got["Subject"]) == (account.user, "the cycle")
    assert got["Return-Path"] == f"<{account.user}>"
    assert got["Date"] and got["Message-ID"] and got["Received"]

    box = other.pop()
    assert box.stat()[0] == 1
    raw = b"\r\n".join(box.retr(1)[1]) + b"\r\n"
    assert parse(raw).get_content() == TEXT
    box.dele(1)
    box.quit()
    assert other.fetch() == []


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("initial_response", [True, False])
def test_smtp_mechanisms(account: Account, mechanism: str, initial_response: bool) -> None:
    with smtp(account, "submission") as client:
        client.ehlo()
        assert mechanism in client.esmtp_features["auth"].split()
        client.user, client.password = account.user, account.password
        method = {"PLAIN": client.auth_plain, "LOGIN": client.auth_login}[mechanism]
        assert client.auth(mechanism, method, initial_response_ok=initial_response)[0] == 235


def test_smtp_refusals(account: Account) -> None:
    with smtp(account, "submission") as client:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.login(account.user, "wrong")
        assert refused.value.smtp_code == 535
        client.login(account.user, account.password)
        with pytest.raises(smtplib.SMTPRecipientsRefused) as unknown:
            client.sendmail(account.user, ["nobody@example.org"], b"Subject: x\r\n\r\nx\r\n")
        assert unknown.value.recipients["nobody@example.org"][0] == 550
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail("somebody.else@example.org", [account.user], b"Subject: x\r\n\r\nx\r\n")
        with pytest.raises(smtplib.SMTPSenderRefused) as large:
            client.sendmail(account.user, [account.user], b"Subject: x\r\n\r\n" + b"x\r\n" * 2_000_000)
        assert large.value.smtp_code == 552
    assert account.fetch() == []


def test_nothing_in_clear(account: Account) -> None:
    with smtplib.SMTP("localhost", account.port("submission"), timeout=SECONDS) as client:
        client.ehlo()
        assert "auth" not in client.esmtp_features
        with pytest.raises(smtplib.SMTPNotSupportedError):
            client.login(account.user, account.password)
    imap = imaplib.IMAP4("localhost", account.port("imap"), timeout=SECONDS)
    assert "LOGINDISABLED" in imap.capabilities
    with pytest.raises(imaplib.IMAP4.error, match="PRIVACYREQUIRED"):
        imap.login(account.user, account.password)
    imap.logout()
    pop = poplib.POP3("localhost", account.port("pop3"), timeout=SECONDS)
    with pytest.raises(poplib.error_proto, match="AUTH"):
        pop.user(account.user)
        pop.pass_(account.password)
    pop.quit()


def test_mx_is_no_relay(account: Account) -> None:
    with smtplib.SMTP("localhost", account.port("smtp"), timeout=SECONDS) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("a@remote.example", ["b@elsewhere.example"], b"Subject: x\r\n\r\nx\r\n")
        refused = client.sendmail(
            "a@remote.example", [account.user, "b@elsewhere.example"], b"Subject: kept\r\n\r\nx\r\n"
        )
    assert list(refused) == ["b@elsewhere.example"]
    assert account.subjects() == ["kept"]


def test_imap_starttls_and_append(account: Account) -> None:
    client = imaplib.IMAP4("localhost", account.port("imap"), timeout=SECONDS)
    assert client.starttls(account.context())[0] == "OK"
    assert client.login(account.user, account.password)[0] == "OK"
    body = message("kept here").as_bytes().replace(b"\n", b"\r\n")
    assert client.append("Drafts", "(\\Draft \\Seen)", None, body)[0] == "OK"
    assert client.select("Drafts") == ("OK", [b"1"])
    assert client.fetch("1", "(FLAGS RFC822.SIZE)")[1] == [
        b"1 (FLAGS (\\Seen \\Draft \\Recent) RFC822.SIZE %d)" % len(body)
    ]
    assert client.search(None, "SUBJECT", '"kept"') == ("OK", [b"1"])
    assert client.store("1", "+FLAGS", "(\\Deleted)")[0] == "OK"
    assert client.expunge() == ("OK", [b"1"])
    assert client.close()[0] == "OK"
    assert client.logout()[0] == "BYE"


def test_imap_authenticate(account: Account) -> None:
    client = imaplib.IMAP4_SSL(
        "localhost", account.port("imaps"), ssl_context=account.context(), timeout=SECONDS
    )
    plain = f"\0{account.user}\0{account.password}".encode()
    assert client.authenticate("PLAIN", lambda _: plain)[0] == "OK"
    client.logout()


def test_a_multipart_message_comes_back_octet_for_octet(account: Account) -> None:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = account.user, account.user, "Anhänge"
    made["Date"], made["Message-ID"] = "Mon, 23 Nov 2026 12:00:00 +0000", "<1@example.org>"
    made.set_content("text\n")
    made.add_alternative("<p>text</p>\n", subtype="html")
    made.add_attachment(
        bytes(range(256)) * 400, maintype="application", subtype="octet-stream", filename="ä.bin"
    )
    raw = made.as_bytes().replace(b"\n", b"\r\n")
    with account.submission() as client:
        client.sendmail(account.user, [account.user], raw)
    box = account.imap()
    box.select()
    (answer,) = (part for part in box.fetch("1", "(BODY[])")[1] if isinstance(part, tuple))
    assert answer[1].endswith(raw)
    structure = box.fetch("1", "(BODYSTRUCTURE)")[1][0]
    assert b'"ALTERNATIVE"' in structure.upper() and b'"MIXED"' in structure.upper()
    box.logout()
