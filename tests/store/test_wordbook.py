"""A book of words: what was put in is found, and comes out again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.store.fulltext.wordbook import Book, BookDamaged, Lists, lists_of, make

WORDS = st.sets(st.sampled_from([b"a", b"ab", b"abc", b"b", b"ba", "\u00e9".encode()]), max_size=5)
MESSAGES = st.lists(st.tuples(WORDS, WORDS), max_size=8)


def joined(words: set[bytes]) -> bytes:
    return b"\n%b\n" % b"\n".join(sorted(words)) if words else b""


@given(MESSAGES, st.sampled_from([b"a", b"\na", b"b\n", b"\nab\n", b"abc", b"x", "\u00e9".encode()]))
def test_what_is_in_the_words_is_found(messages: list[tuple[set[bytes], set[bytes]]], wanted: bytes) -> None:
    lists = [(joined(header), joined(body)) for header, body in messages]
    book = make(lists)
    found = Lists(book.lists, len(book.text)).finding(book.text, wanted)
    every = [words for both in lists for words in both]
    assert found == {number for number, words in enumerate(every) if wanted in words}


@given(MESSAGES)
def test_a_book_gives_back_what_it_was_made_of(messages: list[tuple[set[bytes], set[bytes]]]) -> None:
    book = make([(joined(header), joined(body)) for header, body in messages])
    again = [(set(header.split()), set(body.split())) for header, body in lists_of(book, len(messages))]
    assert again == messages
    assert make(lists_of(book, len(messages))) == make(lists_of(book, len(messages)))


@given(st.binary(max_size=40), st.integers(0, 20))
def test_damage_is_noticed(lists: bytes, length: int) -> None:
    try:
        Lists(lists, length)
        lists_of(Book(b"\nx" * length, lists), 1)
    except BookDamaged:
        pass


def test_a_cut_book_is_damaged() -> None:
    book = make([(b"\na\n", b"\nb\n")])
    with pytest.raises(BookDamaged):
        Lists(book.lists[:-2], len(book.text))
