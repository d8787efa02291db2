"""Commands to values: the examples of RFC 3501, and what must not be taken for a command."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.errors import CannotName, MailError
from mailserver.imap import commands as c
from mailserver.imap.grammar.command import begin_append, parse_command, parse_tag
from mailserver.imap.grammar.cursor import BadSyntax
from mailserver.imap.values import (
    FetchItem,
    SearchAll,
    SearchAnd,
    SearchDate,
    SearchFlag,
    SearchHeader,
    SearchNot,
    SearchOr,
    SearchSet,
    SearchSize,
    SearchText,
    Section,
    SequenceSet,
)
from mailserver.interfaces import StoreMode


def parse(line: str | bytes, *more: bytes) -> c.Command:
    return parse_command((line.encode() if isinstance(line, str) else line, *more))


def numbers(*ranges: tuple[int | None, int | None]) -> SequenceSet:
    return SequenceSet(ranges)


def body(text: str = "", *part: int, fields: tuple[bytes, ...] = (), peek: bool = False) -> FetchItem:
    return FetchItem("BODY[]", Section(part, text, fields), None, peek)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("a CAPABILITY", c.Capability(b"a")),
        ("a1.x/] noop", c.Noop(b"a1.x/]")),
        ("a ID NIL", c.Id(b"a", None)),
        ("a id ()", c.Id(b"a", ())),
        ('a ID ("name" "x\\"y" "os" nil)', c.Id(b"a", ((b"name", b'x"y'), (b"os", None)))),
        ("a LOGIN SMITH SESAME", c.Login(b"a", b"SMITH", b"SESAME")),
        ('a LOGIN "a b" ""', c.Login(b"a", b"a b", b"")),
        ("a LOGIN a] p]", c.Login(b"a", b"a]", b"p]")),
        ("a AUTHENTICATE PLAIN", c.Authenticate(b"a", "PLAIN")),
        ("a AUTHENTICATE plain =", c.Authenticate(b"a", "PLAIN", b"")),
        ("a AUTHENTICATE SCRAM-SHA-256 YWI=", c.Authenticate(b"a", "SCRAM-SHA-256", b"ab")),
        ("a ENABLE condstore X", c.Enable(b"a", ("CONDSTORE", "X"))),
        ("a SELECT inbox", c.Select(b"a", "INBOX")),
        ("a EXAMINE blurdybloop", c.Examine(b"a", "blurdybloop")),
        ('a CREATE "&U,BTFw-"', c.Create(b"a", "台北")),
        ("a RENAME Inbox/a b", c.Rename(b"a", "INBOX/a", "b")),
        ('a LIST "" *', c.List(b"a", "", "*")),
        ('a LIST ~/Mail/ "%"', c.List(b"a", "~/Mail/", "%")),
        ("a LSUB #news. comp.*]", c.Lsub(b"a", "#news.", "comp.*]")),
        ("a STATUS x (UIDNEXT messages)", c.Status(b"a", "x", ("UIDNEXT", "MESSAGES"))),
        ('a GETQUOTA ""', c.GetQuota(b"a", "")),
        ("a SETQUOTA x (STORAGE 512)", c.SetQuota(b"a", "x", (("STORAGE", 512),))),
        ("a SETQUOTA x ()", c.SetQuota(b"a", "x", ())),
        ("a IDLE", c.Idle(b"a")),
        ("a EXPUNGE", c.Expunge(b"a")),
        ("a UID EXPUNGE 3000:3002", c.Expunge(b"a", numbers((3000, 3002)))),
        ("a COPY 2:4 MEETING", c.Copy(b"a", numbers((2, 4)), "MEETING")),
        ("a uid move 42:* foo", c.Move(b"a", numbers((42, None)), "foo", True)),
        (
            "a STORE 2:4 +FLAGS (\\deleted $x)",
            c.Store(b"a", numbers((2, 4)), StoreMode.ADD, ("\\Deleted", "$x")),
        ),
        (
            "a UID STORE 1 -flags.silent \\Seen x",
            c.Store(b"a", numbers((1, 1)), StoreMode.REMOVE, ("\\Seen", "x"), True, True),
        ),
        ("a STORE * FLAGS ()", c.Store(b"a", numbers((None, None)), StoreMode.REPLACE, ())),
        ("a STORE 1 FLAGS (\\Recent a)", c.Store(b"a", numbers((1, 1)), StoreMode.REPLACE, ("a",))),
    ],
)
def test_commands(line: str, command: c.Command) -> None:
    assert parse(line) == command


ALL = ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE")


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("ALL", tuple(map(FetchItem, ALL))),
        ("fast", tuple(map(FetchItem, ALL[:3]))),
        ("FULL", tuple(map(FetchItem, (*ALL, "BODY")))),
        ("(FLAGS flags UID)", (FetchItem("FLAGS"), FetchItem("UID"))),
        ("RFC822", (FetchItem("RFC822", peek=False),)),
        ("(RFC822.TEXT RFC822.HEADER)", (FetchItem("RFC822.TEXT", peek=False), FetchItem("RFC822.HEADER"))),
        ("BODY[]", (body(),)),
        ("BODY.PEEK[]", (body(peek=True),)),
        ("BODY[4.2.2.1]", (body("", 4, 2, 2, 1),)),
        ("BODY[1.mime]", (body("MIME", 1),)),
        ("BODY[4.2.HEADER]", (body("HEADER", 4, 2),)),
        ("BODY[TEXT]<5.10>", (FetchItem("BODY[]", Section((), "TEXT"), (5, 10), False),)),
        (
            '(FLAGS BODY[HEADER.FIELDS (DATE "FROM")])',
            (FetchItem("FLAGS"), body("HEADER.FIELDS", fields=(b"DATE", b"FROM"))),
        ),
        (
            "BODY.PEEK[1.HEADER.FIELDS.NOT (X)]",
            (body("HEADER.FIELDS.NOT", 1, fields=(b"X",), peek=True),),
        ),
    ],
)
def test_fetch_items(items: str, expected: tuple[FetchItem, ...]) -> None:
    assert parse(f"a FETCH 2:4 {items}") == c.Fetch(b"a", numbers((2, 4)), expected)


def test_uid_fetch_asks_for_the_uid() -> None:
    """RFC 3501, 6.4.8"""
    assert parse("a UID FETCH 1 FLAGS") == c.Fetch(b"a", numbers((1, 1)), (FetchItem("FLAGS"),), True)


def test_header_fields_by_literal() -> None:
    command = parse(b"a FETCH 1 BODY[HEADER.FIELDS (", b"Subject", b" To)]")
    assert command == c.Fetch(b"a", numbers((1, 1)), (body("HEADER.FIELDS", fields=(b"Subject", b"To")),))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("ALL", SearchAll()),
        (
            'FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith"',
            SearchAnd(
                (
                    SearchFlag("\\Flagged"),
                    SearchDate("SINCE", date(1994, 2, 1)),
                    SearchNot(SearchHeader("FROM", "Smith")),
                )
            ),
        ),
        ('SENTON "01-jan-2000"', SearchDate("ON", date(2000, 1, 1), sent=True)),
        ("NEW", SearchAnd((SearchFlag("\\Recent"), SearchFlag("\\Seen", False)))),
        ("OLD", SearchFlag("\\Recent", False)),
        ("UNKEYWORD $x", SearchFlag("$x", False)),
        ("OR SEEN (DRAFT 1,3:*)", SearchOr(
            SearchFlag("\\Seen"),
            SearchAnd((SearchFlag("\\Draft"), SearchSet(numbers((1, 1), (3, None)), uid=False))),
        )),
        ("UID 5:7", SearchSet(numbers((5, 7)), uid=True)),
        ("LARGER 1000", SearchSize(1000, larger=True)),
        ("SMALLER 1", SearchSize(1, larger=False)),
        ("BODY x", SearchText("x", header=False)),
        ('TEXT "x y"', SearchText("x y", header=True)),
        ('HEADER message-id ""', SearchHeader("MESSAGE-ID", "")),
    ],
)  # fmt: skip
def test_search_keys(keys: str, expected: object) -> None:
    assert parse(f"a SEARCH {keys}") == c.Search(b"a", expected)  # type: ignore[arg-type]


def test_search_charset() -> None:
    assert parse(b"a UID SEARCH CHARSET UTF-8 SUBJECT ", "größe".encode(), b"") == c.Search(
        b"a", SearchHeader("SUBJECT", "größe"), "UTF-8", True
    )
    assert parse(b"a SEARCH CHARSET iso-8859-1 TEXT ", b"\xfc", b"") == c.Search(
        b"a", SearchText("ü", True), "ISO-8859-1"
    )


@pytest.mark.parametrize(
    "keys",
    ["NOT " * 1000 + "ALL", "OR ALL " * 1000 + "ALL", "(" * 1000 + "ALL" + ")" * 1000, "(NOT " * 60 + "ALL"],
)
def test_H2_H4_nesting_is_bounded(keys: str) -> None:
    with pytest.raises(BadSyntax, match="deep"):
        parse(f"a SEARCH {keys}")


def test_H4_fifty_levels_and_thousands_of_keys_are_fine() -> None:
    parse("a SEARCH " + "NOT " * 50 + "ALL")
    parse("a SEARCH " + " ".join(["SEEN"] * 8000))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"a",
        b"a ",
        b" NOOP",
        b"a  NOOP",
        b"a NOOP ",
        b"a NOOP x",
        b"a NOOP\n",
        b"a N\xd6\xd6P",
        b"a LOGIN x",
        b"a LOGIN x y z",
        b"a LOGIN (x) y",
        b"a SELECT",
        b"a SELECT a b",
        b'a SELECT "a',
        b'a SELECT "a"b',
        b"a STATUS x ()",
        b"a STATUS x (BOGUS)",
        b"a STATUS x MESSAGES",
        b"a FETCH 1 ()",
        b"a FETCH 1 BOGUS",
        b"a FETCH 1 (ALL)",
        b"a FETCH 1 BODY[",
        b"a FETCH 1 BODY[MIME]",
        b"a FETCH 1 BODY[0]",
        b"a FETCH 1 BODY[1.]",
        b"a FETCH 1 BODY[HEADER.FIELDS ()]",
        b"a FETCH 1 BODY[HEADER.FIELDS (a:b)]",
        b"a FETCH 1 BODY[]<5>",
        b"a FETCH 1 BODY[]<0.0>",
        b"a FETCH 0 FLAGS",
        b"a FETCH 1: FLAGS",
        b"a FETCH 1,,2 FLAGS",
        b"a FETCH 4294967296 FLAGS",
        b"a FETCH 1:99999999999999999999 FLAGS",
        b"a STORE 1 FLAGS",
        b"a STORE 1 FLAGS (\\Bogus)",
        b"a STORE 1 XFLAGS (a)",
        b"a STORE 1 FLAGS (" + b"k" * 200 + b")",
        b"a SEARCH",
        b"a SEARCH ()",
        b"a SEARCH BOGUS",
        b"a SEARCH ON 31-Feb-2000",
        b"a SEARCH ON 1-Foo-2000",
        b"a SEARCH NOT",
        b"a SEARCH OR ALL",
        b"a UID NOOP",
        b"a UID",
        b"a ID x",
        b'a ID ("a")',
        b'a ID ("a" "' + b"x" * 1025 + b'")',
        b"a IDLE x",
        b"a AUTHENTICATE PLAIN !",
        b"a CREATE x (USE (Sent))",
        b"a CREATE x (USE \\Sent)",
        b"a CREATE x (SIZE (1))",
        b"a CREATE x ()",
        b'a LIST (RECURSIVEMATCH) "" *',
        b'a LIST (REMOTE RECURSIVEMATCH) "" *',
        b'a LIST (BOGUS) "" *',
        b'a LIST (SUBSCRIBED)"" *',
        b'a LIST "" ()',
        b'a LIST "" * RETURN (REMOTE)',
        b'a LIST "" * RETURN CHILDREN',
        b'a LIST "" * RETURN (STATUS)',
        b'a LIST "" * RETURN (STATUS (BOGUS))',
        b'a LIST "" * CHILDREN (CHILDREN)',
    ],
)
def test_bad_syntax(line: bytes) -> None:
    with pytest.raises(BadSyntax):
        parse(line)


@pytest.mark.parametrize(
    "argument",
    [b'"a\0b"', b'"a\rb"', b'"a\nb"', b'"a\\"', b'"a\\b"', b'"\xff"', b'"\xc3"', b'"', b"\xc3\xa4"],
)
def test_H8_quoted_strings_that_are_none(argument: bytes) -> None:
    with pytest.raises(BadSyntax):
        parse(b"a LOGIN " + argument + b" x")


def test_H8_escapes() -> None:
    assert parse(b'a LOGIN "a\\"b\\\\" x') == c.Login(b"a", b'a"b\\', b"x")


def test_H8_nul_in_a_literal() -> None:
    with pytest.raises(BadSyntax):
        parse(b"a LOGIN ", b"a\0b", b" x")


@pytest.mark.parametrize(
    "line",
    [b"a\rb", b"a\nb", b"a\0b", b"a+b", b"+", b"*", b"%", b'a"b', b"x" * 1024, b"\xe4", b"(a", b"a{", b""],
)
def test_H7_tags_that_are_none(line: bytes) -> None:
    line += b" NOOP"
    assert parse_tag(line) is None
    with pytest.raises(BadSyntax):
        parse(line)


def test_I3_name_that_is_no_modified_utf7() -> None:
    with pytest.raises(CannotName):
        parse("a SELECT &AGE-")


@pytest.mark.parametrize("position", range(4))
def test_H22_literal_in_every_position(position: int) -> None:
    arguments = [b"A", b"B", b"A/", b"x*"]
    lines = {0: b"a LOGIN ", 1: b"a LOGIN x ", 2: b"a LIST ", 3: b'a LIST "" '}
    tails = {0: b" p", 1: b"", 2: b" *", 3: b""}
    parse(lines[position], arguments[position], tails[position])


def test_append_is_read_as_it_comes() -> None:
    appending = begin_append((b'a APPEND x (\\Seen) " 7-Feb-1994 21:52:25 -0800" ',))
    assert appending is not None
    begin = c.Begin(frozenset({"\\Seen"}), 760686745.0)
    assert appending.announced((), 10) == (begin, c.Octets(10))
    assert appending.announced((b" CATENATE (URL a TEXT ",), 5) == (
        c.Begin(frozenset(), None),
        c.Url(b"a"),
        c.Octets(5, part=True),
    )
    assert appending.announced((b" URL ",), 1) is None
    assert appending.announced((b" URL ", b"b", b" TEXT "), 2) == (c.Url(b"b"), c.Octets(2, part=True))
    assert appending.ended((b" URL c)",)) == (c.Url(b"c"),)
    assert appending.command == c.Append(b"a", "x", frozenset({"MULTIAPPEND", "CATENATE"}))


def test_what_begins_an_append() -> None:
    for text in (b"a APPEND ", b"a LOGIN x ", b"a UID FETCH 1 ", b"a REPLACE 1,2 x "):
        assert begin_append((text,)) is None
    replace = begin_append((b"a UID REPLACE 7 ", b"x", b" "))
    assert replace is not None
    assert replace.command == c.Replace(b"a", "x", numbers=SequenceSet(((7, 7),)), uid=True)


def test_H16_literals_without_end_are_bounded() -> None:
    appending = begin_append((b"a APPEND x ",))
    assert appending is not None
    appending.announced((), 1)
    with pytest.raises(BadSyntax):
        appending.announced((b" CATENATE (URL ", *[b"x", b" URL "] * 101), 1)


# --- sequence sets ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranges", "largest", "expected"),
    [
        ("1", 9, [(1, 1)]),
        ("*", 9, [(9, 9)]),
        ("*", 0, []),
        ("1:*", 0, [(1, 1)]),
        ("4:2", 9, [(2, 4)]),
        ("*:1", 9, [(1, 9)]),
        ("559:*", 9, [(9, 559)]),
        ("3,1,2", 9, [(1, 3)]),
        ("1:4,3:6,9", 9, [(1, 6), (9, 9)]),
        ("1:4294967295", 9, [(1, 4294967295)]),
    ],
)
def test_H3_sets_resolve_to_ranges(ranges: str, largest: int, expected: list[tuple[int, int]]) -> None:
    command = parse(f"a FETCH {ranges} FLAGS")
    assert isinstance(command, c.Fetch)
    assert command.numbers.resolve(largest) == expected


def test_H3_a_set_of_64_kb() -> None:
    command = parse("a FETCH " + ",".join(str(n) for n in range(1, 26000, 2)) + " FLAGS")
    assert isinstance(command, c.Fetch)
    assert len(command.numbers.resolve(100)) == 13000


BOUND = st.one_of(st.none(), st.integers(1, 12))


@given(st.lists(st.tuples(BOUND, BOUND), min_size=1, max_size=6), st.integers(1, 10))
def test_H3_resolve_is_the_same_as_counting(
    ranges: list[tuple[int | None, int | None]], largest: int
) -> None:
    expected = set()
    for first, last in ranges:
        low, high = sorted((first or largest, last or largest))
        expected.update(range(low, high + 1))
    resolved = SequenceSet(tuple(ranges)).resolve(largest)
    assert {n for low, high in resolved for n in range(low, high + 1)} == expected
    assert all(a[1] + 1 < b[0] for a, b in pairwise(resolved))


# --- nothing makes it raise ------------------------------------------------------------------------

TOKENS = b"""a LOGIN FETCH UID SEARCH STORE APPEND LIST ID
NOT OR ( ) () [ ] BODY[ BODY.PEEK[HEADER.FIELDS < > .
1:* * % 1 4294967295 \\Seen FLAGS +FLAGS.SILENT " "" "x" NIL CHARSET UTF-8 1-Jan-2000 & &- INBOX"""
WORDS = st.sampled_from([*TOKENS.split(), b" ", b"\r", b"\n", b"\0", b"\xff", b"{", b"}"])
LINES = st.one_of(
    st.binary(max_size=60), st.lists(WORDS, max_size=12).map(b" ".join), st.lists(WORDS).map(b"".join)
)
NAMES = st.sampled_from(
    [name.encode() + b" " for name in ("LOGIN", "FETCH 1", "SEARCH", "LIST", "STORE 1", "ID")]
)


@given(
    st.lists(LINES, min_size=1, max_size=5).filter(lambda parts: len(parts) % 2 == 1), NAMES, st.booleans()
)
def test_H2_K6_no_command_raises_anything_else(parts: list[bytes], name: bytes, prefixed: bool) -> None:
    if prefixed:
        parts[0] = b"a " + name + parts[0]
    try:
        command = parse_command(tuple(parts))
    except (BadSyntax, MailError):
        return
    assert parse_tag(parts[0]) == command.tag
