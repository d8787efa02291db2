"""The engine: states, order, limits, and that nothing a client sends breaks it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.imap import commands as c
from mailserver.imap.engine import Engine
from mailserver.imap.events import AppendChunk, AppendOffered, CommandReceived, Event, Hangup, LineReceived
from mailserver.imap.transitions import ALLOWED, State


class Driver:
    """Answers every event as a server would, and keeps what happened."""

    def __init__(self, state: State = State.NOT_AUTHENTICATED, refuse: bool = False) -> None:
        self.engine = Engine(line=65536, skip=1000, errors=20)
        if state is not State.NOT_AUTHENTICATED:
            self.engine.finished(state)
        self.refuse = refuse
        self.events: list[Event] = []
        self.sent = b""
        self.largest = 0

    def feed(self, data: bytes, step: int | None = None) -> Driver:
        step = step or max(1, len(data))
        for start in range(0, len(data), step):
            self.engine.receive(data[start : start + step])
            self._run()
            self.largest = max(self.largest, self.engine.waiting)
        return self

    def _run(self) -> None:
        while True:
            event = self.engine.next_event()
            self.sent += self.engine.data_to_send()
            if event is None:
                return
            self._note(event)
            self._answer(event)
            self.sent += self.engine.data_to_send()

    def _note(self, event: Event) -> None:
        last = self.events[-1] if self.events else None
        if isinstance(event, AppendChunk) and isinstance(last, AppendChunk):
            self.events[-1] = AppendChunk(last.data + event.data)
        else:
            self.events.append(event)

    def _answer(self, event: Event) -> None:
        state = self.engine.state
        if isinstance(event, AppendOffered):
            (self.engine.refuse_literal if self.refuse else self.engine.accept_literal)()
            self.engine.finished(state)
        elif isinstance(event, CommandReceived):
            if isinstance(event.command, c.Idle | c.Authenticate):
                self.engine.expect_line()
            else:
                after = {c.Login: State.AUTHENTICATED, c.Select: State.SELECTED, c.Logout: State.LOGOUT}
                self.engine.finished(after.get(type(event.command), state))  # type: ignore[call-overload]
        elif isinstance(event, LineReceived):
            self.engine.finished(state)


def both_ways(data: bytes, state: State = State.NOT_AUTHENTICATED, **how: Any) -> Driver:
    """Whole input and byte-by-byte input give the same events and replies."""
    whole = Driver(state, **how).feed(data)
    single = Driver(state, **how).feed(data, 1)
    assert (single.events, single.sent) == (whole.events, whole.sent)
    return whole


COMMANDS: dict[type[c.Command], bytes] = {
    c.Capability: b"CAPABILITY",
    c.Noop: b"NOOP",
    c.Logout: b"LOGOUT",
    c.Id: b"ID NIL",
    c.StartTls: b"STARTTLS",
    c.Authenticate: b"AUTHENTICATE PLAIN",
    c.Login: b"LOGIN a b",
    c.Enable: b"ENABLE X",
    c.Select: b"SELECT x",
    c.Examine: b"EXAMINE x",
    c.Create: b"CREATE x",
    c.Delete: b"DELETE x",
    c.Rename: b"RENAME x y",
    c.Subscribe: b"SUBSCRIBE x",
    c.Unsubscribe: b"UNSUBSCRIBE x",
    c.List: b'LIST "" *',
    c.ListExtended: b'LIST () "" *',
    c.Lsub: b'LSUB "" *',
    c.Status: b"STATUS x (MESSAGES)",
    c.Append: b"APPEND x {1+}\r\nx",
    c.Namespace: b"NAMESPACE",
    c.GetQuota: b"GETQUOTA x",
    c.GetQuotaRoot: b"GETQUOTAROOT x",
    c.SetQuota: b"SETQUOTA x ()",
    c.Unauthenticate: b"UNAUTHENTICATE",
    c.Compress: b"COMPRESS DEFLATE",
    c.Idle: b"IDLE",
    c.Notify: b"NOTIFY NONE",
    c.SetAcl: b"SETACL x y lr",
    c.DeleteAcl: b"DELETEACL x y",
    c.GetAcl: b"GETACL x",
    c.ListRights: b"LISTRIGHTS x y",
    c.MyRights: b"MYRIGHTS x",
    c.GetMetadata: b"GETMETADATA x /shared/comment",
    c.SetMetadata: b"SETMETADATA x (/shared/comment NIL)",
    c.Check: b"CHECK",
    c.Close: b"CLOSE",
    c.Unselect: b"UNSELECT",
    c.Expunge: b"EXPUNGE",
    c.Fetch: b"FETCH 1 FLAGS",
    c.Store: b"STORE 1 FLAGS ()",
    c.Sort: b"SORT (SUBJECT REVERSE DATE) UTF-8 ALL",
    c.Thread: b"THREAD REFERENCES UTF-8 ALL",
    c.Esearch: b"ESEARCH IN (personal) ALL",
    c.CancelUpdate: b'CANCELUPDATE "a1"',
    c.Search: b"SEARCH ALL",
    c.Copy: b"COPY 1 x",
    c.Move: b"MOVE 1 x",
    c.Replace: b"REPLACE 1 x {1+}\r\nx",
}


def test_every_command_is_in_the_table() -> None:
    assert set(COMMANDS) == set(ALLOWED)


@pytest.mark.parametrize("state", [State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED])
@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
def test_states(state: State, kind: type[c.Command]) -> None:
    """Each command in each state: executed, or BAD and the state as it was."""
    driver = both_ways(b"a " + COMMANDS[kind] + b"\r\n", state)
    executed = [event.command for event in driver.events if isinstance(event, CommandReceived)]
    if state in ALLOWED[kind]:
        assert [type(command) for command in executed] == [kind]
    else:
        assert executed == []
        assert driver.sent.startswith(b"a BAD ")
        assert driver.engine.state is state


def test_a_command_is_not_read_before_the_last_one_is_done() -> None:
    engine = Engine()
    engine.receive(b"a LOGIN x y\r\nb NOOP\r\n")
    assert isinstance(engine.next_event(), CommandReceived)
    assert engine.next_event() is None
    engine.finished(State.AUTHENTICATED)
    assert engine.next_event() == CommandReceived(c.Noop(b"b"))


def test_nothing_is_read_after_logout() -> None:
    driver = both_ways(b"a LOGOUT\r\nb NOOP\r\n")
    assert driver.events == [CommandReceived(c.Logout(b"a"))]
    assert driver.sent == b""


@pytest.mark.parametrize(
    "literal", [b"{4294967296}", b"{4097}", b"{99999999999999999999}", b"{999999999999999999999999999999}"]
)
def test_H1_literal_too_large_before_login(literal: bytes) -> None:
    driver = both_ways(b"a LOGIN " + literal + b"\r\nb NOOP\r\n")
    assert driver.sent == b"a BAD [TOOBIG] Literal too large\r\n"
    assert driver.events == [CommandReceived(c.Noop(b"b"))]


def test_H1_literal_too_large_without_asking() -> None:
    driver = both_ways(b"a LOGIN {5000+}\r\n" + b"x" * 5000 + b" y\r\nb NOOP\r\n")
    assert driver.sent == b"a BAD [TOOBIG] Literal too large\r\n"
    assert driver.events == [CommandReceived(c.Noop(b"b"))]
    driver = both_ways(b"a LOGIN {99999999999+}\r\nb NOOP\r\n")
    assert driver.sent.endswith(b"* BYE [TOOBIG] Literal too large\r\n")
    assert driver.events == [Hangup()]


@pytest.mark.parametrize("argument", [b"{-1}", b"{+5}"])
def test_H1_malformed_literal(argument: bytes) -> None:
    assert both_ways(b"a LOGIN x " + argument + b"\r\n").sent.startswith(b"a BAD ")


def test_H1_empty_literal() -> None:
    assert both_ways(b"a LOGIN {0}\r\n {0+}\r\n\r\n").events == [CommandReceived(c.Login(b"a", b"", b""))]


def test_H1_two_literals_may_not_hold_more_than_the_total() -> None:
    data = b"a LOGIN {4096+}\r\n" + b"x" * 4096 + b" {4096+}\r\n" + b"y" * 4096 + b"\r\nb NOOP\r\n"
    driver = both_ways(data)
    assert driver.sent == b"a BAD [TOOBIG] Literal too large\r\n"
    assert driver.events == [CommandReceived(c.Noop(b"b"))]


def test_H1_literal_that_never_comes_holds_nothing() -> None:
    driver = Driver().feed(b"a LOGIN {4096}\r\n")
    assert driver.sent == b"+ OK\r\n"
    assert driver.largest < 100


def test_H6_line_too_long_before_login() -> None:
    driver = both_ways(b"x" * 8192)
    assert driver.sent == b"* BAD Command line too long\r\n* BYE Command line too long\r\n"
    assert driver.events == [Hangup()]
    assert Driver().feed(b"x" * 8191).events == []


def test_H6_line_too_long_after_login() -> None:
    assert Driver(State.AUTHENTICATED).feed(b"x" * 65535).events == []
    assert Driver(State.AUTHENTICATED).feed(b"x" * 65536).events == [Hangup()]


def test_H6_three_bad_commands_before_login() -> None:
    driver = both_ways(b"a X\r\nb NOOP\r\nc X\r\nd X\r\ne NOOP\r\n")
    assert driver.sent.endswith(b"d BAD Unknown command\r\n* BYE Too many invalid commands\r\n")
    assert driver.events == [CommandReceived(c.Noop(b"b")), Hangup()]


def test_H6_twenty_bad_commands_in_a_row_after_login() -> None:
    driver = both_ways(b"a X\r\n" * 19 + b"b NOOP\r\n" + b"a X\r\n" * 19, State.AUTHENTICATED)
    assert driver.events == [CommandReceived(c.Noop(b"b"))]
    assert both_ways(b"a X\r\n" * 20, State.AUTHENTICATED).events == [Hangup()]


@pytest.mark.parametrize("tag", [b"+", b"*", b"a\0", b"a\n", b"%", b"x" * 1024, b"\xff", b"<b>%s"])
def test_H7_bad_tags_are_not_sent_back(tag: bytes) -> None:
    sent = both_ways(tag + b" NOOP\r\n").sent
    assert sent == b"* BAD Invalid tag\r\n"


def test_H7_a_verb_is_never_sent_back() -> None:
    assert both_ways(b"a <script>\xff\r\n").sent == b"a BAD Unknown command\r\n"


@pytest.mark.parametrize("size", [b"{14}", b"{14+}"])
def test_H22_literal_of_a_bad_command_is_not_executed(size: bytes) -> None:
    driver = both_ways(b"a BOGUS " + size + b"\r\nb DELETE INBOX x\r\nc NOOP\r\n", State.AUTHENTICATED)
    assert driver.events == [CommandReceived(c.Noop(b"c"))]
    assert driver.sent.endswith(b"a BAD Unknown command\r\n")


def test_H22_refused_append_is_read_to_its_end() -> None:
    data = b"a APPEND x {10+}\r\nb DELETE y\r\nc NOOP\r\n"
    driver = both_ways(data, State.AUTHENTICATED, refuse=True)
    assert [type(event) for event in driver.events] == [AppendOffered, CommandReceived]
    assert driver.events[-1] == CommandReceived(c.Noop(b"c"))


def test_B2_clear_forgets_what_waits() -> None:
    engine = Engine()
    engine.receive(b"a STARTTLS\r\nb LOGIN x y\r\nc LOG")
    assert engine.next_event() == CommandReceived(c.StartTls(b"a"))
    engine.clear()
    engine.finished(State.NOT_AUTHENTICATED)
    assert engine.next_event() is None
    engine.receive(b"d NOOP\r\n")
    assert engine.next_event() == CommandReceived(c.Noop(b"d"))


PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"a " + line + b"\r\n" for line in COMMANDS.values()]
        + [b"DONE\r\n", b"*\r\n", b"\r\n", b"a LOGIN {3+}\r\n", b"a X {5}\r\n", b"{99999}\r\n", b" {4+}\r\n"]
        + [b"a APPEND INBOX {20}\r\n", b"a APPEND x {2000+}\r\n", b"(", b"{", b"x" * 5000]
    ),
)
STATES = st.sampled_from([State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED])


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=12).map(b"".join), STATES, st.booleans(), st.integers(1, 9))
def test_K6_K7_no_input_raises_or_depends_on_segments(
    data: bytes, state: State, refuse: bool, step: int
) -> None:
    whole = Driver(state, refuse=refuse).feed(data)
    cut = Driver(state, refuse=refuse).feed(data, step)
    assert (cut.events, cut.sent) == (whole.events, whole.sent)
    assert max(whole.largest, cut.largest) <= 4 * 65536 + len(data)


def test_H2_thousands_of_parentheses() -> None:
    driver = Driver().feed(b"a NOOP " + b"(" * 4000)
    assert driver.events == []
    assert driver.largest < 8192
    assert driver.feed(b"\r\n").sent == b"a BAD Unexpected characters at the end of the command\r\n"
