"""What a session needs of its connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from mailserver.audit import Audit
from mailserver.interfaces import IAuthenticator, IMessageFile, Peer


class Wire(Protocol):
    """What the session needs of the connection (`protocol.ImapConnection`)."""

    peer: Peer
    output_full: bool

    @property
    def settings(self) -> Any: ...

    @property
    def authenticator(self) -> IAuthenticator: ...

    @property
    def audit(self) -> Audit: ...

    def belongs_to(self, user: str) -> None:
        """Count the connection as this user's, "" for nobody's. Raises TooManyOfUser."""

    def send(self, data: bytes) -> None: ...

    def drained(self) -> Awaitable[None]: ...

    def breathe(self) -> Awaitable[None]: ...

    def now(self) -> float:
        """Seconds since the epoch."""

    def call_later(self, seconds: float, function: Callable[[], None]) -> Any:
        """A call that can be cancelled."""

    def in_thread(self, function: Callable[[], Any]) -> Awaitable[Any]:
        """Call in a thread; the result, or what it raised."""

    def send_file(self, file: IMessageFile, offset: int, length: int) -> Awaitable[None]: ...

    def read_line(self) -> Awaitable[bytes]:
        """The client's next line, which is no command. Fails with ConnectionLost."""

    def tls_available(self) -> bool:
        """Is STARTTLS possible now?"""

    def begin_tls(self) -> None:
        """Forget what came in clear, and begin the handshake."""

    @property
    def compressed(self) -> bool: ...

    def begin_compression(self) -> None:
        """What is sent and received from here on is compressed."""

    def end_compression(self) -> None:
        """… and not any more; nothing happens where it was not."""

    def new_body(self, on_drained: Callable[[], None], memory: int, raw: bool = False) -> Any:
        """An empty `delivery.body.Body`."""

    def go_on(self) -> None:
        """What kept the connection from reading is over."""

    def tell(self) -> None:
        """Tell what the client asked for by NOTIFY or UPDATE, as soon as nothing else is being sent."""

    def end(self, farewell: bytes = b"") -> None:
        """Send the farewell and what waits, then close."""
