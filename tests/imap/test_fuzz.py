"""Whole sessions under random input: nothing raises, nothing depends on how the bytes are cut."""

from __future__ import annotations

import zlib

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
    b"APPEND INBOX {2+}\r\nab (\\Seen) {1+}\r\nc ~{3+}\r\nd\0e",
    b'APPEND Sent CATENATE (URL "/INBOX/;UID=1" TEXT {2+}\r\nxy URL {6+}\r\n;UID=2)',
    b"APPEND INBOX UTF8 (~{2+}\r\nab) {0+}\r\n",
    b"REPLACE 1 Drafts {3+}\r\nabc",
    b'UID REPLACE 2 INBOX CATENATE (URL ";UID=1/;SECTION=TEXT")',
    b"ENABLE UTF8=ACCEPT",
    b"ENABLE IMAP4rev2 CONDSTORE",
    'CREATE "Entwu\u0308rfe"'.encode(),
    'SELECT "Entw\u00fcrfe"'.encode(),
    b"UNAUTHENTICATE",
    b"FETCH 1:* (BINARY[1] BINARY.SIZE[1] BINARY.PEEK[]<1.2>)",
    b"GETQUOTAROOT INBOX",
    b"IDLE",
    b"NOTIFY SET STATUS (selected (MessageNew (UID BODY.PEEK[]) MessageExpunge FlagChange))"
    b" (subtree (a INBOX) (MailboxName SubscriptionChange)) (personal NONE)",
    b"NOTIFY SET (selected-delayed (MessageNew MessageExpunge))",
    b"NOTIFY NONE",
    b"MYRIGHTS INBOX",
    b"GETACL a",
    b"SETACL INBOX {3+}\r\nbob -cd",
    b"LISTRIGHTS INBOX anyone",
    b'SELECT "Other Users/bob@example.org/INBOX"',
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


APPEND_PIECES = st.lists(
    st.sampled_from(
        [
            *(b"a APPEND INBOX", b"a REPLACE 1 INBOX", b"a UID REPLACE 1:* INBOX", b" CATENATE ("),
            *(b" UTF8 (", b")", b" {1+}\r\nx", b"{1+}\r\nx", b" ~{2+}\r\n\0x", b" {0+}\r\n"),
            *(b" {9999999+}\r\n", b" {2}\r\n", b" TEXT {1+}\r\nx", b"TEXT {1+}\r\nx", b"TEXT"),
            *(b"URL ;UID=1", b" URL {6+}\r\n;UID=2", b"URL /x", b" (\\Seen)", b"(", b" ", b"{5+}\r\n"),
            *(b' "17-Jul-1996 02:44:25 -0700"', b"\r\n", b"b NOOP\r\n"),
        ]
    ),
    max_size=15,
)


@settings(max_examples=300, deadline=None)
@given(APPEND_PIECES, st.booleans(), st.integers(1, 40))
def test_H16_appends_of_any_form(pieces: list[bytes], slow: bool, step: int) -> None:
    """However an APPEND goes on, it is answered once, keeps all or nothing, and leaves nothing open."""
    data = b"".join(pieces) + b"\r\n"
    whole = run(data, "s SELECT INBOX", len(data), slow)
    assert b"[SERVERBUG]" not in whole
    assert whole == run(data, "s SELECT INBOX", step, not slow)


@settings(max_examples=100, deadline=None)
@given(st.lists(PIECES, max_size=6), st.integers(1, 300), st.integers(0, 9))
def test_the_same_under_compression(pieces: list[bytes], step: int, level: int) -> None:
    """The octets that come back, inflated, are those that come back in clear."""
    data = b"".join(pieces)
    clear = run(data, "s SELECT INBOX", len(data) or 1, False)
    if b"UNAUTHENTICATE" in data.upper():
        return
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
    answer = run(b"c COMPRESS DEFLATE\r\n" + packed, "s SELECT INBOX", step, False)
    first, _, rest = answer.partition(b"\r\n")
    assert first == b"c OK DEFLATE active"
    inflated = zlib.decompressobj(-15).decompress(rest)
    assert inflated == clear.replace(b" COMPRESS=DEFLATE", b"")
