"""What is wrong with a configuration, told so that it can be put right: file, key, fault, what is right."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@frozen
class Problem:
    """One fault, or (`warning`) something that works and is not wise."""

    file: Path
    key: str  # a dotted TOML key, "line 3", or "" for the file itself
    text: str
    warning: bool = False

    def __str__(self) -> str:
        """`FILE: KEY: what is wrong (what is accepted)`, always one line."""
        parts = (str(self.file), self.key, self.text)
        return ": ".join(_one_line(part) for part in parts if part)


class ConfigError(Exception):
    """A configuration that cannot be used; holds every fault that was found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: list[Problem] = list(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Report:
    """Collects the problems of one run."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def fault(self, file: Path, key: str, text: str) -> None:
        self.problems.append(Problem(file, key, text))

    def warn(self, file: Path, key: str, text: str) -> None:
        self.warnings.append(Problem(file, key, text, warning=True))


def dotted(*parts: str | int) -> str:
    """`dotted("domains", "example.org", "postmaster")` is `domains."example.org".postmaster`; a number is an
    index: `listen.smtp[0]`."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part:
            shown = part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            text += f".{shown}" if text else shown
    return text


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was most likely meant."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def kind(value: object) -> str:
    """What a TOML value is, in words."""
    names: list[tuple[type, str]] = [
        (bool, "true or false"),
        (int, "a number"),
        (float, "a number with a fraction"),
        (str, "a string"),
        (list, "a list"),
        (dict, "a table"),
    ]
    for known, name in names:
        if isinstance(value, known):
            return name
    return "a date or time"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
