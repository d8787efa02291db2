"""Commands of any state, and IDLE, ENABLE, COMPRESS and UNAUTHENTICATE (RFC 3501, 6.1; RFC 2971; 2177; 5161;
4978; 8437)."""

from __future__ import annotations

from mailserver.imap import replies
from mailserver.imap.announce import capabilities
from mailserver.imap.commands import (
    Capability,
    Command,
    Compress,
    Enable,
    Id,
    Idle,
    Logout,
    Noop,
    Unauthenticate,
)
from mailserver.imap.session import Handler, Session

IDENTITY = {"name": "mailserver"}  # no version: it helps attackers more than users (RFC 2971, 5)
# What changes responses only when asked to (RFC 5161, 3.1).
_ENABLEABLE = ("CONDSTORE", "QRESYNC", "UTF8=ACCEPT", "IMAP4rev2", "METADATA", "UIDONLY")
ENABLEABLE = {name.upper(): name for name in _ENABLEABLE}


async def capability(session: Session, command: Capability) -> None:
    session.send(replies.capability(capabilities(session)))
    session.ok(command)


async def noop(session: Session, command: Noop) -> None:
    """RFC 3501, 6.1.2: the moment to learn of what others did, other programs included."""
    if session.selected is not None:
        await session.selected.mailbox.refresh()
    session.ok(command)


async def logout(session: Session, command: Logout) -> None:
    """RFC 3501, 6.1.3: BYE comes before the tagged OK."""
    session.unselect()
    session.logged_out = True
    session.send(b"* BYE Logging out\r\n")
    session.ok(command)
    session.wire.end()


async def identify(session: Session, command: Id) -> None:
    """RFC 2971, 3.1. The name may fall under a rule of the administrator; then the client is told what is
    left, for it has asked before."""
    session.send(replies.identity(IDENTITY))
    before = session.off
    for name, value in command.parameters or ():
        if name.lower() == b"name" and value:
            session.known_as(value.decode("utf-8", "replace"))
    if session.off != before:
        session.send(replies.capability(capabilities(session)))
    session.ok(command)


async def enable(session: Session, command: Enable) -> None:
    """RFC 5161, 3.1: what is not known, or enabled already, is passed over."""
    asked = [ENABLEABLE[name] for name in dict.fromkeys(command.capabilities) if name in ENABLEABLE]
    wanted = [name for name in asked if session.has(name) and name not in session.enabled]
    session.send(replies.enabled(wanted))
    if not {"CONDSTORE", "QRESYNC"}.isdisjoint(wanted):  # RFC 7162, 3.2.3
        session.enable_condstore()
    session.enabled.update(wanted)
    if "METADATA" in wanted:
        session.watch_metadata()
    if "IMAP4rev2" in wanted and session.selected is not None:
        session.selected.forget_recent()
    if "UIDONLY" in wanted and session.selected is not None:
        for tag in session.selected.forget_numbers():
            session.send(b'* NO [NOUPDATE "%b"] Message numbers are not used any more\r\n' % tag)
    session.ok(command)


async def idle(session: Session, command: Idle) -> None:
    """RFC 2177: changes are told as they come, until the client says DONE."""
    if session.selected is not None:
        await session.selected.mailbox.refresh()
    session.send(b"+ idling\r\n")
    session.idle = True
    try:
        session.wake()
        line = await session.wire.read_line()
    finally:
        session.idle = False
    if line.upper() == b"DONE":
        session.ok(command)
    else:
        session.bad(command, "Expected DONE")


async def unauthenticate(session: Session, command: Unauthenticate) -> None:
    """RFC 8437, 3: everything but TLS and what ID told is forgotten; compression ends with the OK."""
    session.forget_user()
    session.ok(command)
    session.wire.end_compression()


async def compress(session: Session, command: Compress) -> None:
    """RFC 4978, 3: everything behind this OK is compressed, on both sides."""
    if command.mechanism != "DEFLATE":
        session.bad(command, "Unknown compression mechanism")
    elif session.wire.compressed:
        session.no(command, "DEFLATE is active already", "COMPRESSIONACTIVE")
    else:
        session.ok(command, "DEFLATE active")
        session.wire.begin_compression()


TABLE: dict[type[Command], Handler] = {
    Capability: capability,
    Noop: noop,
    Logout: logout,
    Id: identify,
    Enable: enable,
    Idle: idle,
    Compress: compress,
    Unauthenticate: unauthenticate,
}
