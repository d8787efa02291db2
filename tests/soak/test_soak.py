"""The short form of the soak; `make soak` runs the long one, which looks at memory as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.soak import Soak


@pytest.mark.timeout(240)
def test_a_crowd_leaves_nothing_open(tmp_path: Path) -> None:
    soak = Soak(tmp_path, clients=20, seconds=5)
    soak.run()
    assert soak.sessions > 40
