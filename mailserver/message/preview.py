"""A few words of a message for a list of messages: PREVIEW (RFC 8970).

The words are those of the first text that a reader would be shown: of a text part that is no attachment,
plain text before HTML, without markup, quoted lines and signature. Never raises; linear, and at most
`LOOKED_AT` octets of a part are looked at.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from itertools import islice

from mailserver.message.structure import Part, scan
from mailserver.message.text import part_texts

LENGTH = 200  # characters (RFC 8970, 3.3: no more than 200, never more than 256)
LOOKED_AT = 64 * 1024  # octets of a part's body
_PARTS = 100  # leaves that are looked at
_ENOUGH = 1000  # characters, most of which will be seen

_QUOTED = re.compile(r"[ \t]*(?:>|\|)")
_SIGNATURE = re.compile(r"(?:^|\n)-- ?\r?\n")
_FILLER = re.compile(  # what is not seen: controls, joiners at blanks, marks that HTML mail is padded with
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0]|(?<=\\s)[\u200c\u200d]|[\u200c\u200d](?=\\s)"
)
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_HIDDEN = frozenset(("head", "style", "script", "title", "template", "noscript", "svg", "object"))
_CLOSING = {tag: re.compile(f"</{tag}", re.IGNORECASE) for tag in _HIDDEN}
_INLINE = frozenset(  # no space around them
    (
        *("a", "abbr", "b", "big", "code", "em", "font", "i", "mark", "s", "small", "span", "strong", "sub"),
        *("sup", "tt", "u", "wbr"),
    )
)


def preview(raw: bytes) -> str:
    """At most `LENGTH` characters on one line; "" where there is nothing to tell. `raw` may be the head of a
    longer message."""
    plain: str = ""
    for part in islice(_shown(scan(raw)), _PARTS):
        is_html = part.sub.lower() == b"html"
        text = "".join(piece for _, piece in part_texts(raw, part, min(part.end, part.body + LOOKED_AT)))
        found = _shorten(_text_of_html(text) if is_html else _own_words(text))
        if found:
            return found
        if not is_html:
            plain = plain or _shorten("\n".join(line.lstrip(">| \t") for line in text.splitlines()))
    return plain  # nothing but quotation, or nothing at all


def _shown(root: Part) -> Iterator[Part]:
    """Text parts in the order in which they are looked at: attachments and encrypted parts are not."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part.fields.get(b"content-disposition", b"").lstrip().lower().startswith(b"attachment"):
            continue
        if part.is_multipart and part.sub.lower() == b"encrypted":
            continue
        if part.parts:
            inner = part.parts
            if part.sub.lower() == b"alternative":
                inner = sorted(inner, key=lambda one: one.sub.lower() != b"plain")
            waiting.extend(reversed(inner))
        elif part.main.lower() == b"text" and part.sub.lower() in (b"plain", b"html"):
            yield part


def _own_words(text: str) -> str:
    """Plain text without its signature and without lines that are quoted."""
    end = _SIGNATURE.search(text)
    if end is not None:
        text = text[: end.start()]
    words: list[str] = []
    length = 0
    for line in text.splitlines():
        if _QUOTED.match(line) is None and (line := line.strip()):
            words.append(line)
            length += len(line)
            if length > _ENOUGH:
                break
    return "\n".join(words)


def _text_of_html(text: str) -> str:
    """What a browser would show of it, roughly."""
    out: list[str] = []
    at, length, shown = 0, len(text), 0
    while at < length and shown < _ENOUGH:
        opening = text.find("<", at)
        if opening < 0:
            out.append(text[at:])
            break
        out.append(text[at:opening])
        shown += len(out[-1].strip())
        if text.startswith("<!--", opening):
            end = text.find("-->", opening + 4)
            at = length if end < 0 else end + 3
            continue
        name = _TAG.match(text, opening + 1 + text.startswith("</", opening))
        if name is None and text[opening + 1 : opening + 2] not in ("!", "?"):
            out.append("<")
            at = opening + 1
            continue
        end = text.find(">", opening)
        at = length if end < 0 else end + 1
        tag = name[0].lower() if name is not None else ""
        if tag in _HIDDEN and not text.startswith("</", opening):
            closing = _CLOSING[tag].search(text, at)
            at = length if closing is None else closing.start()
        elif tag not in _INLINE:
            out.append(" ")
    return html.unescape("".join(out))


def _shorten(text: str) -> str:
    whole = text
    for limit in (_ENOUGH, _ENOUGH * 20):
        text = " ".join(_FILLER.sub("", whole[:limit]).split())
        if len(text) > LENGTH or len(whole) <= limit:
            break
    if len(text) > LENGTH:
        cut = text.rfind(" ", LENGTH - 30, LENGTH + 1)
        text = text[: cut if cut > 0 else LENGTH]
    return text.encode("utf-8", "replace").decode("utf-8")
