"""RET, ENVID, NOTIFY, ORCPT (RFC 3461, 4): taken, kept as they came, and passed on."""

from __future__ import annotations

import pytest

from mailserver.smtp.client.values import Mail, Wishes
from mailserver.smtp.events import MailOffered, RecipientOffered
from mailserver.smtp.parameters import mail_command, rcpt_command
from tests.smtp.talk import Talk


def test_the_examples_of_the_rfc() -> None:
    """RFC 3461, 10.2: the parameters of Alice's message."""
    talk = Talk().hello()
    assert talk.line("MAIL FROM:<Alice@Pure-Heart.ORG> RET=HDRS ENVID=QQ314159")[:3] == "250"
    assert talk.line("RCPT TO:<Bob@Big-Bucks.COM> NOTIFY=SUCCESS ORCPT=rfc822;Bob@Big-Bucks.COM")[:3] == "250"
    assert talk.line("RCPT TO:<Carol@Ivory.EDU> NOTIFY=FAILURE ORCPT=rfc822;Carol@Ivory.EDU")[:3] == "250"
    assert (
        talk.line("RCPT TO:<Dana@Ivory.EDU> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Dana@Ivory.EDU")[:3] == "250"
    )
    assert talk.line("RCPT TO:<Fred@Bombs.AF.MIL> NOTIFY=NEVER")[:3] == "250"
    mail, *rcpts = [
        event.command for event in talk.events if isinstance(event, MailOffered | RecipientOffered)
    ]
    assert (mail.ret, mail.envid) == ("HDRS", "QQ314159")
    assert [sorted(rcpt.notify) for rcpt in rcpts] == [
        ["SUCCESS"],
        ["FAILURE"],
        ["FAILURE", "SUCCESS"],
        ["NEVER"],
    ]
    assert rcpts[0].orcpt == "rfc822;Bob@Big-Bucks.COM"
    assert rcpts[3].orcpt == ""


@pytest.mark.parametrize(
    "parameter",
    [
        *("RET", "RET=", "RET=BODY", "RET=FULL RET=HDRS"),
        *("ENVID", "ENVID=a+2", "ENVID=a+0D+0Ab", "ENVID=a+00", "ENVID=" + "x" * 101, "ENVID=+C3+A4"),
    ],
)
def test_C7_mail_parameters_that_are_wrong(parameter: str) -> None:
    assert Talk().hello().line(f"MAIL FROM:<a@b> {parameter}")[:10] == "501 5.5.4 "


@pytest.mark.parametrize(
    "parameter",
    [
        *("NOTIFY", "NOTIFY=", "NOTIFY=ALWAYS", "NOTIFY=NEVER,SUCCESS", "NOTIFY=SUCCESS,"),
        *("ORCPT", "ORCPT=bob@b", "ORCPT=rfc822;", "ORCPT=;bob@b", "ORCPT=rfc822;b+0D+0ARCPT", "ORCPT=a b;c"),
        "ORCPT=rfc822;" + "x" * 500,
    ],
)
def test_C7_recipient_parameters_that_are_wrong(parameter: str) -> None:
    talk = Talk().hello()
    talk.line("MAIL FROM:<a@b>")
    assert talk.line(f"RCPT TO:<c@d> {parameter}")[:4] == "501 "


def test_lengths_that_must_be_taken() -> None:
    """RFC 3461, 5.4"""
    talk = Talk().hello()
    assert talk.line(f"MAIL FROM:<a@b> RET=FULL ENVID={'e' * 100}")[:3] == "250"
    assert talk.line(f"RCPT TO:<c@d> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;{'x' * 493}")[:3] == "250"


def test_what_is_passed_on() -> None:
    wishes = (Wishes(frozenset(("SUCCESS", "DELAY")), "rfc822;b+2Bc@d"), Wishes())
    mail = Mail("a@b", ("b@d", "c@d"), wishes=wishes, ret="HDRS", envid="QQ+2B1")
    told = {"DSN": "", "SIZE": ""}
    assert mail_command(mail, told) == b"MAIL FROM:<a@b> RET=HDRS ENVID=QQ+2B1"
    assert rcpt_command(mail, 0, told) == b"RCPT TO:<b@d> NOTIFY=DELAY,SUCCESS ORCPT=rfc822;b+2Bc@d"
    assert rcpt_command(mail, 1, told) == b"RCPT TO:<c@d>"
    assert mail_command(mail, {}) == b"MAIL FROM:<a@b>"
    assert rcpt_command(mail, 0, {}) == b"RCPT TO:<b@d>"
    assert mail.part([1]) == Mail("a@b", ("c@d",), wishes=(Wishes(),), ret="HDRS", envid="QQ+2B1")
