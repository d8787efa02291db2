"""Domain names, hosts with ports and endpoint strings as they stand in the configuration.

Everything here raises ValueError whose text goes into the problem report.
"""

from __future__ import annotations

import ipaddress
import re

import idna
from twisted.internet.endpoints import serverFromString

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_SERVICE_TLS = "tcp:PORT; services ending in s add TLS themselves"


def domain_name(text: str) -> str:
    """A domain in A-label form, lower case, without a trailing dot (RFC 5321, 4.1.2; RFC 5890)."""
    name = text.strip()
    if name != text or not name:
        raise ValueError(f"{text!r} is not a domain name (as example.org)")
    name = name.removesuffix(".")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise ValueError(f"{text!r} is not a domain name: {error}") from None
    name = name.lower()
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise ValueError(f"{text!r} is not a domain name (letters, digits, hyphens and dots, as example.org)")
    return name


def ip_address(text: str) -> str | None:
    """The address in its canonical form, None where it is none."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def host_and_port(text: str, default_port: int) -> tuple[str, int]:
    """HOST, HOST:PORT, [ADDRESS] or [ADDRESS]:PORT. An address comes back without its brackets."""
    accepted = 'HOST[:PORT] or "[ADDRESS]:PORT"'
    if text.startswith("["):
        inner, closed, rest = text[1:].partition("]")
        host = ip_address(inner.removeprefix("IPv6:"))
        if not closed or host is None or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is not a host ({accepted})")
        return host, _port(rest[1:], text) if rest else default_port
    if text.count(":") > 1:
        raise ValueError(f"{text!r} is not a host (an IPv6 address stands in brackets: [{text}])")
    name, colon, port = text.partition(":")
    host = ip_address(name)
    if host is None:
        try:
            host = domain_name(name)
        except ValueError:
            raise ValueError(f"{text!r} is not a host ({accepted})") from None
    return host, _port(port, text) if colon else default_port


def _port(text: str, whole: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= 65535:
        return int(text)
    raise ValueError(f"{whole!r} has the port {text!r} (1 to 65535)")


def network(text: str) -> str:
    """A CIDR in its canonical form; a bare address is a network of one."""
    try:
        return str(ipaddress.ip_network(text, strict=True))
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f'{text!r} is not a network (as "192.0.2.0/24" or "2001:db8::/32")') from None
    raise ValueError(f"{text!r} has bits beyond its prefix (was {meant} meant?)")


def endpoint(text: str) -> str:
    """Check a Twisted server endpoint string. Returns what identifies it: the same socket twice is a fault;
    "" where that cannot be told (port 0, sockets from systemd)."""
    words = _split(text.removeprefix("haproxy:"))
    scheme = words[0]
    if scheme in ("ssl", "tls"):
        raise ValueError(f"{text!r} adds TLS twice ({_SERVICE_TLS})")
    if scheme.isdigit():
        raise ValueError(f'{text!r} is not an endpoint string (was "tcp:{scheme}" meant?)')
    options = dict(word.partition("=")[::2] for word in words[1:] if "=" in word)
    positional = [word for word in words[1:] if "=" not in word]
    if scheme in ("tcp", "tcp6"):
        _check_tcp(text, options, positional)
    if scheme == "unix":
        _check_unix(text, options, positional)
    try:
        serverFromString(None, text.removeprefix("haproxy:"))  # type: ignore[no-untyped-call]
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f'{text!r} is not an endpoint string: {reason} (as "tcp:25")') from None
    if scheme in ("tcp", "tcp6"):
        port = positional[0] if positional else options["port"]
        return "" if int(port) == 0 else f"{int(port)} {options.get('interface', '')}"
    return (positional or [options["address"]])[0] if scheme == "unix" else ""


def _check_tcp(text: str, options: dict[str, str], positional: list[str]) -> None:
    port = positional[0] if positional else options.get("port", "")
    if not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) <= 65535):
        raise ValueError(f'{text!r} has the port {port!r} (0 to 65535, as "tcp:25")')
    interface = options.get("interface", "")
    if interface and ip_address(interface) is None:
        hint = "an address, with every : of an IPv6 address written \\:"
        raise ValueError(f"{text!r} has the interface {interface!r} ({hint})")


def _check_unix(text: str, options: dict[str, str], positional: list[str]) -> None:
    path = positional[0] if positional else options.get("address", "")
    if not path.startswith("/"):
        raise ValueError(f'{text!r} has the path {path!r} (a whole one, as "unix:/run/mailserver/lmtp")')
    mode = options.get("mode", "660")
    if not re.fullmatch("0?[0-7]{3}", mode):
        raise ValueError(f'{text!r} has the mode {mode!r} (three octal digits, as "660")')


def _split(text: str) -> list[str]:
    """At the colons that no backslash escapes (twisted.internet.endpoints)."""
    words = [""]
    letters = iter(text)
    for letter in letters:
        if letter == ":":
            words.append("")
        elif letter == "\\":
            words[-1] += next(letters, "")
        else:
            words[-1] += letter
    return words
