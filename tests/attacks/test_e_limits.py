"""Group E: clients that take too much, too long, or nothing at all."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.attacks.turns import EXTENSION, short_turns
from tests.attacks.wire import Imap, Pop, Smtp, Wire, bodies, leftovers, pid, resident, served
from tests.helpers.server import Server, eventually
from tests.helpers.waiting import readable


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Short times and small numbers."""
    with Server(
        tmp_path_factory.mktemp("strict"),
        users=[f"user{number}" for number in range(40)],
        keys={"extensions": [EXTENSION]},
        limits={
            "smtp_timeout": "1s",
            "login_timeout": "1s",
            "output_timeout": "1s",
            "min_rate": 20_000,
            "message_size": "60 MiB",
            "connections_per_user": 3,
        },
    ) as made:
        yield made
        assert made.process is not None
        assert made.process.poll() is None, "the server is gone"
        assert "Traceback" not in made.log(), made.log()[-5000:]


def descriptors(server: Server) -> int:
    return len(os.listdir(f"/proc/{pid(server)}/fd"))


@contextmanager
def no_descriptors(server: Server) -> Iterator[None]:
    """The server cannot open anything while the block runs, as when another has taken all."""
    before = resource.prlimit(pid(server), resource.RLIMIT_NOFILE)
    numbers = [int(name) for name in os.listdir(f"/proc/{pid(server)}/fd")]
    free = next(number for number in range(len(numbers) + 1) if number not in numbers)
    resource.prlimit(pid(server), resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid(server), resource.RLIMIT_NOFILE, before)


def cpu(server: Server) -> float:
    """Seconds of processor time that the server has used."""
    fields = Path(f"/proc/{pid(server)}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def heed(wires: Sequence[Wire], seconds: float) -> None:
    """Wait until the server says something to one of these, or closes it, but no longer than that."""
    readable([wire.socket for wire in wires], seconds)


def test_E4_no_descriptor_is_left_for_a_connection(strict: Server) -> None:
    """Nobody can connect, the server does not spin, who is connected is served; afterwards all is well."""
    with Imap(strict, "user0") as imap, ExitStack() as stack:
        imap.ok(b"SELECT INBOX")
        silent = stack.enter_context(Imap(strict))  # which is cut off when its time for a log-in is over
        with no_descriptors(strict):
            for _ in range(20):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                with suppress(BlockingIOError):
                    waiting.connect((strict.host, strict.ports["smtp"]))
            before = cpu(strict)
            imap.ok(b"NOOP")
            silent.rest()
            imap.ok(b"NOOP")
            assert cpu(strict) - before < 0.5, "the server spins"
        with Smtp(strict) as smtp:
            assert smtp.message(b"Subject: again\r\n\r\nx", "user0@example.org").startswith(b"250")
    assert len(bodies(strict, "user0")) == 1


def test_E5_no_descriptor_is_left_for_a_file(strict: Server) -> None:
    """The message is refused for now, nothing is left of it, and the same session may try again."""
    with Smtp(strict) as smtp, Smtp(strict) as large:
        assert smtp.message(b"Subject: one\r\n\r\nx", "user1@example.org").startswith(b"250")
        with no_descriptors(strict):
            assert smtp.message(b"Subject: two\r\n\r\nx", "user1@example.org").startswith(b"451 4.3.0")
            text = b"Subject: three\r\n\r\n" + (b"x" * 70 + b"\r\n") * 30_000
            assert large.message(text, "user1@example.org").startswith(b"451 4.3.0")
        assert smtp.message(b"Subject: four\r\n\r\nx", "user1@example.org").startswith(b"250")
    eventually(lambda: leftovers(strict) == [])
    kept = b"".join(bodies(strict, "user1"))
    assert [name in kept for name in (b"one", b"two", b"three", b"four")] == [True, False, False, True]


def test_E1_two_hundred_that_send_an_octet_now_and_then(strict: Server) -> None:
    """In the greeting, in EHLO, in a message, before an IMAP log-in: all are cut off in their time."""
    wires: list[Wire] = []
    with short_turns(strict), served(strict, "user2", within=0.3):
        for _ in range(50):
            wires.append(Smtp(strict, hello=False))
            wires.append(Smtp(strict))
            wires.append(Wire(strict, "imap"))
            message = Smtp(strict)
            message.begin("user3@example.org")
            wires.append(message)
        deadline = time.monotonic() + 20
        left = list(wires)
        while left and time.monotonic() < deadline:
            left = [wire for wire in left if wire.send_anyway(b"x") and not _closed(wire)]
            heed(left, 0.1)
        assert not left, f"{len(left)} are still connected"
    for wire in wires:
        wire.close()
    assert bodies(strict, "user3") == []


def _closed(wire: Wire) -> bool:
    wire.socket.setblocking(False)
    try:
        while True:
            if not wire.socket.recv(4096):
                return True
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        wire.socket.settimeout(30)


def test_E1_a_message_that_comes_in_time_is_taken(strict: Server) -> None:
    """Twice as fast as it has to be, for longer than the time-out."""
    with Smtp(strict) as smtp:
        smtp.begin("user4@example.org")
        smtp.send(b"Subject: slow\r\n\r\n")
        for _ in range(10):
            smtp.send((b"x" * 78 + b"\r\n") * 150)
            assert smtp.silent(0.2)
        smtp.send(b".\r\n")
        assert smtp.reply().startswith(b"250")


@pytest.mark.parametrize("service", ["imap", "pop3"])
def test_E6_a_client_that_reads_nothing(strict: Server, service: str) -> None:
    """It asks for far more than anybody holds for it, and is cut off."""
    user = "user5" if service == "imap" else "user6"
    with Smtp(strict) as smtp:
        assert smtp.message(b"Subject: big\r\n\r\n" + b"x" * 15_000, f"{user}@example.org").startswith(b"250")
    with served(strict, "user7"), short_turns(strict):
        if service == "imap":
            client: Wire = Imap(strict, user, buffer=4096)
            client.send(b"s SELECT INBOX\r\n")
            client.until(rb"^s OK[^\r\n]*\r\n")
            asked = b"t FETCH 1:* BODY.PEEK[]\r\n"
        else:
            client = Pop(strict, user)
            asked = b"RETR 1\r\n"
        before = resident(strict)
        client.send_anyway(asked * 2000)
        eventually(lambda: _reset(client))
        assert resident(strict) - before < 20_000_000
        client.close()


def _reset(client: Wire) -> bool:
    """Has the server given up? (A peek would see what waits; sending tells.)"""
    try:
        client.socket.send(b"\r\n", socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


def test_E9_connections_of_one_user(strict: Server) -> None:
    with ExitStack() as stack:
        for service in ("imap", "imaps", "pop3"):
            kind = Pop if service == "pop3" else Imap
            stack.enter_context(kind(strict, "user8", service))  # type: ignore[arg-type]
        other = stack.enter_context(Imap(strict))
        assert b"t NO [LIMIT]" in other.say(b"LOGIN user8@example.org secret")
        submission = stack.enter_context(Smtp(strict, "submission"))
        assert submission.say(b"AUTH PLAIN AHVzZXI4QGV4YW1wbGUub3JnAHNlY3JldA==").startswith(b"454 4.7.0")
        assert b"t OK" in other.say(b"LOGIN user9@example.org secret")
    eventually(lambda: _logs_in(strict, "user8"))


def _logs_in(server: Server, user: str) -> bool:
    with Imap(server) as imap:
        return b"t OK" in imap.say(f"LOGIN {user}@example.org secret".encode())


def highest(server: Server) -> int:
    """The most memory that the server ever had, in octets: the high-water mark of what was resident."""
    status = Path(f"/proc/{pid(server)}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_E13_five_hundred_sessions_and_messages_of_50_MB_in_256_MB(tmp_path: Path) -> None:
    """Readers of mail, half of them in TLS; 192 who are in the middle of a message of 900 kB, and eight that
    send 50 MB each, fetch it and search in it: all are served, and the whole process stays within 256 MB."""
    block = (b"x" * 76 + b"\r\n") * 13_000
    small = b"Subject: not yet whole\r\n\r\n" + block[: 78 * 12_000]
    users = [f"user{number}" for number in range(60)]
    with (
        Server(tmp_path, users=users, limits={"message_size": "60 MiB"}) as server,
        ExitStack() as stack,
    ):
        for number in range(200):
            imap = Imap(server, users[number % 50], "imaps" if number % 2 else "imap")
            stack.enter_context(imap).ok(b"SELECT INBOX")
        for number in range(100):
            stack.enter_context(Pop(server, users[number % 50], "pop3s" if number % 2 else "pop3"))
        senders = [stack.enter_context(Smtp(server)) for _ in range(192)]
        for number, smtp in enumerate(senders):
            smtp.begin(f"{users[number % 50]}@example.org")
            smtp.send(small)
        large = [stack.enter_context(Smtp(server)) for _ in range(8)]
        for smtp, user in zip(large, users[50:], strict=False):
            smtp.begin(f"{user}@example.org")
            smtp.send(b"Subject: large\r\n\r\n")
        for _ in range(50):
            for smtp in large:
                smtp.send(block)
        for smtp in senders + large:
            smtp.send(b".\r\n")
        for smtp in senders + large:
            assert smtp.reply().startswith(b"250")
        readers = [stack.enter_context(Imap(server, user)) for user in users[50:58]]
        for imap in readers:
            imap.ok(b"SELECT INBOX")
            imap.send(b"t FETCH 1 (BODYSTRUCTURE BODY[])\r\n")
        for imap in readers:
            left = 50 * len(block)
            while left > 0:
                left -= len(imap.socket.recv(1 << 20) or pytest.fail("closed"))
            imap.send(b"s SEARCH TEXT nowhere\r\n")
        for imap in readers:
            imap.data = b""
            imap.tagged(b"s")
        assert highest(server) < 256_000_000, f"{highest(server) / 1e6:.0f} MB"
