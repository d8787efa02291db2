"""The seeds of the fuzzer, and what it has found, without the fuzzer (CASES K6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import MAX_LENGTH, SEEDS, TARGETS, Target

FILES = sorted(path for path in SEEDS.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_K6_seed(path: Path) -> None:
    Target(path.parent.name).check(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_K6_every_target_has_seeds_and_stands_nothing_at_all(name: str) -> None:
    target = Target(name)
    assert all(path.stat().st_size <= MAX_LENGTH for path in target.seeds())
    for data in (b"", b"\0", b"\xff" * 100, bytes(range(256)), b"\r\n" * 300, b"0" + b"(" * 4000):
        target.check(data)
