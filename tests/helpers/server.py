"""A real server: a `twistd` process with a folder, ports and users of its own.

    with Server(folder, relay={"retry": ["1s"]}) as server:
        smtplib.SMTP(server.host, server.ports["smtp"])

Ports stay the same over restarts. Nothing waits longer than it must: the process is asked for its end and the
ports for a connection in turn.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SERVICES = ("smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s")
PASSWORD = "secret"
STEP = 0.01  # seconds between two looks

_given: set[int] = set()  # ports, by free_port


class ServerFailed(AssertionError):
    """The process ended, or did not get ready; its log is in the text."""


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on, that was not given before, and that no outgoing connection gets while
    the server is down (Linux takes those from 32768 on)."""
    while True:
        port = random.randrange(10_000, 32_768)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((host, port))
                if port not in _given:
                    _given.add(port)
                    return port


class Server:
    """folder:   holds the configuration, the data and server.log
    users:    local parts, or whole addresses, with the password PASSWORD; or a dict of them to what stands
              as their password in users.toml
    ports:    of services that must not be any free ones
    listen:   endpoints besides those
    sections: sections of mailserver.toml: `limits={"recipients": 3}`; top-level keys go into `keys`
    """

    def __init__(
        self,
        folder: Path,
        *,
        domain: str = "example.org",
        hostname: str = "",
        users: Iterable[str] | Mapping[str, str] = ("alice", "bob"),
        aliases: Mapping[str, list[str]] | None = None,
        host: str = "127.0.0.1",
        services: Iterable[str] = SERVICES,
        ports: Mapping[str, int] | None = None,
        keys: Mapping[str, Any] | None = None,
        listen: Mapping[str, list[str]] | None = None,
        **sections: Mapping[str, Any],
    ) -> None:
        self.folder = folder
        self.domain = domain
        self.hostname = hostname or f"mail.{domain}"
        self.host = host
        stored = users if isinstance(users, Mapping) else dict.fromkeys(users, "{PLAIN}" + PASSWORD)
        self.passwords = {user if "@" in user else f"{user}@{domain}": text for user, text in stored.items()}
        self.users = list(self.passwords)
        self.aliases = dict(aliases or {})
        self.ports = {service: free_port(host) for service in services} | dict(ports or {})
        self.keys = dict(keys or {})
        self.listen = dict(listen or {})
        self.sections = {name: dict(values) for name, values in sections.items()}
        self.process: subprocess.Popen[bytes] | None = None
        self.config = folder / "mailserver.toml"
        self.data = folder / "data"
        self.write()

    # --- files ------------------------------------------------------------------------------------

    def write(self) -> None:
        """The configuration and the users file, from the attributes as they are now."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _private(self.config, self._config_text())
        _private(self.folder / "users.toml", self._users_text())

    def _config_text(self) -> str:
        auth = {"allow_cleartext": True, "failure_delay": "0s"} | self.sections.get("auth", {})
        limits = {"connections_per_ip": 1000} | self.sections.get("limits", {})
        listen = {name: [f"tcp:{port}:interface={self.host}"] for name, port in self.ports.items()}
        for name, more in self.listen.items():
            listen[name] = listen.get(name, []) + more
        sections = self.sections | {"auth": auth, "limits": limits, "listen": listen}
        keys = {"hostname": self.hostname, "data_dir": "data", "users_file": "users.toml"} | self.keys
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        lines.append(f'\n[domains."{self.domain}"]')
        for name, values in sections.items():
            lines += _section(name, values)
        return "\n".join(lines) + "\n"

    def _users_text(self) -> str:
        lines = [
            f'[users."{user}"]\npassword = {json.dumps(self.passwords.get(user, "{PLAIN}" + PASSWORD))}\n'
            for user in self.users
        ]
        lines.append("[aliases]")
        lines += [f"{json.dumps(name)} = {json.dumps(targets)}" for name, targets in self.aliases.items()]
        return "\n".join(lines) + "\n"

    def maildir(self, user: str) -> Path:
        """The Maildir of a user, as CONTRACT names it."""
        local, _, domain = (user if "@" in user else f"{user}@{self.domain}").rpartition("@")
        return self.data / "mail" / domain / local

    def log(self) -> str:
        """Everything that the server printed since the first start."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # --- the process ------------------------------------------------------------------------------

    def start(self, ready: bool = True) -> Server:
        """Start the process; `ready`: and wait until it answers."""
        assert self.process is None
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        environment.pop("COVERAGE_PROCESS_START", None)
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                [_twistd(), "--nodaemon", "--pidfile=", "mailserver", "--config", str(self.config)],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self, seconds: float = 30) -> None:
        """Return when all ports take connections."""
        deadline = time.monotonic() + seconds
        for port in self.ports.values():
            while not self._answers(port):
                if self._ended(STEP):
                    raise ServerFailed(
                        f"the server ended with {self.process_status()}:\n{self.log()[-5000:]}"
                    )
                if time.monotonic() > deadline:
                    raise ServerFailed(f"port {port} does not answer:\n{self.log()[-5000:]}")

    def _answers(self, port: int) -> bool:
        try:
            socket.create_connection((self.host, port), timeout=5).close()
        except OSError:
            return False
        return True

    def _ended(self, seconds: float) -> bool:
        assert self.process is not None
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def process_status(self) -> int | None:
        return self.process.returncode if self.process else None

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            with suppress(AssertionError):  # its workers may still be ending, and keep the sockets until then
                eventually(lambda: not any(map(self._answers, self.ports.values())), 10)

    def stop(self, seconds: float = 30) -> int:
        """SIGTERM; 0 where it ended by it, as twistd does, or its exit status. A server that does not end is
        killed, and that is a failure."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        if not self._ended(seconds):
            self.kill()
            raise ServerFailed(f"the server did not stop within {seconds} s:\n{self.log()[-5000:]}")
        status = self.process.returncode
        self.process = None
        return 0 if status == -signal.SIGTERM else status

    def restart(self) -> Server:
        """Stop and start again, on the same ports and data."""
        status = self.stop()
        assert status == 0, f"the server ended with {status}:\n{self.log()[-5000:]}"
        return self.start()

    def reload(self) -> None:
        """SIGHUP."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def __enter__(self) -> Server:
        try:
            return self.start()
        except BaseException:
            self.kill()
            raise

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self.stop()
        else:
            self.kill()


def _twistd() -> str:
    return str(Path(sys.executable).with_name("twistd"))


def _private(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def _section(name: str, values: Mapping[str, Any]) -> list[str]:
    """JSON's numbers, strings, lists and booleans are TOML's; tables become sections of their own."""
    lines = [f"\n[{name}]"]
    lines += [
        f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, Mapping)
    ]
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += _section(f"{name}.{key}", {json.dumps(inner): entry for inner, entry in value.items()})
    return lines


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
