"""AUTH in the engine (RFC 4954): the lines of a SASL exchange; what is in them others judge."""

from __future__ import annotations

from mailserver.errors import MailError
from mailserver.smtp import commands, events, replies
from mailserver.smtp.commands import CommandError, bad_arguments, decode_sasl
from mailserver.smtp.events import Event
from mailserver.smtp.extensions import Options
from mailserver.smtp.speaking import Speaking
from mailserver.smtp.transitions import State
from mailserver.wire.buffer import LineBuffer
from mailserver.wire.sasl import encode_base64


class Authenticating(Speaking):
    """extended:      the client opened with a command that brings extensions
    authenticated: AUTH succeeded
    """

    def __init__(self, options: Options, buffer: LineBuffer) -> None:
        super().__init__(options, buffer)
        self.extended = False
        self.authenticated = False
        self._last_word = False  # an empty line confirms the server's last word

    def challenge(self, data: bytes, *, last: bool = False) -> None:
        """Go on with the SASL exchange. `last`: the exchange has succeeded and `data` is the server's last
        word, which the client confirms by an empty line (RFC 4954, 4)."""
        if self._answer() is not None:
            self._out.append(b"334 " + encode_base64(data) + b"\r\n")
            self.state = State.AUTH
            self._last_word = last

    def _auth(self, command: commands.Auth) -> Event:
        if self.options.needs_tls:
            raise CommandError("Must issue a STARTTLS command first", code=530, enhanced="5.7.0")
        if self.authenticated or not self.extended or not self.options.mechanisms:
            raise CommandError("AUTH is not available now", code=503, enhanced="5.5.1")
        return self._ask(events.AuthOffered(command))

    def _sasl_line(self, line: bytes) -> Event | None:
        try:
            if line == b"*":
                raise CommandError("Authentication cancelled", code=501, enhanced="5.7.0")
            data = decode_sasl(line)
            if not self._last_word:
                return self._ask(events.AuthResponse(data))
            if data:
                raise bad_arguments("An empty response was expected")
        except CommandError as error:
            self._cancel(error)
        else:
            self._authenticated()
        return None

    def _cancel(self, error: MailError) -> None:
        self.state = State.READY
        self._told.append(events.AuthCancelled())
        self._reply_error(error)

    def _authenticated(self) -> None:
        self._out.append(replies.AUTHENTICATED)
        self.state = State.READY
        self.authenticated = True
        self._told.append(events.Authenticated())
