"""Batches, and failures that stay where they happened."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial import unittest

from mailserver.disk import durable
from mailserver.disk.group_commit import Committing, Crew, GroupWriter, _Submission, run_batch
from mailserver.disk.threads import Inbox
from mailserver.errors import Busy, NoSpace, ServiceUnavailable, TemporaryFailure
from tests.helpers.threads import ImmediateWriter, immediate_inbox


@define(eq=False)
class FolderPlace:
    """Parts are (source, target): renamed, the folder synced."""

    path: Path
    commits: list[int] = field(factory=list)

    @property
    def order(self) -> str:
        return str(self.path)

    def commit(self, parts: Sequence[Any]) -> Committing:
        self.commits.append(len(parts))
        outcomes: list[Exception | None] = []
        for source, target in parts:
            try:
                durable.rename_noreplace(source, target)
                outcomes.append(None)
            except TemporaryFailure as error:
                outcomes.append(error)
        synced = yield [str(self.path)]
        return [outcome or synced[str(self.path)] for outcome in outcomes]


@define(eq=False)
class FileJob:
    place: FolderPlace
    name: str
    broken: str = ""

    def write(self) -> Sequence[int]:
        if self.broken == "write":
            raise OSError(28, "full")
        return (durable.write_new(self._tmp, (b"x",)),)

    @property
    def _tmp(self) -> str:
        return str(self.place.path / f"tmp-{self.name}")

    def parts(self) -> Sequence[tuple[FolderPlace, Any]]:
        if self.broken == "parts":
            raise RuntimeError("parts")
        return ((self.place, (self._tmp, str(self.place.path / self.name))),)

    def finish(self, outcomes: Sequence[Exception | None]) -> str:
        durable.unlink(self._tmp)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        return self.name

    def abandon(self) -> None:
        durable.unlink(self._tmp)


class GroupWriterTests(unittest.TestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.mkdir()
        self.place = FolderPlace(self.path)
        self.patch(durable, "calls", durable.Calls())

    async def test_many_jobs_few_commits(self) -> None:
        writer = GroupWriter(Inbox(reactor), helpers=2)  # type: ignore[arg-type]
        jobs = [writer.submit(FileJob(self.place, f"m{n}")) for n in range(40)]
        writer.start()
        assert await gatherResults(jobs) == [f"m{n}" for n in range(40)]
        assert self.place.commits == [40]
        await writer.stop()
        await self.assertFailure(writer.submit(FileJob(self.place, "late")), ServiceUnavailable)

    def test_bounded(self) -> None:
        writer = GroupWriter(Inbox(reactor), limit=1)  # type: ignore[arg-type]
        self.addCleanup(writer.stop)
        writer.submit(FileJob(self.place, "a"))
        self.failureResultOf(writer.submit(FileJob(self.place, "b")), Busy)

    async def test_F15_a_disk_that_hangs_costs_no_threads_and_no_answer_is_given_early(self) -> None:
        """What comes meanwhile waits, up to a bound, and is taken when the disk is back."""
        stuck, back = threading.Event(), threading.Event()
        fsync = durable.calls.fsync

        def hanging(fd: int) -> None:
            stuck.set()
            assert back.wait(60)
            fsync(fd)

        self.patch(durable.calls, "fsync", hanging)
        writer = GroupWriter(Inbox(reactor), helpers=2, limit=20)  # type: ignore[arg-type]
        writer.start()
        jobs = [writer.submit(FileJob(self.place, "m0"))]
        try:
            await deferToThread(stuck.wait, 60)
            threads = threading.active_count()
            jobs += [writer.submit(FileJob(self.place, f"m{n}")) for n in range(1, 20)]
            await self.assertFailure(writer.submit(FileJob(self.place, "m20")), Busy)
            await deferLater(reactor, 0.05)  # type: ignore[arg-type]
            assert threading.active_count() == threads
            assert not any(job.called for job in jobs)
            assert [name for name in os.listdir(self.path) if not name.startswith("tmp-")] == []
        finally:
            back.set()
        assert await gatherResults(jobs) == [f"m{n}" for n in range(20)]
        await writer.stop()

    def test_F7_one_job_fails_alone(self) -> None:
        (self.path / "taken").write_bytes(b"old")
        names = ("a", "taken", "b", "c", "d")
        broken = {"b": "write", "c": "parts"}
        batch = [_Submission(FileJob(self.place, name, broken.get(name, ""))) for name in names]
        run_batch(batch, Crew(0))
        errors = {s.job.name: type(s.error).__name__ for s in batch if s.error}  # type: ignore[attr-defined]
        assert errors == {"taken": "Exists", "b": "NoSpace", "c": "TemporaryFailure"}
        assert sorted(os.listdir(self.path)) == ["a", "d", "taken"]
        self.flushLoggedErrors(RuntimeError)

    def test_F4_fsync_fails_the_job_that_wrote(self) -> None:
        tries: list[int] = []

        def fsync(fd: int) -> None:
            tries.append(fd)
            if len(tries) == 2:
                raise OSError(5, "lost")
            os.fsync(fd)

        durable.calls.fsync = fsync
        writer = ImmediateWriter(immediate_inbox())
        writer.start()
        writer.hold = True
        jobs = [writer.submit(FileJob(self.place, name)) for name in "abc"]
        writer.flush()
        assert self.successResultOf(jobs[0]) == "a"
        self.failureResultOf(jobs[1], TemporaryFailure)
        assert self.successResultOf(jobs[2]) == "c"
        assert sorted(os.listdir(self.path)) == ["a", "c"]
        assert len(tries) == 4  # three files, one folder

    def test_a_commit_that_raises_fails_its_parts(self) -> None:
        def fsync(fd: int) -> None:
            if os.path.isdir(f"/proc/self/fd/{fd}"):
                raise OSError(5, "lost")

        durable.calls.fsync = fsync
        writer = ImmediateWriter(immediate_inbox())
        writer.start()
        self.failureResultOf(writer.submit(FileJob(self.place, "a")), TemporaryFailure)


@pytest.fixture
def crew() -> Iterator[Crew]:
    """With what the system has for many fsyncs: one call, or threads."""
    crew = Crew(2)
    crew.start()
    yield crew
    crew.stop()


def test_many_files_are_synced_at_once_and_each_has_its_outcome(tmp_path: Path, crew: Crew) -> None:
    files = [durable.write_new(str(tmp_path / str(number)), [b"x"]) for number in range(150)]
    pipe, other_end = os.pipe()  # cannot be synced
    folder = durable.open_dir(str(tmp_path))
    outcomes = crew.sync([*files[:70], pipe, *files[70:], folder])
    assert [number for number, outcome in enumerate(outcomes) if outcome is not None] == [70]
    assert isinstance(outcomes[70], TemporaryFailure)
    for fd in (*files, pipe, other_end, folder):
        os.close(fd)


def test_F4_a_failed_fsync_of_many_is_the_failure_of_that_file_only(
    tmp_path: Path, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [durable.write_new(str(tmp_path / str(number)), [b"x"]) for number in range(3)]

    def fsync(fd: int) -> None:
        if fd == files[1]:
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(durable.calls, "fsync", fsync)
    assert [type(outcome) for outcome in crew.sync(files)] == [type(None), NoSpace, type(None)]
    for fd in files:
        os.close(fd)
