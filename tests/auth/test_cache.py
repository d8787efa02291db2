"""Remembered log-ins."""

from __future__ import annotations

from twisted.internet.task import Clock

from mailserver.auth.cache import SuccessCache


def make(seconds: float = 300.0, limit: int = 10) -> tuple[SuccessCache, Clock]:
    clock = Clock()
    return SuccessCache(clock.seconds, lambda: seconds, limit), clock


def test_an_entry_lives_for_its_time() -> None:
    cache, clock = make()
    tag = cache.tag(b"alice", b"hash", b"secret")
    assert tag not in cache
    cache.add(tag)
    clock.advance(299)
    assert tag in cache
    clock.advance(1)
    assert tag not in cache


def test_D13_the_stored_hash_is_part_of_the_entry() -> None:
    cache, _ = make()
    cache.add(cache.tag(b"alice", b"hash", b"secret"))
    assert cache.tag(b"alice", b"other", b"secret") not in cache
    assert cache.tag(b"bob", b"hash", b"secret") not in cache


def test_parts_cannot_be_cut_another_way() -> None:
    cache, _ = make()
    assert cache.tag(b"ab", b"c") != cache.tag(b"a", b"bc")


def test_the_key_belongs_to_the_process() -> None:
    assert make()[0].tag(b"alice") != make()[0].tag(b"alice")


def test_it_is_bounded() -> None:
    cache, _ = make(limit=10)
    tags = [cache.tag(b"%d" % number) for number in range(25)]
    for tag in tags:
        cache.add(tag)
    assert len(cache) == 10
    assert tags[-1] in cache
    assert tags[0] not in cache


def test_old_entries_go() -> None:
    cache, clock = make()
    for number in range(5):
        cache.add(cache.tag(b"%d" % number))
    clock.advance(301)
    cache.add(cache.tag(b"new"))
    assert len(cache) == 1


def test_it_can_be_off() -> None:
    cache, _ = make(seconds=0)
    cache.add(cache.tag(b"alice"))
    assert len(cache) == 0
