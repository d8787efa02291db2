"""The smaller form; `make queue-large` has 100 000 messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.large_queue.large import Large


@pytest.mark.timeout(240)
@pytest.mark.parametrize("distinct", [False, True], ids=["floods", "strangers"])
def test_G21_thousands_of_messages_wait(distinct: bool, tmp_path: Path) -> None:
    """They are delivered soon after the start, and cost little memory and no long turn."""
    Large(tmp_path, 5_000, distinct).run()
