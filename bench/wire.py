"""Blocking SMTP, IMAP and POP3 clients for the benchmarks: cheap, and strict about every answer."""

from __future__ import annotations

import re
import select
import socket
import ssl
import time

_ANYBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the servers under test have made their certificates
_ANYBODY.check_hostname = False
_ANYBODY.verify_mode = ssl.CERT_NONE
_LITERAL = re.compile(rb"\{(\d+)\+?\}$")


class WireError(Exception):
    """The server said something else than a working server would."""


class Conn:
    """A socket with reads by line and by count; every wait has a deadline."""

    def __init__(self, port: int, timeout: float = 120, *, tls: bool = False) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = _ANYBODY.wrap_socket(self.sock)
        self.data = b""
        self.send = self.sock.sendall

    def more(self) -> bytes:
        data = self.sock.recv(1 << 16)
        if not data:
            raise WireError(f"connection closed, left over: {self.data[-200:]!r}")
        return data

    def line(self) -> bytes:
        seen = 0
        while (at := self.data.find(b"\r\n", seen)) < 0:
            seen = max(0, len(self.data) - 1)
            self.data += self.more()
        line, self.data = self.data[:at], self.data[at + 2 :]
        return line

    def until(self, end: bytes) -> bytes:
        """All bytes up to and with `end`, which closes a segment (no search inside what came before)."""
        parts, tail = [self.data], self.data[-len(end) :]
        while tail != end:
            parts.append(self.more())
            if parts[-1].startswith(b"-ERR"):
                raise WireError(parts[-1].decode("latin-1"))
            tail = (tail + parts[-1])[-len(end) :]
        self.data = b""
        return b"".join(parts)

    def ready(self, timeout: float) -> bool:
        return bool(self.data) or bool(select.select([self.sock], [], [], timeout)[0])

    def close(self) -> None:
        self.sock.close()


class Smtp:
    """EHLO is done when it is made."""

    def __init__(self, port: int) -> None:
        self.conn = Conn(port)
        self.expect(b"220")
        self.conn.send(b"EHLO bench.origin.test\r\n")
        self.expect(b"250")

    def expect(self, code: bytes) -> bytes:
        while True:
            line = self.conn.line()
            if line[:3] != code:
                raise WireError(line.decode("latin-1"))
            if line[3:4] != b"-":
                return line

    def message(self, recipient: bytes, stuffed: bytes, pipelining: bool = False) -> float:
        """One transaction, a command at a time or all in one write; `stuffed` ends with CRLF.CRLF. When the
        end of the data was sent (time.monotonic)."""
        commands = [b"MAIL FROM:<sender@origin.test>\r\n", b"RCPT TO:<" + recipient + b">\r\n", b"DATA\r\n"]
        codes = (b"250", b"250", b"354")
        if pipelining:
            self.conn.send(b"".join(commands))
            for code in codes:
                self.expect(code)
        else:
            for command, code in zip(commands, codes, strict=True):
                self.conn.send(command)
                self.expect(code)
        self.conn.send(stuffed)
        sent = time.monotonic()
        self.expect(b"250")
        return sent

    def quit(self) -> None:
        self.conn.send(b"QUIT\r\n")
        self.expect(b"221")
        self.conn.close()


class Imap:
    """Logged in when it is made."""

    def __init__(self, port: int, user: str, password: str, *, tls: bool = False) -> None:
        self.conn = Conn(port, tls=tls)
        self.conn.line()
        self.number = 0
        self.run(f"LOGIN {user} {password}".encode())

    def run(self, command: bytes) -> list[bytes]:
        """Untagged lines of a command without large answers."""
        self.number += 1
        tag = b"a%d" % self.number
        self.conn.send(tag + b" " + command + b"\r\n")
        lines = []
        while True:
            line = self.conn.line()
            while (found := _LITERAL.search(line)) is not None:
                count = int(found[1])
                while len(self.conn.data) < count:
                    self.conn.data += self.conn.more()
                line += b"\r\n" + self.conn.data[:count]
                self.conn.data = self.conn.data[count:]
                line += self.conn.line()
            if line.startswith(tag + b" "):
                if not line.startswith(tag + b" OK"):
                    raise WireError(line.decode("latin-1"))
                return lines
            lines.append(line)

    def bulk(self, command: bytes) -> bytes:
        """All bytes of the answer, read as they come; the tag ends it."""
        self.number += 1
        tag = b"\r\na%d " % self.number
        self.conn.send(tag[2:] + command + b"\r\n")
        parts, tail = [b"\r\n"], b"\r\n"
        while not (tail.endswith(b"\r\n") and tag in tail):
            parts.append(self.conn.more())
            tail = (tail + parts[-1])[-600:]
        out = b"".join(parts)
        done = out[out.rindex(tag) + len(tag) :]
        if not done.startswith(b"OK"):
            raise WireError(done.decode("latin-1"))
        return out

    def select(self, folder: str) -> int:
        for line in self.run(f"SELECT {folder}".encode()):
            if line.endswith(b" EXISTS"):
                return int(line.split()[1])
        raise WireError("no EXISTS")

    def logout(self) -> None:
        self.run(b"LOGOUT")
        self.conn.close()


class Pop3:
    """Logged in when it is made."""

    def __init__(self, port: int, user: str, password: str) -> None:
        self.conn = Conn(port)
        self.ok()
        for command in (f"USER {user}", f"PASS {password}"):
            self.conn.send(command.encode() + b"\r\n")
            self.ok()

    def ok(self) -> bytes:
        line = self.conn.line()
        if not line.startswith(b"+OK"):
            raise WireError(line.decode("latin-1"))
        return line

    def retrieve(self, number: int) -> int:
        """Octets of the whole answer."""
        self.conn.send(b"RETR %d\r\n" % number)
        return len(self.conn.until(b"\r\n.\r\n"))

    def quit(self) -> None:
        self.conn.send(b"QUIT\r\n")
        self.ok()
        self.conn.close()
