"""The queue of real processes that end: asked to, in the middle of deliveries, and killed."""

from __future__ import annotations

import os
import signal
import smtplib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.helpers.server import Server, eventually
from tests.helpers.smtp_sink import SmtpSink, Taken

DOMAINS = ("one.example", "two.example", "three.example")
LIMITED = {"two.example": {"connections": 2}, "three.example": {"rate": "50/s"}}


class Gate:
    """A server that takes messages and says so when it may. begun: whole texts that it has."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun: list[str] = []
        self.said: list[str] = []

    def take(self, taken: Taken) -> None:
        self.begun += taken.recipients
        self.open.wait(30)
        self.said += taken.recipients


def settings(port: int, **more: Any) -> dict[str, Any]:
    relay = {
        "networks": ["127.0.0.0/8"],
        "retry": ["1s"],
        "connections_per_destination": 4,
        "port": port,
        "routes": _routes(port),
        "limits": LIMITED,
        "allow_loopback": True,
    }
    return {"services": ("smtp",), "relay": relay} | more


def _routes(port: int) -> dict[str, str]:
    """Each leads to a next hop of its own, on the same server."""
    return {domain: f"127.0.0.{number}:{port}" for number, domain in enumerate(DOMAINS, 1)}


def send(server: Server, count: int, begin: int = 0) -> list[str]:
    """Three senders in turn, to all domains."""
    sent = []
    with smtplib.SMTP(server.host, server.ports["smtp"], timeout=20) as smtp:
        for number in range(begin, begin + count):
            to = f"u{number}@{DOMAINS[number % 3]}"
            smtp.sendmail(f"s{number // 3 % 3}@elsewhere.example", [to], b"Subject: x\r\n\r\nx\r\n")
            sent.append(to)
    return sent


@contextmanager
def sinks(gate: Gate) -> Iterator[int]:
    """On 127.0.0.1, .2 and .3, at one port."""
    with (
        SmtpSink(take=gate.take) as first,
        SmtpSink("127.0.0.2", first.port, take=gate.take),
        SmtpSink("127.0.0.3", first.port, take=gate.take),
    ):
        yield first.port


def test_F13_deliveries_under_way_come_to_their_end(tmp_path: Path) -> None:
    """SIGTERM: what a server has as a whole is waited for, nothing more begins, and the rest goes out after
    the next start: each message once."""
    gate = Gate()
    with sinks(gate) as port, Server(tmp_path, **settings(port)) as server:
        sent = send(server, 60)
        eventually(lambda: len(gate.begun) >= 6, 20, "some are under way")
        begun: list[int] = []

        def answer() -> None:
            eventually(lambda: "Received SIGTERM" in server.log(), 10, "it has heard")
            begun.append(len(gate.begun))
            assert server.process is not None
            server.process.terminate()  # again, as somebody who waits
            eventually(lambda: "stopping already" in server.log(), 10, "it has heard that as well")
            gate.open.set()

        answering = threading.Thread(target=answer)
        answering.start()
        assert server.stop() == 0
        answering.join(20)
        assert len(gate.said) == len(gate.begun) <= begun[0] + 3
        server.start()
        eventually(lambda: len(gate.said) >= 60, 30, "the rest goes out")
        assert server.stop() == 0
        assert Counter(gate.said) == Counter(sent)
        assert "Traceback" not in server.log()


def test_F13_servers_that_do_not_answer_do_not_keep_the_server_from_ending(tmp_path: Path) -> None:
    """Their mail stays, and is sent again."""
    gate = Gate()
    with sinks(gate) as port, Server(tmp_path, **settings(port)) as server:
        sent = send(server, 12)
        eventually(lambda: len(gate.begun) >= 6, 20, "some are under way")
        unclear = Counter(gate.begun)
        assert server.stop(15) == 0
        gate.open.set()
        eventually(lambda: len(gate.said) == len(gate.begun), 10)
        server.start()
        eventually(lambda: set(gate.said) == set(sent), 30, "all of it arrives")
        assert server.stop() == 0
        twice = Counter(gate.said) - Counter(sent)
        assert not twice - unclear
        assert "Traceback" not in server.log()


def test_another_worker_goes_on_where_one_was_killed(tmp_path: Path) -> None:
    """With all its limits; no more is sent twice than was under way."""
    gate = Gate()
    gate.open.set()
    text = "this process delivers the queue"
    with sinks(gate) as port, Server(tmp_path, **settings(port, keys={"workers": 2})) as server:
        sent: list[str] = []
        for number in range(3):
            eventually(lambda number=number: server.log().count(text) == number + 1, 20, "one leads")
            sent += send(server, 90, 90 * number)
            most = len(sent) - 60
            eventually(lambda most=most: len(set(gate.said)) > most, 20, "it delivers")
            os.kill(int((server.data / "queue" / "lock").read_text()), signal.SIGKILL)
        eventually(lambda: set(gate.said) == set(sent), 30, "nothing is lost")
        assert server.stop() == 0
        twice = Counter(gate.said) - Counter(sent)
        assert twice.total() <= 3 * (4 + 2 + 4), twice
