"""Reading a message: the wire form, in any slices, whatever its line ends."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailserver.errors import MessageGone
from mailserver.store import files, message
from mailserver.store.files import to_wire, wire_length, wire_size
from mailserver.store.message import LineMaps, MessageFile, open_file
from tests.helpers.store import now
from tests.helpers.threads import ImmediatePool, immediate_inbox

TEXT = st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"bc"])).map(b"".join)


def as_wire(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def opened(path: Path, size: int, corrected: list[int] | None = None) -> MessageFile:
    return MessageFile(
        open_file(str(path)),
        size,
        pool=ImmediatePool(immediate_inbox()),
        maps=LineMaps(),
        correct=(corrected if corrected is not None else []).append,
    )


@given(TEXT, st.integers(1, 9))
def test_chunks_give_the_same_as_the_whole(data: bytes, size: int) -> None:
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    after = [False, *(chunk.endswith(b"\r") for chunk in chunks)]
    converted = [to_wire(chunk, cr) for chunk, cr in zip(chunks, after, strict=False)]
    assert b"".join(converted) == as_wire(data)
    assert [wire_length(chunk, cr) for chunk, cr in zip(chunks, after, strict=False)] == [
        len(chunk) for chunk in converted
    ]


@pytest.mark.parametrize("chunk", [1, 2, 3, 1 << 18])
def test_a_file_is_measured_in_pieces_as_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(files, "_CHUNK", chunk)
    for data in (b"", b"\n", b"a\r\nb\nc", b"\r\n\r\n", b"a\r"):
        path = tmp_path / "m"
        path.write_bytes(data)
        status, wire = files.measure(str(path))
        assert (status.st_size, wire) == (len(data), len(as_wire(data)))


def test_what_is_no_file_is_not_measured(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "none"):
        with pytest.raises(OSError):
            files.measure(str(tmp_path / name))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(data=TEXT, block=st.integers(1, 5), slices=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20))))
def test_any_slice_of_the_wire_form(
    tmp_path: Path, data: bytes, block: int, slices: list[tuple[int, int]]
) -> None:
    before, message._BLOCK = message._BLOCK, block
    try:
        path = tmp_path / "m"
        path.write_bytes(data)
        wire = as_wire(data)
        assert wire_size(str(path)) == len(wire)
        file = opened(path, len(wire))
        for offset, length in slices:
            assert now(file.read(offset, length)) == wire[offset : offset + length]
        file.close()
    finally:
        message._BLOCK = before


def test_I10_a_wrong_size_is_corrected(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"a\nb\n")
    corrected: list[int] = []
    file = opened(tmp_path / "m", 99, corrected)
    assert file.read_all() == b"a\r\nb\r\n"
    assert file.size == 6 and corrected == [6]


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EOPNOTSUPP])
def test_what_is_not_in_memory_is_read_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (tmp_path / "m").write_bytes(b"a\n")

    def preadv(*args: Any) -> int:
        raise OSError(number, "not now")

    monkeypatch.setattr(os, "preadv", preadv)
    file = opened(tmp_path / "m", 3)
    assert file.read_all() == (None if number == errno.EAGAIN else b"a\r\n")
    assert now(file.read(0, 10)) == b"a\r\n"


def test_closed_while_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"a\n")
    file = opened(tmp_path / "m", 3)
    file.close()
    file.close()
    with pytest.raises(MessageGone):
        now(file.read(0, 3))


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "nothing"])
def test_F17_only_regular_files(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m"
    if kind == "link":
        (tmp_path / "target").write_bytes(b"secret")
        path.symlink_to(tmp_path / "target")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    with pytest.raises(OSError):
        open_file(str(path))


def test_line_maps_are_bounded() -> None:
    maps = LineMaps(limit=2)
    for n in range(3):
        maps.put((n,), [n])
    assert maps.get((0,)) is None and maps.get((2,)) == [2]
