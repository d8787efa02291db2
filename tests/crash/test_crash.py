"""The short form of the crash campaign; `make crash` runs the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.campaign import run
from tests.crash.messages import fault, message, number_of

KILLS = 8


@pytest.mark.timeout(240)
def test_F1_F13_H13_H21_I8_J8_kill_9_during_a_load(tmp_path: Path) -> None:
    """Nothing accepted is lost, nothing partial is visible, no UID is given twice, deleted stays deleted."""
    campaign = run(tmp_path, KILLS, seed=1939)

    assert campaign.kills == KILLS
    assert campaign.record.accepted > KILLS


def test_the_checks_see_what_is_wrong() -> None:
    data = message(7)
    assert number_of(data) == 7
    assert fault(data) is None
    assert fault(b"Return-Path: <a@b>\nReceived: x\n\ty\n" + data) is None

    assert fault(data[:-1])
    assert fault(data.replace(b"\n.\n", b"\n..\n"))
    assert fault(b"Return-Path: <a@b>\n\n" + data)
    assert fault(b"")
