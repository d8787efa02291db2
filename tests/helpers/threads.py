"""What stands in for threads in unit tests: everything happens at once, in the caller's thread."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed

from mailserver.disk.group_commit import Crew, GroupJob, GroupWriter, _Submission, run_batch
from mailserver.disk.threads import Inbox, OrderedPool, _Job

T = TypeVar("T")


class ImmediateReactor:
    """`callFromThread` calls at once."""

    def callFromThread(self, function: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)


def immediate_inbox() -> Inbox:
    return Inbox(ImmediateReactor())  # type: ignore[arg-type]


class ImmediatePool(OrderedPool):
    """`run` and `ask` run. Has to be created with `immediate_inbox()`."""

    def start(self) -> None:
        pass

    def run(self, key: Hashable, function: Callable[..., T], *args: Any) -> Deferred[T]:
        job = _Job(function, args)
        job.run()
        job.fire()
        return job.deferred

    def ask(self, key: Hashable, function: Callable[..., T], *args: Any) -> Deferred[T]:
        return self.run(key, function, *args)

    def stop(self) -> Deferred[None]:
        return succeed(None)


class ImmediateWriter(GroupWriter):
    """Each job is a batch of its own, unless `hold` is set: then `flush` makes the batch."""

    hold = False

    def start(self) -> None:
        self.held: list[_Submission] = []

    def submit(self, job: GroupJob) -> Deferred[Any]:
        submission = _Submission(job)
        if self.hold:
            self.held.append(submission)
        else:
            self._run([submission])
        return submission.deferred

    def flush(self) -> None:
        held, self.held = self.held, []
        self._run(held)

    def _run(self, batch: list[_Submission]) -> None:
        run_batch(batch, Crew(0))
        for submission in batch:
            submission.fire()

    def stop(self) -> Deferred[None]:
        return succeed(None)
