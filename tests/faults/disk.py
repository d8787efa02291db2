"""What a file system may hold after a power cut, by what was asked of it and what was synced.

`Disk` is told every operation in order and keeps, of each file, the octets that are on the disk for certain
and the writes that are not, and of each folder the entries that are certain and the changes that are not.
`rebuild` makes a folder as a power cut at this moment may leave it:

- of a file that is not synced: nothing, all, some of the writes and the last one torn, or zeros;
- of the changes of a folder that is not synced: any subset, in any order. A rename is one change, as on every
  file system with a journal, and is there for certain when one of its folders is synced;
- fsync of a file makes its content certain, and not its name; that of a folder its entries.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import define, field

_OPEN_CREATE = 4  # SQLITE_OPEN_CREATE
_SYNC_FOLDER = 0x80000 | 0x800 | 0x4000  # of a WAL or journal that SQLite makes: it syncs the folder itself


@define(eq=False)
class Entry:
    """A change of a folder: a name that leads to `node`, or to nothing. after: with that one, a rename's."""

    name: str
    node: Node | None
    after: Entry | None = None
    certain: bool = False


@define(eq=False)
class Node:
    """A file or a folder. synced, pending: octets and writes (offset, octets; None to cut off there), or
    entries and their changes."""

    folder: bool
    data: bytearray = field(factory=bytearray)
    writes: list[tuple[int, bytes | None]] = field(factory=list)
    size: int = 0
    entries: dict[str, Node] = field(factory=dict)
    changes: list[Entry] = field(factory=list)
    live: dict[str, Node] = field(factory=dict)
    new: bool = False  # a journal of SQLite, whose folder is synced with it

    def sync(self) -> None:
        self.data = self.content(self.writes)
        self.writes = []
        for change in self.changes:
            change.certain = True
            if change.after is not None:
                change.after.certain = True
            self.apply(self.entries, change)
        self.changes = []

    def content(self, writes: list[tuple[int, bytes | None]]) -> bytearray:
        data = bytearray(self.data)
        for offset, octets in writes:
            if octets is None:
                del data[offset:]
                continue
            if len(data) < offset:
                data.extend(bytes(offset - len(data)))
            data[offset : offset + len(octets)] = octets
        return data

    @staticmethod
    def apply(entries: dict[str, Node], change: Entry) -> None:
        if change.node is None:
            entries.pop(change.name, None)
        else:
            entries[change.name] = change.node

    def change(self, change: Entry) -> Entry:
        self.changes.append(change)
        self.apply(self.live, change)
        return change


Choice = Callable[[Entry], bool]


class Disk:
    """begin: a folder that is certain as it is."""

    def __init__(self, begin: Path) -> None:
        self._inodes: dict[int, Node] = {}
        self._opened: dict[str, Node] = {}
        self.root = self._read(begin)
        self._inodes.clear()

    def _read(self, path: Path) -> Node:
        node = Node(folder=True)
        for entry in os.scandir(path):
            if entry.name.endswith("-shm") or not (entry.is_dir() or entry.is_file()):
                continue
            if entry.is_dir():
                child = self._read(Path(entry.path))
            else:
                child = self._inodes.setdefault(entry.inode(), Node(folder=False))
                child.data = bytearray(Path(entry.path).read_bytes())
                child.size = len(child.data)
            node.entries[entry.name] = node.live[entry.name] = child
        return node

    def _at(self, path: str) -> Node | None:
        node: Node | None = self.root
        for part in path.split("/"):
            if part and node is not None:
                node = node.live.get(part)
        return node

    def _parent(self, path: str) -> tuple[Node, str]:
        folder, _, name = path.rpartition("/")
        parent = self._at(folder)
        assert parent is not None, path
        return parent, name

    # --- operations -------------------------------------------------------------------------------

    def do(self, call: str, path: str, arguments: tuple[Any, ...]) -> bool:
        """False for what changes nothing."""
        method = getattr(self, f"_{call.replace('.', '_')}", None)
        return method is not None and method(path, *arguments) is not False

    def _make(self, path: str, folder: bool = False) -> Node:
        parent, name = self._parent(path)
        node = Node(folder)
        parent.change(Entry(name, node))
        return node

    def _open(self, path: str, flags: int, *_: Any) -> bool:
        node = self._at(path)
        made = node is None and bool(flags & os.O_CREAT)
        if made:
            node = self._make(path)
        if node is not None:
            self._opened[path] = node
        return made

    _os_open = _open

    def _write(self, path: str, octets: bytes) -> None:
        node = self._opened[path]
        self._put(node, node.size, octets)

    def _os_pwrite(self, path: str, octets: bytes, offset: int) -> None:
        self._put(self._opened[path], offset, octets)

    @staticmethod
    def _put(node: Node, offset: int, octets: bytes) -> None:
        node.writes.append((offset, bytes(octets)))
        node.size = max(node.size, offset + len(octets))

    def _fsync(self, path: str) -> None:
        self._opened[path].sync()

    def _syncfs(self, path: str) -> None:
        """All that was written so far."""
        todo, seen = [self.root], set()
        while todo:
            node = todo.pop()
            if id(node) not in seen:
                seen.add(id(node))
                node.sync()
                todo += node.live.values()

    def _link(self, path: str, target: str) -> None:
        node = self._at(path)
        parent, name = self._parent(target)
        parent.change(Entry(name, node))

    def _rename(self, path: str, target: str) -> None:
        node = self._at(path)
        parent, name = self._parent(target)
        there = parent.change(Entry(name, node))
        parent, name = self._parent(path)
        parent.change(Entry(name, None, after=there))

    _rename_noreplace = _rename

    def _unlink(self, path: str) -> None:
        parent, name = self._parent(path)
        parent.change(Entry(name, None))

    _rmdir = _unlink

    def _mkdir(self, path: str, *_: Any) -> None:
        self._make(path, folder=True)

    def _xOpen(self, path: str, flags: int) -> bool:
        if self._at(path) is not None or not flags & _OPEN_CREATE:
            return False
        self._make(path).new = bool(flags & _SYNC_FOLDER)
        return True

    def _xWrite(self, path: str, octets: bytes, offset: int) -> None:
        node = self._at(path)
        if node is not None:
            self._put(node, offset, octets)

    def _xTruncate(self, path: str, size: int) -> None:
        node = self._at(path)
        if node is not None:
            node.writes.append((size, None))
            node.size = size

    def _xSync(self, path: str, *_: Any) -> None:
        node = self._at(path)
        if node is None:
            return
        node.sync()
        if node.new:
            node.new = False
            self._parent(path)[0].sync()

    def _xDelete(self, path: str, sync: int) -> bool:
        parent, name = self._parent(path)
        if name not in parent.live:
            return False
        parent.change(Entry(name, None))
        if sync:
            parent.sync()
        return True

    # --- after a power cut ------------------------------------------------------------------------

    def open_changes(self) -> list[Entry]:
        """Of names, those that may be lost."""
        found: list[Entry] = []
        todo, seen = [self.root], set()
        while todo:
            node = todo.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            found += [change for change in node.changes if not change.certain and change.after is None]
            todo += node.live.values()
            todo += [change.node for change in node.changes if change.node is not None]
        return found

    def rebuild(self, folder: Path, kept: Choice, data: str, dice: random.Random) -> None:
        """kept: is this change there? data: "none", "all", or "torn" of what is not synced."""
        folder.mkdir()
        self._rebuild(self.root, folder, kept, data, dice=dice, made={})

    def _rebuild(
        self, node: Node, path: Path, kept: Choice, data: str, *, dice: random.Random, made: dict[int, Path]
    ) -> None:
        entries = dict(node.entries)
        for change in node.changes:
            decisive = change.after or change
            if change.certain or decisive.certain or kept(decisive):
                node.apply(entries, change)
        for name, child in entries.items():
            target = path / name
            if child.folder:
                target.mkdir(0o700)
                self._rebuild(child, target, kept, data, dice=dice, made=made)
            elif id(child) in made:
                os.link(made[id(child)], target)
            else:
                made[id(child)] = target
                target.touch(0o600)
                target.write_bytes(_left(child, data, dice))


def _left(node: Node, data: str, dice: random.Random) -> bytes:
    """What is left of a file."""
    if data == "none" or not node.writes:
        return bytes(node.data)
    if data == "all":
        return bytes(node.content(node.writes))
    if dice.random() < 0.2:  # the length came before the octets
        return bytes(node.data) + bytes(max(0, node.size - len(node.data)))
    some = [write for write in node.writes if dice.random() < 0.7]
    if dice.random() < 0.5:  # in order, up to some point
        some = node.writes[: dice.randrange(len(node.writes) + 1)]
    if some and some[-1][1]:
        offset, octets = some[-1]
        some[-1] = (offset, octets[: dice.randrange(len(octets) + 1)])
    return bytes(node.content(some))


def choices(changes: list[Entry], most: int, dice: random.Random) -> Iterator[Choice]:
    """Subsets of changes: each one where they are few, else none, all, and random ones."""
    if 1 << len(changes) <= most:
        for bits in range(1 << len(changes)):
            chosen = {id(change) for number, change in enumerate(changes) if bits >> number & 1}
            yield lambda change, chosen=chosen: id(change) in chosen  # type: ignore[misc]
        return
    yield lambda change: False
    yield lambda change: True
    for _ in range(most - 2):
        often = dice.choice((0.2, 0.5, 0.8))
        chosen = {id(change) for change in changes if dice.random() < often}
        yield lambda change, chosen=chosen: id(change) in chosen  # type: ignore[misc]
