"""The event log: one event is one line, whatever the network put into it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver import audit
from mailserver.audit import Audit, json_line, text_line


class Turn:
    """A reactor turn: what was scheduled runs at its end."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def later(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def end(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.fixture
def turn() -> Turn:
    return Turn()


def make(path: Path, turn: Turn, style: str = "text") -> Audit:
    log = Audit(path, style, turn.later, clock=lambda: 1_000_000_000.25)
    log.open()
    return log


def test_a_line_as_it_reads() -> None:
    line = text_line(
        1_000_000_000.25, "received", {"id": "x1", "to": "a b", "size": 5, "seconds": 0.5, "user": ""}
    )
    assert line == '2001-09-09T01:46:40.250Z received id=x1 to="a b" size=5 seconds=0.500'


def test_a_line_as_json() -> None:
    line = json_line(1_000_000_000.25, "received", {"id": "x1", "user": None, "size": 5})
    assert json.loads(line) == {"time": 1_000_000_000.25, "event": "received", "id": "x1", "size": 5}


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize(
    "evil",
    [
        "x\r\n2001-09-09T01:46:40.250Z delivered id=forged",
        "\x1b[2J\x1b]0;title\x07",
        "a\0b",
        "\u2028next\u2029",
        "\x85\x9b31m",
        "\x7f",
        "tab\there",
    ],
)
def test_D14_control_characters_are_escaped(style: str, evil: str) -> None:
    line = audit.FORMATS[style](0.0, "rejected", {"sender": evil, "reason": evil})
    assert line.isprintable()
    assert len(line.splitlines()) == 1


def test_D14_a_value_cannot_look_like_another_field() -> None:
    assert text_line(0, "rejected", {"to": 'a" code=250 x="'}).endswith(r'rejected to="a\" code=250 x=\""')
    assert text_line(0, "rejected", {"to": "a\\"}).endswith(r"rejected to=a\\") or text_line(
        0, "rejected", {"to": "a\\"}
    ).endswith("rejected to=a\\")


@settings(max_examples=200)
@given(st.text(), st.sampled_from(["text", "json"]))
def test_D14_any_text_stays_one_line(value: str, style: str) -> None:
    line = audit.FORMATS[style](0.0, "rejected", {"reason": value})
    written = line.encode("utf-8", "backslashreplace")
    assert not set(written) & {*range(32), 127}
    assert len(written.decode().splitlines()) == 1


def test_a_turn_is_one_write(tmp_path: Path, turn: Turn, monkeypatch: pytest.MonkeyPatch) -> None:
    log = make(tmp_path / "mail.log", turn)
    writes: list[bytes] = []
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(data))
    log.event("connected", ip="192.0.2.1")
    log.event("login", user="alice")
    turn.end()
    assert [write.count(b"\n") for write in writes] == [2]


def test_F18_the_file_is_0600_whatever_the_umask(tmp_path: Path, turn: Turn) -> None:
    old = os.umask(0)
    try:
        make(tmp_path / "mail.log", turn)
    finally:
        os.umask(old)
    assert (tmp_path / "mail.log").stat().st_mode & 0o777 == 0o600


def test_a_rotated_log_is_opened_anew(tmp_path: Path, turn: Turn) -> None:
    path = tmp_path / "mail.log"
    log = make(path, turn)
    log.event("connected", ip="192.0.2.1")
    path.rename(tmp_path / "mail.log.1")
    log.open()
    log.event("connected", ip="192.0.2.2")
    log.close()
    assert "192.0.2.1" in (tmp_path / "mail.log.1").read_text()
    assert "192.0.2.2" in path.read_text()


def test_a_log_that_cannot_be_written_loses_lines_and_nothing_else(turn: Turn) -> None:
    log = make(Path("/dev/full"), turn)
    for _ in range(3):
        log.event("connected", ip="192.0.2.1")
        turn.end()
    assert log.lost == 3
    log.close()


def test_events_after_close_do_not_raise(tmp_path: Path, turn: Turn) -> None:
    log = make(tmp_path / "mail.log", turn)
    log.close()
    log.event("connected", ip="192.0.2.1")
    turn.end()
    assert (tmp_path / "mail.log").read_text() == ""
