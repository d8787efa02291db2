"""Each step of a durable write, and what happens when it fails."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailserver.disk import durable
from mailserver.disk.durable import Calls, Exists, Missing
from mailserver.errors import NoSpace, TemporaryFailure


@pytest.fixture(autouse=True)
def fresh_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(durable, "calls", Calls())
    yield


def record(*names: str) -> list[str]:
    """The order in which the named calls happen from now on."""
    seen: list[str] = []
    for name in names:
        original = getattr(durable.calls, name)

        def call(*args: Any, _name: str = name, _original: Any = original, **kwargs: Any) -> Any:
            seen.append(_name)
            return _original(*args, **kwargs)

        setattr(durable.calls, name, call)
    return seen


def fail_with(name: str, number: int) -> None:
    def call(*args: Any, **kwargs: Any) -> Any:
        raise OSError(number, os.strerror(number))

    setattr(durable.calls, name, call)


def test_F2_atomic_write_in_order(tmp_path: Path) -> None:
    seen = record("open", "write", "fsync", "close", "rename")
    durable.write_file_atomic(str(tmp_path / "a"), b"x")
    assert seen == ["open", "write", "fsync", "close", "rename", "open", "fsync", "close"]


@pytest.mark.parametrize("name", ["open", "write", "fsync", "close", "rename"])
@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EIO, TemporaryFailure),
        (errno.ENOSPC, NoSpace),
        (errno.EDQUOT, NoSpace),
        (errno.EMFILE, TemporaryFailure),
        (errno.EACCES, TemporaryFailure),
        (errno.EROFS, TemporaryFailure),
        (errno.ESTALE, TemporaryFailure),
    ],
)
def test_F3_each_step_fails_and_leaves_the_old_file(
    tmp_path: Path, name: str, number: int, error: type[TemporaryFailure]
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    fail_with(name, number)
    with pytest.raises(TemporaryFailure) as caught:
        durable.write_file_atomic(str(path), b"new")
    assert type(caught.value) is error
    assert isinstance(caught.value.cause, OSError)
    assert os.listdir(tmp_path) == ["a"]
    assert path.read_bytes() == b"old"


def test_F3_short_writes_go_on(tmp_path: Path) -> None:
    write = os.write
    durable.calls.write = lambda fd, data: write(fd, data[:3])
    durable.write_file_atomic(str(tmp_path / "a"), b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_F4_a_failed_fsync_is_not_tried_again(tmp_path: Path) -> None:
    tries: list[int] = []

    def fsync(fd: int) -> None:
        tries.append(fd)
        raise OSError(errno.EIO, "lost")

    durable.calls.fsync = fsync
    with pytest.raises(TemporaryFailure):
        durable.write_file_atomic(str(tmp_path / "a"), b"x")
    assert len(tries) == 1


def test_leftover_of_a_crash_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "a.new").write_bytes(b"half")
    durable.write_file_atomic(str(tmp_path / "a"), b"whole")
    assert os.listdir(tmp_path) == ["a"]


def test_F8_link_and_rename_do_not_replace(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    with pytest.raises(Exists):
        durable.link(str(tmp_path / "a"), str(tmp_path / "b"))
    with pytest.raises(Exists):
        durable.rename_noreplace(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "b").read_bytes() == b"b"
    durable.rename_noreplace(str(tmp_path / "a"), str(tmp_path / "c"))
    assert sorted(os.listdir(tmp_path)) == ["b", "c"]


def test_rename_noreplace_without_the_system_call(tmp_path: Path) -> None:
    fail_with("rename_noreplace", errno.EINVAL)
    (tmp_path / "a").write_bytes(b"a")
    durable.rename_noreplace(str(tmp_path / "a"), str(tmp_path / "b"))
    assert os.listdir(tmp_path) == ["b"]


def test_missing_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(Missing):
        durable.rename(str(tmp_path / "a"), str(tmp_path / "b"))
    durable.unlink(str(tmp_path / "a"))
    with pytest.raises(Missing):
        durable.unlink(str(tmp_path / "a"), missing_ok=False)


def test_F17_a_symbolic_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"v")
    (tmp_path / "a").symlink_to(tmp_path / "victim")
    with pytest.raises(Exists):
        durable.write_new(str(tmp_path / "a"), [b"x"])
    assert (tmp_path / "victim").read_bytes() == b"v"


def test_F18_modes_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        durable.make_dirs(str(tmp_path / "a" / "b"))
        durable.write_file_atomic(str(tmp_path / "a" / "b" / "c"), b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "b" / "c").stat().st_mode) == 0o600


def test_make_dirs_syncs_each_parent(tmp_path: Path) -> None:
    seen = record("mkdir", "fsync")
    durable.make_dirs(str(tmp_path / "a" / "b"))
    assert seen == ["mkdir", "fsync", "mkdir", "fsync"]
    durable.make_dirs(str(tmp_path / "a" / "b"))
    assert len(seen) == 4


def test_make_dir_on_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(Exists):
        durable.make_dir(str(tmp_path / "a"))


def test_topdir_flag_is_best_effort(tmp_path: Path) -> None:
    assert durable.set_topdir_flag(str(tmp_path)) in (True, False)
    assert durable.set_topdir_flag(str(tmp_path / "absent")) is False
