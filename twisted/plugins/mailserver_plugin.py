"""Makes `twistd mailserver` known."""

from twisted.application.service import ServiceMaker

mailserver = ServiceMaker(
    "mailserver",
    "mailserver.tap",
    "A mail server: SMTP, submission, relay queue, POP3 and IMAP over one Maildir.",
    "mailserver",
)
