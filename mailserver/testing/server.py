"""A `twistd` process with a folder, ports and users of its own, and the mail that it took.

Nothing waits longer than it must: the process is asked for its end and the ports for a connection in turn.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

from mailserver.store import maildir
from mailserver.wire.address import normalise

SERVICES = ("smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s")
STEP = 0.01  # seconds between two looks

_given: set[int] = set()  # ports, by free_port


class ServerFailed(AssertionError):
    """The process ended, or did not get ready; its log is in the text."""


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on, that was not given before, and that no outgoing connection gets while
    the server is down (Linux takes those from 32768 on)."""
    while True:
        port = random.randrange(10_000, 32_768)  # noqa: S311  (nothing secret in it)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((host, port))
                if port not in _given:
                    _given.add(port)
                    return port


class Server:
    """One server for one test or for many. All parameters have defaults.

    folder:   holds the configuration, the data and server.log; without it, a temporary one
    domain:   whose mail is its own; mail for any other is caught (`catch`), and none leaves
    users:    local parts, or whole addresses, whose password is `password`; or a dict of them to what stands
              as their password in users.toml
    services: those that are opened, each on a free port of `host`; `ports` names ports for some
    listen:   endpoints besides those
    keys:     top-level keys of mailserver.toml; its sections by their names: `limits={"recipients": 3}`
    catch:    False for a server that sends mail to other servers

    Ports stay the same over restarts. `folder`, `data`, `config`, `ports`, `users` are there to be looked at.
    """

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "auth": {"allow_cleartext": True, "failure_delay": "0s"},
        "limits": {"connections_per_ip": 1000},
        "relay": {"networks": ["127.0.0.0/8", "::1"]},
        "log": {"format": "json", "file": "events.json"},
    }

    def __init__(
        self,
        folder: Path | str | None = None,
        *,
        domain: str = "example.org",
        hostname: str = "",
        users: Iterable[str] | Mapping[str, str] = ("alice", "bob"),
        password: str = "secret",  # noqa: S107  (of a server for tests)
        aliases: Mapping[str, list[str]] | None = None,
        host: str = "127.0.0.1",
        services: Iterable[str] = SERVICES,
        ports: Mapping[str, int] | None = None,
        listen: Mapping[str, list[str]] | None = None,
        keys: Mapping[str, Any] | None = None,
        catch: bool = True,
        **sections: Mapping[str, Any],
    ) -> None:
        self._temporary: TemporaryDirectory[str] | None = None
        if folder is None:
            self._temporary = TemporaryDirectory(prefix="mailserver-")
            folder = self._temporary.name
        self.folder = Path(folder).absolute()
        self.domain = domain
        self.hostname = hostname or f"mail.{domain}"
        self.host = host
        self.password = password
        stored = users if isinstance(users, Mapping) else dict.fromkeys(users, "{PLAIN}" + password)
        self.passwords = {self.address(user): text for user, text in stored.items()}
        self.users = list(self.passwords)
        self.aliases = dict(aliases or {})
        self.ports = {service: free_port(host) for service in services} | dict(ports or {})
        self.keys = dict(keys or {})
        if catch:
            self.keys["extensions"] = ["mailserver.testing.catch:extend", *self.keys.get("extensions", ())]
        self.listen = dict(listen or {})
        self.sections = {name: dict(values) for name, values in sections.items()}
        self.process: subprocess.Popen[bytes] | None = None
        self.config = self.folder / "mailserver.toml"
        self.data = self.folder / "data"
        self.write()

    # --- files ------------------------------------------------------------------------------------

    def write(self) -> None:
        """The configuration and the users file, from the attributes as they are now."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _private(self.config, self._config_text())
        _private(self.folder / "users.toml", self._users_text())

    def _config_text(self) -> str:
        sections = self.sections | {
            name: {**values, **self.sections.get(name, {})} for name, values in self.defaults.items()
        }
        listen = {name: [f"tcp:{port}:interface={self.host}"] for name, port in self.ports.items()}
        for name, more in self.listen.items():
            listen[name] = listen.get(name, []) + more
        sections["listen"] = listen
        keys = {"hostname": self.hostname, "data_dir": "data", "users_file": "users.toml"} | self.keys
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        lines.append(f'\n[domains."{self.domain}"]')
        for name, values in sections.items():
            lines += _section(name, values)
        return "\n".join(lines) + "\n"

    def _users_text(self) -> str:
        usual = "{PLAIN}" + self.password
        lines = [
            f'[users."{user}"]\npassword = {json.dumps(self.passwords.get(user, usual))}\n'
            for user in self.users
        ]
        lines.append("[aliases]")
        lines += [f"{json.dumps(name)} = {json.dumps(targets)}" for name, targets in self.aliases.items()]
        return "\n".join(lines) + "\n"

    def address(self, user: str) -> str:
        """`user`, with the domain of this server where it has none."""
        return user if "@" in user else f"{user}@{self.domain}"

    # --- mail -------------------------------------------------------------------------------------

    def maildir(self, user: str) -> Path:
        """The Maildir of a user, or of anybody elsewhere; it is made when first needed."""
        return Path(maildir.account_path(str(self.data / "mail"), normalise(self.address(user))))

    def messages(self, user: str, folder: str = "INBOX") -> list[EmailMessage]:
        """What lies in a mailbox now, in the order in which it came."""
        place = self.maildir(user) / maildir.directory_of(folder)
        while True:
            with suppress(FileNotFoundError):  # renamed meanwhile, as reading and flags do
                return [message_from_bytes(path.read_bytes(), policy=default) for path in _files(place)]

    def wait_for(
        self, user: str, count: int = 1, *, folder: str = "INBOX", seconds: float = 10
    ) -> list[EmailMessage]:
        """The same, once `count` messages are there at least. Raises ServerFailed where they do not come."""
        found: list[EmailMessage] = []

        def enough() -> bool:
            found[:] = self.messages(user, folder)
            return len(found) >= count

        if not until(enough, seconds):
            raise ServerFailed(
                f"{len(found)} of {count} messages for {self.address(user)} came within {seconds} s:\n"
                + self.log()[-5000:]
            )
        return found

    def clear(self) -> None:
        """Take the messages out of all mailboxes, from one test to the next."""
        for path in (self.data / "mail").glob("*/*/**/*"):
            if path.parent.name in ("cur", "new"):
                path.unlink(missing_ok=True)

    def events(self, event: str = "") -> list[dict[str, Any]]:
        """The event log, or its events of one kind: what happened to every message, and why."""
        path = self.folder / "events.json"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        return [entry for entry in map(json.loads, lines) if event in ("", entry["event"])]

    def log(self) -> str:
        """Everything that the server printed since the first start."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # --- the process ------------------------------------------------------------------------------

    def start(self, ready: bool = True) -> Self:
        """Start the process; `ready`: and wait until it answers."""
        if self.process is not None:
            raise ServerFailed("the server runs already")
        # It finds what the test finds: extensions of its own, say.
        found = os.pathsep.join(os.path.abspath(path) for path in sys.path)
        environment = os.environ | {"PYTHONPATH": found, "PYTHONUNBUFFERED": "1"}
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(  # noqa: S603  (our own program)
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
        if self.process is None:
            return True
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
            # Its workers may be ending still, with the sockets.
            until(lambda: not any(map(self._answers, self.ports.values())), 10)

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

    def restart(self) -> Self:
        """Stop and start again, on the same ports and data."""
        status = self.stop()
        if status:
            raise ServerFailed(f"the server ended with {status}:\n{self.log()[-5000:]}")
        return self.start()

    def reload(self) -> None:
        """SIGHUP: the configuration is read again."""
        if self.process is not None:
            self.process.send_signal(signal.SIGHUP)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self._leave(self.kill)
            raise

    def __exit__(self, *error: object) -> None:
        self._leave(self.stop if error[0] is None else self.kill)

    def _leave(self, end: Callable[[], object]) -> None:
        try:
            end()
        finally:
            if self._temporary is not None:
                self._temporary.cleanup()


def until(check: Callable[[], Any], seconds: float) -> Any:
    """Ask `check` until it answers something true, or the time is over; its last answer."""
    deadline = time.monotonic() + seconds
    while not (answer := check()) and time.monotonic() <= deadline:
        time.sleep(STEP)
    return answer


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


def _files(place: Path) -> list[Path]:
    """The messages of a folder in the order of their UIDs; those without one come last."""
    found = [path for sub in ("cur", "new") if (place / sub).is_dir() for path in (place / sub).iterdir()]
    return sorted(found, key=lambda path: (maildir.parse(path.name).uid or 1 << 32, path.name))
