"""A real server for the tests of this project, from the working tree and as plain as it comes.

with Server(folder, relay={"retry": ["1s"]}) as server:
    smtplib.SMTP(server.host, server.ports["smtp"])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from mailserver import testing
from mailserver.testing import ServerFailed
from mailserver.testing.server import free_port, until

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
    answer = until(check, seconds)
    assert answer, f"did not happen within {seconds} s: {what or check}"
    return answer
