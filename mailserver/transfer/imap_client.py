"""An IMAP client that waits: what an import needs of one, in a thread of its own (RFC 3501).

Everything that is read is bounded: lines, literals, the time without an answer. Responses come as nested
lists of bytes, None for NIL; a literal is what a quoted string is.
"""

from __future__ import annotations

import binascii
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from attrs import field, frozen

from mailserver.transfer.values import SourceError

MAX_LINE = 1024 * 1024
MAX_DEPTH = 20
CONNECT_SECONDS = 30.0
ANSWER_SECONDS = 120.0
_READ = 256 * 1024

_LITERAL = re.compile(rb"\{(\d{1,12})\+?\}\Z")
_TOKEN = re.compile(rb'([^\s(){"\[]*(?:\[[^\]]*\](?:<\d+>)?)?[^\s(){"]*)')
_QUOTED = re.compile(rb'"((?:[^"\\\r\n]|\\.)*)"')
_QUOTABLE = re.compile(rb'[^\x00\r\n"\\\x80-\xff]*')

Value = Any  # bytes, None, or a list of them


@frozen
class Server:
    """Where mail is fetched from, and how. tls: "implicit", "starttls", or "none". token: an access
    token, with which the log-in is by XOAUTH2."""

    host: str
    port: int
    login: str
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    tls: str = "implicit"
    context: ssl.SSLContext | None = None


class ConnectionGone(SourceError):
    """The server closed the connection, or answers no more: it may be tried again."""


class Refused(SourceError):
    """NO or BAD."""


class ImapClient:
    """`connect`, `log_in`, then commands. Raises SourceError. literal: the largest one that is read."""

    def __init__(self, server: Server, literal: int) -> None:
        self.server = server
        self.capabilities: frozenset[str] = frozenset()
        self._literal = literal
        self._socket: socket.socket | None = None
        self._data = bytearray()
        self._number = 0
        self._ended: dict[bytes, list[Value]] = {}  # answers to commands that were not waited for yet

    # --- life -------------------------------------------------------------------------------------

    def connect(self) -> None:
        """To the greeting, inside TLS where that is wanted."""
        server = self.server
        try:
            self._socket = socket.create_connection((server.host, server.port), CONNECT_SECONDS)
            self._socket.settimeout(ANSWER_SECONDS)
            if server.tls == "implicit":
                self._begin_tls()
        except OSError as error:
            raise ConnectionGone(f"{server.host}:{server.port}: {_told(error)}") from None
        greeting = self._response()
        if greeting[:2] not in ([b"*", b"OK"], [b"*", b"PREAUTH"]):
            raise SourceError(f"{server.host} refuses: {_text(greeting[1:])}")
        if greeting[1] == b"PREAUTH" and server.tls == "starttls":
            # TLS can be begun before a log-in only: so somebody between keeps a client from it (CASES B8)
            raise SourceError(f"{server.host} says that we are logged in, and so offers no STARTTLS")
        self._ask_capabilities()
        if server.tls == "starttls":
            if "STARTTLS" not in self.capabilities:
                raise SourceError(f"{server.host} offers no STARTTLS")
            self.run(b"STARTTLS")
            if self._data:
                raise SourceError(f"{server.host} sent something in clear that was to come inside TLS")
            try:
                self._begin_tls()
            except OSError as error:
                raise SourceError(f"{server.host}: {_told(error)}") from None
            self._ask_capabilities()

    def _begin_tls(self) -> None:
        assert self._socket is not None
        context = self.server.context or ssl.create_default_context()
        self._socket = context.wrap_socket(self._socket, server_hostname=self.server.host)

    def log_in(self) -> None:
        """By token, PLAIN or LOGIN, whatever the server has."""
        server = self.server
        user, password = server.login.encode("utf-8"), server.password.encode("utf-8")
        try:
            if server.token:
                self._authenticate(b"XOAUTH2", b"user=%b\1auth=Bearer %b\1\1" % (user, server.token.encode()))
            elif "AUTH=PLAIN" in self.capabilities:
                self._authenticate(b"PLAIN", b"\0%b\0%b" % (user, password))
            elif "LOGINDISABLED" in self.capabilities:
                raise SourceError(f"{server.host} takes no password on this connection (try --tls)")
            else:
                self.run(b"LOGIN", user, password)
        except Refused as error:
            raise SourceError(f"{server.host} refuses the log-in of {server.login}: {error}") from None
        self._ask_capabilities()

    def _authenticate(self, mechanism: bytes, response: bytes) -> None:
        encoded = binascii.b2a_base64(response, newline=False)
        initial = "SASL-IR" in self.capabilities
        tag = self._send(b"AUTHENTICATE " + mechanism + (b" " + encoded if initial else b""))
        answers = [] if initial else [encoded]
        while True:
            answer = self._response()
            if answer[:1] == [b"+"]:  # a second one explains a refusal
                self._write((answers.pop() if answers else b"") + b"\r\n")
            elif self._is_end(tag, answer):
                return

    def close(self) -> None:
        if self._socket is not None:
            with suppress(OSError, SourceError):
                self._socket.settimeout(2.0)
                self._send(b"LOGOUT")
            with suppress(OSError):
                self._socket.close()
            self._socket = None
        self._data.clear()
        self._ended.clear()

    def _ask_capabilities(self) -> None:
        found: set[str] = set()
        for response in self.run(b"CAPABILITY"):
            if response[:1] == [b"CAPABILITY"]:
                found.update(
                    word.decode("latin-1").upper() for word in response[1:] if isinstance(word, bytes)
                )
        self.capabilities = frozenset(found)

    # --- commands ---------------------------------------------------------------------------------

    def run(self, command: bytes, *arguments: bytes) -> list[list[Value]]:
        """A command with strings behind it; untagged responses, without their `*`."""
        return list(self.collect(self.begin(command, *arguments)))

    def begin(self, command: bytes, *arguments: bytes) -> bytes:
        """Send without waiting for the answer, but where an argument has to be a literal; the tag."""
        parts = [command]
        for argument in arguments:
            if _QUOTABLE.fullmatch(argument):
                parts[-1] += b' "%b"' % argument
            else:
                parts[-1] += b" {%d}" % len(argument)
                parts.append(argument)
        tag = self._send(parts[0])
        for part in parts[1:]:
            while (answer := self._response())[:1] != [b"+"]:
                self._is_end(tag, answer)
            self._write(part + b"\r\n")
        return tag

    def collect(self, tag: bytes) -> Iterator[list[Value]]:
        """Untagged responses until a command is done; those to another one that was begun may be among them,
        for a server may work on both at once (RFC 3501, 5.5). Raises Refused."""
        while not self._is_end(tag, response := self._ended.pop(tag, None) or self._response()):
            if isinstance(response[0], bytes) and response[0] not in (b"*", b"+"):
                self._ended[response[0]] = response
            elif response[:1] == [b"*"]:
                if response[1:2] == [b"BYE"]:
                    raise ConnectionGone(f"{self.server.host} says goodbye: {_text(response[2:])}")
                yield response[1:]

    def _is_end(self, tag: bytes, response: Sequence[Value]) -> bool:
        if response[:1] != [tag]:
            return False
        if response[1:2] != [b"OK"]:
            raise Refused(_text(response[1:]))
        return True

    def _send(self, command: bytes) -> bytes:
        self._number += 1
        tag = b"i%d" % self._number
        self._write(tag + b" " + command + b"\r\n")
        return tag

    # --- octets -----------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if self._socket is None:
            raise ConnectionGone("not connected")
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise ConnectionGone(f"{self.server.host}: {_told(error)}") from None

    def _more(self) -> None:
        if self._socket is None:
            raise ConnectionGone("not connected")
        try:
            data = self._socket.recv(_READ)
        except OSError as error:
            raise ConnectionGone(f"{self.server.host}: {_told(error)}") from None
        if not data:
            raise ConnectionGone(f"{self.server.host} closed the connection")
        self._data += data

    def _take(self, size: int) -> bytes:
        while len(self._data) < size:
            self._more()
        data = bytes(self._data[:size])
        del self._data[:size]
        return data

    def _line(self) -> bytes:
        searched = 0
        while (end := self._data.find(b"\n", searched)) < 0:
            searched = len(self._data)
            if searched > MAX_LINE:
                raise SourceError(f"{self.server.host} sends a line without end")
            self._more()
        return self._take(end + 1).rstrip(b"\r\n")

    def _response(self) -> list[Value]:
        """One response: words, strings and lists. The text behind OK and the like comes as words."""
        parts: list[bytes] = []
        held = 0
        while True:
            line = self._line()
            literal = _LITERAL.search(line)
            if literal is None:
                parts.append(line)
                return parse(parts) or [b""]
            size = int(literal[1])
            held += size
            if held > self._literal:
                raise SourceError(
                    f"{self.server.host} sends a string of {size} octets where none was expected"
                )
            parts += [line[: literal.start()], self._take(size)]


def parse(parts: Sequence[bytes]) -> list[Value]:
    """Text, literal, text, literal … text to values. What makes no sense is passed over: it is not for us."""
    root: list[Value] = []
    stack = [root]
    for number, part in enumerate(parts):
        if number % 2:
            stack[-1].append(part)
            continue
        at = 0
        while at < len(part):
            letter = part[at : at + 1]
            quoted = _QUOTED.match(part, at) if letter == b'"' else None
            if quoted is not None:
                stack[-1].append(re.sub(rb"\\(.)", rb"\1", quoted[1]))
                at = quoted.end()
            elif letter == b"(" and len(stack) < MAX_DEPTH:
                stack[-1].append([])
                stack.append(stack[-1][-1])
                at += 1
            elif letter == b")" and len(stack) > 1:
                stack.pop()
                at += 1
            else:
                token = _TOKEN.match(part, at)
                if token is None or not token[1]:
                    at += 1
                    continue
                stack[-1].append(None if token[1].upper() == b"NIL" else token[1])
                at = token.end()
    return root


def _text(words: Sequence[Value]) -> str:
    shown = b" ".join(word for word in words if isinstance(word, bytes)).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in shown)[:200]


def _told(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or str(error)
