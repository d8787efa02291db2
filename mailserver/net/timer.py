"""Timers that are moved and stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall


def rearmed(
    timer: IDelayedCall | None, reactor: Any, seconds: float | None, passed: Callable[[], None]
) -> IDelayedCall | None:
    """`timer` moved to so many seconds from now, or a new one that will call `passed`; None disarms it. To
    move one costs less than to cancel it and make another."""
    if seconds is None:
        disarm(timer)
        return None
    if timer is not None and timer.active():
        timer.reset(seconds)
    else:
        timer = reactor.callLater(seconds, passed)
    return timer


def disarm(timer: IDelayedCall | None) -> None:
    """It will not go off; harmless where it has, or where there is none."""
    if timer is not None and timer.active():
        timer.cancel()
