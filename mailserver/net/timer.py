"""The one timer of a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall


def rearmed(
    timer: IDelayedCall | None, reactor: Any, seconds: float | None, passed: Callable[[], None]
) -> IDelayedCall | None:
    """`timer` moved to so many seconds from now, or a new one that will call `passed`; None disarms it. To
    move one costs less than to cancel it and make another."""
    if timer is None or not timer.active():
        return None if seconds is None else reactor.callLater(seconds, passed)
    if seconds is None:
        timer.cancel()
        return None
    timer.reset(seconds)
    return timer
