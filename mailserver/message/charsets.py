"""Charset names as mail uses them, to Python's codecs. Decoding never raises.

A table adds the names that the standard library does not know, and widens those that mail uses for a
larger set than they name (RFC 2978 names; the Encoding Standard's practice).
"""

from __future__ import annotations

import codecs
import re
from functools import lru_cache

# Not character sets but transformations, or slow on hostile input; text under these names is guessed.
_UNWANTED = frozenset(
    ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem")
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+()-]{0,39}")

_ALIASES = {
    "us-ascii": "cp1252",
    "ascii": "cp1252",
    "ansi_x3.4-1968": "cp1252",
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "iso-8859-6-i": "iso-8859-6",
    "iso-8859-6-e": "iso-8859-6",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-8-e": "iso-8859-8",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "ms_kanji": "cp932",
    "x-euc-jp": "euc_jp",
    "iso-2022-jp": "iso2022_jp_ext",
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "ksc5601": "cp949",
    "windows-949": "cp949",
    "x-windows-949": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "gb_2312-80": "gb18030",
    "cn-gb": "gb18030",
    "x-big5": "big5hkscs",
    "big5": "big5hkscs",
    "cn-big5": "big5hkscs",
    "cp-850": "cp850",
    "cp-1252": "cp1252",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
    "x-mac-cyrillic": "mac_cyrillic",
    "x-koi8-r": "koi8_r",
    "unicode-1-1-utf-7": "utf_7",
    "unicode-1-1-utf-8": "utf_8",
    "x-utf-8": "utf_8",
    "utf8mb4": "utf_8",
}


@lru_cache(maxsize=256)
def codec(name: str) -> str | None:
    """The Python codec for a charset name, None where there is none."""
    name = name.strip().lower()
    if _NAME.fullmatch(name) is None:
        return None
    try:
        info = codecs.lookup(_ALIASES.get(name, name))
    except (LookupError, ValueError):
        return None
    if info.name.replace("-", "_") in _UNWANTED or not getattr(info, "_is_text_encoding", True):
        return None
    return info.name


def decode(data: bytes, charset: str | None) -> str:
    """Text of these bytes. Where the charset is unknown, missing or ASCII: UTF-8 if it is that, else
    cp1252. What does not fit becomes U+FFFD."""
    if data.isascii() and charset is None:
        return data.decode("ascii")
    name = codec(charset) if charset else None
    if name is None or name == "cp1252":
        try:
            return data.decode("utf_8")
        except UnicodeDecodeError:
            name = "cp1252"
    try:
        return data.decode(name, "replace")
    except (UnicodeError, ValueError):
        return data.decode("cp1252", "replace")
