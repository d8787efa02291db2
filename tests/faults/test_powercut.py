"""A sample of the power cuts; `make faults` looks at many more."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.faults.disk import Disk, choices
from tests.faults.powercut import LOADS, run
from tests.faults.world import Broken


@pytest.mark.parametrize("name", LOADS)
def test_F5_H13_H16_H17_I8_power_cuts(name: str) -> None:
    """What was answered is there whole, with its UIDs; nothing partial is visible."""
    cuts = run(name, seed=7, every=5, most=4)
    assert cuts.states > 20


def test_F5_power_cuts_during_everything() -> None:
    assert run("mixed", seed=11, every=25, most=3, length=12).states > 20


def test_F5_power_cuts_during_a_stream_of_mail() -> None:
    assert run("stream", seed=3, every=9, length=32).states > 40


@pytest.mark.parametrize("folders", [False, True])
def test_the_oracle_misses_a_sync(folders: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that leaves out those of files, or of folders, is found out."""

    def fsync(disk: Disk, path: str) -> None:
        if disk._opened[path].folder is not folders:
            disk._opened[path].sync()

    monkeypatch.setattr(Disk, "_fsync", fsync)
    with pytest.raises(Broken, match=r"lost|octets|nobody sent|not whole"):
        run("delivery", seed=1, every=3)


# --- the model ------------------------------------------------------------------------------------


def _states(disk: Disk, folder: Path, data: str = "none") -> set[tuple[str, ...]]:
    """The names, with their content, that may be left."""
    found: set[tuple[str, ...]] = set()
    dice = random.Random(1)
    for number, kept in enumerate(choices(disk.open_changes(), 64, dice)):
        left = folder / f"left{number}"
        disk.rebuild(left, kept, data, dice)
        paths = sorted(path for path in left.rglob("*") if path.is_file())
        found.add(tuple(f"{path.relative_to(left)}={path.read_bytes().decode()}" for path in paths))
    return found


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    begin = tmp_path / "begin"
    (begin / "a").mkdir(parents=True)
    (begin / "b").mkdir()
    (begin / "a" / "old").write_text("old")
    return Disk(begin)


def _new(disk: Disk, path: str, *, sync: bool) -> None:
    disk.do("open", path, (os.O_CREAT | os.O_EXCL, 0o600))
    disk.do("write", path, (b"text",))
    if sync:
        disk.do("fsync", path, ())


def test_a_synced_file_may_have_no_name(disk: Disk, tmp_path: Path) -> None:
    _new(disk, "a/new", sync=True)
    assert _states(disk, tmp_path) == {("a/old=old",), ("a/new=text", "a/old=old")}


def test_a_synced_name_may_have_no_content(disk: Disk, tmp_path: Path) -> None:
    _new(disk, "a/new", sync=False)
    disk.do("open", "a", (os.O_RDONLY,))
    disk.do("fsync", "a", ())
    assert _states(disk, tmp_path) == {("a/new=", "a/old=old")}
    (tmp_path / "all").mkdir()
    assert _states(disk, tmp_path / "all", "all") == {("a/new=text", "a/old=old")}


def test_a_rename_is_one_change(disk: Disk, tmp_path: Path) -> None:
    disk.do("rename", "a/old", ("b/moved",))
    assert _states(disk, tmp_path) == {("a/old=old",), ("b/moved=old",)}
    disk.do("open", "b", (os.O_RDONLY,))
    disk.do("fsync", "b", ())
    (tmp_path / "synced").mkdir()
    assert _states(disk, tmp_path / "synced") == {("b/moved=old",)}


def test_unlinks_may_be_forgotten(disk: Disk, tmp_path: Path) -> None:
    disk.do("link", "a/old", ("b/second",))
    disk.do("unlink", "a/old", ())
    assert len(_states(disk, tmp_path)) == 4
