"""What the engine tells whoever runs it, and what these are to answer."""

from __future__ import annotations

from attrs import frozen

from mailserver.imap import commands as c


@frozen
class CommandReceived:
    """Execute it, then `finished`. An APPEND comes so when its messages have come as AppendChunks."""

    command: c.Command


@frozen
class AppendOffered:
    """A message, or a part of one, comes next. Do the steps, of which the last is its Octets, answer
    `accept_literal` or `refuse_literal`, then `finished`. `command` is the APPEND as far as it is known."""

    command: c.Append
    steps: tuple[c.Step, ...]


@frozen
class AppendChunk:
    """Octets of the message, as they came."""

    data: bytes


@frozen
class AppendFailed:
    """The APPEND is no good: forget its messages. The client has been answered."""


@frozen
class LineReceived:
    """The line that `expect_line` asked for."""

    line: bytes


@frozen
class Hangup:
    """Send what there is to send, then close: too many errors, or the stream cannot be followed."""


Event = CommandReceived | AppendOffered | AppendChunk | AppendFailed | LineReceived | Hangup
