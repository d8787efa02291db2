"""The next hop for remote mail: takes everything, and looks whether it is whole."""

from __future__ import annotations

from collections import Counter

from tests.crash.messages import fault, number_of
from tests.helpers.smtp_sink import SmtpSink, Taken


class Sink(SmtpSink):
    """received: how often each number came; faults: messages that were not whole."""

    def __init__(self) -> None:
        self.received: Counter[int] = Counter()
        self.faults: list[str] = []
        super().__init__(take=self._look)

    def _look(self, taken: Taken) -> None:
        number = number_of(taken.data)
        if number is None:
            self.faults.append("a relayed message has no number")
            return
        begin = taken.data.find(b"From: load@sender.example\n")
        problem = fault(taken.data[begin:]) if begin >= 0 else "no header"
        if problem:
            self.faults.append(f"relayed: {problem}")
        self.received[number] += 1
