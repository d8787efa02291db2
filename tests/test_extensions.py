"""Functions of other people's, named in the configuration, take part in the wiring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.task import Clock

from mailserver.config.extensions import find_extension
from mailserver.config.load import read
from mailserver.config.problems import ConfigError
from mailserver.config.watch import Settings
from mailserver.service import Parts
from mailserver.smtp.policy import Policy
from tests.helpers.files import CONFIG, write_site

HERE = "tests.test_extensions"


class Nobody:
    """Another place for users."""

    credentialInterfaces = (IUsernamePassword,)


class Strict(Policy):
    """Another rule."""


def extend(parts: Any) -> None:
    parts.filters.append(Strict())
    parts.checkers.insert(0, Nobody())


def test_an_extension_changes_the_parts_before_they_are_connected(tmp_path: Path) -> None:
    loaded = read(write_site(tmp_path, f'extensions = ["{HERE}:extend"]\n' + CONFIG))
    clock: Any = Clock()
    clock.callFromThread = lambda call, *args: clock.callLater(0, call, *args)
    parts = Parts(Settings(loaded, clock), clock, b"s" * 32)

    parts.connect()

    assert [type(one) for one in parts.filters] == [Strict]
    portal = parts.authenticator._portal
    assert isinstance(portal.checkers[IUsernamePassword], Nobody)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_colon", "names no function"),
        ("mailserver.nowhere:extend", "cannot be imported: ModuleNotFoundError"),
        (f"{HERE}:missing", "cannot be imported: AttributeError"),
        (f"{HERE}:HERE", "is no function"),
    ],
)
def test_K1_an_extension_that_is_not_there_is_a_fault_of_the_file(
    tmp_path: Path, name: str, reason: str
) -> None:
    path = write_site(tmp_path, f'extensions = ["{name}"]\n' + CONFIG)

    with pytest.raises(ConfigError) as caught:
        read(path)

    [problem] = caught.value.problems
    assert problem.key.startswith("extensions")
    assert reason in problem.text


def test_an_extension_is_found_by_its_name() -> None:
    assert find_extension(f"{HERE}:extend").__name__ == "extend"
