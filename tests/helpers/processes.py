"""Which process of a server has what: read from /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any


def children(pid: int) -> list[int]:
    """Processes that this one has started."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == pid and fields[0] != "Z":
                    found.append(int(name))
    return sorted(found)


def holder(pids: list[int], connection: Any) -> int:
    """Which of these processes has the other end of a client's connection on 127.0.0.1; 0 for none. The
    kernel's table may miss a row while others come and go, so it is read more than once."""
    here, there = (f"{name()[1]:04X}" for name in (connection.getpeername, connection.getsockname))
    for _ in range(5):
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        inodes = [row[9] for row in rows if row[1].endswith(f":{here}") and row[2].endswith(f":{there}")]
        for inode in inodes:
            if found := _with_socket(pids, inode):
                return found
    return 0


def _with_socket(pids: list[int], inode: str) -> int:
    for pid in pids:
        with suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{fd}") == f"socket:[{inode}]":
                        return pid
    return 0


def alive(pid: int) -> bool:
    """A process of this number runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
