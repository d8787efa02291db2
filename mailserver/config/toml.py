"""Reading one TOML file: what cannot be read or parsed becomes a problem with its line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from mailserver.config.problems import Report
from mailserver.config.secrets import readable

_AT = re.compile(r"(.*) \(at (line \d+, column \d+|end of document)\)", re.DOTALL)
LARGEST = 64 * 1024 * 1024


def parse_toml(file: Path, report: Report, data: bytes | None = None) -> dict[str, Any] | None:
    """The file's tables, None (with a problem) where there are none to be had. data: read that instead."""
    try:
        if data is None:
            data = readable(file)
    except ValueError as error:
        report.fault(file, "", str(error).removeprefix(f"{file} "))
        return None
    try:
        if len(data) > LARGEST:
            raise ValueError(f"is larger than {LARGEST} octets")
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        report.fault(file, f"line {line}", "is not UTF-8 (a TOML file is)")
    except tomllib.TOMLDecodeError as error:
        match = _AT.fullmatch(str(error))
        where, what = (match[2], match[1]) if match else ("", str(error))
        report.fault(file, where, f"{what} (TOML; strings stand in double quotes)")
    except (ValueError, RecursionError) as error:
        report.fault(file, "", str(error) or "is nested too deeply")
    return None
