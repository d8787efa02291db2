"""The base subject: what is left of a subject without the marks of replies and forwards (RFC 5256, 2.1)."""

from __future__ import annotations

import re

_BLANKS = re.compile(r"[ \t\r\n]+")
_BLOBS = re.compile(r"(?:\[[^\[\]]*+\] *+)++")
_REFWD = re.compile(r"(?:re|fwd?+) *+(?:\[[^\[\]]*+\] *+)?+:", re.IGNORECASE | re.ASCII)
_MARK = re.compile(r"re|fw|\[", re.IGNORECASE | re.ASCII)


def base_subject(subject: str) -> tuple[str, bool]:
    """The base of a subject whose encoded words are decoded, and whether the message is a reply or forward:
    where a "re:", "fwd:", "(fwd)" or "[fwd: …]" was taken away (RFC 5256, 3: REFERENCES).

    Linear: every step only moves one of two offsets.
    """
    text = _BLANKS.sub(" ", subject).strip(" ")
    if not (_MARK.match(text) or text[-1:] == ")"):
        return text, False
    start, end, marked = 0, len(text), False
    while True:
        start, end, found = _strip(text, start, end)
        marked |= found
        if end - start < 6 or text[end - 1] != "]" or text[start : start + 5].lower() != "[fwd:":
            return text[start:end], marked
        start, end, marked = start + 5, end - 1, True  # (6)


def _strip(text: str, start: int, end: int) -> tuple[int, int, bool]:
    """Steps (2) to (5): trailers, then leaders and blobs."""
    marked = False
    while end > start:  # (2)
        if text[end - 1] == " ":
            end -= 1
        elif text[max(start, end - 5) : end].lower() == "(fwd)":
            end, marked = end - 5, True
        else:
            break
    while True:
        while start < end and text[start] == " ":  # (3) WSP
            start += 1
        blobs = _BLOBS.match(text, start, end)
        behind = start if blobs is None else blobs.end()
        mark = _REFWD.match(text, behind, end)
        if mark is not None:  # (3) *subj-blob subj-refwd
            start, marked = mark.end(), True
        elif blobs is None:
            return start, end, marked
        elif behind < end:  # (4) one blob after the other, for none of them is followed by a mark
            start = behind
        else:  # the last one is all there is
            last = text.rfind("[", start, end)
            return last, end, marked
