"""The engine, as dialogs: those of the RFCs, the states, the cases of hostile input."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver import __version__
from mailserver.errors import AuthenticationFailed, MailError, MessageGone, TemporaryFailure
from mailserver.pop3 import commands, replies, texts
from mailserver.pop3.engine import MAX_LINE, Pop3Engine
from mailserver.pop3.events import (
    AuthCancelled,
    AuthOffered,
    AuthResponse,
    Closing,
    Event,
    LoginOffered,
    Maildrop,
    MessageRequested,
    Options,
    TlsRequested,
    UpdateRequested,
)
from mailserver.pop3.transitions import REFUSED, TRANSITIONS, State
from tests.pop3.dialog import CLEAR, TLS, Answer, answer_all, play, run, whole_and_byte_by_byte

GREETING = "S: +OK POP3 server ready\n"
LOGIN = """
    C: USER mrose
    S: +OK Send PASS
    C: PASS secret
    S: +OK 2 messages (320 octets)
"""


def logged_in() -> Pop3Engine:
    engine = Pop3Engine(TLS)
    play(engine, GREETING + LOGIN)
    return engine


def refusing(error: MailError, hang_up: bool = False) -> Answer:
    def answer(engine: Pop3Engine, event: Event) -> None:
        if isinstance(event, LoginOffered | AuthOffered | AuthResponse | MessageRequested | UpdateRequested):
            engine.refuse(error, hang_up)

    return answer


# --- RFC 1939 --------------------------------------------------------------------------------------


def test_the_example_session_of_RFC_1939() -> None:
    """RFC 1939, 10, with USER and PASS in place of APOP."""
    engine = Pop3Engine(TLS)

    events = play(
        engine,
        GREETING
        + LOGIN
        + f"""
        C: STAT
        S: +OK 2 320
        C: LIST
        S: +OK 2 messages (320 octets)
        S: 1 120
        S: 2 200
        S: .
        C: RETR 1
        S: +OK 120 octets
        S: Subject: one
        S:\x20
        S: {"x" * 102}
        S: .
        C: DELE 1
        S: +OK Message 1 deleted
        C: RETR 2
        S: +OK 200 octets
        S: Subject: two
        S:\x20
        S: first
        S: ..
        S: {"y" * 172}
        S: .
        C: DELE 2
        S: +OK Message 2 deleted
        C: QUIT
        S: +OK Bye
        """,
    )

    assert events == [
        LoginOffered("mrose", b"secret"),
        MessageRequested(0),
        MessageRequested(1),
        UpdateRequested((0, 1)),
        Closing("quit"),
    ]


def test_TOP_UIDL_NOOP_RSET() -> None:
    """RFC 1939, 5 and 7."""
    play(
        logged_in(),
        """
        C: TOP 2 1
        S: +OK Top of message follows
        S: Subject: two
        S:\x20
        S: first
        S: .
        C: UIDL
        S: +OK Unique-id listing follows
        S: 1 whqtswO00WBw418f9t5JxYw0
        S: 2 whqtswO00WBw418f9t5JxYw1
        S: .
        C: UIDL 2
        S: +OK 2 whqtswO00WBw418f9t5JxYw1
        C: NOOP
        S: +OK Nothing to do
        C: DELE 1
        S: +OK Message 1 deleted
        C: RSET
        S: +OK 2 messages (320 octets)
        C: LIST 1
        S: +OK 1 120
        """,
    )


def test_a_marked_message_is_in_no_answer() -> None:
    """RFC 1939, 5: any future reference to it is an error."""
    play(
        logged_in(),
        """
        C: DELE 1
        S: +OK Message 1 deleted
        C: STAT
        S: +OK 1 200
        C: LIST
        S: +OK 1 messages (200 octets)
        S: 2 200
        S: .
        C: UIDL
        S: +OK Unique-id listing follows
        S: 2 whqtswO00WBw418f9t5JxYw1
        S: .
        C: LIST 1
        S: -ERR Message is marked for deletion
        C: UIDL 1
        S: -ERR Message is marked for deletion
        C: RETR 1
        S: -ERR Message is marked for deletion
        C: TOP 1 0
        S: -ERR Message is marked for deletion
        C: DELE 1
        S: -ERR Message is marked for deletion
        """,
    )


def test_QUIT_before_log_in_and_without_marks_asks_for_nothing() -> None:
    engine = Pop3Engine(TLS)
    assert play(engine, GREETING + "C: QUIT\nS: +OK Bye") == [Closing("quit")]

    engine = logged_in()
    assert play(engine, "C: QUIT\nS: +OK Bye") == [Closing("quit")]


def test_J2_an_update_that_fails_says_so_and_closes() -> None:
    engine = logged_in()

    events = play(
        engine,
        """
        C: DELE 1
        S: +OK Message 1 deleted
        C: QUIT
        S: -ERR [SYS/TEMP] Some deleted messages were not removed
        """,
        refusing(TemporaryFailure(texts.NOT_REMOVED)),
    )

    assert events == [UpdateRequested((0,)), Closing("refused")]


def test_J2_nothing_is_asked_for_before_QUIT() -> None:
    engine = logged_in()
    events = play(engine, "C: DELE 1\nS: +OK Message 1 deleted\nC: DELE 2\nS: +OK Message 2 deleted")

    assert events == []


def test_J3_a_message_that_is_gone_is_an_error_and_keeps_its_number() -> None:
    play(
        logged_in(),
        """
        C: RETR 1
        S: -ERR Message no longer exists
        C: LIST
        S: +OK 2 messages (320 octets)
        S: 1 120
        S: 2 200
        S: .
        """,
        refusing(MessageGone()),
    )


@pytest.mark.parametrize(
    "line",
    ["RETR 0", "RETR 3", "RETR 99999999999999999999", "TOP 3 1", "DELE 0", "LIST 3", "UIDL 0"],
)
def test_J5_numbers_that_are_no_message(line: str) -> None:
    engine = logged_in()

    play(engine, f"C: {line}\nS: -ERR No such message\nC: STAT\nS: +OK 2 320")


def test_J5_PASS_with_spaces() -> None:
    engine = Pop3Engine(TLS)
    engine.receive(b"USER mrose\r\nPASS  a  b \r\n")

    assert LoginOffered("mrose", b" a  b ") in run(engine, answer_all())


def test_J6_lines_that_are_too_long_or_8_bit_keep_the_session() -> None:
    engine = logged_in()
    for line in (b"RETR 1" + b" " * 600, b"x" * 100_000, b"LIST \xff", b"RETR 1:2", b"STAT\n", b"\xe9" * 30):
        engine.receive(line + b"\r\n")
        run(engine, answer_all())
        assert engine.data_to_send().startswith(b"-ERR "), line
    play(engine, "C: STAT\nS: +OK 2 320")


def test_J6_a_line_without_end_is_not_kept() -> None:
    engine = Pop3Engine(TLS)
    for _ in range(100):
        engine.receive(b"x" * 65536)
        run(engine, answer_all())

    assert engine.unread <= MAX_LINE
    assert engine.data_to_send().count(b"-ERR") == 1


def test_J7_USER_answers_the_same_for_anyone() -> None:
    play(Pop3Engine(TLS), GREETING + "C: USER nobody\nS: +OK Send PASS\nC: USER mrose\nS: +OK Send PASS")


def test_a_failed_log_in_leaves_nothing_of_itself() -> None:
    """RFC 1939, 7: after a refused PASS a new USER is needed; RFC 3206: [AUTH]."""
    engine = Pop3Engine(TLS)

    play(
        engine,
        GREETING
        + """
        C: USER mrose
        S: +OK Send PASS
        C: PASS wrong
        S: -ERR [AUTH] Authentication credentials invalid
        C: PASS secret
        S: -ERR Command not valid in this state
        C: STAT
        S: -ERR Command not valid in this state
        """,
        refusing(AuthenticationFailed()),
    )


def test_D3_a_refusal_may_close() -> None:
    engine = Pop3Engine(TLS)

    events = play(
        engine,
        GREETING
        + """
        C: USER mrose
        S: +OK Send PASS
        C: PASS wrong
        S: -ERR [AUTH] Authentication credentials invalid
        """,
        refusing(AuthenticationFailed(), hang_up=True),
    )

    assert events[-1] == Closing("refused")


# --- the table -------------------------------------------------------------------------------------

LINES = {
    commands.User: "USER mrose",
    commands.Pass: "PASS secret",
    commands.Auth: "AUTH PLAIN AGEAYg==",
    commands.Mechanisms: "AUTH",
    commands.Stls: "STLS",
    commands.Utf8: "UTF8",
    commands.Capa: "CAPA",
    commands.Lang: "LANG",
    commands.Stat: "STAT",
    commands.List: "LIST",
    commands.Uidl: "UIDL",
    commands.Retr: "RETR 1",
    commands.Top: "TOP 1 1",
    commands.Dele: "DELE 1",
    commands.Noop: "NOOP",
    commands.Rset: "RSET",
    commands.Quit: "QUIT",
}
OPTIONS = Options(mechanisms=("PLAIN",), starttls=True)


def in_state(state: State) -> Pop3Engine:
    engine = Pop3Engine(OPTIONS)
    if state is not State.AUTHORIZATION:
        engine.receive(b"USER mrose\r\n")
    if state is State.TRANSACTION:
        engine.receive(b"PASS secret\r\n")
    run(engine, answer_all())
    engine.data_to_send()
    assert engine.state is state
    return engine


def test_the_table_knows_every_command() -> None:
    assert set(TRANSITIONS) == set(LINES)
    assert set(REFUSED) <= set(TRANSITIONS)


@pytest.mark.parametrize("state", [State.AUTHORIZATION, State.NAMED, State.TRANSACTION])
@pytest.mark.parametrize("command", list(LINES))
def test_every_command_in_every_state(state: State, command: type) -> None:
    """What the table does not allow is refused and changes nothing; what it allows leads where it says."""
    engine = in_state(state)
    engine.receive(LINES[command].encode() + b"\r\n")
    run(engine, answer_all())
    said = engine.data_to_send()

    if state not in TRANSITIONS[command]:
        assert said == b"-ERR Command not valid in this state\r\n"
        assert engine.state is state
    else:
        assert said.startswith(b"+OK"), said
        after = TRANSITIONS[command][state] or state
        assert engine.state is (State.CLOSED if after is State.UPDATE else after)


def test_too_many_wrong_commands_close() -> None:
    engine = Pop3Engine(Options(errors=3))

    events = play(
        engine,
        GREETING
        + """
        C: HELLO
        S: -ERR Unknown command
        C: STAT
        S: -ERR Command not valid in this state
        C: HELLO
        S: -ERR Too many errors
        """,
    )

    assert events == [Closing("errors")]
    engine.receive(b"CAPA\r\n")
    assert engine.next_event() is None


def test_A19_a_browser_is_sent_away_without_an_echo() -> None:
    engine = Pop3Engine(TLS)
    engine.receive(b"POST /<script> HTTP/1.1\r\nHost: x\r\n\r\nUSER a\r\nPASS b\r\nQUIT\r\n")

    events = run(engine, answer_all())

    assert events == [Closing("foreign")]
    assert engine.data_to_send() == b"+OK POP3 server ready\r\n-ERR Unknown command\r\n"


# --- RFC 2449, 2595 --------------------------------------------------------------------------------


def test_CAPA_in_clear() -> None:
    """RFC 2449, 5; CASES B9: nothing that would show a password is offered in clear."""
    play(
        Pop3Engine(CLEAR),
        GREETING
        + """
        C: CAPA
        S: +OK Capability list follows
        S: TOP
        S: UIDL
        S: RESP-CODES
        S: AUTH-RESP-CODE
        S: PIPELINING
        S: EXPIRE NEVER
        S: UTF8 USER
        S: LANG
        S: STLS
        S: .
        """,
    )


def test_CAPA_inside_TLS_and_after_log_in() -> None:
    listed = """
        S: +OK Capability list follows
        S: TOP
        S: UIDL
        S: RESP-CODES
        S: AUTH-RESP-CODE
        S: PIPELINING
        S: EXPIRE NEVER
        S: UTF8 USER
        S: LANG
        S: USER
        S: SASL PLAIN LOGIN SCRAM-SHA-256
    """
    engine = Pop3Engine(TLS)
    play(engine, GREETING + "C: CAPA" + listed + "S: .")
    play(engine, LOGIN + "C: CAPA" + listed + "S: IMPLEMENTATION mailserver-" + __version__ + "\nS: .")


def test_B9_no_password_in_clear() -> None:
    """The password is not even looked at."""
    engine = Pop3Engine(CLEAR)

    events = play(
        engine,
        GREETING
        + """
        C: USER mrose
        S: -ERR [AUTH] Encryption required for requested authentication mechanism
        C: PASS secret
        S: -ERR Command not valid in this state
        """,
    )

    assert events == []


def test_B3_what_came_with_STLS_in_clear_is_thrown_away() -> None:
    """Also the beginning of a line."""
    for tail in (b"USER mrose\r\nPASS x\r\n", b"USER mro", b"\r"):
        engine = Pop3Engine(Options(("PLAIN",), starttls=True))
        engine.receive(b"USER x\r\nSTLS\r\n" + tail)
        assert run(engine, answer_all())[-1] == TlsRequested()
        assert engine.data_to_send().endswith(b"+OK Begin TLS negotiation\r\n")
        engine.receive(b"CAPA\r\n")

        engine.tls_started(TLS)
        assert run(engine, answer_all()) == []
        assert engine.data_to_send() == b""
        play(engine, "C: PASS secret\nS: -ERR Command not valid in this state\n" + LOGIN)


def test_B6_STLS_twice_or_without_certificate() -> None:
    play(Pop3Engine(TLS), GREETING + "C: STLS\nS: -ERR TLS is active already")
    play(Pop3Engine(Options()), GREETING + "C: STLS\nS: -ERR TLS is not available")
    play(Pop3Engine(CLEAR), GREETING + "C: STLS now\nS: -ERR Invalid arguments")


def test_B7_STLS_after_log_in() -> None:
    play(in_state(State.TRANSACTION), "C: STLS\nS: -ERR Command not valid in this state")


# --- RFC 5034 --------------------------------------------------------------------------------------


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def sasl(*steps: bytes) -> Answer:
    """Challenges in order, then success."""
    left = list(steps)

    def answer(engine: Pop3Engine, event: Event) -> None:
        if isinstance(event, AuthOffered | AuthResponse):
            if left:
                engine.challenge(left.pop(0))
            else:
                engine.opened(Maildrop((), str))

    return answer


def test_AUTH_with_initial_response() -> None:
    """RFC 5034, 6."""
    engine = Pop3Engine(TLS)

    events = play(
        engine, GREETING + "C: AUTH PLAIN dGVzdAB0ZXN0AHRlc3Q=\nS: +OK 0 messages (0 octets)", sasl()
    )

    assert events == [AuthOffered("PLAIN", b"test\0test\0test")]


def test_AUTH_in_steps() -> None:
    """RFC 5034, 6: an empty challenge is "+ " and no more."""
    engine = Pop3Engine(TLS)

    events = play(
        engine,
        GREETING
        + f"""
        C: AUTH LOGIN
        S: +\x20
        C: {b64(b"mrose")}
        S: + {b64(b"Password:")}
        C: {b64(b"secret")}
        S: +OK 0 messages (0 octets)
        C: STAT
        S: +OK 0 0
        """,
        sasl(b"", b"Password:"),
    )

    assert events == [AuthOffered("LOGIN", None), AuthResponse(b"mrose"), AuthResponse(b"secret")]


def test_AUTH_cancelled() -> None:
    engine = Pop3Engine(TLS)

    events = play(
        engine,
        GREETING
        + """
        C: AUTH PLAIN
        S: +\x20
        C: *
        S: -ERR Authentication cancelled
        C: STAT
        S: -ERR Command not valid in this state
        """,
        sasl(b""),
    )

    assert events == [AuthOffered("PLAIN", None), AuthCancelled()]


@pytest.mark.parametrize("response", [b"!!", b"=", b"A A=", b"A" * 12_289, b"A" * 1_000_000, b"\xff"])
def test_D6_nonsense_ends_the_exchange_and_another_log_in_goes_on(response: bytes) -> None:
    engine = Pop3Engine(TLS)
    play(engine, GREETING + "C: AUTH PLAIN\nS: +\x20", sasl(b""))
    engine.receive(response + b"\r\n")

    assert run(engine, sasl()) == [AuthCancelled()]
    assert engine.data_to_send().startswith(b"-ERR ")
    play(engine, LOGIN)


def test_AUTH_alone_lists_mechanisms() -> None:
    play(
        Pop3Engine(TLS),
        GREETING
        + """
        C: AUTH
        S: +OK Mechanisms follow
        S: PLAIN
        S: LOGIN
        S: SCRAM-SHA-256
        S: .
        """,
    )


# --- RFC 6856 --------------------------------------------------------------------------------------


def test_UTF8_before_log_in_only_and_no_STLS_after_it() -> None:
    engine = Pop3Engine(Options(("PLAIN",), starttls=True))
    play(
        engine,
        GREETING
        + """
        C: UTF8 on
        S: -ERR Invalid arguments
        C: UTF8
        S: +OK UTF-8 mode enabled
        C: STLS
        S: -ERR STLS is not allowed after UTF8
        """,
    )
    assert engine.utf8

    play(logged_in(), "C: UTF8\nS: -ERR Command not valid in this state")


def test_a_user_name_in_UTF8() -> None:
    engine = Pop3Engine(TLS)

    events = play(
        engine, GREETING + "C: USER jürgen\nS: +OK Send PASS\nC: PASS süß\nS: +OK 2 messages (320 octets)"
    )

    assert events == [LoginOffered("jürgen", "süß".encode())]


def test_LANG() -> None:
    """RFC 6856, 3.3."""
    play(
        logged_in(),
        """
        C: LANG MUL
        S: -ERR No such language
        C: LANG
        S: +OK Language listing follows
        S: en English
        S: de Deutsch
        S: .
        C: LANG de-AT
        S: +OK de Sprache gewechselt
        C: RETR 9
        S: -ERR Keine solche Nachricht
        C: DELE 1
        S: +OK Nachricht 1 gelöscht
        C: LANG uga
        S: -ERR Keine solche Sprache
        C: LANG *
        S: +OK en Language changed
        C: STAT
        S: +OK 1 200
        """,
    )


def test_every_translation_is_of_a_text_and_keeps_its_fields() -> None:
    for english, german in texts._GERMAN.items():
        assert english.count("{}") == german.count("{}")


# --- flow ------------------------------------------------------------------------------------------


def test_PIPELINING_replies_keep_their_order_while_an_answer_is_awaited() -> None:
    """RFC 2449, 6.6; the second command is not looked at before the first is answered (CASES A13)."""
    engine = Pop3Engine(TLS)
    engine.receive(b"USER a\r\nPASS b\r\nSTAT\r\nRETR 1\r\nQUIT\r\n")

    assert isinstance(engine.next_event(), object)
    offered = engine.next_event()
    assert offered == LoginOffered("a", b"b")
    assert engine.next_event() is None
    assert engine.data_to_send() == b"+OK POP3 server ready\r\n+OK Send PASS\r\n"

    engine.opened(Maildrop((3,), str))
    run(engine, answer_all((b"a\r\n",)))
    assert engine.data_to_send() == (
        b"+OK 1 messages (3 octets)\r\n+OK 1 3\r\n+OK 3 octets\r\na\r\n.\r\n+OK Bye\r\n"
    )


def test_a_long_listing_comes_in_slices() -> None:
    engine = Pop3Engine(TLS)
    engine.receive(b"USER a\r\nPASS b\r\nLIST\r\nNOOP\r\n")
    while engine.waiting is None:
        engine.next_event()
    engine.opened(Maildrop([7] * 5_000, str))
    engine.next_event()
    engine.data_to_send()
    sizes = []
    while engine.next_event() is not None:
        sizes.append(len(engine.data_to_send()))

    assert len(sizes) == 7  # five full slices, the end, NOOP
    assert max(sizes) < 10_000


def test_stop_finishes_the_answer_then_says_so() -> None:
    engine = logged_in()
    engine.receive(b"RETR 1\r\nSTAT\r\n")
    assert engine.next_event() == MessageRequested(0)
    engine.stop()
    assert engine.next_event() is None

    engine.message(b"x\r\n")
    assert engine.next_event() == Closing("stop")
    assert engine.data_to_send() == (
        b"+OK 3 octets\r\nx\r\n.\r\n-ERR [SYS/TEMP] The server stops, try again later\r\n"
    )


DIALOGS = [
    b"USER mrose\r\nPASS secret\r\nLIST\r\nRETR 1\r\nTOP 2 1\r\nDELE 1\r\nUIDL\r\nQUIT\r\nSTAT\r\n",
    b"AUTH PLAIN AGEAYg==\r\nSTAT\r\nLANG de\r\nRETR 9\r\nCAPA\r\nRSET\r\n",
    b"CAPA\r\nSTLS\r\n",
    b"x" * 20_000 + b"\r\nCAPA\r\n" + b"\r\n\r\n" * 30,
    b"USER a\nPASS b\r\nUSER \xff\r\nGET / HTTP/1.0\r\n",
]


@pytest.mark.parametrize("data", DIALOGS)
def test_K7_whole_input_is_byte_by_byte_input(data: bytes) -> None:
    whole_and_byte_by_byte(Options(("PLAIN",), starttls=True), data, answer_all())


LINE = st.sampled_from(
    [line.encode() for line in LINES.values()]
    + [
        b"*",
        b"AGEAYg==",
        b"RETR 0",
        b"TOP 1 -1",
        b"LIST 99",
        b"LANG *",
        b"AUTH LOGIN",
        b"PASS  a b",
        b"x" * 600,
    ]
) | st.binary(max_size=40)


@settings(max_examples=150, deadline=None)
@given(st.lists(LINE, max_size=12).map(lambda lines: b"\r\n".join(lines) + b"\r\n"))
def test_K6_no_input_breaks_the_engine(data: bytes) -> None:
    """No exception, no unbounded buffer, and segments do not matter, whatever comes."""

    def answer(engine: Pop3Engine, event: Event) -> None:
        if isinstance(event, AuthOffered):
            engine.challenge(b"go on")
        elif isinstance(event, AuthResponse) and event.data != b"\0a\0b":
            engine.refuse(AuthenticationFailed())
        else:
            answer_all()(engine, event)

    whole_and_byte_by_byte(Options(("PLAIN",), starttls=True, errors=8), data, answer)


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        (b"", b".\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b"..a\r\n.b\r\n...\r\n", b"...a\r\n..b\r\n....\r\n.\r\n"),
        (b"no line end", b"no line end\r\n.\r\n"),
        (b"a\r\n.\r\nUSER x\r\n", b"a\r\n..\r\nUSER x\r\n.\r\n"),
    ],
)
def test_A7_dots_and_line_ends(message: bytes, sent: bytes) -> None:
    """RFC 1939, 3: the answer ends where the message ends, and nowhere else."""
    assert replies.message("x", message) == b"+OK x\r\n" + sent


def test_A20_no_text_breaks_out_of_its_line() -> None:
    assert replies.err("a\r\n+OK b\x1b[1m\x85\u2028") == b"-ERR a??+OK b?[1m??\r\n"
    assert replies.ok("[SYS/TEMP] x") == b"+OK  [SYS/TEMP] x\r\n"
    assert len(replies.ok("é" * 1000)) <= 512
