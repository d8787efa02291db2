"""README and docs: they render, their links lead somewhere, and the parts that they name exist."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import click
import pytest
from docutils.core import publish_doctree
from docutils.nodes import reference

from mailserver.cli import _command as main
from mailserver.config.schema import Config
from mailserver.config.watch import RESTART

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.rst",
    *sorted((ROOT / "docs").glob("*.rst")),
    *sorted(ROOT.glob("newsfragments/*.rst")),
]
ROOMS = sorted(path.stem for path in (ROOT / "mailserver").iterdir() if not path.name.startswith("_"))
# ``store.live``, ``queue.spool.Spool.enqueue``, and ``auth.threads``, which is a key.
PARTS = re.compile(rf"``((?:mailserver\.)?(?:{'|'.join(ROOMS)})(?:\.[A-Za-z_]\w*)+)``")


def shown(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_a_page_renders_and_its_links_lead_somewhere(page: Path) -> None:
    settings = {"report_level": 2, "halt_level": 2, "warning_stream": False}
    tree = publish_doctree(page.read_text("utf-8"), str(page), settings_overrides=settings)
    links = [node["refuri"] for node in tree.findall(reference) if "refuri" in node]
    missing = [
        link for link in links if ":" not in link and not (page.parent / link.partition("#")[0]).exists()
    ]
    assert missing == []


def exists(name: str) -> bool:
    """A module, or what stands in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            if not hasattr(found, part):
                return part in getattr(found, "__annotations__", ())
            found = getattr(found, part)
        return True
    return False


# A command line by itself (behind a prompt or another program, or in the help), or in the text.
SHOWN = re.compile(
    r"^ +(?:\$ )?(?:[^|`\n]+ \| )?mailserver ([a-z][^#\n]*?)(?: {2,}.*| && .*)?$|``mailserver ([^`]+)``",
    re.MULTILINE,
)


def helps(command: click.Command, *words: str) -> Iterator[tuple[str, str]]:
    """Every command, by its words, and its help."""
    yield " ".join(words), command.help or ""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from helps(inner, *words, name)


PROSE = {shown(page): page.read_text("utf-8") for page in PAGES} | dict(helps(main, "mailserver"))


@pytest.mark.parametrize("text", PROSE.values(), ids=PROSE)
def test_a_command_line_that_is_shown_is_one(text: str) -> None:
    for match in SHOWN.finditer(text):
        line = match[1] or match[2]
        if "|" in line or "  " in line:  # several at once; the cell of a table
            continue
        words = shlex.split(" ".join(line.split()))
        command: click.Command = main
        context = click.Context(command)
        while isinstance(command, click.Group) and words and not words[0].isupper():
            found = command.get_command(context, words[0])
            assert found is not None, line
            command, context, words = found, click.Context(found), words[1:]
        command.make_parser(context).parse_args(words)


@pytest.mark.parametrize("text", ["mailserver reload", "docs/operation.rst"])
def test_what_needs_a_restart_is_told(text: str) -> None:
    told = re.search(r"``hostname``.*?restart|hostname,.*?restart", PROSE[text], re.DOTALL)
    assert told is not None
    assert set(RESTART) <= set(re.findall(r"[a-z_]+", told[0]))


def is_key(name: str) -> bool:
    """Of the configuration."""
    section, _, key = name.partition(".")
    hints = get_type_hints(Config)
    return section in hints and key in getattr(hints[section], "__annotations__", ())


@pytest.mark.parametrize("page", ["architecture.rst", "extending.rst"])
def test_the_parts_that_are_named_exist(page: str) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    names = {name.removeprefix("mailserver.") for name in PARTS.findall(text)}
    assert names
    assert [name for name in sorted(names) if not (exists("mailserver." + name) or is_key(name))] == []
