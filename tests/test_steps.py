"""Coroutines that run in place as far as they need not wait."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from mailserver.steps import run


class Recorder:
    def __init__(self) -> None:
        self.told: list[Failure | None] = []
        self.seen: list[object] = []

    def done(self, failure: Failure | None) -> None:
        self.told.append(failure)


def test_what_waits_for_nothing_is_done_at_once() -> None:
    recorder = Recorder()

    async def steps() -> None:
        recorder.seen.append(await succeed(1))
        recorder.seen.append(await succeed(2))

    run(steps(), recorder.done)
    assert recorder.seen == [1, 2]
    assert recorder.told == [None]


def test_what_waits_goes_on_with_what_it_waited_for() -> None:
    recorder = Recorder()
    first: Deferred[str] = Deferred()
    second: Deferred[str] = Deferred()

    async def steps() -> None:
        recorder.seen.append(await succeed("now"))
        recorder.seen.append(await first)
        try:
            await second
        except ValueError as error:
            recorder.seen.append(str(error))

    run(steps(), recorder.done)
    assert recorder.seen == ["now"] and not recorder.told
    first.callback("then")
    assert recorder.seen == ["now", "then"] and not recorder.told
    second.errback(ValueError("at last"))
    assert recorder.seen == ["now", "then", "at last"]
    assert recorder.told == [None]


@pytest.mark.parametrize("waits", [False, True])
def test_what_goes_wrong_is_told(waits: bool) -> None:
    recorder = Recorder()
    waiting: Deferred[None] = Deferred()

    async def steps() -> None:
        if waits:
            await waiting
        raise LookupError("lost")

    run(steps(), recorder.done)
    if waits:
        assert not recorder.told
        waiting.callback(None)
    (failure,) = recorder.told
    assert failure is not None and failure.check(LookupError)


def test_what_nobody_caught_of_what_was_waited_for_is_told() -> None:
    recorder = Recorder()
    waiting: Deferred[None] = Deferred()

    async def steps() -> None:
        await waiting

    run(steps(), recorder.done)
    waiting.errback(KeyError("k"))
    (failure,) = recorder.told
    assert failure is not None and failure.check(KeyError)
