"""Sizes, times and rates as people write them: "50 MiB", "1.5 GB", "30s", "4h30m", "5d", "30/1m".

Sizes are octets; KiB, MiB, GiB, TiB are powers of 1024, kB, MB, GB, TB powers of 1000. Times are seconds;
`s`, `m`, `h`, `d`, `w` and sums of them. Bare numbers are octets and seconds. Rates are events a second. All
raise ValueError with a text that says what is accepted.
"""

from __future__ import annotations

import re

SIZE_FORMS = 'a size such as "50 MiB", "200 kB" or a number of octets'
TIME_FORMS = 'a time such as "30s", "5m", "4h", "5d" or a number of seconds'

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", re.ASCII)
_SIZE_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", start=1):
    _SIZE_UNITS[_letter + "ib"] = 1024**_power
    _SIZE_UNITS[_letter + "b"] = 1000**_power
_LARGEST = 2**63 - 1

_TIME = re.compile(r"(?:\d+(?:\.\d+)?\s*(?:ms|[smhdw])\s*)+", re.ASCII)
_TIME_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])", re.ASCII)
_TIME_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_RATE = re.compile(r"(\d{1,9})\s*/\s*((?:\d+\s*)?[a-z0-9. ]+)", re.ASCII)
_LONGEST = 100 * 366 * 86400.0


def parse_size(value: object) -> int:
    """Octets."""
    number: float | int
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not {SIZE_FORMS}")
    if isinstance(value, int):
        number = value
    elif isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        unit = _SIZE_UNITS.get(match[2].lower()) if match else None
        if match is None or unit is None:
            raise ValueError(f"{value!r} is not {SIZE_FORMS}")
        number = int(match[1]) * unit if "." not in match[1] else round(float(match[1]) * unit)
    else:
        raise ValueError(f"{value!r} is not {SIZE_FORMS}")
    if not 0 <= number <= _LARGEST:
        raise ValueError(f"{value!r} is out of range (0 to {_LARGEST} octets)")
    return int(number)


def parse_time(value: object) -> float:
    """Seconds."""
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not {TIME_FORMS}")
    if isinstance(value, int | float):
        seconds = float(value)
    elif isinstance(value, str):
        text = value.strip()
        if text.isascii() and text.isdigit() and len(text) < 16:
            seconds = float(text)
        elif _TIME.fullmatch(text):
            seconds = sum(float(number) * _TIME_UNITS[unit] for number, unit in _TIME_PART.findall(text))
        else:
            raise ValueError(f"{value!r} is not {TIME_FORMS}")
    else:
        raise ValueError(f"{value!r} is not {TIME_FORMS}")
    if not 0 <= seconds <= _LONGEST:  # also false for NaN
        raise ValueError(f"{value!r} is out of range (0 to 100 years)")
    return seconds


def parse_rate(value: object) -> float:
    """Events a second: "30/1m", "100/h"."""
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    seconds = parse_time(match[2] if match[2][:1].isdigit() else "1" + match[2]) if match else 0.0
    if match is None or not int(match[1]) or not seconds:
        raise ValueError(f'{value!r} is not a rate such as "10/1s", "30/1m", "1000/1h"')
    return int(match[1]) / seconds


def format_size(octets: int) -> str:
    """The shortest exact form: 52428800 is "50 MiB", 1000 is "1000"."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        size = _SIZE_UNITS[unit.lower()]
        if octets and octets % size == 0:
            return f"{octets // size} {unit}"
    return str(octets)


def format_time(seconds: float) -> str:
    """The shortest exact form: 300.0 is "5m"."""
    for unit in ("d", "h", "m"):
        size = _TIME_UNITS[unit]
        if seconds and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:.15g}s"
