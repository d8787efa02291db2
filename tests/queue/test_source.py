"""Bodies of the queue, read by those who deliver them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.errors import TemporaryFailure
from mailserver.interfaces import Envelope, Peer
from mailserver.queue.files import Poison
from mailserver.queue.source import SLICE, JobSource, QueuedBody
from mailserver.queue.values import Job, Place, QueuedMessage
from tests.helpers.store import now

TEXT = b"Subject: large\n\n" + b"0123456789abcde\n" * 40_000


class Pool:
    """A thread pool that is done at once, unless `held`."""

    def __init__(self) -> None:
        self.held = False
        self.waiting: list[Callable[[], None]] = []

    def callInThreadWithCallback(self, told: Any, function: Any, *args: Any) -> None:
        def run() -> None:
            try:
                result = function(*args)
            except Exception as error:
                told(False, Failure(error))
            else:
                told(True, result)

        self.waiting.append(run)
        if not self.held:
            self.go_on()

    def go_on(self) -> None:
        while self.waiting:
            self.waiting.pop()()


@frozen
class Reactor:
    pool: Pool

    def getThreadPool(self) -> Pool:
        return self.pool

    def callFromThread(self, function: Any, *args: Any) -> None:
        function(*args)


@pytest.fixture
def reactor() -> Reactor:
    return Reactor(Pool())


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A message with a file of its own."""
    path = tmp_path / "1"
    path.write_bytes(TEXT)
    place = Place("1", 0, len(TEXT), len(TEXT) + TEXT.count(b"\n"), False, zlib.crc32(TEXT))
    message = QueuedMessage(1, Envelope("id", "a@b.example", (), Peer("192.0.2.1")), place)
    return Job(message, (), TEXT[:100], None, str(path))


def read_all(source: JobSource) -> bytes:
    slices = []
    while data := now(source.read()):
        assert len(data) <= SLICE
        slices.append(data)
    return b"".join(slices)


def test_a_large_message_in_slices(job: Job, reactor: Reactor) -> None:
    source = JobSource(job, reactor)
    assert source.whole is None
    assert read_all(source) == TEXT
    source.close()


@pytest.mark.parametrize("content", [TEXT[:-1], TEXT[:-1] + b"x", b"", TEXT[:SLICE]])
def test_a_content_that_is_not_what_was_written_never_comes_to_its_end(
    job: Job, reactor: Reactor, content: bytes
) -> None:
    Path(job.path).write_bytes(content)
    source = JobSource(job, reactor)
    with pytest.raises(Poison):
        read_all(source)
    source.close()


def test_closing_waits_for_the_read_that_is_under_way(job: Job, reactor: Reactor) -> None:
    source = JobSource(job, reactor)
    reactor.pool.held = True
    reading: Deferred[bytes] = source.read()
    source.close()
    reactor.pool.go_on()
    assert now(reading) == TEXT[:SLICE]
    reactor.pool.held = False
    with pytest.raises(OSError, match="Bad file descriptor"):
        now(source.read())


def test_a_small_message_is_at_hand(job: Job, reactor: Reactor) -> None:
    small = evolve(job, whole=b"a: b\n\n")
    assert JobSource(small, reactor).whole == b"a: b\n\n"
    body = QueuedBody(small)
    assert body.path is None
    assert b"".join(body.chunks()) == b"a: b\n\n"


def test_local_delivery_reads_the_file(job: Job) -> None:
    body = QueuedBody(job)
    assert (body.path, body.size) == (job.path, len(TEXT))
    assert b"".join(body.chunks()) == TEXT
    assert body.head(8) == b"Subject:"
    body.discard()
    assert Path(job.path).exists()


def test_local_delivery_of_a_file_that_was_cut_off(job: Job) -> None:
    Path(job.path).write_bytes(TEXT[:-1])
    with pytest.raises(TemporaryFailure):
        b"".join(QueuedBody(job).chunks())
    Path(job.path).unlink()
    with pytest.raises(TemporaryFailure):
        b"".join(QueuedBody(job).chunks())
