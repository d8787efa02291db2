"""XCLIENT: what a proxy that we trust tells of the client it speaks for (Postfix, XCLIENT_README).

An attribute is None where it was not given, and empty where it was given as [UNAVAILABLE] or [TEMPUNAVAIL].
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from attrs import evolve, frozen

from mailserver.interfaces import Peer
from mailserver.smtp.commands import CommandError, bad_arguments
from mailserver.smtp.extensions import from_xtext
from mailserver.wire.networks import unmapped

UNKNOWN = "0.0.0.0"  # noqa: S104  (an address that nobody has)
ALWAYS = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "DESTADDR", "DESTPORT")
WITH_LOG_IN = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT")
_NONE = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_PORT = re.compile(r"0|[1-9][0-9]{0,4}")


@frozen
class Told:
    """Everything that was told, one command after the other."""

    name: str | None = None
    addr: str | None = None
    port: str | None = None
    proto: str | None = None
    helo: str | None = None
    login: str | None = None
    destaddr: str | None = None
    destport: str | None = None

    def peer(self, own: Peer) -> Peer:
        """The client; `own`: who is connected, for what nobody told."""
        return evolve(
            own,
            ip=own.ip if self.addr is None else self.addr or UNKNOWN,
            port=own.port if self.port is None else int(self.port or 0),
            name=self.name or "",
            server_ip=own.server_ip if self.destaddr is None else self.destaddr,
            server_port=own.server_port if self.destport is None else int(self.destport or 0),
        )


def read(argument: bytes, known: tuple[str, ...], before: Told) -> Told:
    """What is known after one command. `known`: the attributes that were announced. Raises CommandError."""
    found: dict[str, str] = {}
    for word in argument.decode("ascii", "replace").split(" "):
        if not word:
            continue
        name, equals, value = word.partition("=")
        name = name.upper()
        if not equals or name not in known:
            raise bad_arguments(f"Syntax: XCLIENT attribute=value; known are {' '.join(known)}")
        if name in found:
            raise bad_arguments("Attribute given twice")
        found[name] = _value(name, value)
    if not found:
        raise bad_arguments("Syntax: XCLIENT attribute=value")
    return evolve(before, **{name.lower(): value for name, value in found.items()})


def _value(name: str, value: str) -> str:
    try:
        text = from_xtext(value).encode("latin-1").decode("utf-8")
        if text.upper() in _NONE and name != "PROTO":
            return ""
        return _READERS[name](text)
    except (CommandError, ValueError):
        raise bad_arguments(f"Bad {name} value") from None


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError
    return text


def _address(text: str) -> str:
    """An IPv4 address as it is, an IPv6 one behind its prefix."""
    try:
        if text[:5].upper() != "IPV6:":
            return str(IPv4Address(text))
        address = IPv6Address(text[5:])
    except AddressValueError:
        raise ValueError from None
    if address.scope_id:
        raise ValueError
    return str(unmapped(address))


def _port(text: str) -> str:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise ValueError
    return text


def _proto(text: str) -> str:
    if text.upper() not in ("SMTP", "ESMTP"):
        raise ValueError
    return text.upper()


def _login(text: str) -> str:
    if not text.isprintable() or len(text) > 255:
        raise ValueError
    return text


_READERS: dict[str, Callable[[str], str]] = {
    "NAME": _host,
    "ADDR": _address,
    "PORT": _port,
    "PROTO": _proto,
    "HELO": _host,
    "LOGIN": _login,
    "DESTADDR": _address,
    "DESTPORT": _port,
}
