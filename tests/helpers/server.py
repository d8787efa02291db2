"""A real server for the tests of this project, from the working tree and as plain as it comes.

with Server(folder, relay={"retry": ["1s"]}) as server:
    smtplib.SMTP(server.host, server.ports["smtp"])
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from mailserver import testing
from mailserver.testing import ServerFailed
from mailserver.testing.server import STEP, free_port

__all__ = ["PASSWORD", "ROOT", "Server", "ServerFailed", "eventually", "free_port"]

ROOT = Path(__file__).parents[2]
PASSWORD = "secret"


class Server(testing.Server):
    """Nothing is caught, nobody may relay, the log is text."""

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        name: testing.Server.defaults[name] for name in ("auth", "limits")
    }

    def __init__(self, folder: Path, **how: Any) -> None:
        super().__init__(folder, catch=False, password=PASSWORD, **how)


def eventually(check: Callable[[], Any], seconds: float = 20, what: str = "") -> Any:
    """Ask `check` until it answers something true, and give that; for what a real server does in its time."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {seconds} s: {what or check}")
        pause.wait(STEP)
