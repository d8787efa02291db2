"""One module for each target. What holds for all of them: no exception but those that are documented, and no
more than `LIMIT` seconds of CPU for an input."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from tests.helpers.cost import cheaper_than

LIMIT = 1.0  # seconds; inputs have at most MAX_LENGTH octets, and the code is slowed down by being watched
MAX_LENGTH = 4096
SEEDS = Path(__file__).parents[1] / "seeds"
TARGETS = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


class Target:
    """A target by its name."""

    def __init__(self, name: str) -> None:
        module = import_module(f"{__name__}.{name}")
        self.name = name
        self.tokens: list[bytes] = getattr(module, "TOKENS", [])
        self._check: Callable[[bytes], None] = module.check

    def check(self, data: bytes) -> None:
        """Raises for what is wrong with the code."""
        with cheaper_than(LIMIT):
            self._check(data)

    def seeds(self) -> list[Path]:
        return sorted((SEEDS / self.name).iterdir())


def options(data: bytes, count: int) -> tuple[int, bytes]:
    """The first octet chooses one of `count` ways ("0" is the first), the rest is the input."""
    return (data[0] - 0x30) % count if data else 0, data[1:]
