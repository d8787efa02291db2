"""One day; `make queue-life` lives many of two days."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.campaign import memory_folder
from tests.queue_life import network
from tests.queue_life.life import Broken, Life


@pytest.fixture
def folder() -> Iterator[Path]:
    made = memory_folder()
    yield made / "queue"
    shutil.rmtree(made)


def test_F6_G1_G2_G3_G4_G6_G8_G9_a_day_of_the_queue(folder: Path) -> None:
    """Each recipient has one fate, in its time, whatever other servers do and however often this one ends."""
    life = Life(folder, seed=4, hours=24, every=120)
    life.run()
    assert life.kills + life.stops > 5 and len(life.accepted) > 700 and life.aside
    record = life.network.record
    assert sum(record.told.values()) > 200 and any(record.untold.values()) and len(record.refused) > 5


@pytest.mark.parametrize("seed", [3, 5])
def test_shorter_lives(seed: int, folder: Path) -> None:
    Life(folder, seed, hours=8).run()


def test_a_queue_that_sends_twice_is_found_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes are not recorded when the server ends in good order."""

    def forgets(self: Life) -> None:
        if self.spool is not None:
            self.spool._database.execute("UPDATE recipients SET next_try = 0, attempts = 0")
            self.manager.look_again()

    monkeypatch.setattr(Life, "_restart", forgets)
    with pytest.raises(Broken, match="too early"):
        Life(folder, seed=1, hours=8).run()


def test_a_scheduler_that_starves_is_found_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All places may be had by one destination."""
    monkeypatch.setattr("tests.queue_life.life.PER_DESTINATION", 20)
    monkeypatch.setattr(network.Temper, "seconds", (20.0, 60.0))
    with pytest.raises(Broken, match="waited until"):
        Life(folder, seed=1, hours=4).run()
