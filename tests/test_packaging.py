"""What an installation gets: the package, its marker of types, the command, and the plugin of twistd."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What setuptools would put into a wheel, from a copy of the tree; needs no network."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.rst", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("mailserver", "twisted"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    target = folder / "target"
    setup = [sys.executable, "-c", "from setuptools import setup; setup()", "-q"]
    done = subprocess.run(
        [*setup, "egg_info", "-e", str(folder), "build", "--build-lib", str(target)],
        cwd=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return target


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_it_carries_the_plugin_and_nothing_else_of_twisted(built: Path) -> None:
    assert {name for name in names(built) if name.startswith("twisted")} == {
        "twisted/plugins/mailserver_plugin.py"
    }


def test_it_carries_every_module_and_the_marker_of_types(built: Path) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "mailserver").rglob("*.py")}
    assert modules <= names(built)
    assert "mailserver/py.typed" in names(built)


def test_it_carries_nothing_else(built: Path) -> None:
    assert not [name for name in names(built) if not name.startswith(("mailserver/", "twisted/plugins/"))]


def test_the_console_script(built: Path) -> None:
    entries = (built.parent / "mailserver.egg-info" / "entry_points.txt").read_text()
    assert "mailserver = mailserver.cli:main" in entries
