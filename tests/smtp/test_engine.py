"""The SMTP server's dialog: commands in and out of order, extensions, AUTH, STARTTLS, limits."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mailserver.errors import AuthenticationFailed, MailError, NoSuchUser, OverQuota
from mailserver.smtp import commands, replies
from mailserver.smtp.engine import SmtpEngine
from mailserver.smtp.events import (
    AuthCancelled,
    Authenticated,
    AuthOffered,
    BodyEnded,
    MailOffered,
    RecipientOffered,
)
from mailserver.smtp.transitions import TRANSITIONS, State

from .talk import OPTIONS, Talk, by_byte

SUBMISSION = evolve(OPTIONS, mechanisms=("PLAIN", "SCRAM-SHA-256"))


class DialogTests(SynchronousTestCase):
    def test_a_message(self) -> None:
        talk = Talk(greet=True)
        self.assertEqual(talk.replies(), ["220 mail.example.org ESMTP ready"])
        self.assertEqual(
            talk.say(b"EHLO client.example\r\n"),
            [
                "250-mail.example.org",
                "250-PIPELINING",
                "250-SIZE 100000",
                "250-8BITMIME",
                "250-ENHANCEDSTATUSCODES",
                "250-CHUNKING",
                "250-BINARYMIME",
                "250-SMTPUTF8",
                "250-DSN",
                "250-LIMITS RCPTMAX=1000",
                "250-DELIVERBY",
                "250-MT-PRIORITY",
                "250 STARTTLS",
            ],
        )
        self.assertEqual(talk.line("MAIL FROM:<s@example.com> SIZE=5 BODY=8BITMIME"), "250 2.1.0 Sender ok")
        self.assertEqual(talk.line("RCPT TO:<r@Example.ORG>"), "250 2.1.5 Recipient ok")
        self.assertEqual(talk.line("DATA"), "354 End data with <CR><LF>.<CR><LF>")
        self.assertEqual(talk.say(b"hi\r\n..x\r\n.\r\n"), ["250 2.0.0 Ok"])
        self.assertEqual(talk.line("QUIT"), "221 2.0.0 mail.example.org closing connection")

        self.assertEqual(talk.messages, [b"hi\r\n.x\r\n"])
        self.assertEqual((talk.senders, talk.recipients), (["s@example.com"], ["r@example.org"]))
        self.assertEqual(talk.closed(), "quit")

    def test_helo_has_no_extensions(self) -> None:
        talk = Talk()
        self.assertEqual(talk.say(b"HELO client\r\n"), ["250 mail.example.org"])
        self.assertEqual(talk.line("MAIL FROM:<a@b> SIZE=1")[:10], "555 5.5.4 ")
        self.assertEqual(talk.line("MAIL FROM:<a@b>")[:4], "250 ")

    def test_simple_commands(self) -> None:
        talk = Talk().hello()
        self.assertEqual(talk.line("noop anything"), "250 2.0.0 Ok")
        self.assertEqual(talk.line("RSET"), "250 2.0.0 Ok")
        self.assertEqual(talk.line("HELP")[:10], "214 2.0.0 ")
        self.assertEqual(talk.line("RSET x")[:10], "501 5.5.4 ")
        self.assertEqual(talk.line("BOGUS")[:10], "500 5.5.2 ")
        self.assertEqual(talk.line("")[:10], "500 5.5.2 ")
        self.assertEqual(talk.line("TURN")[:10], "502 5.5.1 ")

    def test_D9_vrfy_and_expn_tell_nothing(self) -> None:
        talk = Talk().hello()
        self.assertEqual(talk.line("VRFY alice"), talk.line("VRFY nobody"))
        self.assertEqual(talk.line("VRFY alice")[:4], "252 ")
        self.assertEqual(talk.line("VRFY")[:4], "501 ")
        self.assertEqual(talk.line("EXPN team"), "502 5.5.1 Command not implemented")

    def test_every_pair_of_state_and_command(self) -> None:
        """What the table does not name is 503 and changes nothing; what it names is never 503."""
        lines = {
            commands.Helo: "EHLO a",
            commands.Mail: "MAIL FROM:<a@b>",
            commands.Rcpt: "RCPT TO:<a@b>",
            commands.Data: "DATA",
            commands.Bdat: "BDAT 0",
            commands.Rset: "RSET",
            commands.StartTls: "STARTTLS",
            commands.Auth: "AUTH PLAIN",
            commands.Noop: "NOOP",
            commands.Vrfy: "VRFY x",
            commands.Help: "HELP",
            commands.Xclient: "XCLIENT ADDR=192.0.2.1",
            commands.Quit: "QUIT",
            commands.Foreign: "GET / HTTP/1.1",
        }
        self.assertEqual(set(lines), set(TRANSITIONS))
        paths = {
            State.START: [],
            State.READY: ["EHLO a"],
            State.MAIL: ["EHLO a", "MAIL FROM:<a@b>"],
            State.RCPT: ["EHLO a", "MAIL FROM:<a@b>", "RCPT TO:<a@b>"],
            State.CHUNKED: ["EHLO a", "MAIL FROM:<a@b>", "RCPT TO:<a@b>", "BDAT 0"],
        }
        for state, path in paths.items():
            for kind, line in lines.items():
                talk = Talk(evolve(SUBMISSION, xclient=("ADDR",)))
                talk.sasl = lambda engine, event: engine.challenge(b"")
                for step in path:
                    talk.line(step)
                self.assertIs(talk.engine.state, state)
                reply = talk.line(line)
                if state in TRANSITIONS[kind]:
                    after = TRANSITIONS[kind][state] or state
                    after = State.CHUNKED if after is State.CHUNK else after  # of no octets
                    self.assertNotEqual(reply[:4], "503 ", (state, line))
                else:
                    after = state
                    if kind is commands.Bdat:  # what is refused ends the transaction (RFC 3030, 2)
                        after = State.START if state is State.START else State.READY
                    self.assertEqual(reply[:10], "503 5.5.1 ", (state, line))
                self.assertIs(talk.engine.state, after, (state, line))

    def test_refused_recipients_leave_the_others(self) -> None:
        talk = Talk().hello()
        talk.line("MAIL FROM:<>")
        self.assertEqual(talk.line("RCPT TO:<a@b>")[:4], "250 ")
        talk.refuse[RecipientOffered] = NoSuchUser()
        self.assertEqual(talk.line("RCPT TO:<c@b>"), "550 5.1.1 No such user here")
        self.assertEqual(talk.line("DATA")[:4], "354 ")

    def test_A16_a_refused_sender_leaves_nothing(self) -> None:
        talk = Talk().hello()
        talk.refuse[MailOffered] = MailError("No", code=550, enhanced="5.7.1")
        replies_ = talk.say(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
        self.assertEqual([reply[:10] for reply in replies_], ["550 5.7.1 ", "503 5.5.1 ", "503 5.5.1 "])

    def test_A16_no_recipient_was_accepted(self) -> None:
        talk = Talk().hello()
        talk.refuse[RecipientOffered] = NoSuchUser()
        replies_ = talk.say(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
        self.assertEqual([reply[:10] for reply in replies_], ["250 2.1.0 ", "550 5.1.1 ", "554 5.5.1 "])

    def test_A15_a_message_refused_at_its_end_leaves_nothing(self) -> None:
        talk = Talk().to_data()
        talk.refuse[BodyEnded] = OverQuota()
        self.assertEqual(talk.say(b"x\r\n.\r\n"), ["452 4.2.2 Mailbox is full"])
        self.assertEqual(talk.line("RCPT TO:<r@b>"), "503 5.5.1 Send MAIL first")
        self.assertEqual(talk.line("DATA")[:10], "503 5.5.1 ")

    def test_A15_after_an_accepted_message_a_new_sender_is_needed(self) -> None:
        talk = Talk().to_data()
        talk.say(b"x\r\n.\r\n")
        self.assertEqual(talk.line("RCPT TO:<r@b>")[:4], "503 ")

    def test_ehlo_and_rset_end_a_transaction(self) -> None:
        for line in ("EHLO again", "RSET"):
            talk = Talk().hello()
            talk.line("MAIL FROM:<a@b>")
            talk.line("RCPT TO:<a@b>")
            self.assertEqual(talk.line(line)[:4], "250 ")
            self.assertEqual(talk.line("DATA")[:4], "503 ")

    def test_A13_pipelined_commands_wait_for_slow_answers(self) -> None:
        """Nothing behind an open question is looked at; replies come in order."""
        talk = Talk().hello()
        talk.refuse = {MailOffered: None, RecipientOffered: None}
        commands_ = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n"
        self.assertEqual(talk.say(commands_), [])
        self.assertEqual(len(talk.events), 1)

        talk.engine.accept()
        self.assertEqual(talk.replies(), ["250 2.1.0 Sender ok"])
        talk.engine.refuse(NoSuchUser())
        self.assertEqual(talk.replies(), ["550 5.1.1 No such user here"])
        talk.engine.accept()
        self.assertEqual(talk.replies(), ["250 2.1.5 Recipient ok", replies.START_DATA.decode().strip()])

    def test_answers_after_the_end_are_harmless(self) -> None:
        talk = Talk().hello()
        talk.refuse = {MailOffered: None}
        talk.line_ = talk.say(b"MAIL FROM:<a@b>\r\n")
        talk.engine.close(MailError("Timeout", code=421, enhanced="4.4.2"))
        talk.engine.accept()
        self.assertEqual(talk.replies(), ["421 4.4.2 Timeout"])
        self.assertEqual(talk.closed(), "Timeout")

    def test_an_answer_without_a_question_is_a_bug(self) -> None:
        self.assertRaises(RuntimeError, SmtpEngine(OPTIONS).accept)


class ParameterTests(SynchronousTestCase):
    def test_A18_sizes(self) -> None:
        expected = {
            "SIZE=99999999999999999999": "552 5.3.4 ",
            "SIZE=100001": "552 5.3.4 ",
            "SIZE=999999999999999999999": "501 5.5.4 ",
            "SIZE=-1": "501 5.5.4 ",
            "SIZE=1e9": "501 5.5.4 ",
            "SIZE=": "501 5.5.4 ",
            "SIZE": "501 5.5.4 ",
            "SIZE=1 SIZE=1": "501 5.5.4 ",
            "SIZE=100000": "250 2.1.0 ",
        }
        for parameters, reply in expected.items():
            self.assertEqual(Talk().hello().line(f"MAIL FROM:<a@b> {parameters}")[:10], reply, parameters)

    def test_other_parameters(self) -> None:
        expected = {
            "BODY=7bit": "250 ",
            "BODY=BINARYMIME": "250 ",
            "BODY=BINARY": "501 ",
            "SMTPUTF8": "250 ",
            "SMTPUTF8=1": "501 ",
            "RET=HDRS": "250 ",
            "=x": "501 ",
            "X=\x01": "501 ",
            "AUTH=<>": "555 ",
        }
        for parameters, reply in expected.items():
            self.assertEqual(Talk().hello().line(f"MAIL FROM:<a@b> {parameters}")[:4], reply, parameters)
        self.assertEqual(Talk().hello().line("MAIL FROM:<a@b>SIZE=1")[:4], "501 ")
        self.assertEqual(Talk().hello().line("MAIL FROM: <a@b>  ")[:4], "250 ")

    def test_C7_auth_parameter(self) -> None:
        expected = {
            "<>": "250 ",
            "a+40b": "250 ",
            "a+2Bb": "501 ",
            "a@b": "250 ",
            "a+0A@b": "501 ",
            "a+00@b": "501 ",
            "+4": "501 ",
        }
        for value, reply in expected.items():
            self.assertEqual(Talk(SUBMISSION).hello().line(f"MAIL FROM:<a@b> AUTH={value}")[:4], reply, value)

    def test_C12_utf8_addresses_need_smtputf8(self) -> None:
        talk = Talk().hello()
        self.assertEqual(talk.line("MAIL FROM:<élan@example.org>")[:10], "553 5.6.7 ")
        self.assertEqual(talk.say(b"MAIL FROM:<\xff@example.org>\r\n")[0][:10], "501 5.1.7 ")
        talk.line("MAIL FROM:<>")
        self.assertEqual(talk.line("RCPT TO:<u@exämple.org>")[:10], "553 5.6.7 ")
        self.assertEqual(talk.say(b"RCPT TO:<\xc3@example.org>\r\n")[0][:10], "501 5.1.3 ")

    def test_C9_C7_bad_recipients(self) -> None:
        talk = Talk(evolve(OPTIONS, errors=100)).hello()
        talk.line("MAIL FROM:<>")
        for path in (
            "<>",
            '<""@local>',
            "<@local>",
            "<u@>",
            "u@local",
            "<u>",
            "<u@v",
            f"<{'a' * 65}@b>",
            "<u\0@b>",
        ):
            self.assertEqual(talk.line(f"RCPT TO:{path}")[:4], "501 ", path)
        self.assertEqual(talk.say(b'RCPT TO:<"a\nRCPT TO:<v@w>"@b>\r\n')[0][:10], "500 5.5.2 ")
        self.assertEqual(talk.say(b'RCPT TO:<"a\rRCPT TO:<v@w>"@b>\r\n')[0][:4], "501 ")
        self.assertEqual(talk.recipients, [])

    def test_C11_postmaster(self) -> None:
        talk = Talk().hello()
        talk.line("MAIL FROM:<>")
        self.assertEqual(talk.line("RCPT TO:<POSTMASTER>")[:4], "250 ")
        self.assertEqual(talk.recipients, ["POSTMASTER"])

    def test_C6_hello_names(self) -> None:
        for name in ("", " ", "a b", "a\rb", "a\0", "\x7f", "é", "<x>", "x" * 256, "x" * 2000):
            talk = Talk()
            self.assertEqual(talk.line(f"EHLO {name}")[:10], "501 5.5.4 ", name)
            self.assertEqual(talk.engine.helo, "")
        self.assertEqual(Talk().line("EHLO " + "x" * 65536)[:10], "500 5.5.2 ")
        for name in ("[192.0.2.1]", "[IPv6:2001:db8::1]", "my_pc.lan", "a."):
            self.assertEqual(Talk().line(f"EHLO {name}")[:4], "250 ", name)


class AuthTests(SynchronousTestCase):
    def test_initial_response(self) -> None:
        talk = Talk(SUBMISSION).hello()
        self.assertEqual(talk.line("AUTH plain AGEAYg=="), "235 2.7.0 Authentication successful")
        self.assertEqual(talk.events[0].command, commands.Auth("PLAIN", b"\0a\0b"))
        self.assertEqual(talk.events[1], Authenticated())

    def test_D12_no_secret_in_a_repr(self) -> None:
        talk = Talk(SUBMISSION).hello()
        talk.line("AUTH PLAIN AGEAc2VjcmV0")
        self.assertNotIn("secret", repr(talk.events))

    def test_challenges(self) -> None:
        talk = Talk(SUBMISSION).hello()
        talk.sasl = lambda engine, event: (
            engine.challenge(b"Password:") if isinstance(event, AuthOffered) else engine.accept()
        )
        self.assertEqual(talk.line("AUTH LOGIN"), "334 UGFzc3dvcmQ6")
        self.assertEqual(talk.line("c2VjcmV0")[:4], "235 ")

    def test_the_last_word_is_confirmed(self) -> None:
        """SCRAM: success holds only once the client has taken the server's proof."""
        for answer, reply in {"": "235 2.7.0 ", "*": "501 5.7.0 ", "eA==": "501 5.5.4 "}.items():
            talk = Talk(SUBMISSION).hello()
            talk.sasl = lambda engine, event: engine.challenge(b"v=x", last=True)
            self.assertEqual(talk.line("AUTH SCRAM-SHA-256 eA==")[:4], "334 ")
            self.assertFalse(talk.engine.authenticated)
            self.assertEqual(talk.line(answer)[:10], reply)
            self.assertEqual(talk.engine.authenticated, answer == "")

    def test_D6_bad_base64_resets(self) -> None:
        for text in ("!", "A", "AB", "A===", "AA=A", "AGEAYg== ", " AGEAYg==", "A\0==", "é"):
            talk = Talk(SUBMISSION).hello()
            talk.sasl = lambda engine, event: engine.challenge(b"")
            talk.line("AUTH PLAIN")
            self.assertEqual(talk.line(text)[:10], "501 5.5.2 ", text)
            self.assertIsInstance(talk.events[-1], AuthCancelled)
            self.assertEqual(talk.line("NOOP")[:4], "250 ")

    def test_D6_long_responses(self) -> None:
        for size, reply in ((12_288, "235 2.7.0 "), (12_292, "500 5.5.6 "), (1_000_000, "500 5.5.6 ")):
            talk = Talk(SUBMISSION).hello()
            talk.sasl = lambda engine, event: (
                engine.challenge(b"") if isinstance(event, AuthOffered) else engine.accept()
            )
            talk.line("AUTH PLAIN")
            self.assertEqual(talk.line("A" * size)[:10], reply)
            self.assertEqual(talk.line("NOOP")[:4], "250 ")

    def test_cancel(self) -> None:
        talk = Talk(SUBMISSION).hello()
        talk.sasl = lambda engine, event: engine.challenge(b"")
        talk.line("AUTH PLAIN")
        self.assertEqual(talk.line("*"), "501 5.7.0 Authentication cancelled")
        self.assertEqual(talk.line("NOOP")[:4], "250 ")

    def test_failure_leaves_the_session(self) -> None:
        talk = Talk(SUBMISSION).hello()
        talk.refuse[AuthOffered] = AuthenticationFailed()
        self.assertEqual(talk.line("AUTH PLAIN AAAA"), "535 5.7.8 Authentication credentials invalid")
        self.assertEqual(talk.line("NOOP")[:4], "250 ")

    def test_D8_auth_out_of_place(self) -> None:
        talk = Talk(SUBMISSION)
        self.assertEqual(talk.line("AUTH PLAIN AAAA")[:10], "503 5.5.1 ")
        talk.line("HELO a")
        self.assertEqual(talk.line("AUTH PLAIN AAAA")[:10], "503 5.5.1 ")
        talk.line("EHLO a")
        talk.line("MAIL FROM:<a@b>")
        self.assertEqual(talk.line("AUTH PLAIN AAAA")[:10], "503 5.5.1 ")
        talk.line("RSET")
        self.assertEqual(talk.line("AUTH PLAIN AAAA")[:4], "235 ")
        self.assertEqual(talk.line("AUTH PLAIN AAAA")[:10], "503 5.5.1 ")

    def test_B9_auth_in_clear_is_not_evaluated(self) -> None:
        talk = Talk(evolve(OPTIONS, needs_tls=True)).hello()
        self.assertEqual(talk.line("AUTH PLAIN AGEAYg=="), "530 5.7.0 Must issue a STARTTLS command first")
        self.assertEqual(talk.events, [])

    def test_auth_that_is_not_offered(self) -> None:
        self.assertEqual(Talk().hello().line("AUTH PLAIN AGEAYg==")[:10], "503 5.5.1 ")
        self.assertEqual(Talk(SUBMISSION).hello().line("AUTH PL(AIN")[:10], "501 5.5.4 ")

    def test_B7_starttls_within_an_exchange_is_a_response(self) -> None:
        talk = Talk(SUBMISSION).hello()
        talk.sasl = lambda engine, event: (
            engine.challenge(b"") if isinstance(event, AuthOffered) else engine.refuse(AuthenticationFailed())
        )
        talk.line("AUTH PLAIN")
        self.assertEqual(talk.line("STARTTLS")[:4], "535 ")
        self.assertIs(talk.engine.state, State.READY)


class TlsTests(SynchronousTestCase):
    def test_B5_everything_is_forgotten(self) -> None:
        talk = Talk(SUBMISSION).hello()
        self.assertEqual(talk.line("STARTTLS"), "220 2.0.0 Ready to start TLS")
        talk.engine.options = evolve(SUBMISSION, starttls=False)
        talk.engine.tls_started()
        self.assertEqual((talk.engine.helo, talk.engine.extended), ("", False))
        self.assertEqual(talk.line("MAIL FROM:<a@b>"), "503 5.5.1 Send EHLO first")
        self.assertNotIn("250 STARTTLS", talk.say(b"EHLO a\r\n"))

    def test_B1_commands_in_clear_behind_starttls_are_never_run(self) -> None:
        talk = Talk(SUBMISSION).hello()
        self.assertEqual(talk.say(b"STARTTLS\r\nEHLO x\r\n"), ["554 5.5.0 Pipelining not allowed here"])
        self.assertEqual(talk.closed(), "pipelining")

    def test_B1_late_clear_text_is_dropped(self) -> None:
        talk = Talk(SUBMISSION).hello()
        talk.line("STARTTLS")
        self.assertEqual(talk.say(b"EHLO x\r\nMAIL FR"), [])
        talk.engine.tls_started()
        self.assertEqual(talk.replies(), [])
        self.assertEqual(talk.line("EHLO y")[:4], "250 ")
        self.assertEqual(talk.engine.helo, "y")

    def test_B6_starttls_out_of_place(self) -> None:
        talk = Talk(SUBMISSION)
        self.assertEqual(talk.line("STARTTLS")[:4], "503 ")
        talk.line("EHLO a")
        self.assertEqual(talk.line("STARTTLS now")[:4], "501 ")
        talk.line("MAIL FROM:<a@b>")
        self.assertEqual(talk.line("STARTTLS")[:4], "503 ")
        talk.line("RSET")
        self.assertEqual(talk.line("STARTTLS")[:4], "220 ")
        talk.engine.tls_started()
        talk.line("EHLO a")
        self.assertEqual(talk.line("STARTTLS")[:4], "503 ")

    def test_starttls_after_auth(self) -> None:
        talk = Talk(SUBMISSION).hello()
        talk.line("AUTH PLAIN AAAA")
        self.assertEqual(talk.line("STARTTLS")[:4], "503 ")


class LimitTests(SynchronousTestCase):
    def test_too_many_errors(self) -> None:
        talk = Talk(evolve(OPTIONS, errors=3)).hello()
        made = talk.say(b"X\r\nX\r\nX\r\nX\r\n")
        self.assertEqual([reply[:4] for reply in made], ["500 ", "500 ", "500 ", "421 "])
        self.assertEqual(talk.closed(), "too many errors")

    def test_temporary_refusals_are_no_errors(self) -> None:
        talk = Talk(evolve(OPTIONS, errors=3)).hello()
        talk.line("MAIL FROM:<a@b>")
        talk.refuse[RecipientOffered] = OverQuota()
        for _ in range(10):
            self.assertEqual(talk.line("RCPT TO:<a@b>")[:4], "452 ")

    def test_E12_a_flood_of_commands(self) -> None:
        for command in (b"NOOP\r\n", b"RSET\r\n", b"VRFY a\r\n", b"HELP\r\n"):
            talk = Talk().hello()
            made = talk.say(command * 100_000)
            self.assertEqual(len(made), 101)
            self.assertEqual(made[-1], "421 4.7.0 Too many commands without a message")
            self.assertEqual(talk.closed(), "too many commands")

    def test_E12_a_message_starts_the_count_anew(self) -> None:
        talk = Talk(evolve(OPTIONS, junk=3))
        for _ in range(3):
            talk.to_data()
            talk.say(b"x\r\n.\r\n")
        self.assertEqual(len(talk.messages), 3)

    def test_A11_long_commands(self) -> None:
        for size, ok in (
            (510, True),
            (511, True),
            (2046, True),
            (2047, False),
            (4094, False),
            (1_000_000, False),
        ):
            talk = Talk().hello()
            reply = talk.line("NOOP " + "x" * (size - 5))
            self.assertEqual(reply[:10], "250 2.0.0 " if ok else "500 5.5.2 ", size)
            self.assertEqual(talk.closed(), "" if ok else "line too long")

    def test_A11_A12_no_line_end_costs_no_memory(self) -> None:
        talk = Talk().hello()
        for _ in range(400):
            talk.say(b"x" * 65536)
            self.assertLess(talk.engine.buffered, 20_000)
        self.assertEqual(talk.closed(), "line too long")

    def test_A10_odd_octets(self) -> None:
        talk = Talk(evolve(OPTIONS, errors=10_000)).hello()
        for octet in [0, *range(0x80, 0x100), 0x7F, 0x0D]:
            odd = bytes([octet])
            for line in (
                odd,
                b"NO" + odd + b"P",
                b"EHLO " + odd,
                b"MAIL FROM:<" + odd + b"@b>",
                b"MAIL " + odd,
            ):
                made = talk.say(line + b"\r\n")
                self.assertEqual(len(made), 1, line)
                self.assertIn(made[0][:4], ("500 ", "501 "), line)

    def test_A9_bare_line_feeds(self) -> None:
        talk = Talk()
        self.assertEqual(talk.say(b"EHLO a\nMAIL FROM:<b@c>\r\n"), ["500 5.5.2 Lines end with CR LF"])
        self.assertEqual((talk.events, talk.engine.failures), ([], 1))

    def test_A19_other_protocols_are_cut_off(self) -> None:
        for hello in (
            b"GET / HTTP/1.1\r\nHost: x\r\n",
            b"POST /x HTTP/1.0\r\n",
            b"SSH-2.0-x\r\n",
            b"PRI * HTTP/2.0\r\n",
        ):
            talk = Talk()
            self.assertEqual(talk.say(hello), ["421 4.7.0 This is a mail server"])
            self.assertEqual(talk.closed(), "other protocol")
        for segments in ([b"\x16\x03\x01\x02\x00\x01"], by_byte(b"\x16\x03\x01")):
            talk = Talk()
            self.assertEqual(talk.cut(segments), ["500 5.5.2 TLS is not expected here"])
            self.assertEqual(talk.closed(), "other protocol")

    def test_A14_unauthorised_pipelining(self) -> None:
        talk = Talk()
        self.assertEqual(
            talk.say(b"EHLO a\r\nMAIL FROM:<a@b>\r\n"), ["554 5.5.0 Pipelining not allowed here"]
        )
        self.assertEqual(talk.closed(), "pipelining")
        talk = Talk().hello()
        talk.say(b"MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n")
        self.assertEqual(talk.say(b"DATA\r\nx\r\n.\r\n"), ["554 5.5.0 Pipelining not allowed here"])
        self.assertEqual((talk.closed(), talk.messages), ("pipelining", []))
