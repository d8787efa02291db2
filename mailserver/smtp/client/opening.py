"""How the SMTP client opens a session: greeting, EHLO or LHLO, TLS, log-in (RFC 5321, 3.2; 3207; 4954)."""

from __future__ import annotations

import base64
import re
from abc import ABC, abstractmethod
from collections import deque

from mailserver.smtp.client.answers import Reply, ReplyParser, local_reply
from mailserver.smtp.client.values import ClientOptions, Event, Ready, StartTls, State, TlsUse

_KEYWORD_END = re.compile("[ =]")  # "AUTH=LOGIN" is older than RFC 4954


class Opening(ABC):
    """The base of the client engine, from the greeting to READY.

    extensions: what the server announced, by keyword
    greeting:   the name the server gave itself
    """

    def __init__(self, options: ClientOptions) -> None:
        self.options = options
        self.state = State.GREETING
        self.secured = options.secure
        self.extensions: dict[str, str] = {}
        self.greeting = ""
        self._parser = ReplyParser()
        self._events: deque[Event] = deque()
        self._out: list[bytes] = []
        self._login: deque[bytes] = deque()

    @abstractmethod
    def failed(self, reply: Reply) -> None:
        """The session is over before its time."""

    def _send(self, line: bytes) -> None:
        self._out.append(line + b"\r\n")

    def _greeted(self, reply: Reply) -> None:
        if reply.code != 220:
            self.failed(reply if not reply.positive else unexpected(reply, "greeting"))
            return
        self.greeting = reply.text.partition(" ")[0]
        self._say_hello()

    def _say_hello(self) -> None:
        self.extensions = {}
        self.state = State.EHLO
        verb = b"LHLO " if self.options.lmtp else b"EHLO "
        self._send(verb + self.options.hostname.encode("ascii", "replace"))

    def _ehlo_answered(self, reply: Reply) -> None:
        if reply.positive:
            for line in reply.lines[1:]:
                keyword, *parameters = _KEYWORD_END.split(line, maxsplit=1)
                self.extensions[keyword.upper()] = "".join(parameters).strip()
            self._opened()
        elif reply.permanent and not self.options.lmtp:  # RFC 5321, 3.2: an old server
            self.state = State.HELO
            self._send(b"HELO " + self.options.hostname.encode("ascii", "replace"))
        elif self.options.lmtp:
            # Most likely an SMTP server: the administrator's to repair, so the mail waits.
            self.failed(unexpected(reply, "LHLO"))
        else:
            self.failed(reply)

    def _helo_answered(self, reply: Reply) -> None:
        if reply.positive:
            self._opened()
        else:
            self.failed(reply)

    def _opened(self) -> None:
        """EHLO is through: TLS, then log-in, then ready."""
        options = self.options
        if not self.secured and options.tls is not TlsUse.NEVER and "STARTTLS" in self.extensions:
            self.state = State.STARTTLS
            self._send(b"STARTTLS")
        elif not self.secured and options.tls is TlsUse.MUST:
            self.failed(local_reply(454, "4.7.4", "the server does not offer STARTTLS, which is required"))
        elif options.username:
            self._log_in()
        else:
            self._ready()

    def _starttls_answered(self, reply: Reply) -> None:
        if reply.code == 220:
            self._parser.clear()  # RFC 3207, 4.2; CVE-2011-0411: what came with it in clear is not ours
            self.state = State.HANDSHAKE
            self._events.append(StartTls())
        elif self.options.tls is TlsUse.MUST:
            self.failed(local_reply(454, "4.7.4", f"the server refused STARTTLS: {reply}"))
        else:
            self.extensions.pop("STARTTLS", None)
            self._opened()

    def _log_in(self) -> None:
        """AUTH PLAIN with initial response, or LOGIN (RFC 4954, 4; RFC 4616)."""
        offered = self.extensions.get("AUTH", "").upper().split()
        user, password = self.options.username.encode(), self.options.password.encode()
        if not self.secured and not self.options.clear_auth:
            self.failed(local_reply(454, "4.7.11", "the password is not sent without TLS"))
        elif "PLAIN" in offered:
            self.state = State.AUTH
            self._send(b"AUTH PLAIN " + base64.b64encode(b"\0" + user + b"\0" + password))
        elif "LOGIN" in offered:
            self.state = State.AUTH
            self._login.extend((base64.b64encode(user), base64.b64encode(password)))
            self._send(b"AUTH LOGIN")
        else:
            self.failed(local_reply(454, "4.7.0", "the server offers no AUTH mechanism known here"))

    def _auth_answered(self, reply: Reply) -> None:
        if reply.code == 334 and self._login:
            self._send(self._login.popleft())
        elif reply.code == 235:
            self._ready()
        else:
            # A wrong password is the administrator's to repair: the mail waits (4xx), whatever was said.
            self.failed(local_reply(454, "4.7.8", f"the server refused our log-in: {reply}"))

    def _ready(self) -> None:
        self.state = State.READY
        self._events.append(Ready(dict(self.extensions)))


def unexpected(reply: Reply, stage: str) -> Reply:
    """For a reply that is neither yes nor no."""
    return local_reply(451, "4.5.0", f"an unexpected reply to {stage}: {reply}")
