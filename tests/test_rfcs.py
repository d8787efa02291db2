"""docs/rfcs.rst: modules and tests that it names exist, and it lists exactly what is announced."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from mailserver.imap.announce import capabilities
from mailserver.imap.session import Session
from mailserver.interfaces import Peer
from mailserver.pop3 import replies
from mailserver.pop3.events import Options as Pop3Options
from mailserver.smtp.extensions import Options, offer
from tests.helpers.fake_store import FakeAccount
from tests.helpers.settings import make_settings

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "rfcs.rst").read_text("utf-8")
LITERALS = re.findall(r"``([^`]+)``", TEXT)
TESTS = sorted({text for text in LITERALS if "::" in text})
MODULES = sorted({text for text in LITERALS if re.fullmatch(r"[a-z_0-9/]+(\.py|/handlers)", text)})


@lru_cache
def functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text("utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


@pytest.mark.parametrize("name", TESTS)
def test_a_test_that_is_named_exists(name: str) -> None:
    file, _, function = name.partition("::")
    assert function.startswith("test_")
    assert function in functions(ROOT / "tests" / file)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_is_named_exists(name: str) -> None:
    assert (ROOT / "mailserver" / name).exists() or (ROOT / "tests" / name).exists() or (ROOT / name).exists()


def listed(title: str) -> set[str]:
    """The first column of the table below a title."""
    _, _, below = TEXT.partition(f"\n{title}\n{'~' * len(title)}\n")
    assert below, title
    words = re.findall(r"^   \* - ``([^`]+)``$", re.split(r"\n[~-]{3,}\n", below)[0], re.MULTILINE)
    assert words
    return set(words)


def first_words(lines: tuple[str, ...]) -> set[str]:
    return {line.split(" ")[0] for line in lines}


def test_what_EHLO_announces() -> None:
    clear = offer(Options("mail.example.org", starttls=True)).ehlo
    options = Options(
        "mail.example.org", secure=True, hold=60, mechanisms=("PLAIN", "LOGIN"), xclient=("NAME",)
    )
    inside = offer(options).ehlo
    assert first_words(clear[1:] + inside[1:]) == listed("EHLO")


def test_what_CAPA_announces() -> None:
    lines = replies.capabilities(Pop3Options(mechanisms=("PLAIN",), starttls=True, secure=False), True)
    words = {re.sub(r"^(SASL|IMPLEMENTATION) .*", r"\1", line) for line in lines}
    assert words == listed("CAPA")


class Wire:
    """What a session needs of a connection to say what it can."""

    peer = Peer("192.0.2.1")
    output_full = False

    def __init__(self, mechanisms: tuple[str, ...]) -> None:
        self.settings = make_settings(
            imap={"administrators": ("alice@example.org",), "message_limit": 1000, "save_limit": 1000}
        )
        self._mechanisms = mechanisms

    @property
    def authenticator(self) -> Any:
        return self

    def mechanisms(self, peer: Peer) -> tuple[str, ...]:
        return self._mechanisms

    def tls_available(self) -> bool:
        return True

    compressed = False

    def send(self, data: bytes) -> None:
        """Nobody listens."""


def test_what_CAPABILITY_announces() -> None:
    wires: tuple[Any, ...] = (Wire(()), Wire(("PLAIN",)))
    sessions = [Session(wire) for wire in wires]
    inside = Session(wires[0])
    inside.account = FakeAccount()  # type: ignore[assignment]
    inside.user = "alice@example.org"
    found = {name for session in (*sessions, inside) for name in capabilities(session)}
    words = {re.sub(r"^([A-Z]+LIMIT)=.*|^(AUTH=).*", r"\1\2", name) for name in found}
    assert words == listed("CAPABILITY")
