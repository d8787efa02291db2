"""H9, H11, H12: ten sessions of all kinds (`tests.imap.model`); the long form is `make model`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.imap.model import run


@pytest.mark.parametrize("seed", range(6))
def test_H11_no_client_is_told_a_wrong_thing(tmp_path: Path, seed: int) -> None:
    world = run(str(tmp_path), seed, steps=400)
    assert len(world.history) > 50
