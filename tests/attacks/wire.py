"""Raw sockets to a server, and what may be measured of it from outside."""

from __future__ import annotations

import base64
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.helpers.server import PASSWORD, Server

SECONDS = 30.0
TURN = 0.25  # the longest that others may wait; how long the reactor is held tells `turns`


class Wire:
    """One connection. What is sent leaves at once; reading fails after SECONDS."""

    def __init__(self, server: Server, service: str, greeting: bool = True, buffer: int = 0) -> None:
        self.socket: socket.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(SECONDS)
        self.socket.connect((server.host, server.ports[service]))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        if service.endswith("s"):
            self.tls()
        self.greeting = self.line() if greeting else b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def tls(self) -> None:
        """The handshake; no certificate is looked at."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.data = b""
        self.socket = context.wrap_socket(self.socket)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_anyway(self, data: bytes) -> bool:
        """As far as the server takes it; False where it has closed."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.data += data
        return bool(data)

    def until(self, pattern: bytes) -> bytes:
        """All up to what the regular expression matches."""
        compiled = re.compile(pattern, re.MULTILINE | re.DOTALL)
        while (found := compiled.search(self.data)) is None:
            assert self._more(), f"closed after {self.data[-2000:]!r}"
        read, self.data = self.data[: found.end()], self.data[found.end() :]
        return read

    def line(self) -> bytes:
        return self.until(rb"\r\n")[:-2]

    def rest(self) -> bytes:
        """All until the server closes."""
        while self._more():
            pass
        read, self.data = self.data, b""
        return read

    def silent(self, seconds: float = 0.05) -> bool:
        """Nothing comes for so long."""
        self.socket.settimeout(seconds)
        try:
            return not self.data and not self._more()
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(SECONDS)


class Smtp(Wire):
    """Replies of any number of lines are read as one."""

    def __init__(self, server: Server, service: str = "smtp", hello: bool = True) -> None:
        super().__init__(server, service)
        if hello:
            assert self.say(b"EHLO attacker.example").startswith(b"250")

    def reply(self) -> bytes:
        return self.until(rb"^\d\d\d[ ][^\r\n]*\r\n")

    def say(self, line: bytes) -> bytes:
        self.send(line + b"\r\n")
        return self.reply()

    def begin(self, *recipients: str, sender: str = "a@remote.example") -> None:
        """Up to the 354."""
        assert self.say(b"MAIL FROM:<%b>" % sender.encode()).startswith(b"250")
        for recipient in recipients:
            assert self.say(b"RCPT TO:<%b>" % recipient.encode()).startswith(b"250")
        assert self.say(b"DATA").startswith(b"354")

    def message(self, text: bytes, *recipients: str) -> bytes:
        self.begin(*recipients)
        self.send(text + b"\r\n.\r\n")
        return self.reply()

    def log_in(self, user: str, password: str = PASSWORD) -> None:
        assert self.say(b"AUTH PLAIN " + plain(user, password)).startswith(b"235")


class Imap(Wire):
    """Commands have tags of their own."""

    def __init__(self, server: Server, user: str = "", service: str = "imap", buffer: int = 0) -> None:
        super().__init__(server, service, buffer=buffer)
        if user:
            assert b" OK " in self.say(f"LOGIN {user} {PASSWORD}".encode())

    def say(self, command: bytes, tag: bytes = b"t") -> bytes:
        """All up to the tagged reply."""
        self.send(tag + b" " + command + b"\r\n")
        return self.tagged(tag)

    def ok(self, command: bytes) -> bytes:
        said = self.say(command)
        assert re.search(rb"^t OK ", said, re.MULTILINE), said[-500:]
        return said

    def tagged(self, tag: bytes = b"t") -> bytes:
        return self.until(rb"^" + re.escape(tag) + rb" (OK|NO|BAD)[^\r\n]*\r\n")


class Pop(Wire):
    def __init__(self, server: Server, user: str = "", service: str = "pop3") -> None:
        super().__init__(server, service)
        if user:
            self.say(f"USER {user}".encode())
            assert self.say(f"PASS {PASSWORD}".encode()).startswith(b"+OK")

    def say(self, line: bytes) -> bytes:
        self.send(line + b"\r\n")
        return self.line()

    def many(self, line: bytes) -> bytes:
        """A multi-line response."""
        self.send(line + b"\r\n")
        return self.until(rb"^\.\r\n")


def plain(user: str, password: str = PASSWORD, act_as: str = "") -> bytes:
    return base64.b64encode(f"{act_as}\0{user}\0{password}".encode())


# --- what the server has -----------------------------------------------------------------------------


def bodies(server: Server, user: str, folder: str = "INBOX") -> list[bytes]:
    """All messages of a mailbox."""
    with Imap(server, user) as imap:
        imap.ok(b"EXAMINE %b" % folder.encode())
        imap.send(b"t UID FETCH 1:* (BODY.PEEK[])\r\n")
        found = []
        while True:
            line = imap.line()
            if line.startswith(b"t "):
                return found
            size = int(line.rsplit(b"{", 1)[1].rstrip(b"}"))
            while len(imap.data) < size:
                assert imap._more()
            found.append(imap.data[:size])
            imap.data = imap.data[size:]
            imap.line()


def leftovers(server: Server) -> list[Path]:
    """Files of messages on their way: none, when nothing is on its way."""
    folders = ("tmp", "bodies", "incoming", "messages")
    return [path for path in server.data.rglob("*") if path.parent.name in folders and path.is_file()]


def pid(server: Server) -> int:
    assert server.process is not None
    return server.process.pid


def resident(server: Server) -> int:
    """Octets of memory."""
    pages = int(Path(f"/proc/{pid(server)}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def waited(process: int) -> float:
    """Seconds that the threads of a process were ready to run and other work had the processors."""
    total = 0
    for path in Path(f"/proc/{process}/task").glob("*/schedstat"):
        with suppress(OSError):
            total += int(path.read_text().split()[1])
    return total / 1e9


class Pulse:
    """NOOP on a session of somebody else's, again and again; the longest that one took. Time in which the
    machine had other things to do than to run the server or this client is not counted."""

    def __init__(self, server: Server, user: str) -> None:
        self._server = server
        self._imap = Imap(server, user)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self.longest = 0.0
        self.beats = 0
        self.fault: BaseException | None = None

    def _beat(self) -> None:
        try:
            while True:  # once at least, however quickly the block is done
                before = waited(pid(self._server)) + waited(os.getpid())
                began = time.monotonic()
                self._imap.say(b"NOOP")
                took = time.monotonic() - began
                if took > TURN / 2:
                    took -= waited(pid(self._server)) + waited(os.getpid()) - before
                self.longest = max(self.longest, took)
                self.beats += 1
                if self._stop.wait(0.005):
                    return
        except BaseException as error:
            self.fault = error

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(SECONDS)
        self._imap.close()


@contextmanager
def served(server: Server, user: str, within: float = TURN) -> Iterator[Pulse]:
    """Others are served in time while the block runs."""
    with Pulse(server, user) as pulse:
        yield pulse
    assert pulse.fault is None, pulse.fault
    assert pulse.beats
    assert pulse.longest < within, f"others waited {pulse.longest:.3f} s"


def turn(other: Imap) -> None:
    """What was sent on other connections before has been read by the server afterwards."""
    other.say(b"NOOP")
    other.say(b"NOOP")
