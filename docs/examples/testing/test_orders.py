"""A program that sends mail, and its tests."""

import imaplib
import smtplib
from email.message import EmailMessage


def confirm_order(smtp: tuple[str, int], customer: str, number: int) -> None:
    """The program under test."""
    message = EmailMessage()
    message["From"], message["To"] = "shop@example.org", customer
    message["Subject"] = f"Your order {number}"
    message.set_content("Thank you for it.\n")
    with smtplib.SMTP(*smtp) as client:
        client.send_message(message)


def test_a_customer_anywhere_gets_a_confirmation(mail):
    confirm_order((mail.host, mail.ports["smtp"]), "carol@customer.example", 7)

    [message] = mail.wait_for("carol@customer.example")
    assert message["Subject"] == "Your order 7"
    assert "Thank you" in message.get_content()


def test_a_reader_finds_it_by_imap(mail):
    confirm_order((mail.host, mail.ports["smtp"]), "alice@example.org", 8)

    with imaplib.IMAP4(mail.host, mail.ports["imap"]) as client:
        client.login("alice@example.org", mail.password)
        client.select("INBOX")
        assert client.search(None, "SUBJECT", '"order 8"') == ("OK", [b"1"])
