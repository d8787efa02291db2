"""Functions of other people's that take part in the wiring: `extensions = ["module:function"]`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def find_extension(name: str) -> Callable[[Any], object]:
    """The function that `module:function` names, from any importable place. Raises ValueError with a text
    for the person who wrote the configuration."""
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ValueError(f'{name!r} names no function (as "module:function")')
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:  # what a module does while it is imported is not ours to know
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{name!r} cannot be imported: {reason} (is it on PYTHONPATH?)") from error
    if not callable(found):
        raise ValueError(f"{name!r} is no function")
    extension: Callable[[Any], object] = found
    return extension
