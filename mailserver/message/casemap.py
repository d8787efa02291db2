"""i;unicode-casemap (RFC 5051): how texts are compared in SEARCH, SORT and THREAD (RFC 5255, 4.2).

Every character is replaced by its titlecase, that by its decomposition, and so on while there is one, all as
UnicodeData.txt has it: no special casing (sharp s is not "SS"), no algorithm for Hangul, nothing reordered.
The results are compared by code points, which is the order of their UTF-8.
"""

from __future__ import annotations

import re
import unicodedata

_BEYOND_ASCII = re.compile("[^\\x00-\\x7f]+")


class _Titled(dict[int, str]):
    """Code point to what replaces it, made at first need."""

    def __missing__(self, point: int) -> str:
        made = self[point] = _canonical(chr(point))
        return made


def _canonical(character: str) -> str:
    titled = character.title()
    if len(titled) == 1:  # more is SpecialCasing.txt
        character = titled
    decomposition = unicodedata.decomposition(character)
    if not decomposition:
        return character
    points = decomposition.split(">")[-1].split()  # "<compat> 0066 0069"
    return "".join([_decomposed(chr(int(point, 16))) for point in points])


def _decomposed(character: str) -> str:
    decomposition = unicodedata.decomposition(character)
    if not decomposition:
        return character
    return "".join([_decomposed(chr(int(point, 16))) for point in decomposition.split(">")[-1].split()])


_TITLED = _Titled()


def _replace(run: re.Match[str]) -> str:
    return run[0].translate(_TITLED)


def fold(text: str) -> str:
    """The text as it is compared. Lone surrogates stay."""
    if text.isascii():
        return text.upper()
    titled = text.encode("utf-8", "surrogatepass").upper().decode("utf-8", "surrogatepass")
    return _BEYOND_ASCII.sub(_replace, titled)
