"""LMTP (RFC 2033): the engine's dialect, and the service over a fake transport."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mailserver.errors import MailError, MessageTooLarge, NoSuchUser, OverQuota, TemporaryFailure
from mailserver.interfaces import Quota, QuotaUsage
from mailserver.smtp.dialects import LMTP
from mailserver.smtp.events import BodyEnded, RecipientOffered

from .service import Client, World
from .talk import OPTIONS, Talk, by_byte

SHORT = b"Subject: hi\r\n\r\nhello\r\n"
OPEN = evolve(OPTIONS, dialect=LMTP)


def lmtp(**options: int) -> Talk:
    return Talk(evolve(OPEN, **options), greet=True)


def begun(*recipients: str, refused: Sequence[str] = ()) -> Talk:
    """A transaction whose recipients have been told."""
    talk = lmtp(max_size=1000)
    talk.line("LHLO foo.edu")
    assert talk.line("MAIL FROM:<chris@bar.com>")[:4] == "250 "
    for name in recipients:
        talk.refuse = {RecipientOffered: NoSuchUser()} if name in refused else {}
        assert talk.line(f"RCPT TO:<{name}@foo.edu>")[:4] == ("550 " if name in refused else "250 ")
    talk.refuse = {}
    return talk


def test_the_example_of_the_rfc() -> None:
    """RFC 2033, 4.2: two of three recipients are accepted, and each of them has its own reply."""
    talk = lmtp()
    assert talk.replies() == ["220 mail.example.org LMTP ready"]
    hello = talk.say(b"LHLO foo.edu\r\n")
    assert hello[0] == "250-mail.example.org"
    words = {line[4:].split(" ")[0] for line in hello[1:]}
    assert words >= {"PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "CHUNKING", "SMTPUTF8", "DSN", "SIZE"}
    talk = begun("pat", "jones", "green", refused=["jones"])
    talk.refuse = {BodyEnded: None}
    assert talk.line("DATA")[:4] == "354 "
    assert talk.say(b"Blah blah blah...\r\n...etc. etc. etc.\r\n.\r\n") == []
    talk.engine.conclude(["Ok", OverQuota("<green@foo.edu> is temporarily over quota")])
    assert talk.replies() == ["250 2.0.0 Ok", "452 4.2.2 <green@foo.edu> is temporarily over quota"]
    assert talk.line("QUIT")[:4] == "221 "


@pytest.mark.parametrize("verb", ["HELO", "EHLO"])
def test_the_hello_of_smtp_is_unknown(verb: str) -> None:
    """RFC 2033, 4.1: never a positive reply; 500 is recommended."""
    talk = lmtp()
    assert talk.line(f"{verb} foo.edu")[:4] == "500 "
    assert talk.line("MAIL FROM:<a@b>") == "503 5.5.1 Send LHLO first"


def test_lhlo_is_unknown_to_smtp() -> None:
    assert Talk().line("LHLO foo.edu")[:4] == "500 "


def test_data_without_recipients_is_503() -> None:
    """RFC 2033, 4.2: whether some were refused or none was given."""
    assert begun().line("DATA")[:4] == "503 "
    talk = begun("pat", refused=["pat"])
    assert talk.line("DATA")[:4] == "503 "


def test_the_same_recipient_twice_has_two_replies() -> None:
    talk = begun("pat", "pat")
    talk.line("DATA")
    assert talk.say(b"x\r\n.\r\n") == ["250 2.0.0 Ok"] * 2


def test_bdat_last_has_a_reply_for_each() -> None:
    """RFC 2033, 4.3: BDAT without LAST has one, as ever."""
    talk = begun("pat", "green")
    assert talk.say(b"BDAT 3\r\na\r\n") == ["250 2.0.0 3 octets so far"]
    assert talk.say(b"BDAT 3 LAST\r\nb\r\nNOOP\r\n") == ["250 2.0.0 Ok"] * 3


def test_bdat_last_without_recipients_has_no_reply() -> None:
    """RFC 2033, 4.3: zero replies, and its octets are not taken for commands."""
    talk = begun("pat", refused=["pat"])
    assert talk.say(b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n") == ["250 2.0.0 Ok"]
    assert talk.say(b"BDAT 6 LAST\r\nQUIT\r\n") == ["503 5.5.1 Send MAIL first"]
    talk = begun("pat", refused=["pat"])
    assert talk.say(b"BDAT 3\r\na\r\nBDAT 3 LAST\r\nb\r\nNOOP\r\n") == [
        "503 5.5.1 No valid recipients",
        "250 2.0.0 Ok",
    ]


def test_what_is_refused_is_refused_for_each() -> None:
    for text in (b"a\nb\r\n", b"x" * 2000 + b"\r\n"):
        talk = begun("pat", "green")
        talk.line("DATA")
        replies = talk.say(text + b".\r\nNOOP\r\n")
        assert [line[0] for line in replies] == ["5", "5", "2"]
    talk = begun("pat", "green")
    talk.refuse = {BodyEnded: TemporaryFailure()}
    talk.line("DATA")
    assert [line[:4] for line in talk.say(b"x\r\n.\r\n")] == ["451 "] * 2


def test_a_chunk_that_was_refused_leaves_the_last_ones_replies_due() -> None:
    """RFC 3030, 2, and RFC 2033, 4.3: a client that pipelines waits for as many as it has recipients."""
    talk = begun("pat", "green")
    said = talk.say(b"BDAT 2\r\na\rBDAT 2 LAST\r\nbcNOOP\r\n")
    assert [line[:4] for line in said] == ["250 ", "550 ", "550 ", "250 "]
    talk = begun("pat", "green")
    said = talk.say(b"BDAT 4\r\na\nbcBDAT 2 LAST\r\nxyNOOP\r\n")
    assert [line[:4] for line in said] == ["550 ", "503 ", "503 ", "250 "]
    assert talk.line("MAIL FROM:<a@b>")[:4] == "250 "


def test_A17_a_flood_is_refused_for_each() -> None:
    talk = begun("pat", "green")
    said = talk.say(b"BDAT 99999999 LAST\r\n")
    assert [line[:9] for line in said] == ["552 5.3.4"] * 2
    assert talk.closed() == "message too large"


def test_how_the_input_is_cut_does_not_matter() -> None:
    data = b"BDAT 4\r\na\nbcBDAT 2 LAST\r\nxyMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 1 LAST\r\nzQUIT\r\n"
    whole = begun("pat", "green").say(data)
    assert begun("pat", "green").cut(by_byte(data)) == whole


def test_recipients_that_are_unknown_do_not_end_the_session() -> None:
    """A queue does not know our users, and asks for each; wrong commands count as ever."""
    talk = lmtp(errors=5)
    talk.line("LHLO foo.edu")
    talk.line("MAIL FROM:<a@b>")
    talk.refuse = {RecipientOffered: NoSuchUser()}
    assert [talk.line("RCPT TO:<x@y>")[:4] for _ in range(50)] == ["550 "] * 50
    assert [talk.line("WHAT")[:4] for _ in range(5)] == ["500 "] * 4 + ["421 "]


class Taker:
    """IAcceptor with an answer for each recipient by its local part; `held` leaves them open."""

    def __init__(self, **answers: MailError) -> None:
        self.answers = answers
        self.traces: list[bytes] = []
        self.held: Deferred[object] | None = None

    def accept_each(self, envelope: object, trace: bytes, body: object) -> Deferred[object]:
        self.traces.append(trace)
        recipients = envelope.recipients  # type: ignore[attr-defined]
        body.discard()  # type: ignore[attr-defined]
        found = [self.answers.get(recipient.address.partition("@")[0]) for recipient in recipients]
        return succeed(found) if self.held is None else self.held


def service(**answers: MailError) -> tuple[World, Taker, Client]:
    world = World("lmtp")
    taker = world.factory.acceptor = Taker(**answers)  # type: ignore[assignment]
    client = world.connect()
    client.line("LHLO client.example")
    return world, taker, client


class ServiceTests(SynchronousTestCase):
    def send(self, client: Client, *recipients: str) -> list[str]:
        client.line("MAIL FROM:<s@remote.example>")
        for recipient in recipients:
            self.assertEqual(client.line(f"RCPT TO:<{recipient}>")[:4], "250 ")
        client.line("DATA")
        return client.say(SHORT + b".\r\n")

    def test_each_recipient_has_an_end_of_its_own(self) -> None:
        world, _, client = service(alice=OverQuota(), bob=TemporaryFailure(cause="EIO on /var/mail"))
        replies = self.send(client, "alice@example.org", "postmaster@example.org", "bob@example.org")
        name = world.audit.named("rejected")[0]["id"]
        self.assertEqual(
            replies,
            [
                "452 4.2.2 <alice@example.org> Mailbox is full",
                f"250 2.0.0 <postmaster@example.org> Ok, id {name}",
                "451 4.3.0 <bob@example.org> Temporary failure on our side, try again later",
            ],
        )
        told = [(event["to"], event["code"], event["reason"]) for event in world.audit.named("rejected")]
        self.assertEqual(told[0], ("alice@example.org", "452 4.2.2", "Mailbox is full"))
        self.assertIn("EIO on /var/mail", told[1][2])
        self.assertEqual(self.send(client, "alice@example.org")[0][:4], "452 ")

    def test_received_says_lmtp(self) -> None:
        """RFC 3848."""
        _, taker, client = service()
        self.send(client, "alice@example.org")
        self.assertIn(b" with LMTP id ", taker.traces[0])

    def test_only_local_recipients(self) -> None:
        world, _, client = service()
        world.settings.change(relay={"networks": ("127.0.0.0/8",)})
        world.authenticator.strangers_relay = True
        client.line("MAIL FROM:<>")
        self.assertEqual(client.line("RCPT TO:<x@elsewhere.example>"), "550 5.7.1 Relaying denied")
        self.assertEqual(client.line("RCPT TO:<nobody@example.org>")[:9], "550 5.1.1")
        self.assertEqual(client.line("RCPT TO:<postmaster>")[:4], "250 ")

    def test_D9_nobody_waits_for_a_refusal(self) -> None:
        _, _, client = service()
        client.line("MAIL FROM:<>")
        for _ in range(30):
            self.assertEqual(client.line("RCPT TO:<nobody@example.org>")[:9], "550 5.1.1")

    def test_a_full_mailbox_is_told_at_once(self) -> None:
        world, _, client = service()
        world.usage["alice@example.org"] = QuotaUsage(used=100, messages=1, limit=Quota(100))
        client.line("MAIL FROM:<> SIZE=50")
        self.assertEqual(client.line("RCPT TO:<alice@example.org>")[:9], "452 4.2.2")

    def test_there_is_no_log_in(self) -> None:
        world = World("lmtp")
        said = world.connect().say(b"LHLO c\r\n")
        self.assertNotIn("AUTH", " ".join(said))
        self.assertIn("250-STARTTLS", [line.replace("250 ", "250-") for line in said])

    def test_F13_a_message_that_is_just_delivered_is_answered_before_the_end(self) -> None:
        world, taker, client = service()
        taker.held = Deferred()
        self.assertEqual(self.send(client, "alice@example.org", "bob@example.org"), [])
        world.factory.stop()
        self.assertEqual(client.replies(), [])
        taker.held.callback([None, MessageTooLarge()])
        self.assertEqual([line[:4] for line in client.replies()], ["250 ", "552 ", "421 "])
