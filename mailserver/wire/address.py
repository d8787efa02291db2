"""Mail addresses: paths and mailboxes (RFC 5321, 4.1.2, 4.5.3.1; UTF-8 as in RFC 6531, 3.3; RFC 5890).

Every check is a full match: no address with a control character, a line end or a NUL passes (CASES C7, C8).
Source routes are understood and dropped (RFC 5321, appendix C). `%` and `!` are plain characters.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache

import idna
from attrs import field, frozen

from mailserver.errors import BadAddress

MAX_LOCAL = 64  # RFC 5321, 4.5.3.1.1
MAX_DOMAIN = 253  # 4.5.3.1.2 says 255, which counts the root; the DNS allows 253 characters
MAX_MAILBOX = 254  # 4.5.3.1.3: 256 for the path, with its two brackets

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+"
_DOT_STRING = re.compile(rf"{_ATEXT}(?:\.{_ATEXT})*")
_QUOTED = re.compile(r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e\x80-\U0010ffff]|\\[\x20-\x7e])*"')
_QUOTED_PAIR = re.compile(r"\\(.)")
# Let-dig [Ldh-str]; the underscore is in no standard, but in the domains of real senders.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PLAIN = re.compile(rf"([A-Za-z0-9!#$%&'*+/=?^_`{{|}}~.-]+)@((?:{_LABEL}\.)*{_LABEL})")
_U_DOMAIN = re.compile(r"[A-Za-z0-9_.\x80-\U0010ffff-]+")
_ROUTE = re.compile(r"@[^\s,:<>@\"]+(?:,@[^\s,:<>@\"]+)*:")
_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_REFUSED_CATEGORIES = frozenset(("Cc", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"))


@frozen
class Mailbox:
    """An address taken apart.

    local:  the local part without quoting, as it was written (case kept)
    domain: lower-case A-labels without a trailing dot, or a literal "[192.0.2.1]", "[IPv6:2001:db8::1]";
            "" for the bare `postmaster` (RFC 5321, 4.5.1)
    utf8:   it was given with characters outside ASCII
    """

    local: str
    domain: str
    utf8: bool = False
    _text: str = field(init=False, eq=False, repr=False)

    @_text.default
    def _written(self) -> str:
        local = self.local if _DOT_STRING.fullmatch(self.local) else quote(self.local)
        return f"{local}@{self.domain}" if self.domain else local

    def __str__(self) -> str:
        return self._text


def quote(local: str) -> str:
    """A local part as a quoted string (RFC 5321, 4.1.2)."""
    return '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'


@lru_cache(maxsize=2048)
def parse_mailbox(text: str) -> Mailbox:
    """`local@domain`, nothing around it. Raises BadAddress.

    Remembered, for mail comes from few senders, and goes to few addresses, many times.
    """
    plain = _PLAIN.fullmatch(text)
    if plain is not None:  # the common form, one match
        local, domain = plain.groups()
        if ".." in local or local[0] == "." or local[-1] == ".":
            raise BadAddress
        _check_lengths(text, local, domain)
        if domain[-1].isdigit() and domain.rpartition(".")[2].isdigit():
            raise BadAddress  # 192.0.2.1 without brackets
        return Mailbox(local, domain.lower())
    return _parse_uncommon(text)


def _parse_uncommon(text: str) -> Mailbox:
    raw_local, at, raw_domain = text.rpartition("@")
    if not at:
        raise BadAddress
    local = _unquote(raw_local)
    utf8 = not text.isascii()
    if utf8:
        local = unicodedata.normalize("NFC", local)
        _check_characters(local)
    domain = domain_literal(raw_domain) if raw_domain.startswith("[") else domain_to_ascii(raw_domain)
    if not raw_domain.isascii():
        _check_characters(raw_domain)
    _check_lengths(text, raw_local, domain)
    return Mailbox(local, domain, utf8)


def _unquote(raw: str) -> str:
    if _DOT_STRING.fullmatch(raw):
        return raw
    if not _QUOTED.fullmatch(raw) or len(raw) < 3:
        raise BadAddress
    return _QUOTED_PAIR.sub(r"\1", raw[1:-1])


def _check_lengths(text: str, local: str, domain: str) -> None:
    if text.isascii():
        size, local_size = len(text), len(local)
    else:
        size, local_size = len(text.encode("utf-8", "replace")), len(local.encode("utf-8", "replace"))
    if local_size > MAX_LOCAL or size > MAX_MAILBOX or len(domain) > MAX_DOMAIN:
        raise BadAddress("Address too long")


def _check_characters(text: str) -> None:
    """RFC 6531 allows any character outside ASCII; those that hide or reorder others are refused here."""
    for character in text:
        if character in _BIDI or (
            character > "\x7f" and unicodedata.category(character) in _REFUSED_CATEGORIES
        ):
            raise BadAddress


def domain_to_ascii(domain: str) -> str:
    """Lower-case A-labels without a trailing dot (RFC 5890; UTS 46 mapping). Raises BadAddress."""
    domain = domain.removesuffix(".")
    if not domain.isascii():
        if not _U_DOMAIN.fullmatch(domain) or len(domain) > MAX_DOMAIN:
            raise BadAddress
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise BadAddress(cause=error) from None
    if len(domain) > MAX_DOMAIN or not _DOMAIN.fullmatch(domain):
        raise BadAddress
    if domain.rpartition(".")[2].isdigit():
        raise BadAddress
    return domain.lower()


def domain_literal(text: str) -> str:
    """`[192.0.2.1]` or `[IPv6:…]` in one spelling (RFC 5321, 4.1.3). Raises BadAddress."""
    if not text.isascii() or len(text) > 64 or not text.endswith("]"):
        raise BadAddress
    inner = text[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            if "%" in inner:
                raise BadAddress
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:])}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError as error:
        raise BadAddress(cause=error) from None


def parse_path(argument: bytes, *, postmaster: bool = False) -> tuple[Mailbox | None, bytes]:
    """`<…>` at the beginning of `argument`, and what stands behind it.

    None is the null path `<>`. `postmaster`: accept `<postmaster>` without a domain, in any case
    (RFC 5321, 4.1.1.3). A source route is dropped. Raises BadAddress.
    """
    end = path_end(argument)
    try:
        text = argument[1:end].decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadAddress(cause=error) from None
    rest = argument[end + 1 :]
    if not text:
        return None, rest
    if text[0] == "@":
        route = _ROUTE.match(text)
        if route is None or len(text) > 2 * MAX_MAILBOX:
            raise BadAddress
        text = text[route.end() :]
    if postmaster and text.lower() == "postmaster":
        return Mailbox(text, ""), rest
    return parse_mailbox(text), rest


def path_end(argument: bytes) -> int:
    """Index of the `>` that closes a path starting at 0; quoted strings may hold one. Raises BadAddress."""
    if argument[:1] != b"<":
        raise BadAddress
    end = argument.find(b">")
    quoted = argument.find(b'"')
    if end < 0:
        raise BadAddress
    if 0 <= quoted < end:
        end = _end_after_quotes(argument, quoted)
    return end


def _end_after_quotes(argument: bytes, at: int) -> int:
    inside = False
    while at < len(argument):
        octet = argument[at]
        if inside and octet == 0x5C:
            at += 1
        elif octet == 0x22:
            inside = not inside
        elif octet == 0x3E and not inside:
            return at
        at += 1
    raise BadAddress


def split(address: str) -> tuple[str, str]:
    """Local part (as written) and domain of an address that was parsed before."""
    local, _, domain = address.rpartition("@")
    return local, domain


def fold_local(local: str) -> str:
    """The local part as a key: lower case, for UTF-8 NFC and case-folded."""
    if local.isascii():
        return local.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).casefold())


def normalise(address: str) -> str:
    """The one spelling of an address that keys are made of. Raises BadAddress.

    Quotes that are not needed go, the domain becomes lower-case A-labels, the local part is folded (this
    server, as nearly every other, does not tell users apart by case).
    """
    mailbox = parse_mailbox(address)
    return key_of(mailbox)


@lru_cache(maxsize=2048)
def key_of(mailbox: Mailbox) -> str:
    """`normalise` for an address that is parsed already."""
    return str(Mailbox(fold_local(mailbox.local), mailbox.domain))
