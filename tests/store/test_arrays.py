"""The arrays of a mailbox in memory."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from mailserver.interfaces import Flag
from mailserver.store.arrays import Arrays
from mailserver.store.index.rows import Row

_UIDS = st.lists(st.integers(1, 40), min_size=1, max_size=12, unique=True).map(sorted)


def _rows(first: int, flags: Sequence[int]) -> list[Row]:
    return [
        Row(uid, bits, modseq=1, date=0, wire=10, dirty=0, name=f"cur/{uid}", saved=0)
        for uid, bits in enumerate(flags, first)
    ]


def _by_loop(arrays: Arrays) -> int:
    return next((n for n, bits in enumerate(arrays.flags, 1) if not bits & Flag.SEEN), 0)


@given(
    st.lists(st.sampled_from([0, 8, 9, 64, 72]), max_size=30),
    st.lists(
        st.one_of(
            st.tuples(st.just("flags"), _UIDS, st.sampled_from([0, 8, 72])),
            st.tuples(st.just("gone"), _UIDS, st.just(0)),
            st.tuples(st.just("new"), st.just([]), st.sampled_from([0, 8])),
        ),
        max_size=12,
    ),
)
def test_the_first_unseen_message_is_what_a_loop_finds(
    flags: list[int], steps: list[tuple[str, list[int], int]]
) -> None:
    arrays = Arrays()
    last = 0
    for what, uids, bits in [("flags", [1], 8), *steps]:
        if not last and flags:
            last = arrays.add(_rows(1, flags))
        elif what == "flags":
            arrays.set_flags([(uid, bits) for uid in uids], 2)
        elif what == "gone":
            arrays.take_out(uids)
        else:
            last += arrays.add(_rows(last + 1, [bits]))
        assert arrays.first_unseen() == _by_loop(arrays)


def test_the_first_unseen_message_is_found_behind_thousands() -> None:
    arrays = Arrays()
    arrays.add(_rows(1, [8] * 5000))
    assert arrays.first_unseen() == 0
    arrays.add(_rows(5001, [8, 0]))
    assert arrays.first_unseen() == 5002
    arrays.take_out(list(range(1, 5000)))
    assert arrays.first_unseen() == 3
    arrays.set_flags([(5000, 0)], 2)
    assert arrays.first_unseen() == 1
