"""The protocol on a transport in memory: log-in, snapshot, streaming, QUIT, time, stopping."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from mailserver.errors import AuthenticationFailed, NoSpace
from mailserver.interfaces import IAccount, Peer, Success
from tests.pop3.session import ONE, TWO, Base


class LoginTests(Base):
    def test_greeting(self) -> None:
        self.assertEqual(self.transport.value(), b"+OK POP3 server ready\r\n")
        self.assertEqual(
            self.log.events, [("connected", {"service": "pop3", "ip": "192.0.2.1", "tls": "TLSv1.3 x"})]
        )

    def test_log_in_asks_for_a_mail_account(self) -> None:
        self.log_in()

        self.assertEqual(self.authenticator.asked, [IAccount])
        self.assertEqual(self.account.inbox.listeners, [self.connection])

    def test_D3_failures_close_in_the_end(self) -> None:
        wrong = b"-ERR [AUTH] Authentication credentials invalid"
        for _ in range(2):
            self.assertEqual(self.say(b"USER mrose", b"PASS x").splitlines()[-1], wrong)
        self.assertFalse(self.transport.disconnecting)

        self.assertEqual(self.say(b"USER mrose", b"PASS x", b"STAT").splitlines()[-1], wrong)
        self.assertTrue(self.transport.disconnecting)

    def test_a_mailbox_that_does_not_open_is_a_temporary_failure(self) -> None:
        self.account.opening = fail(NoSpace())

        self.assertEqual(
            self.say(b"USER mrose", b"PASS secret", b"STAT").splitlines()[-2:],
            [b"-ERR [SYS/TEMP] Insufficient system storage", b"-ERR Command not valid in this state"],
        )

    def test_K8_an_unknown_fault_shows_nothing_of_itself(self) -> None:
        self.account.opening = fail(RuntimeError("/srv/mail secret path"))

        said = self.say(b"USER mrose", b"PASS secret")

        self.assertIn(b"-ERR [SYS/TEMP] Temporary failure on our side, try again later\r\n", said)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_D7_gone_before_the_password_is_checked(self) -> None:
        self.authenticator.answer = Deferred()
        self.say(b"USER mrose", b"PASS secret")
        self.connection.connectionLost()

        self.authenticator.answer.callback(self.account)

        self.assertEqual(self.account.inbox.listeners, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_D7_the_check_of_a_password_is_cancelled(self) -> None:
        cancelled: list[object] = []
        self.authenticator.answer = Deferred(cancelled.append)
        self.say(b"USER mrose", b"PASS secret")
        self.connection.connectionLost()

        self.assertEqual(cancelled, [self.authenticator.answer])
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_D7_gone_before_the_mailbox_is_open(self) -> None:
        opening = self.account.opening = Deferred()
        self.say(b"USER mrose", b"PASS secret")
        self.connection.connectionLost()

        opening.callback(None)

        self.assertEqual(self.account.inbox.listeners, [])

    def test_D7_gone_in_the_middle_of_an_exchange(self) -> None:
        waiting: Deferred[Any] = Deferred()
        self.authenticator.steps = [waiting]
        self.say(b"AUTH SCRAM-SHA-256 biws")
        self.connection.connectionLost()

        (exchange,) = self.authenticator.exchanges
        self.assertEqual(exchange.abandoned, 1)
        waiting.callback(Success(self.account, "mrose"))
        self.assertEqual(self.account.inbox.listeners, [])

    def test_AUTH_with_a_last_word_of_the_server(self) -> None:
        """RFC 5034, 4: +OK carries no data, so it comes as a challenge that is answered by an empty line."""
        self.authenticator.steps = [b"r=1,s=2,i=4096", Success(self.account, "mrose", b"v=proof")]

        self.assertEqual(self.say(b"AUTH SCRAM-SHA-256 biws"), b"+ cj0xLHM9MixpPTQwOTY=\r\n")
        self.assertEqual(self.say(b"Yz1iaXdz"), b"+ dj1wcm9vZg==\r\n")
        self.assertEqual(self.say(b""), b"+OK 2 messages (50 octets)\r\n")
        self.assertEqual(self.authenticator.exchanges[0].responses, [b"n,,", b"c=biws"])

    def test_AUTH_whose_last_word_is_not_taken(self) -> None:
        for answer in (b"*", b"AAAA"):
            self.authenticator.steps = [Success(self.account, "mrose", b"v=proof")]
            self.say(b"AUTH SCRAM-SHA-256 biws")
            self.assertTrue(self.say(answer).startswith(b"-ERR"))
            self.assertEqual(self.say(b"STAT"), b"-ERR Command not valid in this state\r\n")

    def test_D6_cancelling_and_failing_exchanges(self) -> None:
        self.authenticator.steps = [b""]
        self.assertEqual(self.say(b"AUTH PLAIN", b"*"), b"+ \r\n-ERR Authentication cancelled\r\n")
        self.assertEqual(self.authenticator.exchanges[0].abandoned, 1)

        self.authenticator.steps = [AuthenticationFailed()]
        self.assertIn(b"-ERR [AUTH]", self.say(b"AUTH PLAIN AGEAYg=="))
        self.authenticator.steps = [Success(self.account, "mrose")]
        self.assertEqual(self.say(b"AUTH PLAIN AGEAYg=="), b"+OK 2 messages (50 octets)\r\n")

    def test_B9_no_log_in_in_clear(self) -> None:
        self.connection, self.transport = self.connect(tls="")

        refused = b"-ERR [AUTH] Encryption required for requested authentication mechanism\r\n"
        self.assertEqual(self.say(b"USER mrose"), refused)
        self.assertEqual(self.say(b"AUTH PLAIN AGEAYg=="), refused)
        self.assertEqual(self.authenticator.asked, [])

    def test_D12_no_password_in_a_repr_or_traceback(self) -> None:
        """A fault while the password is checked leaves nothing of it in the log."""
        self.authenticator.answer = Deferred()
        self.say(b"USER mrose", b"PASS hush hush")
        try:
            raise RuntimeError("broken on purpose")
        except RuntimeError:
            self.authenticator.answer.errback(Failure())

        (failure,) = self.flushLoggedErrors(RuntimeError)
        self.assertNotIn("hush", failure.getTraceback() + repr(vars(self.connection)))
        self.assertNotIn("hush", repr(self.log.events))


class StlsTests(Base):
    def setUp(self) -> None:
        super().setUp()
        self.connection, self.transport = self.connect(tls="")

    def test_B3_what_came_with_STLS_is_thrown_away(self) -> None:
        self.assertIn(b"\r\nSTLS\r\n", self.say(b"CAPA"))
        self.assertEqual(self.say(b"STLS", b"USER mrose", b"PASS secret"), b"+OK Begin TLS negotiation\r\n")
        self.assertEqual(self.transport.tls, [("contexts", True)])
        self.transport.clear()

        self.connection.peer = Peer("192.0.2.1", 1, "TLSv1.3 x", "pop3")
        self.connection.secured()

        self.assertEqual(self.transport.value(), b"")
        self.assertNotIn(b"STLS", self.say(b"CAPA"))
        self.log_in()

    def test_B10_a_handshake_has_a_deadline(self) -> None:
        self.say(b"STLS")
        self.clock.advance(60)

        self.assertTrue(self.transport.disconnecting or self.transport.aborted)

    def test_stop_during_a_handshake(self) -> None:
        self.say(b"STLS")
        self.connection.shut_down()

        self.assertTrue(self.transport.disconnecting)


class MailTests(Base):
    def setUp(self) -> None:
        super().setUp()
        self.log_in()

    def test_pipelined_commands_leave_in_one_write(self) -> None:
        said = self.say(b"RETR 1", b"RETR 2", b"STAT")

        self.assertEqual(
            said,
            b"+OK 23 octets\r\n" + ONE + b".\r\n"
            b"+OK 27 octets\r\nSubject: two\r\n\r\n..\r\n...dots\r\n.\r\n+OK 2 50\r\n",
        )
        self.assertEqual(len(self.transport.writes), 1)
        self.assertTrue(all(file.closed for file in self.account.inbox.files))

    def test_J3_the_numbers_stay_whatever_happens_to_the_mailbox(self) -> None:
        inbox = self.account.inbox
        inbox.add(b"new\r\n")
        inbox._remove([1], None)

        self.assertEqual(
            self.say(b"STAT", b"LIST 1", b"RETR 1", b"RETR 3"),
            b"+OK 2 50\r\n+OK 1 23\r\n-ERR Message no longer exists\r\n-ERR No such message\r\n",
        )
        self.assertIn(b"Subject: two", self.say(b"RETR 2"))

    def test_J4_unique_ids_are_made_of_uid_and_uidvalidity(self) -> None:
        self.assertEqual(self.say(b"UIDL 2"), b"+OK 2 000000025f000000\r\n")

    def test_J2_a_lost_connection_removes_nothing(self) -> None:
        self.say(b"DELE 1", b"DELE 2")
        self.connection.connectionLost()

        self.assertEqual(self.account.inbox.removed, [])
        self.assertEqual(self.account.inbox.listeners, [])

    def test_J2_QUIT_answers_when_the_removal_is_durable(self) -> None:
        removal: Deferred[None] = Deferred()
        self.account.inbox.removal = removal
        self.say(b"DELE 2")

        self.assertEqual(self.say(b"QUIT", b"STAT"), b"")
        self.transport.clear()
        removal.callback(None)
        self.clock.advance(0)

        self.assertEqual(self.transport.value(), b"+OK Bye\r\n")
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.account.inbox.removed, [2])

    def test_QUIT_with_messages_that_somebody_else_removed(self) -> None:
        self.say(b"DELE 1", b"DELE 2")
        self.account.inbox._remove([1], None)

        self.assertEqual(self.say(b"QUIT"), b"+OK Bye\r\n")

    def test_QUIT_with_messages_that_stay(self) -> None:
        self.account.inbox.keep = frozenset((1,))

        said = self.say(b"DELE 1", b"DELE 2", b"QUIT")

        self.assertIn(b"-ERR [SYS/TEMP] Some deleted messages were not removed\r\n", said)
        self.assertTrue(self.transport.disconnecting)

    def test_QUIT_that_fails(self) -> None:
        self.account.inbox.removal = fail(NoSpace())

        self.assertIn(b"-ERR [SYS/TEMP] Insufficient system storage\r\n", self.say(b"DELE 1", b"QUIT"))
        self.assertTrue(self.transport.disconnecting)

    def test_E2_a_silent_client_is_dropped_without_a_word_and_without_update(self) -> None:
        """RFC 1939, 3: at least 10 minutes; each command begins them anew."""
        self.say(b"DELE 1")
        self.clock.advance(599)
        self.say(b"NOOP")
        self.clock.advance(599)
        self.assertFalse(self.transport.disconnecting)
        self.transport.clear()
        self.clock.advance(2)

        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.transport.value(), b"")
        self.assertEqual(self.account.inbox.removed, [])

    def test_E12_a_flood_of_commands_is_cut_into_turns(self) -> None:
        """Other sessions get their turn; all is answered in the end."""
        self.transport.clear()
        self.connection.dataReceived(b"CAPA\r\n" * 2_000)
        first = self.transport.value().count(b"\r\n.\r\n")
        for _ in range(10):
            self.clock.advance(0)

        self.assertLess(first, 1_000)
        self.assertEqual(self.transport.value().count(b"\r\n.\r\n"), 2_000)

    def test_E6_a_client_that_does_not_read_stops_the_work(self) -> None:
        self.transport.congested = True
        self.transport.clear()
        self.connection.dataReceived(b"CAPA\r\n" * 2_000)
        for _ in range(10):
            self.clock.advance(0)
        self.assertLess(len(self.transport.value()), 256 * 1024)
        self.assertEqual(self.transport.producerState, "paused")

        self.transport.congested = False
        self.connection.resumeProducing()
        for _ in range(10):
            self.clock.advance(0)
        self.assertEqual(self.transport.value().count(b"\r\n.\r\n"), 2_000)

    def test_E6_a_client_that_never_reads_is_cut_off(self) -> None:
        self.transport.congested = True
        self.connection.dataReceived(b"CAPA\r\n" * 2_000)
        self.clock.advance(601)
        self.clock.advance(11)

        self.assertTrue(self.transport.aborted)

    def test_stop(self) -> None:
        self.transport.clear()
        self.connection.shut_down()
        self.clock.advance(0)

        self.assertEqual(self.transport.value(), b"-ERR [SYS/TEMP] The server stops, try again later\r\n")
        self.assertTrue(self.transport.disconnecting)

    def test_a_mailbox_that_was_replaced_ends_the_session(self) -> None:
        self.connection.mailbox_gone()

        self.assertTrue(self.transport.disconnecting)
        self.connection.dataReceived(b"RETR 1\r\n")


class StreamTests(Base):
    """Messages that do not come at once."""

    messages = (b"Subject: big\r\n\r\n" + b"." * 79 + b"\r\n" + b".\r\n" * 200_000, TWO)

    def log_in(self) -> None:
        self.assertTrue(self.say(b"USER mrose", b"PASS secret").endswith(b"octets)\r\n"))

    def setUp(self) -> None:
        super().setUp()
        self.log_in()
        self.account.inbox.slow_reads = []

    def read(self) -> None:
        """The disk answers all reads that wait, and those that follow."""
        waiting = self.account.inbox.slow_reads
        assert waiting is not None
        while waiting:
            waiting.pop(0).callback(b"")
            self.clock.advance(0)

    def test_J1_A7_dots_at_the_edges_of_slices(self) -> None:
        self.assertEqual(self.say(b"RETR 1", b"RETR 2"), b"")
        self.read()

        big, small = self.messages
        stuffed = big.replace(b"\n.", b"\n..")
        self.assertEqual(
            self.transport.value(),
            b"+OK %d octets\r\n%s.\r\n" % (len(big), stuffed)
            + b"+OK %d octets\r\n%s.\r\n" % (len(small), small.replace(b"\n.", b"\n..")),
        )
        self.assertTrue(all(file.closed for file in self.account.inbox.files))

    def test_TOP_reads_no_more_than_it_needs(self) -> None:
        self.say(b"TOP 1 2")
        waiting = self.account.inbox.slow_reads
        assert waiting is not None
        self.assertEqual(len(waiting), 1)
        self.read()

        self.assertEqual(
            self.transport.value(),
            b"+OK Top of message follows\r\nSubject: big\r\n\r\n." + b"." * 79 + b"\r\n..\r\n.\r\n",
        )

    def test_E6_slices_wait_for_a_client_that_does_not_read(self) -> None:
        self.transport.congested = True
        self.say(b"RETR 1")
        self.read()
        got = len(self.transport.value())
        self.assertLess(got, 200_000)

        self.connection.resumeProducing()
        self.read()
        self.assertGreater(len(self.transport.value()), got)

    def test_a_client_that_leaves_in_the_middle(self) -> None:
        self.transport.congested = True
        self.say(b"RETR 1")
        self.read()
        self.connection.connectionLost()

        self.assertTrue(self.account.inbox.files[0].closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_read_that_fails_before_the_answer_is_an_error(self) -> None:
        self.say(b"RETR 1", b"STAT")
        waiting = self.account.inbox.slow_reads
        assert waiting is not None
        waiting.pop().errback(NoSpace())
        self.clock.advance(0)

        self.assertTrue(
            self.transport.value().startswith(b"-ERR [SYS/TEMP] Insufficient system storage\r\n+OK 2 ")
        )

    def test_a_read_that_fails_in_the_middle_cuts_the_connection(self) -> None:
        """Nothing that follows may pass for the rest of the message."""
        self.say(b"RETR 1", b"STAT")
        waiting = self.account.inbox.slow_reads
        assert waiting is not None
        waiting.pop().callback(b"")
        waiting.pop().errback(NoSpace())

        self.assertTrue(self.transport.aborted)
        self.assertNotIn(b"+OK 2 ", self.transport.value())
        self.assertEqual(len(self.flushLoggedErrors(NoSpace)), 1)

    def test_stop_waits_for_the_message(self) -> None:
        self.say(b"RETR 1")
        self.connection.shut_down()
        self.assertFalse(self.transport.disconnecting)
        self.read()

        self.assertTrue(
            self.transport.value().endswith(b"\r\n.\r\n-ERR [SYS/TEMP] The server stops, try again later\r\n")
        )
        self.assertTrue(self.transport.disconnecting)


class InternationalTests(Base):
    """RFC 6856, 2.1: a header in UTF-8 goes only to clients that asked for it."""

    messages = ("Subject: Grüße\r\n\r\nschön\r\n".encode(), TWO)
    surrogate = "Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\n\r\nschön\r\n".encode()

    def test_with_UTF8_it_is_sent_as_it_is(self) -> None:
        self.say(b"UTF8", b"USER mrose", b"PASS secret")

        self.assertEqual(self.say(b"RETR 1"), b"+OK 28 octets\r\n" + self.messages[0] + b".\r\n")

    def test_without_UTF8_a_surrogate_is_sent(self) -> None:
        self.say(b"USER mrose", b"PASS secret")

        answer = b"+OK %d octets\r\n" % len(self.surrogate) + self.surrogate + b".\r\n"
        self.assertEqual(self.say(b"RETR 1"), answer)
        self.account.inbox.slow_reads = waiting = []
        self.say(b"RETR 1")
        waiting.pop().callback(b"")
        self.clock.advance(0)
        self.assertEqual(self.transport.value(), answer)


class FactoryTests(Base):
    def test_E9_a_connection_over_the_limit_is_told_so(self) -> None:
        peer = Peer("192.0.2.1", 1, "", "pop3")

        self.assertEqual(
            self.factory.refusal(peer), b"-ERR [SYS/TEMP] Too many connections from your address\r\n"
        )

    def test_E2_no_log_in_within_a_minute(self) -> None:
        """Whatever the client says in between."""
        self.clock.advance(40)
        self.say(b"CAPA")
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(20)

        self.assertTrue(self.transport.disconnecting)
