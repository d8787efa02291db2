"""Whole sessions under random input: nothing raises, nothing depends on how the bytes are cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_dialog import ImapClient, ImapServer

MESSAGE = b"From: a@example.org\nSubject: x\nContent-Type: text/plain\n\nbody\n"
LINES = [
    b"NOOP",
    b"CAPABILITY",
    b"LOGIN alice@example.org secret",
    b"LOGIN {17+}\r\nalice@example.org {6+}\r\nsecret",
    b"LOGIN alice@example.org wrong",
    b"AUTHENTICATE PLAIN",
    b"AUTHENTICATE PLAIN AGEAc2VjcmV0",
    b"SELECT INBOX",
    b"EXAMINE Trash",
    b"SELECT nowhere",
    b'LIST "" *',
    b'LSUB "" %',
    b"STATUS INBOX (MESSAGES UNSEEN DELETED-STORAGE)",
    b"CREATE a/b",
    b"DELETE a",
    b"RENAME a c",
    b"RENAME INBOX d",
    b"SUBSCRIBE a",
    b"APPEND INBOX (\\Seen x) {12+}\r\nSubject: y\r\n",
    b"APPEND nowhere {3+}\r\nabc",
    b"APPEND INBOX {3}",
    b"GETQUOTAROOT INBOX",
    b"IDLE",
    b"FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE BODY[] BODY[1.MIME] BODY.PEEK[HEADER.FIELDS (To)]<1.2>)",
    b"FETCH 4294967295 FLAGS",
    b"UID FETCH 1:* ALL",
    b"STORE 1 +FLAGS (\\Deleted y)",
    b"UID STORE 1:* FLAGS ()",
    b'SEARCH OR TEXT "body" NOT SEEN 1:2',
    b"UID SEARCH CHARSET UTF-8 SUBJECT {1+}\r\nx",
    b"COPY 1 Trash",
    b"UID MOVE 1:* Archive",
    b"EXPUNGE",
    b"UID EXPUNGE 1:*",
    b"CHECK",
    b"CLOSE",
    b"UNSELECT",
    b"STARTTLS",
    b"LOGOUT",
]
PIECES = st.one_of(
    st.sampled_from([b"a " + line + b"\r\n" for line in LINES]),
    st.sampled_from(
        [b"DONE\r\n", b"*\r\n", b"\r\n", b"AGEAc2VjcmV0\r\n", b"abc\r\n", b"{5}\r\n", b"a X {3}\r\n"]
    ),
    st.binary(max_size=20),
)
STATES = st.sampled_from(["", "l LOGIN alice@example.org secret", "s SELECT INBOX"])


def run(data: bytes, state: str, step: int, slow: bool) -> bytes:
    account = FakeAccount()
    for _ in range(2):
        account.inbox.add(MESSAGE)
    server = ImapServer(account)
    client = ImapClient(server, login=state != "", select="INBOX" if state.startswith("s") else "")
    if slow:
        server.slow()
    answer = b""
    for start in range(0, len(data), step):
        answer += client.send(data[start : start + step])
    client.lose()
    assert all(box.listeners == [] for box in account.boxes.values())
    assert server.reactor.getDelayedCalls() == []
    assert account.open_files == 0
    return answer


@settings(max_examples=60, deadline=None)
@given(st.lists(PIECES, max_size=10).map(b"".join), STATES, st.integers(1, 30), st.booleans())
def test_K6_K7_sessions(data: bytes, state: str, step: int, slow: bool) -> None:
    """One segment, or pieces of any length: the same answer, no internal error, nothing left behind."""
    whole = run(data, state, max(1, len(data)), slow)
    assert b"[SERVERBUG]" not in whole
    assert run(data, state, step, slow) == whole
