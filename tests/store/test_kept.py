"""What is kept in memory of rendered items."""

from __future__ import annotations

from mailserver.store.kept import Kept


def test_an_item_that_is_too_large_keeps_its_beginning_and_leaves_others_alone() -> None:
    kept = Kept(10_000)
    kept.put(1, "ENVELOPE", [1], [b"e" * 100])
    for start in range(1, 101, 10):
        kept.put(1, "BODYSTRUCTURE", range(start, start + 10), [b"x" * 50] * 10)
    assert kept.get(1, "ENVELOPE", [1]) == [b"e" * 100]
    assert kept.get(1, "BODYSTRUCTURE", [1, 2]) == [b"x" * 50] * 2
    assert kept.get(1, "BODYSTRUCTURE", [99]) is None


def test_what_was_not_used_for_long_goes_first() -> None:
    kept = Kept(3_000)
    for mailbox in (1, 2):
        kept.put(mailbox, "ENVELOPE", [1], [b"x" * 1_000])
    kept.get(1, "ENVELOPE", [1])
    kept.put(3, "ENVELOPE", [1], [b"x" * 1_000])
    assert [kept.get(mailbox, "ENVELOPE", [1]) is not None for mailbox in (1, 2, 3)] == [True, False, True]


def test_messages_that_are_gone_make_room_for_others() -> None:
    """However long a mailbox stays open, with mail that comes and goes."""
    kept = Kept(10_000)
    for uid in range(1, 1_001):
        kept.put(1, "ENVELOPE", [uid], [b"x" * 500])
        assert kept.get(1, "ENVELOPE", [uid]) == [b"x" * 500]
        kept.forget(1, [uid])
        assert kept.get(1, "ENVELOPE", [uid]) is None
