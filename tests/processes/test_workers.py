"""A real server of two workers: what clients and operators notice of it."""

from __future__ import annotations

import imaplib
import json
import os
import re
import signal
import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.processes import alive, children, holder
from tests.helpers.server import PASSWORD, Server, eventually
from tests.helpers.smtp_sink import SmtpSink

ALICE = "alice@example.org"
TEXT = b"Subject: x\r\n\r\nbody\r\n"


class Client(imaplib.IMAP4):
    """A session, and which worker it is on."""

    def __init__(self, server: Server, user: str = "alice", select: str = "INBOX") -> None:
        super().__init__(server.host, server.ports["imap"], timeout=20)
        self.login(user, PASSWORD)
        self.worker = holder(workers(server), self.sock)
        if select:
            self.select(select)

    def numbers(self, kind: str) -> list[int]:
        """Untagged answers of a kind since the last question."""
        found = self.untagged_responses.pop(kind, [])
        return [int(value) for value in found if value is not None]

    def uids(self) -> list[int]:
        return [int(uid) for uid in self.uid("SEARCH", "ALL")[1][0].split()]

    def highestmodseq(self) -> int:
        _, answer = self.status("INBOX", "(HIGHESTMODSEQ)")
        return int(re.findall(rb"HIGHESTMODSEQ (\d+)", answer[0])[0])


def workers(server: Server) -> list[int]:
    assert server.process is not None
    return children(server.process.pid)


def quota(client: Client, root: str) -> str:
    """What is told of it, without the root's name."""
    _, answer = client.getquota(root)
    return answer[0].decode().partition("(")[2].rstrip(")")


def deliver(server: Server, to: str = ALICE, text: bytes = TEXT) -> None:
    with smtplib.SMTP(server.host, server.ports["smtp"], timeout=20) as smtp:
        smtp.sendmail("x@elsewhere.example", [to], text)


def settings(**more: Any) -> dict[str, Any]:
    return {
        "services": ("smtp", "imap"),
        "keys": {"workers": 2},
        "imap": {"administrators": ["alice@example.org"]},
    } | more


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(
        tmp_path_factory.mktemp("workers"), **settings(users=("alice", "bob", "carol", "dave"))
    ) as running:
        eventually(lambda: running.log().count(" is process ") == 2, 20, "two workers are ready")
        yield running


def pair(server: Server, user: str = "alice") -> tuple[Client, Client]:
    """Sessions on different workers, which a few connections bring about: the worker that has more of them
    leaves new ones to the other."""
    first = Client(server, user)
    return first, elsewhere(server, user, first)


def elsewhere(server: Server, user: str, first: Client) -> Client:
    """A session that is not on the worker of `first`. What comes before it stays open till it is found."""
    clients = [Client(server, user)]
    while clients[-1].worker == first.worker:
        assert len(clients) < 40, "all sessions are on one worker"
        clients.append(Client(server, user))
    found = clients.pop()
    for client in clients:
        client.logout()
    return found


def test_connections_are_shared_out(server: Server) -> None:
    clients = [Client(server, select="") for _ in range(20)]
    counts = sorted(sum(client.worker == pid for client in clients) for pid in workers(server))
    assert len(counts) == 2 and counts[0] >= 4, counts
    for client in clients:
        client.logout()


def test_each_worker_has_a_core_of_its_own_where_there_are_as_many(server: Server) -> None:
    """Its threads take turns, and those on another core would wait for each other."""
    cores = os.sched_getaffinity(0)
    used = [os.sched_getaffinity(pid) for pid in workers(server)]
    if len(cores) == 2:
        assert sorted(used, key=min) == [{core} for core in sorted(cores)]
    elif len(cores) > 2:
        assert used == [cores, cores]


def test_a_quota_that_is_set_counts_in_every_worker(server: Server) -> None:
    """At once, and it stands in the users file, whose comments are still there."""
    admin, other = pair(server)
    root = '"Other Users/dave@example.org"'
    file = server.folder / "users.toml"
    file.write_text("# Who is here\n" + file.read_text())
    for number in range(2, 12):
        admin.setquota(root, f"(STORAGE 1000 MESSAGE {number})")
        assert quota(other, root) == quota(admin, root) == f"STORAGE 0 1000 MESSAGE 0 {number}"
    admin.setquota(root, "(MESSAGE 1)")
    for client in (one for user in ("dave",) for one in pair(server, user)):
        kind, answer = client.append("INBOX", "", "", TEXT)
        assert (kind == "OK") or b"OVERQUOTA" in answer[0]
        assert client.uids() == [1] and quota(client, '""') == "MESSAGE 1 1"
        with pytest.raises((smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError), match="Mailbox is full"):
            deliver(server, "dave@example.org")
    assert file.read_text().startswith("# Who is here\n") and "quota_messages = 1\n" in file.read_text()
    admin.setquota(root, "()")
    assert quota(other, root) == ""


def test_sessions_of_two_workers_see_each_other(server: Server) -> None:
    one, other = pair(server, "bob")
    one.append("INBOX", "", "", TEXT)
    other.noop()
    assert other.numbers("EXISTS")[-1:] == [1]
    deliver(server, "bob@example.org")
    other.noop()
    one.noop()
    assert other.numbers("EXISTS")[-1:] == one.numbers("EXISTS")[-1:] == [2]
    other.store("1", "+FLAGS", r"(\Seen $Important)")
    one.noop()
    told = b" ".join(value for value in one.untagged_responses.pop("FETCH"))
    assert rb"FLAGS (\Seen $Important" in told
    one.store("1", "+FLAGS", r"(\Deleted)")
    one.expunge()
    other.noop()
    assert other.numbers("EXPUNGE") == [1]
    assert one.uids() == other.uids() == [2]
    assert one.highestmodseq() == other.highestmodseq()
    for client in (one, other):
        client.logout()


def test_idle_is_told_by_the_other_worker_at_once(server: Server) -> None:
    one, other = pair(server, "carol")
    one.send(b"x IDLE\r\n")
    assert one.readline().startswith(b"+")
    waits = []
    for number in range(20):
        begun = time.monotonic()
        other.append("INBOX", "", "", TEXT)
        answered = time.monotonic()
        assert one.readline().rstrip() == b"* %d EXISTS" % (number + 1)
        while (line := one.readline()).rstrip() != b"* %d RECENT" % (number + 1):
            assert line.startswith(b"*"), line
        waits.append(time.monotonic() - answered)
        assert answered - begun < 10
    assert sorted(waits)[3] < 0.02  # not of all: other tests have the processor too
    one.send(b"DONE\r\n")
    assert one.readline().startswith(b"x OK")
    for client in (one, other):
        client.logout()


def test_uids_of_concurrent_deliveries_and_appends_are_given_once(server: Server) -> None:
    one, other = pair(server)
    before = set(one.uids())
    given: list[int] = []
    faults: list[BaseException] = []

    def append(client: Client) -> None:
        try:
            for _ in range(30):
                answer = client.append("INBOX", "", "", TEXT)[1][0]
                given.append(int(answer.split(b"]")[0].split()[2]))
        except BaseException as error:
            faults.append(error)

    def send() -> None:
        try:
            for _ in range(30):
                deliver(server)
        except BaseException as error:
            faults.append(error)

    jobs = [threading.Thread(target=append, args=(client,)) for client in (one, other)]
    jobs += [threading.Thread(target=send) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert not faults, faults
    assert len(set(given)) == 60
    for client in (one, other):
        client.noop()
    now = one.uids()
    assert now == other.uids() == sorted(set(now))
    assert len(set(now) - before) == 150 and set(given) <= set(now)
    assert one.highestmodseq() == other.highestmodseq()
    for client in (one, other):
        client.logout()


def test_nothing_accepted_is_lost_when_workers_are_killed(tmp_path: Path) -> None:
    """And no UID names two messages."""
    with Server(tmp_path, **settings()) as server:
        accepted: list[int] = []
        stop = threading.Event()
        seen: dict[int, bytes] = {}
        count = iter(range(1 << 30))

        def send() -> None:
            while not stop.is_set():
                number = next(count)
                with suppress(OSError, smtplib.SMTPException):
                    deliver(server, text=b"Subject: n%d\r\n\r\nx\r\n" % number)
                    accepted.append(number)

        jobs = [threading.Thread(target=send, daemon=True) for _ in range(4)]
        for job in jobs:
            job.start()
        for _ in range(6):
            before = len(accepted)
            eventually(lambda before=before: len(accepted) > before + 20, 60, "mail is accepted")
            pids = eventually(lambda: len(found := workers(server)) == 2 and found, 30, "two workers")
            os.kill(pids[_ % 2], signal.SIGKILL)
            look(server, seen)
        stop.set()
        for job in jobs:
            job.join(30)
        look(server, seen)
        subjects = set(seen.values())
        lost = [number for number in accepted if b"n%d" % number not in subjects]
        assert not lost and len(accepted) > 100
        assert "Traceback" not in server.log()
        assert server.stop() == 0


def look(server: Server, seen: dict[int, bytes]) -> None:
    """Every message by its UID, which may not have been another's."""
    for _ in range(5):
        with suppress(OSError, imaplib.IMAP4.abort):
            client = Client(server)
            _, answers = client.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            for answer in answers:
                if isinstance(answer, tuple):
                    uid = int(re.findall(rb"UID (\d+)", answer[0])[0])
                    subject = answer[1].split()[1]
                    assert seen.setdefault(uid, subject) == subject, f"UID {uid} was given twice"
            client.logout()
            return
    raise AssertionError("no session lasts")


def test_another_worker_takes_the_queue_over(tmp_path: Path) -> None:
    with SmtpSink() as sink:
        relay = {
            "networks": ["127.0.0.0/8"],
            "retry": ["1s"],
            "routes": {"remote.example": f"127.0.0.1:{sink.port}"},
        }
        with Server(tmp_path, **settings(relay=relay)) as server:
            text = "this process delivers the queue"
            eventually(lambda: text in server.log(), 20, "a worker has the queue")
            for number in range(3):
                for _ in range(6):  # some of them by the worker that does not have the queue
                    deliver(server, "someone@remote.example", b"Subject: %d\r\n\r\nx\r\n" % number)
                eventually(lambda number=number: len(sink.taken) == 6 * (number + 1), 30, "mail goes out")
                leader = int((server.data / "queue" / "lock").read_text())
                assert leader in workers(server)
                os.kill(leader, signal.SIGKILL)
                eventually(lambda number=number: server.log().count(text) == number + 2, 20, "taken over")
            deliver(server, "someone@remote.example")
            eventually(lambda: len(sink.taken) == 19, 30, "mail goes out")
            assert server.stop() == 0


def test_reload_and_stop_go_through_all(tmp_path: Path) -> None:
    with Server(tmp_path, **settings()) as server:
        eventually(lambda: server.log().count(" is process ") == 2, 20)
        pids = workers(server)
        assert (server.data / "mailserver.pid").read_text() == f"{server.process.pid}\n"  # type: ignore[union-attr]
        server.sections["limits"] = {"message_size": 70_000}
        server.write()
        server.reload()
        eventually(lambda: server.log().count("settings read again") == 3, 20, "all have read the file")
        server.config.write_text("broken")
        server.reload()
        eventually(lambda: server.log().count("settings stay as they were") == 3, 20)
        client = Client(server)
        os.kill(client.worker, signal.SIGKILL)  # one that is started now gets what is in force
        eventually(lambda: server.log().count(" is process ") == 3, 20, "it was started again")
        for _ in range(6):
            with smtplib.SMTP(server.host, server.ports["smtp"]) as smtp:
                assert b"SIZE 70000" in smtp.ehlo()[1]
        client = Client(server)
        pids = workers(server)
        assert server.stop() == 0
        assert b"BYE" in client.sock.recv(1000)
        assert not any(map(alive, pids))
        assert "Traceback" not in server.log()


def test_workers_end_with_a_master_that_is_killed(tmp_path: Path) -> None:
    """And a new server can start at once, on the same ports."""
    server = Server(tmp_path, **settings())
    pid_file = server.data / "mailserver.pid"
    with server:
        for _ in range(3):
            pids = eventually(lambda: len(found := workers(server)) == 2 and found, 20)
            deliver(server)
            server.kill()
            server.start(ready=False)  # it waits for those that are still ending, and their sockets with them
            own = f"{server.process.pid}\n"  # type: ignore[union-attr]
            eventually(lambda own=own: pid_file.read_text() == own, 30, "it has the lock")
            assert not any(map(alive, pids))
            server.wait_ready()
        assert len(Client(server).uids()) == 3
        assert server.stop() == 0


def test_a_limit_for_an_address_counts_all_workers(tmp_path: Path) -> None:
    limited = settings(limits={"connections_per_ip": 12})
    with Server(tmp_path, **limited) as server:
        eventually(lambda: server.log().count(" is process ") == 2, 20)
        eventually(lambda: not open_connections(server), 20)
        open_ = [socket.create_connection((server.host, server.ports["smtp"])) for _ in range(15)]
        greetings = sorted(one.recv(3) for one in open_)
        assert greetings == [b"220"] * 12 + [b"421"] * 3
        held = [one for one in open_ if holder(workers(server), one)]
        assert len({holder(workers(server), one) for one in held}) == 2
        victim = holder(workers(server), held[0])
        os.kill(victim, signal.SIGKILL)  # its connections count no more
        eventually(lambda: server.log().count(" is process ") == 3, 20)
        with socket.create_connection((server.host, server.ports["smtp"])) as again:
            assert again.recv(3) == b"220"


def open_connections(server: Server) -> bool:
    """Those of `wait_ready` may not have ended yet."""
    ports = {f"{port:04X}" for port in server.ports.values()}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(fields[1].partition(":")[2] in ports and fields[3] in ("01", "08") for fields in lines)


def test_events_of_all_workers_are_whole_lines_of_one_file(tmp_path: Path) -> None:
    log = {"file": "mail.log", "format": "json"}
    with Server(tmp_path, **settings(log=log)) as server:
        jobs = [threading.Thread(target=lambda: [deliver(server) for _ in range(20)]) for _ in range(4)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join(60)
        assert server.stop() == 0
        events = [json.loads(line) for line in (tmp_path / "mail.log").read_text().splitlines()]
        assert sum(event["event"] == "delivered" for event in events) == 80
