"""The shorter event loop does what Twisted's own does."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from mailserver.net.polling import quicken


class Recorder(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.factory.seen.append(data)
        if data == b"raise":
            raise RuntimeError("broken on purpose")
        self.transport.write(data.upper())

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.lost.append(type(reason.value).__name__)
        self.factory.done()


class QuickenTests(SynchronousTestCase):
    """A reactor of our own beside the global one, turned by hand."""

    def setUp(self) -> None:
        self.reactor = EPollReactor()
        self.addCleanup(self.reactor.removeAll)
        self.assertTrue(quicken(self.reactor))
        factory: Any = Factory.forProtocol(Recorder)
        factory.seen, factory.lost = [], []
        self.finished = False
        factory.done = lambda: setattr(self, "finished", True)
        factory.noisy = False
        self.factory = factory
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.client = socket.create_connection(("127.0.0.1", port.getHost().port))
        self.client.settimeout(5)
        self.addCleanup(self.client.close)

    def turn_until(self, condition: Any) -> None:
        for _ in range(1000):
            if condition():
                return
            self.reactor.doIteration(0.01)
        self.fail("it did not happen")

    def test_bytes_go_in_and_out(self) -> None:
        self.client.sendall(b"hello")
        self.turn_until(lambda: self.factory.seen)
        self.turn_until(lambda: self.reactor.doIteration(0) is None)
        self.assertEqual(self.client.recv(10), b"HELLO")

    def test_an_end_of_file_is_a_clean_close(self) -> None:
        self.client.close()
        self.turn_until(lambda: self.finished)
        self.assertEqual(self.factory.lost, ["ConnectionDone"])

    def test_an_exception_closes_its_connection_and_nothing_else(self) -> None:
        self.client.sendall(b"raise")
        self.turn_until(lambda: self.finished)
        self.assertEqual(self.factory.lost, ["RuntimeError"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_another_kind_of_reactor_is_left_alone(self) -> None:
        self.assertFalse(quicken(object()))


class ShortTurnTests(SynchronousTestCase):
    """A clock that says that every event took too long: each turn handles one."""

    def setUp(self) -> None:
        self.pairs = [socket.socketpair() for _ in range(5)]
        for pair in self.pairs:
            for end in pair:
                self.addCleanup(end.close)
        self.reactor = EPollReactor()
        self.addCleanup(self.reactor.removeAll)
        ticks = iter(range(1_000_000))
        self.assertTrue(quicken(self.reactor, lambda: float(next(ticks))))
        self.read: list[int] = []
        self.readers = [self.reader(number, pair[0]) for number, pair in enumerate(self.pairs)]
        for reader in self.readers:
            self.reactor.addReader(reader)

    def reader(self, number: int, end: socket.socket) -> Any:
        test = self

        class Reader:
            def fileno(self) -> int:
                return end.fileno()

            def doRead(self) -> None:
                end.recv(100)
                test.read.append(number)

            def logPrefix(self) -> str:
                return "test"

        return Reader()

    def test_what_is_left_comes_in_the_next_turns_before_anything_new(self) -> None:
        for _, other in self.pairs:
            other.send(b"x")
        for count in range(1, 6):
            self.reactor.doIteration(0)
            self.assertEqual(len(self.read), count)
            self.pairs[self.read[0]][1].send(b"x")  # the first is ready all the time
        self.assertEqual(sorted(self.read), list(range(5)))

    def test_who_went_or_was_paused_meanwhile_is_left_out(self) -> None:
        for _, other in self.pairs:
            other.send(b"x")
        self.reactor.doIteration(0)
        first = self.read[0]
        rest = [number for number in range(5) if number != first]
        self.reactor.removeReader(self.readers[rest[0]])
        for _ in range(10):
            self.reactor.doIteration(0)
        self.assertEqual(sorted(self.read), sorted([first, *rest[1:]]))
