"""Coroutines that mostly have nothing to wait for.

What answers a command at once, from memory, needs neither a Deferred nor a context of its own, and these
cost as much as all the work of a short command (measured: 12 µs of 60 for a NOOP).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


def run(steps: Coroutine[Any, Any, None], done: Callable[[Failure | None], object]) -> None:
    """Run to the end, here and now as far as nothing has to be waited for; `done` is told what went wrong."""
    failure = None
    try:
        waiting = steps.send(None)
    except StopIteration:
        pass
    except BaseException:
        failure = Failure()  # type: ignore[no-untyped-call]
    else:
        rest: Deferred[None] = Deferred.fromCoroutine(_go_on(steps, waiting))
        rest.addCallbacks(done, done)
        return
    done(failure)


@coroutine
def _go_on(steps: Coroutine[Any, Any, None], waiting: Any) -> Generator[Any, Any, None]:
    """`steps` from where it waits for `waiting` first."""
    try:
        while True:
            try:
                value = yield waiting
            except Exception as error:
                waiting = steps.throw(error)
            else:
                waiting = steps.send(value)
    except StopIteration:
        return
    finally:
        steps.close()
