"""A site, and an account of it that is open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailserver.config.load import Loaded, read
from mailserver.transfer.account import LocalAccount
from tests.helpers.files import write_site
from tests.transfer.samples import ALICE


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    site = tmp_path / "site"
    site.mkdir()
    return read(write_site(site))


@pytest.fixture
def account(loaded: Loaded) -> Iterator[LocalAccount]:
    made = LocalAccount(loaded, ALICE)
    made.open()
    yield made
    made.close()
