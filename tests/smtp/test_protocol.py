"""The SMTP services over a fake transport: dialogs, limits, time, stopping, clients that go away."""

from __future__ import annotations

import re

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailserver.errors import NoSpace
from mailserver.interfaces import Quota, QuotaUsage

from .service import Transport, World

TEXT = b"Subject: hi\r\n\r\nhello\r\n"


class MxTests(SynchronousTestCase):
    def test_a_message_for_a_user(self) -> None:
        world = World()
        client = world.connect().hello()
        self.assertEqual(client.greeting, ["220 mail.example.org ESMTP ready"])
        reply = client.send("s@remote.example", ["Alice+x@Example.org"], TEXT)
        ((envelope, trace, text),) = world.acceptor.messages

        self.assertEqual(reply, f"250 2.0.0 Ok, id {envelope.id}")
        self.assertEqual(text, b"Subject: hi\n\nhello\n")
        self.assertEqual(envelope.recipients[0].targets[0].user, "alice@example.org")
        self.assertEqual((envelope.reverse_path, envelope.user), ("s@remote.example", ""))
        self.assertIn(
            b"Received: from client.example ([127.0.0.1])\n\tby mail.example.org with ESMTP id ", trace
        )
        self.assertIn(b"for <Alice+x@example.org>;", trace)

    def test_received_tells_no_other_recipient(self) -> None:
        world = World()
        world.connect().hello().send("", ["alice@example.org", "bob@example.org"], TEXT)
        self.assertNotIn(b"for <", world.acceptor.messages[0][1])

    def test_C15_the_same_recipient_twice_is_accepted(self) -> None:
        world = World()
        reply = world.connect().hello().send("", ["alice@example.org", "ALICE@example.org"], TEXT)
        self.assertEqual(reply[:4], "250 ")

    def test_G14_the_null_sender(self) -> None:
        world = World()
        self.assertEqual(world.connect().hello().send("", ["alice@example.org"], TEXT)[:4], "250 ")
        self.assertEqual(world.acceptor.messages[0][0].reverse_path, "")

    def test_C1_C3_no_relaying(self) -> None:
        """Every way of writing a recipient that is not ours, with and without backup settings."""
        forms = {
            "u@remote.example": "550 5.7.1 ",
            "u%remote.example@example.org": "550 5.1.1 ",
            "remote.example!u@example.org": "550 5.1.1 ",
            '"u@remote.example"@example.org': "550 5.1.1 ",
            "@example.org:u@remote.example": "550 5.7.1 ",
            "@a.example,@example.org:u@remote.example": "550 5.7.1 ",
            "u@remote.example@example.org": "501 5.1.3 ",
            "u@[127.0.0.1]": "550 5.7.1 ",
            "u@[IPv6:::1]": "550 5.7.1 ",
            "u@[192.0.2.25]": "550 5.7.1 ",
            "u": "501 5.1.3 ",
            "u@remote.example,example.org": "501 5.1.3 ",
            "u@mail.example.org": "550 5.7.1 ",
            "alice@example.org.": "250 2.1.5 ",
            "alice@EXAMPLE.ORG": "250 2.1.5 ",
            '"alice"@example.org': "250 2.1.5 ",
            "@x.example:alice@example.org": "250 2.1.5 ",
        }
        backup = {"relay": {"routes": {"remote.example": None}}}
        catch_all = {"domains": {"example.org": {"catch_all": "bob@example.org"}}}
        for settings in ({}, backup, catch_all):
            for form, expected in forms.items():
                world = World(limits={"errors": 1000}, **settings)
                client = world.connect().hello()
                client.line("MAIL FROM:<s@remote.example>")
                reply = client.line(f"RCPT TO:<{form}>")
                if settings is catch_all and expected == "550 5.1.1 ":
                    expected = "250 2.1.5 "  # still local, never relayed
                self.assertEqual(reply[:10], expected, form)

    def test_strangers_that_may_relay(self) -> None:
        world = World()
        world.authenticator.strangers_relay = True
        self.assertEqual(world.connect().hello().send("a@b.example", ["x@remote.example"], TEXT)[:4], "250 ")
        self.assertEqual(world.acceptor.messages[0][0].recipients[0].targets[0].domain, "remote.example")

    def test_an_alias_may_lead_elsewhere(self) -> None:
        world = World(aliases={"out@example.org": ["x@remote.example"]})
        self.assertEqual(world.connect().hello().send("", ["out@example.org"], TEXT)[:4], "250 ")

    def test_C11_postmaster(self) -> None:
        world = World()
        self.assertEqual(world.connect().hello().send("", ["PostMaster"], TEXT)[:4], "250 ")

    def test_C13_an_alias_loop(self) -> None:
        world = World(aliases={"a@example.org": ["b@example.org"], "b@example.org": ["a@example.org"]})
        self.assertEqual(world.connect().hello().send("", ["a@example.org"], TEXT)[:10], "554 5.4.6 ")

    def test_C14_too_many_recipients(self) -> None:
        world = World(limits={"recipients": 3})
        client = world.connect().hello()
        client.line("MAIL FROM:<>")
        made = client.say(b"RCPT TO:<alice@example.org>\r\n" * 5)
        self.assertEqual([line[:10] for line in made], ["250 2.1.5 "] * 3 + ["452 4.5.3 "] * 2)
        client.line("DATA")
        self.assertEqual(client.say(TEXT + b".\r\n")[0][:4], "250 ")
        self.assertEqual(len(world.acceptor.messages[0][0].recipients), 3)

    def test_G20_a_full_mailbox_is_told_at_rcpt(self) -> None:
        world = World()
        world.usage["alice@example.org"] = QuotaUsage(used=1000, messages=1, limit=Quota(1000))
        client = world.connect().hello()
        client.line("MAIL FROM:<>")
        self.assertEqual(client.line("RCPT TO:<alice@example.org>")[:10], "452 4.2.2 ")
        self.assertEqual(client.line("RCPT TO:<bob@example.org>")[:4], "250 ")

    def test_F9_a_full_disk_is_told_at_mail(self) -> None:
        world = World(data_dir="/", limits={"min_free": 1 << 60})
        client = world.connect().hello()
        self.assertEqual(client.line("MAIL FROM:<>")[:10], "452 4.3.1 ")

    def test_G15_too_many_hops(self) -> None:
        world = World(limits={"hops": 5})
        client = world.connect().hello()
        self.assertEqual(client.send("", ["alice@example.org"], b"Received: x\r\n" * 5 + TEXT)[:4], "250 ")
        self.assertEqual(
            client.send("", ["alice@example.org"], b"Received: x\r\n" * 6 + TEXT)[:10], "554 5.4.6 "
        )
        (event,) = world.audit.named("rejected")
        self.assertEqual(event["code"], "554 5.4.6")

    def test_G15_what_an_alias_forwards_comes_around_once(self) -> None:
        """RFC 5321, 6.3: the forwarder says for whom it was, and knows it again, in any case."""
        world = World(aliases={"out@example.org": ["x@remote.example"]})
        client = world.connect().hello()
        self.assertEqual(client.send("a@b.example", ["Out@example.org"], TEXT)[:4], "250 ")
        (forwarded,) = world.acceptor.texts
        self.assertTrue(forwarded.startswith(b"Delivered-To: Out@example.org\nSubject:"), forwarded)
        back = forwarded.replace(b"\n", b"\r\n")
        self.assertEqual(client.send("a@b.example", ["out@EXAMPLE.org"], back)[:10], "554 5.4.6 ")
        self.assertEqual(client.send("a@b.example", ["alice@example.org"], back)[:4], "250 ")

    def test_G15_only_forwarders_mark(self) -> None:
        """Not what stays here, nor what several get: one's address is nothing to the others. Nor is any of
        them refused for another's loop."""
        world = World(
            aliases={"out@example.org": ["x@remote.example"], "in@example.org": ["bob@example.org"]}
        )
        client = world.connect().hello()
        around = b"Delivered-To: out@example.org\r\n" + TEXT
        for recipients, text, count in (
            (["alice@example.org"], TEXT, 0),
            (["in@example.org"], TEXT, 0),
            (["in@example.org"], b"Delivered-To: in@example.org\r\n" + TEXT, 1),
            (["alice@example.org", "out@example.org"], TEXT, 0),
            (["alice@example.org", "out@example.org"], around, 1),
        ):
            self.assertEqual(client.send("a@b.example", recipients, text)[:4], "250 ")
            self.assertEqual(world.acceptor.texts[-1].count(b"Delivered-To:"), count)

    def test_G15_a_hostile_address_is_one_line(self) -> None:
        world = World(aliases={'"a b"@example.org': ["x@remote.example"]})
        client = world.connect().hello()
        self.assertEqual(client.send("", ['"a b"@example.org'], TEXT)[:4], "250 ")
        self.assertTrue(world.acceptor.texts[0].startswith(b'Delivered-To: "a?b"@example.org\nSubject:'))

    def test_C16_header_blocks(self) -> None:
        one = b"X: " + b"\r\n ".join([b"y" * 70] * 14_000) + b"\r\n\r\n"
        many = b"A:\r\n" * 100_000 + b"\r\n"
        directory = self.mktemp()
        world = World(directory=directory)
        world.spool.clean()
        for block, expected in ((one, "552 5.3.4 "), (many, "552 5.3.4 "), (b"A\0: b\r\n\r\n", "250 2.0.0 ")):
            client = world.connect().hello()
            self.assertEqual(client.send("", ["alice@example.org"], block)[:10], expected)

    def test_C16_text_without_a_header_does_not_join_ours(self) -> None:
        world = World()
        world.connect().hello().send("", ["alice@example.org"], b"just text\r\n")
        self.assertEqual(world.acceptor.texts, [b"\njust text\n"])

    def test_A8_an_empty_message(self) -> None:
        world = World()
        self.assertEqual(world.connect().hello().send("", ["alice@example.org"], b"")[:4], "250 ")
        self.assertEqual(world.acceptor.texts, [b""])

    def test_a_message_larger_than_the_memory(self) -> None:
        directory = self.mktemp()
        world = World(directory=directory)
        world.spool.clean()
        body = b"Subject: big\r\n\r\n" + (b"x" * 76 + b"\r\n") * 30_000
        self.assertEqual(world.connect().hello().send("", ["alice@example.org"], body)[:4], "250 ")
        self.assertEqual(world.acceptor.texts, [body.replace(b"\r\n", b"\n")])
        self.assertEqual(list(world.spool.directory.iterdir()), [])

    def test_B9_no_auth_on_the_mx_service(self) -> None:
        client = World().connect()
        self.assertFalse(any("AUTH" in line for line in client.say(b"EHLO a\r\n")))
        self.assertEqual(client.line("AUTH PLAIN AAAA")[:4], "503 ")

    def test_a_failed_delivery_is_the_reply(self) -> None:
        world = World()
        world.acceptor.error = NoSpace()
        client = world.connect().hello()
        self.assertEqual(
            client.send("", ["alice@example.org"], TEXT), "452 4.3.1 Insufficient system storage"
        )
        self.assertEqual(client.line("RCPT TO:<alice@example.org>")[:4], "503 ")
        self.assertEqual(len(world.audit.named("rejected")), 1)

    def test_K8_a_bug_behind_us_is_a_temporary_failure(self) -> None:
        world = World()
        world.acceptor.error = ValueError("secret path /x")
        reply = world.connect().hello().send("", ["alice@example.org"], TEXT)
        self.assertEqual(reply, "451 4.3.0 Temporary failure on our side, try again later")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_D14_log_fields_are_what_was_accepted(self) -> None:
        """Refused recipients are logged with the address as it was parsed, never the raw line."""
        world = World()
        client = world.connect().hello()
        client.line("MAIL FROM:<s@b.example>")
        client.line("RCPT TO:<nobody@example.org>")
        (event,) = world.audit.named("rejected")
        self.assertEqual((event["to"], event["code"]), ("nobody@example.org", "550 5.1.1"))

    def test_K4_a_reload_holds_from_the_next_command_on(self) -> None:
        world = World()
        client = world.connect().hello()
        self.assertEqual(client.line("MAIL FROM:<> SIZE=1000")[:4], "250 ")
        world.settings.change(limits={"message_size": 100, "recipients": 1})
        client.line("RCPT TO:<alice@example.org>")
        self.assertEqual(client.line("RCPT TO:<bob@example.org>")[:4], "452 ")
        client.line("RSET")
        self.assertEqual(client.line("MAIL FROM:<> SIZE=1000")[:10], "552 5.3.4 ")

    def test_ids_are_sortable_and_unique(self) -> None:
        world = World()
        ids = [world.factory.ids.new() for _ in range(100)]
        world.clock.advance(1)
        ids.append(world.factory.ids.new())
        self.assertEqual(ids, sorted(set(ids)))
        self.assertTrue(all(re.fullmatch("[0-9a-z]{14}", name) for name in ids))


class SubmissionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World("submission", users={"alice@example.org": {"aliases": ["al@example.org"]}})
        self.client = self.world.connect()

    def submit(self, text: bytes, sender: str = "alice@example.org") -> str:
        return self.client.send(sender, ["x@remote.example"], text)

    def header_of(self, text: bytes) -> list[bytes]:
        self.assertEqual(self.submit(text)[:4], "250 ")
        return self.world.acceptor.texts[-1].partition(b"\n\n")[0].split(b"\n")

    def test_log_in_first(self) -> None:
        self.assertIn("250 AUTH PLAIN", self.client.say(b"EHLO a\r\n"))
        self.assertEqual(
            self.client.line("MAIL FROM:<alice@example.org>"), "530 5.7.0 Authentication required"
        )

    def test_a_user_may_relay(self) -> None:
        self.client.log_in()
        self.assertEqual(self.submit(b"From: alice@example.org\r\n\r\nx\r\n")[:4], "250 ")
        envelope, trace, _ = self.world.acceptor.messages[0]
        self.assertEqual(envelope.user, "alice@example.org")
        self.assertIn(b" with ESMTPA id ", trace)

    def test_C4_senders_that_are_not_the_users(self) -> None:
        self.client.log_in()
        for sender in ("bob@example.org", "alice@other.example", "x@remote.example"):
            self.assertEqual(self.client.line(f"MAIL FROM:<{sender}>")[:10], "553 5.7.1 ", sender)
        for sender in ("al@example.org", "alice+x@example.org", "ALICE@Example.org", ""):
            self.assertEqual(self.client.line(f"MAIL FROM:<{sender}>")[:4], "250 ", sender)
            self.client.line("RSET")

    def test_C4_C5_from_fields(self) -> None:
        self.client.log_in()
        refused = (
            b"From: bob@example.org\r\n",
            b"From: alice@example.org\r\nFrom: alice@example.org\r\n",
            b"From: alice@example.org\r\nfrom : bob@example.org\r\n",
            b"From: alice@example.org, bob@example.org\r\n",
            b"From: alice@example.org,\r\n bob@example.org\r\n",
            b"From: \r\n",
            b"From: Team: alice@example.org;\r\n",
            b"From: alice\r\n",
            b"From: alice@example.org <bob@example.org>\r\n",
            b"From: <@x.example:alice@example.org>\r\n",
            b"From: \xff@example.org\r\n",
        )
        for field in refused:
            self.assertEqual(self.submit(field + b"\r\nx\r\n")[:10], "550 5.7.1 ", field)
        for field in (b'From: "A, b" <al@example.org>\r\n', b"From: alice@example.org (c)\r\n"):
            self.assertEqual(self.submit(field + b"\r\nx\r\n")[:4], "250 ", field)
        self.assertEqual(len(self.world.acceptor.messages), 2)

    def test_missing_fields_are_added(self) -> None:
        self.client.log_in()
        header = self.header_of(b"From: alice@example.org\r\nTo: x@remote.example\r\n\r\nx\r\n")
        name = self.world.acceptor.messages[-1][0].id
        self.assertEqual(
            header,
            [
                b"Date: Mon, 21 Sep 2026 14:13:20 +0000",
                f"Message-ID: <{name}@mail.example.org>".encode(),
                b"From: alice@example.org",
                b"To: x@remote.example",
            ],
        )

    def test_fields_that_are_there_are_kept(self) -> None:
        self.client.log_in()
        text = (
            b"date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMESSAGE-ID: <a@b>\r\nFrom: al@example.org\r\n\r\nx\r\n"
        )
        self.assertEqual(self.submit(text)[:4], "250 ")
        self.assertEqual(self.world.acceptor.texts[-1], text.replace(b"\r\n", b"\n"))

    def test_bcc_and_a_foreign_sender_go(self) -> None:
        self.client.log_in()
        header = self.header_of(
            b"Bcc: a@b.example,\r\n c@d.example\r\nSender: bob@example.org\r\nFrom: alice@example.org\r\n"
            b"Date: x\r\nMessage-ID: <y>\r\nbcc: z@b.example\r\n\r\nBcc: text\r\n"
        )
        self.assertEqual(header, [b"From: alice@example.org", b"Date: x", b"Message-ID: <y>"])
        self.assertTrue(self.world.acceptor.texts[-1].endswith(b"\n\nBcc: text\n"))

    def test_text_without_any_header(self) -> None:
        self.client.log_in()
        self.assertEqual(self.submit(b"hello\r\n")[:4], "250 ")
        header, _, body = self.world.acceptor.texts[-1].partition(b"\n\n")
        self.assertEqual(
            [line.split(b":")[0] for line in header.split(b"\n")], [b"Date", b"Message-ID", b"From"]
        )
        self.assertEqual(body, b"hello\n")

    def test_a_large_message_is_completed_too(self) -> None:
        directory = self.mktemp()
        self.world = World("submission", directory=directory)
        self.world.spool.clean()
        self.client = self.world.connect().log_in()
        self.assertEqual(
            self.submit(b"Bcc: a@b\r\n\r\n" + b"x" * 70 * 1 + b"\r\n" + b"y\r\n" * 500_000)[:4], "250 "
        )
        text = self.world.acceptor.texts[-1]
        self.assertTrue(text.startswith(b"Date: "))
        self.assertNotIn(b"Bcc", text)
        self.assertEqual(
            self.submit(b"From: bob@example.org\r\n\r\n" + b"y\r\n" * 500_000)[:10], "550 5.7.1 "
        )
        self.assertEqual(list(self.world.spool.directory.iterdir()), [])

    def test_unknown_local_recipients_are_refused(self) -> None:
        self.client.log_in()
        self.client.line("MAIL FROM:<alice@example.org>")
        self.assertEqual(self.client.line("RCPT TO:<nobody@example.org>")[:10], "550 5.1.1 ")


class AuthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World("submission")
        self.client = self.world.connect().hello()

    def test_challenge_and_last_word(self) -> None:
        self.assertEqual(self.client.line("AUTH PLAIN"), "334 ")
        self.assertEqual(self.client.line("AGFsaWNlQGV4YW1wbGUub3JnAHNjcmFt"), "334 dj0x")
        self.assertEqual(self.client.line("MAIL FROM:<alice@example.org>")[:10], "501 5.5.2 ")
        self.assertEqual(self.client.line("MAIL FROM:<alice@example.org>")[:10], "530 5.7.0 ")

        self.client.line("AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHNjcmFt")
        self.assertEqual(self.client.line("")[:4], "235 ")
        self.assertEqual(self.client.line("MAIL FROM:<alice@example.org>")[:4], "250 ")

    def test_D8_auth_once_only(self) -> None:
        self.client.log_in()
        self.assertEqual(self.client.line("AUTH PLAIN AAAA")[:4], "503 ")
        self.assertFalse(any("AUTH" in line for line in self.client.say(b"EHLO a\r\n")))

    def test_unknown_mechanism(self) -> None:
        self.assertEqual(self.client.line("AUTH CRAM-MD5")[:10], "504 5.5.4 ")

    def test_D3_failures_end_the_connection(self) -> None:
        for _ in range(2):
            self.assertEqual(self.client.line("AUTH PLAIN AGEAYg==")[:10], "535 5.7.8 ")
        self.assertEqual(self.client.line("AUTH PLAIN AGEAYg==")[:10], "421 4.7.0 ")
        self.assertTrue(self.client.transport.disconnecting)

    def test_D7_a_client_that_goes_away(self) -> None:
        """The exchange is abandoned; nothing is left scheduled."""
        self.client.line("AUTH PLAIN AGEAc2xvdw==")
        self.client.drop()
        self.assertTrue(self.world.authenticator.exchanges[0].abandoned)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_cancelled_exchanges_are_abandoned(self) -> None:
        self.client.line("AUTH PLAIN")
        self.assertEqual(self.client.line("*")[:4], "501 ")
        self.assertTrue(self.world.authenticator.exchanges[0].abandoned)

    def test_B9_in_clear_where_that_is_not_allowed(self) -> None:
        self.world.authenticator.cleartext = False
        client = self.world.connect()
        self.assertFalse(any("AUTH" in line for line in client.say(b"EHLO a\r\n")))
        self.assertEqual(client.line("AUTH PLAIN AGEAYg==")[:10], "530 5.7.0 ")
        self.assertEqual(self.world.authenticator.exchanges, [])


class TlsTests(SynchronousTestCase):
    def test_B5_a_session_begins_anew(self) -> None:
        world = World("submission")
        world.authenticator.cleartext = False
        client = world.connect().hello()
        self.assertEqual(client.line("STARTTLS")[:4], "220 ")
        self.assertTrue(client.transport.tls_started)
        client.connection.handshakeCompleted()

        self.assertEqual(client.line("MAIL FROM:<alice@example.org>"), "503 5.5.1 Send EHLO first")
        lines = client.say(b"EHLO a\r\n")
        self.assertIn("250 AUTH PLAIN", lines)
        self.assertNotIn("250-STARTTLS", lines)
        self.assertEqual(client.line("STARTTLS")[:4], "503 ")
        client.log_in()
        client.send("alice@example.org", ["x@remote.example"], TEXT)
        self.assertIn(b"with ESMTPSA (TLSv1.3 TLS_AES_256_GCM_SHA384) id", world.acceptor.messages[0][1])

    def test_B1_clear_text_behind_starttls(self) -> None:
        client = World().connect().hello()
        self.assertEqual(client.say(b"STARTTLS\r\nEHLO x\r\n"), ["554 5.5.0 Pipelining not allowed here"])
        self.assertFalse(client.transport.tls_started)
        self.assertTrue(client.transport.disconnecting)

    def test_no_certificate_no_starttls(self) -> None:
        world = World()
        world.factory.tls = None
        client = world.connect()
        self.assertFalse(any("STARTTLS" in line for line in client.say(b"EHLO a\r\n")))
        self.assertEqual(client.line("STARTTLS")[:4], "503 ")


class TimeTests(SynchronousTestCase):
    def test_E2_an_idle_client_is_told(self) -> None:
        world = World()
        client = world.connect().hello()
        world.clock.advance(299)
        self.assertEqual(client.line("NOOP")[:4], "250 ")
        world.clock.advance(299)
        self.assertEqual(client.replies(), [])
        world.clock.advance(1)
        self.assertEqual(client.replies(), ["421 4.4.2 Timeout, closing connection"])
        self.assertTrue(client.transport.disconnecting)

    def test_E1_single_octets_are_no_sign_of_life(self) -> None:
        world = World()
        client = world.connect().hello()
        for _ in range(10):
            client.say(b"N")
            world.clock.advance(30)
        self.assertEqual(client.replies()[:1], ["421 4.4.2 Timeout, closing connection"])

    def test_E1_a_trickle_in_a_message_is_none_either(self) -> None:
        world = World()
        client = world.connect().hello()
        client.line("MAIL FROM:<>")
        client.line("RCPT TO:<alice@example.org>")
        client.line("DATA")
        for _ in range(3):
            client.say((b"x" * 70 + b"\r\n") * 450)  # 100 octets a second in five minutes
            world.clock.advance(200)
        self.assertFalse(client.transport.disconnecting)
        for _ in range(6):
            client.say(b"x\r\n")
            world.clock.advance(50)
        self.assertTrue(client.transport.disconnecting)
        self.assertEqual(world.acceptor.messages, [])

    def test_no_deadline_while_we_are_the_slow_ones(self) -> None:
        world = World()
        world.acceptor.held = Deferred()
        client = world.connect().hello()
        self.assertEqual(client.send("", ["alice@example.org"], TEXT), "")
        world.clock.advance(3600)
        self.assertFalse(client.transport.disconnecting)
        world.acceptor.held.callback(None)
        self.assertEqual(client.replies()[0][:4], "250 ")

    def test_D9_probing_for_addresses_costs_time(self) -> None:
        world = World()
        client = world.connect().hello()
        client.line("MAIL FROM:<>")
        for _ in range(5):
            self.assertEqual(client.line("RCPT TO:<nobody@example.org>")[:4], "550 ")
        self.assertEqual(client.say(b"RCPT TO:<nobody@example.org>\r\nRCPT TO:<alice@example.org>\r\n"), [])
        world.clock.advance(2)
        self.assertEqual([line[:4] for line in client.replies()], ["550 ", "250 "])

    def test_D9_a_prober_that_leaves(self) -> None:
        world = World()
        client = world.connect().hello()
        client.line("MAIL FROM:<>")
        client.say(b"RCPT TO:<nobody@example.org>\r\n" * 6)
        client.drop()
        self.assertEqual(world.clock.getDelayedCalls(), [])


class LoadTests(SynchronousTestCase):
    def test_A13_slow_answers_keep_the_order(self) -> None:
        world = World()
        world.acceptor.held = Deferred()
        client = world.connect().hello()
        client.send("", ["alice@example.org"], TEXT)
        self.assertEqual(client.say(b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nNOOP\r\n"), [])
        world.acceptor.held.callback(None)
        self.assertEqual(
            [line[:10] for line in client.replies()], ["250 2.0.0 ", "250 2.1.0 ", "250 2.1.5 ", "250 2.0.0 "]
        )

    def test_reading_stops_behind_an_open_question(self) -> None:
        world = World()
        world.acceptor.held = Deferred()
        client = world.connect().hello()
        client.send("", ["alice@example.org"], TEXT)
        client.say(b"MAIL FROM:<>\r\n" + b"RCPT TO:<alice@example.org>\r\n" * 3_000)
        self.assertEqual(client.transport.producerState, "paused")
        world.acceptor.held.callback(None)
        client.replies()
        self.assertNotEqual(client.transport.producerState, "paused")

    def test_E12_a_flood_leaves_turns_to_others(self) -> None:
        """Not more than a hundred events at once; the rest in later turns of the reactor."""
        world = World(limits={"recipients": 1000})
        client = world.connect().hello()
        client.line("MAIL FROM:<>")
        client.connection.dataReceived(b"RCPT TO:<alice@example.org>\r\n" * 250)
        self.assertEqual(client.transport.value().count(b"250 "), 100)
        for _ in range(3):
            world.clock.advance(0)
        self.assertEqual(client.transport.value().count(b"250 "), 250)

    def test_E9_too_many_connections(self) -> None:
        world = World(limits={"connections_per_ip": 1})
        world.connect()
        refused = world.factory.buildProtocol(None)
        transport = Transport()
        refused.makeConnection(transport)
        self.assertEqual(transport.value()[:10], b"421 4.7.0 ")
        self.assertTrue(transport.disconnecting)

    def test_a_lagging_disk_stops_reading(self) -> None:
        world = World(directory=self.mktemp())
        world.spool.clean()
        jobs: list[object] = []

        def hold(key: object, function: object, *args: object) -> Deferred[None]:
            waiting: Deferred[None] = Deferred()
            jobs.append((waiting, function, args))
            return waiting

        world.pool.ask = hold
        client = world.connect().hello()
        client.line("MAIL FROM:<>")
        client.line("RCPT TO:<alice@example.org>")
        client.line("DATA")
        while client.transport.producerState != "paused":
            client.say((b"x" * 70 + b"\r\n") * 900)
        while jobs:
            waiting, function, args = jobs.pop(0)
            waiting.callback(function(*args))
        self.assertNotEqual(client.transport.producerState, "paused")
        world.pool.ask = type(world.pool).ask.__get__(world.pool)
        self.assertEqual(client.say(b".\r\n")[0][:4], "250 ")


class EndTests(SynchronousTestCase):
    def test_B16_E7_a_client_that_drops_a_message(self) -> None:
        world = World(directory=self.mktemp())
        world.spool.clean()
        client = world.connect().hello()
        client.line("MAIL FROM:<>")
        client.line("RCPT TO:<alice@example.org>")
        client.line("DATA")
        client.say(b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 20_000)
        self.assertEqual(len(list(world.spool.directory.iterdir())), 1)
        client.drop()
        self.assertEqual((world.acceptor.messages, list(world.spool.directory.iterdir())), ([], []))
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_E7_a_client_that_does_not_wait_for_the_reply(self) -> None:
        """The message is kept, exactly once."""
        world = World()
        world.acceptor.held = Deferred()
        client = world.connect().hello()
        client.send("", ["alice@example.org"], TEXT)
        client.drop()
        world.acceptor.held.callback(None)
        self.assertEqual((len(world.acceptor.messages), world.audit.named("rejected")), (1, []))
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_F13_a_stop_tells_idle_clients(self) -> None:
        world = World()
        client = world.connect().hello()
        gone = world.factory.stop()
        self.assertEqual(client.replies()[0][:10], "421 4.3.2 ")
        client.drop()
        self.successResultOf(gone)
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_F13_a_stop_lets_an_accepted_message_be_answered(self) -> None:
        world = World()
        world.acceptor.held = Deferred()
        client = world.connect().hello()
        client.send("", ["alice@example.org"], TEXT)
        world.factory.stop()
        self.assertEqual(client.replies(), [])
        world.acceptor.held.callback(None)
        self.assertEqual([line[:10] for line in client.replies()], ["250 2.0.0 ", "421 4.3.2 "])
        self.assertTrue(client.transport.disconnecting)

    def test_quit(self) -> None:
        world = World()
        client = world.connect().hello()
        self.assertEqual(client.line("QUIT")[:4], "221 ")
        self.assertTrue(client.transport.disconnecting)
        self.assertEqual(client.say(b"NOOP\r\n"), [])
