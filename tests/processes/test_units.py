"""The parts that several processes are made of, one by one."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from select import PIPE_BUF
from typing import Any

import pytest
from twisted.internet.address import UNIXAddress
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from mailserver.audit import Audit
from mailserver.auth.penalty import Penalties
from mailserver.interfaces import Listener
from mailserver.net.counter import ConnectionCounter
from mailserver.net.listen import _Balance
from mailserver.processes import cores as cores_of_workers
from mailserver.processes import records
from mailserver.processes.bus import LARGEST, LOST, Bus, make_pair, pack
from mailserver.processes.collected import MOMENT, SOME, Collected
from mailserver.processes.instance import hand_over, hand_over_sockets
from mailserver.processes.supervisor import LONGEST_PAUSE, STOP_SECONDS, Child, Supervisor
from mailserver.processes.table import Interests, SharedCounter, Table
from mailserver.processes.team import LOOK_SECONDS, Election
from tests.helpers.settings import make_settings
from tests.helpers.store import StoreClock

# --- news -----------------------------------------------------------------------------------------


class Two:
    """A worker that tells, and one that hears; `heard` is what arrived."""

    def __init__(self) -> None:
        self.clock = StoreClock()
        (self.one_reads, one_hears), (other_reads, self.other_hears) = make_pair(), make_pair()
        self.one = Bus(self.clock, self.one_reads, {2: self.other_hears})
        self.other = Bus(self.clock, other_reads, {1: one_hears})
        self.heard: list[Any] = []
        self.other.on("news", self.heard.append)
        self.other.on(LOST, lambda nothing: self.heard.append(LOST))

    def end(self) -> None:
        self.one.stop()
        self.other.stop()


@pytest.fixture
def two() -> Any:
    both = Two()
    yield both
    both.end()


def test_news_arrive_in_order(two: Two) -> None:
    for number in range(3):
        two.one.tell("news", number)
    two.one.tell("of another kind", 1)
    two.other.doRead()
    assert two.heard == [0, 1, 2]


def test_news_that_do_not_fit_are_sent_later_and_in_order(two: Two) -> None:
    sent = 0
    while not two.one._timer:  # until the buffer of the socket is full
        two.one.tell("news", (sent, "x" * 10_000))
        sent += 1
    two.one.tell("news", (sent, ""))
    for _ in range(10):
        two.other.doRead()
        two.clock.advance(0.005)
    two.other.doRead()
    assert [number for number, _ in two.heard] == list(range(sent + 1))
    assert two.one._timer is None


def test_who_does_not_read_for_long_is_told_that_something_is_missing(two: Two) -> None:
    for number in range(3000):
        two.one.tell("news", (number, "x" * 10_000))
    for _ in range(200):
        two.other.doRead()
        two.clock.advance(0.005)
    assert LOST in two.heard and len(two.heard) < 2000
    last = two.heard[-1]
    assert last == LOST or last[0] == 2999


def test_what_makes_no_sense_does_not_end_the_reading(two: Two) -> None:
    two.other.on("news", lambda value: 1 / 0)
    two.one.tell("news", 1)
    two.other_hears.send(b"no pickle")
    two.other.on(LOST, two.heard.append)
    two.other.doRead()
    two.one.tell(LOST, None)
    two.other.doRead()
    assert two.heard == [None]


def test_mail_of_many_accounts_is_told_in_few_pieces_and_soon() -> None:
    clock, told = Clock(), []
    collected = Collected(clock, told.append)
    for number in range(450):
        collected.add(f"user{number % 150}@example.org", 1, number % 2)
    assert not told
    clock.advance(MOMENT)
    assert [len(piece) for piece in told] == [100, 50]
    assert told[0]["user0@example.org"] == (3, 0) and told[1]["user149@example.org"] == (3, 3)
    longest = {f"{'x' * 310}{number}": (9999, 9999) for number in range(SOME)}
    assert len(pack("mail", longest)) < 2 * LARGEST  # which every socket takes
    clock.advance(1)
    assert len(told) == 2 and not clock.getDelayedCalls()
    collected.add("alice@example.org", 1, 0)
    collected.stop()
    assert not clock.getDelayedCalls()


# --- cores ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "count", "cores", "expected"),
    [
        (1, 2, {4, 6}, {4}),
        (2, 2, {4, 6}, {6}),
        (3, 3, {4, 6}, {4}),
        (1, 2, {0, 1, 2}, None),
        (2, 2, {5}, None),
    ],
)
def test_workers_have_cores_of_their_own_where_there_are_as_many(
    monkeypatch: pytest.MonkeyPatch, number: int, count: int, cores: set[int], expected: set[int] | None
) -> None:
    """Of the cores that the operator left to the server; and hashes may run on all of these."""
    chosen: list[set[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: cores)
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: chosen.append(set(cores)))
    roam = cores_of_workers.settle(number, count)
    assert chosen == ([expected] if expected else [])
    roam()
    assert chosen == ([expected, cores] if expected else [])


# --- numbers --------------------------------------------------------------------------------------


def test_connections_of_all_workers_are_counted_together() -> None:
    table = Table(2)
    one, other = (SharedCounter(table, number, b"key") for number in (1, 2))
    for counter, network in ((one, "192.0.2.1"), (other, "192.0.2.1"), (other, "192.0.2.2")):
        counter.add(network)
    assert (one.total, one.of("192.0.2.1"), other.of("192.0.2.2"), one.of("192.0.2.9")) == (3, 2, 1, 0)
    assert (one.ahead, other.ahead) == (0, 1)
    other.remove("192.0.2.1")
    assert (one.total, one.of("192.0.2.1")) == (2, 1)
    table.clear(2)
    assert (one.total, one.of("192.0.2.2"), one.ahead) == (
        1,
        0,
        0,
    )  # one that has ended is nobody to wait for
    os.close(table.fd)


def test_who_has_a_use_for_the_news_of_an_account_is_told() -> None:
    table = Table(3)
    one, two, three = (Interests(table, number, b"key") for number in (1, 2, 3))
    two.add("alice", 2)
    one.add("alice", 1)
    assert one.of("alice") == [2] and two.of("alice") == [1]
    assert one.of("bob") == []
    two.add("alice", -1)
    assert three.of("alice") == [1, 2]
    two.add("alice", -1)
    assert three.of("alice") == [1]
    three.add_mail()  # whose it is does not matter, nor has it to be at once
    assert one.of_mail() == [3] and one.of("bob") == [] and three.of_mail() == []
    table.clear(3)
    assert one.of_mail() == []
    os.close(table.fd)


def test_connections_and_accounts_are_counted_apart() -> None:
    table = Table(2)
    counters = [SharedCounter(table, number, b"key") for number in (1, 2)]
    interests = [Interests(table, number, b"key") for number in (1, 2)]
    for number in range(5000):
        interests[0].add(f"user{number}", 1)
        interests[1].add_mail()
    assert counters[0].total == 0 and not any(counters[1].of(f"user{number}") for number in range(5000))
    counters[1].add("192.0.2.1")
    assert interests[0].of("192.0.2.1") == []
    os.close(table.fd)


def test_some_are_told_and_others_not() -> None:
    clock = StoreClock()
    pairs = {number: make_pair() for number in (1, 2, 3)}
    one = Bus(clock, pairs[1][0], {2: pairs[2][1], 3: pairs[3][1]})
    one.tell_packed(pack("news", 7), to=[3])
    assert pairs[3][0].recv(100) == pack("news", 7)
    with pytest.raises(BlockingIOError):
        pairs[2][0].recv(100)
    one.stop()
    for end in (pairs[1][1], pairs[2][0], pairs[3][0]):
        end.close()


class FakePort:
    connected, disconnecting = True, False

    def __init__(self) -> None:
        self.numberAccepts = 100
        self.reading = True
        self.accepted: list[int] = []

    def doRead(self) -> None:
        self.accepted.append(self.numberAccepts)

    def stopReading(self) -> None:
        self.reading = False

    def startReading(self) -> None:
        self.reading = True


class FakeFactory:
    class Counter(ConnectionCounter):
        lead = 0

        @property
        def ahead(self) -> int:
            return self.lead

    counter = Counter()


def test_a_process_with_more_connections_leaves_the_next_to_others_but_not_for_long() -> None:
    clock, port, factory = Clock(), FakePort(), FakeFactory()
    _Balance(clock, port, factory)  # type: ignore[arg-type]
    port.doRead()
    assert port.accepted == [1]
    factory.counter.lead = 5
    waited = 0
    while len(port.accepted) == 1:
        port.doRead()
        if not port.reading:
            clock.advance(0.001)
            assert port.reading
            waited += 1
    assert waited == 5


def test_failed_log_ins_count_in_all_workers() -> None:
    clock = Clock()
    one, other = (Penalties(make_settings(), clock.seconds) for _ in range(2))
    one.told = other.failed_elsewhere
    for _ in range(7):
        one.failed("2001:db8::1", clock.seconds())
    assert other.wait("2001:db8::2") == one.wait("2001:db8::1") > 2
    assert other.failed("2001:db8::3", clock.seconds()) > one.wait("2001:db8::1")


# --- who does it ----------------------------------------------------------------------------------


def test_one_is_elected_and_another_when_it_has_ended() -> None:
    clock = Clock()
    holders: list[str] = []
    elected: list[str] = []

    def lead(name: str) -> bool:
        if holders:
            return False
        holders.append(name)
        return True

    one, other = (
        Election(clock, lambda name=name: lead(name), lambda name=name: elected.append(name))  # type: ignore[misc]
        for name in ("one", "other")
    )
    one.start()
    other.start()
    clock.advance(LOOK_SECONDS)
    assert elected == ["one"]
    holders.clear()
    other.look()  # it was told; else it would find out within a second
    assert elected == ["one", "other"] and other.won
    other.look()
    clock.advance(5 * LOOK_SECONDS)
    assert elected == ["one", "other"]


def test_who_stops_is_not_elected_any_more() -> None:
    clock, elected = Clock(), []
    free = False
    election = Election(clock, lambda: free, lambda: elected.append(1))
    election.start()
    election.stop()
    free = True
    election.look()
    clock.advance(5)
    assert not elected


def test_a_lock_that_cannot_be_taken_is_tried_again() -> None:
    clock, elected = Clock(), []
    faults: list[Exception] = [OSError(28, "No space left on device")]

    def lead() -> bool:
        if faults:
            raise faults.pop()
        return True

    Election(clock, lead, lambda: elected.append(1)).start()
    assert not elected
    clock.advance(LOOK_SECONDS)
    assert elected == [1]


# --- supervision ----------------------------------------------------------------------------------


class FakeProcess:
    pid = 4711

    def __init__(self) -> None:
        self.signals: list[int] = []

    def signalProcess(self, number: int) -> None:
        self.signals.append(number)


class Supervised:
    def __init__(self, count: int = 2) -> None:
        self.clock = Clock()
        self.launched: list[Child] = []
        self.ended: list[int] = []
        self.supervisor = Supervisor(self.clock, count, self.launch, self.ended.append)
        self.supervisor.start()

    def launch(self, child: Child) -> None:
        child.transport = FakeProcess()
        self.launched.append(child)

    def end(self, child: Child, killed: bool = True) -> None:
        error = ProcessTerminated(None, signal.SIGKILL, 9) if killed else ProcessDone(0)
        child.processEnded(Failure(error))  # type: ignore[no-untyped-call]


def test_a_worker_that_dies_is_started_again_at_once_the_first_time() -> None:
    scene = Supervised()
    assert [child.number for child in scene.launched] == [1, 2]
    scene.end(scene.launched[1])
    scene.clock.advance(0)
    assert [child.number for child in scene.launched] == [1, 2, 2] and scene.ended == [2]


def test_one_that_does_not_stay_is_started_less_and_less_often() -> None:
    scene = Supervised(1)
    pauses = []
    for _ in range(14):
        scene.end(scene.launched[-1])
        before, count = scene.clock.seconds(), len(scene.launched)
        while len(scene.launched) == count:
            scene.clock.advance(0.1)
        pauses.append(round(scene.clock.seconds() - before, 3))
    assert pauses == sorted(pauses) and pauses[-1] == pytest.approx(LONGEST_PAUSE, abs=0.2)
    scene.clock.advance(60)  # it stays
    scene.end(scene.launched[-1])
    scene.clock.advance(0.1)
    assert len(scene.launched) == 16


def test_one_that_cannot_be_started_is_tried_again() -> None:
    scene = Supervised(1)
    faults: list[OSError] = [OSError(11, "Resource temporarily unavailable")]
    launch = scene.launch

    def failing(child: Child) -> None:
        if faults:
            raise faults.pop()
        launch(child)

    scene.supervisor._launch = failing
    scene.end(scene.launched[0])
    scene.clock.advance(0)
    assert len(scene.launched) == 1
    scene.clock.advance(1)
    assert len(scene.launched) == 2


def test_all_are_told_to_stop_and_then_killed() -> None:
    scene = Supervised()
    stopped: list[None] = []
    scene.supervisor.stop().addCallback(stopped.append)
    scene.end(scene.launched[0], killed=False)
    assert not stopped and scene.launched[1].transport.signals == [signal.SIGTERM]
    scene.clock.advance(STOP_SECONDS)
    assert scene.launched[1].transport.signals == [signal.SIGTERM, signal.SIGKILL]
    scene.end(scene.launched[1])
    assert stopped == [None] and len(scene.launched) == 2
    assert not scene.clock.getDelayedCalls()


def test_a_reload_waits_for_a_worker_that_is_starting() -> None:
    """SIGHUP would end it: nobody there understands it yet."""
    scene = Supervised(1)
    scene.supervisor.signal(signal.SIGHUP)
    process = scene.launched[0].transport
    assert process.signals == []
    reader, writer = os.pipe()
    records.send({"level": records.READY}, writer)
    scene.launched[0].childDataReceived(2, os.read(reader, 1000))
    assert process.signals == [signal.SIGHUP]
    os.close(reader)
    os.close(writer)


# --- the log --------------------------------------------------------------------------------------


def test_the_log_of_a_worker_comes_through() -> None:
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)  # type: ignore[arg-type]
    try:
        reader = records.Records("worker 3", lambda: None)
        line = b'\x01{"level": "warn", "system": "a.b", "text": "one\\ntwo {brace}"}\n'
        for position in range(len(line)):
            reader.feed(line[position : position + 1])
        reader.feed(b"Fatal Python error: Segmentation fault\n\x01no json\nhalf")
        reader.end()
    finally:
        globalLogPublisher.removeObserver(events.append)  # type: ignore[arg-type]
    texts = [(event["log_level"], event["log_system"], event["text"]) for event in events]
    assert texts[0] == (LogLevel.warn, "worker 3, a.b", "one\ntwo {brace}")
    assert [text for _, _, text in texts[1:]] == [
        "Fatal Python error: Segmentation fault",
        "\x01no json",
        "half",
    ]


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    one, other = socket.socketpair()
    other.close()
    records.send({"level": "info", "text": "x"}, one.fileno())
    one.close()


def test_lines_in_a_pipe_are_not_torn(tmp_path: Path) -> None:
    """By those of another worker: only so much of a pipe is written in one piece."""
    reader, writer = os.pipe()
    audit = Audit(None, "text", lambda call: None)
    audit._fd = writer
    for number in range(300):
        audit.event("delivered", id=str(number), to="x" * 40)
    pieces = list(audit._pieces("\n".join(audit._lines).encode() + b"\n"))
    assert len(pieces) > 2 and all(len(piece) <= PIPE_BUF and piece.endswith(b"\n") for piece in pieces)
    audit.flush()
    assert os.read(reader, 1 << 16) == b"".join(pieces)
    os.close(reader)
    os.close(writer)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_makes_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    for name in ("salt", "tls/key.pem", "other"):
        (tmp_path / name).write_text("x")
    hand_over(tmp_path)
    assert os.stat(tmp_path / "salt").st_uid == 0
    os.chown(tmp_path, 4711, 4712)
    hand_over(tmp_path)
    found = {name: os.stat(tmp_path / name).st_uid for name in ("salt", "tls", "tls/key.pem", "other")}
    assert found == {"salt": 4711, "tls": 4711, "tls/key.pem": 4711, "other": 0}


class SocketPort:
    """A port on a Unix socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def getHost(self) -> UNIXAddress:
        return UNIXAddress(str(self._path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_unix_sockets_go_to_whom_data_dir_belongs_to(tmp_path: Path) -> None:
    """Started as root with --uid: the group that may connect is the server's, not root's."""
    data, path = tmp_path / "data", tmp_path / "lmtp"
    data.mkdir()
    path.touch()
    listeners = [Listener("lmtp", SocketPort(path)), Listener("smtp", SocketPort(Path("/nonexistent")))]
    hand_over_sockets(data, listeners)
    assert path.stat().st_uid == 0
    os.chown(data, 12345, 23456)
    hand_over_sockets(data, listeners[:1])
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)
