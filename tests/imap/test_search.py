"""SEARCH: every key, nesting, charsets, texts under all encodings, large sets."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from twisted.internet.task import Clock

from mailserver.imap.grammar.command import parse_command
from mailserver.imap.grammar.cursor import BadSyntax
from tests.helpers.cost import cheaper_than
from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_session import SelectedClient

DAY = 86400
YEAR_2000 = 946684800  # 1-Jan-2000

PLAIN = b"""\
From: Smith <smith@example.org>
To: Alice <alice@example.org>
Subject: Lunch
Date: Sat, 1 Jan 2000 23:59:00 -0800
Message-ID: <1@example.org>

Meet me at noon.
"""
LATIN = b"""\
From: =?iso-8859-1?q?J=FCrgen?= <j@example.org>
To: bob@example.org
Cc: carol@example.org
Bcc: dave@example.org
Subject: =?utf-8?b?R3LDvMOfZQ==?= from
  Hamburg
Date: 2 Jan 00 10:00 +0100 (MEZ)
X-Empty:
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Stra=DFe und lange Zei=
len
"""
MIXED = b"""\
From: robot@example.org
Subject: Report
Content-Type: multipart/mixed; boundary=b

hidden preamble
--b
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

%b
--b
Content-Type: application/pdf; name="invoice.pdf"
Content-Transfer-Encoding: base64

%b
--b
Content-Type: message/rfc822

Subject: =?utf-8?q?inn=C3=A9r?=

deep text
--b--
""" % (base64.encodebytes("<p>Z&uuml;rich 東京</p>".encode()), base64.encodebytes(b"secret inside"))


@pytest.fixture
def account() -> FakeAccount:
    made = FakeAccount()
    box = made.inbox
    box.add(PLAIN, ["\\Seen", "\\Answered"], YEAR_2000 + 10)
    box.add(LATIN, ["\\Flagged", "\\Draft", "$Forwarded"], YEAR_2000 + DAY)
    box.add(MIXED, ["\\Deleted"], YEAR_2000 + 2 * DAY - 1)
    box.unclaimed.clear()
    box.add(b"Subject: none\n\n" + b"x" * 2000 + b"\n", [], YEAR_2000 + 2 * DAY)
    return made


def found(account: FakeAccount, keys: str | bytes) -> list[int]:
    raw = keys.encode() if isinstance(keys, str) else keys
    untagged, tagged = SelectedClient(account, read_only=True).told(b"SEARCH " + raw)
    assert tagged == "a OK SEARCH completed"
    assert untagged.startswith("* SEARCH")
    return [int(number) for number in untagged[8:].split()]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("ALL", [1, 2, 3, 4]),
        ("ANSWERED", [1]), ("UNANSWERED", [2, 3, 4]),
        ("DELETED", [3]), ("UNDELETED", [1, 2, 4]),
        ("DRAFT", [2]), ("UNDRAFT", [1, 3, 4]),
        ("FLAGGED", [2]), ("UNFLAGGED", [1, 3, 4]),
        ("SEEN", [1]), ("UNSEEN", [2, 3, 4]),
        ("RECENT", [4]), ("OLD", [1, 2, 3]), ("NEW", [4]),
        ("KEYWORD $forwarded", [2]), ("UNKEYWORD $Forwarded", [1, 3, 4]),
        ("KEYWORD none", []), ("UNKEYWORD none", [1, 2, 3, 4]),
        ("2:3", [2, 3]), ("*", [4]), ("3,1", [1, 3]), ("4:9", [4]), ("9", []), ("1:* 2", [2]),
        ("UID 2:*", [2, 3, 4]), ("UID 77", []),
        ("LARGER 2000", [4]), ("SMALLER 2000", [1, 2, 3]), ("LARGER 0", [1, 2, 3, 4]),
        ("BEFORE 2-Jan-2000", [1]), ("ON 2-Jan-2000", [2, 3]), ("SINCE 2-Jan-2000", [2, 3, 4]),
        ("SENTBEFORE 2-Jan-2000", [1]), ("SENTON 1-Jan-2000", [1]), ("SENTON 2-Jan-2000", [2]),
        ("SENTSINCE 1-Jan-2000", [1, 2]),
        ("FROM smith", [1]), ("FROM EXAMPLE", [1, 2, 3]), ("TO bob", [2]),
        ("CC carol", [2]), ("BCC dave", [2]),
        ("SUBJECT lunch", [1]), ('SUBJECT "from  ham"', [2]), ("SUBJECT hamburg", [2]),
        ("HEADER Message-ID 1@", [1]), ('HEADER X-Empty ""', [2]), ('HEADER Date ""', [1, 2]),
        ("HEADER X-None x", []), ('HEADER Subject ""', [1, 2, 3, 4]),
        ("BODY noon", [1]), ("BODY lunch", []), ("TEXT lunch", [1]), ("BODY Zeilen", [2]), ("BODY xx", [4]),
        ("BODY deep", [3]), ("BODY secret", []), ("BODY preamble", []), ("BODY invoice.pdf", []),
        ("TEXT invoice.pdf", [3]), ("BODY boundary", []), ("TEXT boundary", [3]),
        ('BODY ""', [1, 2, 3, 4]),
        ("NOT SEEN", [2, 3, 4]), ("NOT (SEEN)", [2, 3, 4]), ("NOT NOT SEEN", [1]),
        ("OR SEEN FLAGGED", [1, 2]), ("OR BODY noon FLAGGED", [1, 2]), ("OR (SEEN FLAGGED) DELETED", [3]),
        ("SEEN FLAGGED", []), ("(1:3 NOT 2)", [1, 3]), ("NOT OR SEEN FLAGGED UNDELETED", [4]),
        ("FLAGGED SINCE 1-Feb-1994 NOT FROM Smith", [2]),  # RFC 3501, 6.4.4
    ],
)  # fmt: skip
def test_keys(account: FakeAccount, keys: str, expected: list[int]) -> None:
    assert found(account, keys) == expected


def with_literal(keys: str, text: bytes) -> tuple[bytes, ...]:
    return (b"a SEARCH " + keys.encode(), text, b"")


@pytest.mark.parametrize(
    ("keys", "text", "expected"),
    [
        ("CHARSET UTF-8 FROM", "JÜRGEN".encode(), [2]),
        ("CHARSET ISO-8859-1 FROM", b"j\xfcr", [2]),
        ("CHARSET UTF-8 SUBJECT", "grüße".encode(), [2]),
        ("CHARSET UTF-8 SUBJECT", "GRÜßE".encode(), [2]),
        ("CHARSET UTF-8 SUBJECT", "GRÜSSE".encode(), []),  # RFC 5051 knows no special casing
        ("CHARSET utf-8 BODY", "straße".encode(), [2]),
        ("CHARSET UTF-8 BODY", "Zürich".encode(), [3]),
        ("CHARSET UTF-8 TEXT", "東京".encode(), [3]),
        ("CHARSET Shift_JIS TEXT", "東京".encode("shift_jis"), [3]),
        ("CHARSET UTF-8 TEXT", "innér".encode(), [3]),
        ("CHARSET UTF-8 TEXT", "u\u0308rich".encode(), [3]),
        ("CHARSET UTF-8 BODY", "大阪".encode(), []),
    ],
)
def test_texts_in_charsets(account: FakeAccount, keys: str, text: bytes, expected: list[int]) -> None:
    client = SelectedClient(account)
    command = parse_command(with_literal(keys + " ", text))

    assert client.run_now(command)[0].split()[2:] == [str(number) for number in expected]


@pytest.mark.parametrize("charset", ["KLINGON", "idna", '""', "unicode_escape", "base64"])
def test_H4_unknown_charset(account: FakeAccount, charset: str) -> None:
    answer = SelectedClient(account).told(f"SEARCH CHARSET {charset} TEXT x")

    assert answer == ["a NO [BADCHARSET (US-ASCII UTF-8)] Unknown charset"]


@pytest.mark.parametrize(
    "keys", ["NOT " * 1000 + "ALL", "OR ALL " * 1000 + "ALL", "(" * 1000 + "ALL" + ")" * 1000]
)
def test_H4_deep_nesting_is_bad(keys: str) -> None:
    with pytest.raises(BadSyntax):
        parse_command((b"a SEARCH " + keys.encode(),))


def test_H4_as_deep_as_the_grammar_lets_through(account: FakeAccount) -> None:
    keys = "NOT " * 40 + "SEEN"

    assert found(account, keys) == [1]


def test_H4_a_text_key_of_64_kilobytes(account: FakeAccount) -> None:
    with cheaper_than(0.5):
        assert found(account, "TEXT " + "x" * 64_000) == []


def test_H3_many_ids_over_a_sparse_mailbox() -> None:
    account = FakeAccount()
    for _ in range(3000):
        account.inbox.add(b"\n")
    account.inbox.expunge_now(*range(2, 3000, 3))
    client = SelectedClient(account)
    odd = ",".join(str(number) for number in range(1, 16_000, 2))

    with cheaper_than(1.0):
        assert client.told(f"UID SEARCH UID {odd}")[0].count(" ") == 1 + 1000
        assert client.told(f"SEARCH {odd}")[0].count(" ") == 1 + 1000
        assert client.told("SEARCH 1:4294967295")[0].count(" ") == 1 + 2000
        assert client.told(f"UID SEARCH NOT UID {odd}")[0].count(" ") == 1 + 1000


def test_uid_search_answers_uids_and_nothing_found_is_an_empty_answer(account: FakeAccount) -> None:
    account.inbox.expunge_now(1)
    client = SelectedClient(account)

    assert client.told("UID SEARCH FLAGGED") == ["* SEARCH 2", "a OK SEARCH completed"]
    assert client.told("SEARCH FLAGGED") == ["* SEARCH 1", "a OK SEARCH completed"]
    assert client.told("SEARCH ANSWERED") == ["* SEARCH", "a OK SEARCH completed"]


@pytest.mark.parametrize(
    "keys", ["TEXT e", "SUBJECT n", "SENTSINCE 1-Jan-1990", "OR BODY noon HEADER Subject n"]
)
def test_H9_messages_expunged_before_and_during_a_search(account: FakeAccount, keys: str) -> None:
    """What is gone does not match; numbers stay those of the client."""
    account.clock = Clock()
    account.inbox.at_once = False
    account.inbox.keep_header = 0
    client = SelectedClient(account)
    account.inbox.expunge_now(2)
    done: list[object] = []
    client.start(f"SEARCH {keys} NOT 4").addBoth(done.append)
    account.inbox.expunge_now(3)
    for _ in range(20):
        account.clock.advance(0)

    assert done == [None]
    assert client.wire.take() == b"* SEARCH 1\r\na OK SEARCH completed\r\n"
    assert account.open_files == 0


@pytest.mark.parametrize("command", ["SEARCH BODY nowhere", "SORT (DATE) UTF-8 BODY nowhere"])
def test_E10_a_search_that_takes_too_long_is_given_up(account: FakeAccount, command: str) -> None:
    for _ in range(20):
        account.inbox.add(b"\n" + b"some text " * 100_000 + b"\n")
    client = SelectedClient(account)
    breathe = client.wire.breathe

    def slowly() -> Any:
        client.wire.time += 50
        return breathe()

    client.wire.breathe = slowly  # type: ignore[method-assign]
    assert client.told(command) == ["a NO [LIMIT] The search takes too long"]
    assert client.wire.breaths == 3
    assert account.open_files == 0


def test_a_search_of_texts_rests_so_that_others_get_their_turn(account: FakeAccount) -> None:
    for _ in range(20):
        account.inbox.add(b"\n" + b"some text " * 100_000 + b"\n")
    client = SelectedClient(account)

    assert client.told("SEARCH BODY nowhere")[0] == "* SEARCH"
    assert client.wire.breaths >= 10


def test_what_the_index_knows_is_not_read(account: FakeAccount) -> None:
    inbox = account.inbox
    for number in range(300):
        inbox.add(b"Subject: x\n\nfruit %d is %b\n" % (number, b"ripe" if number % 3 else b"sour"))
    inbox.in_index = set(inbox.uids[:-2])
    client = SelectedClient(account)
    first = len(inbox.uids) - 299

    ripe = [first + number for number in range(300) if number % 3]
    assert client.told("SEARCH BODY ripe")[0] == "* SEARCH " + " ".join(map(str, ripe))
    assert inbox.read == list(inbox.uids[-2:])
    assert client.told(f"SEARCH {first}:{first + 5} BODY ripe")[0].count(" ") == 1 + 4


def test_E10_a_search_of_a_bomb(account: FakeAccount) -> None:
    words = b" ".join([b"=?utf-8?q?x=C3=BC?="] * 20_000)
    account.inbox.add(b"Subject: " + words + b"\n\nx\n")
    account.inbox.add(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 20_000)
    account.inbox.add(b"Content-Type: message/rfc822\n\n" * 1_000 + b"x\n")
    client = SelectedClient(account)

    with cheaper_than(2.0):
        assert client.told("SEARCH TEXT nowhere")[0] == "* SEARCH"
        assert client.told("SEARCH SUBJECT nowhere")[0] == "* SEARCH"
