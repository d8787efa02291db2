"""Mail for another domain: taken in, durable, and out again to Postfix's smtp-sink."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import messages
from bench.servers import RELAYED, SEARCH_PATH, wait_port
from bench.wire import Smtp
from bench.workloads import Meter, Result, send_many

SINK = shutil.which("smtp-sink", path=SEARCH_PATH)


class Sink:
    """`smtp-sink` on the port that a server relays to; `taken` is what it has counted."""

    def __init__(self, port: int, counters: Path) -> None:
        self._counters = counters
        with counters.open("wb") as out:
            user = ["-u", "nobody"] if os.geteuid() == 0 else []
            command = [str(SINK), "-c", *user, f"127.0.0.1:{port}", "500"]
            self._process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        wait_port(port, counters)

    @property
    def taken(self) -> int:
        with self._counters.open("rb") as file:
            file.seek(max(0, self._counters.stat().st_size - 200))
            found = re.findall(rb"mesg=(\d+)", file.read())
        return int(found[-1]) if found else 0

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)


@contextmanager
def sink(server: Any) -> Iterator[Sink]:
    running = Sink(server.sink, server.directory / "sink.counters")
    try:
        yield running
    finally:
        running.stop()


def relay_out(server: Any, scale: float) -> Iterator[Result]:
    """4 KiB messages over 16 connections until the last of them is at its next host."""
    if SINK is None:
        print("no smtp-sink (apt-get install postfix): relaying is not measured")
        return
    count = max(64, int(3000 * scale))
    text = messages.sized(4096) + b".\r\n"
    with sink(server) as target:
        Smtp(server.smtp).message(f"first@{RELAYED}".encode(), text)
        wait_for(target, 1)
        with Meter(server) as meter:
            send_many(server, count, lambda i: f"someone{i}@{RELAYED}")
            wait_for(target, 1 + count)
        yield Result("relay, in and out", count / meter.seconds, "msg/s", "more")
        yield Result("relay, server CPU", meter.cpu / count * 1000, "ms/msg", "less")


def wait_for(target: Sink, count: int) -> None:
    deadline = time.monotonic() + 300
    while target.taken < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"{target.taken} of {count} messages after 300 s")
        time.sleep(0.01)
