"""The house keeps its order: imports go downwards, engines do no I/O, one module makes things durable."""

from __future__ import annotations

import ast
import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "mailserver").rglob("*.py"))

PROTOCOLS = ("smtp", "pop3", "imap")

# The engines and what they are made of: these, and whatever of ours they import, do no I/O.
ENGINES = (
    "mailserver.wire",
    "mailserver.message",
    "mailserver.smtp.commands",
    "mailserver.smtp.replies",
    "mailserver.smtp.engine",
    "mailserver.smtp.client.engine",
    "mailserver.pop3.commands",
    "mailserver.pop3.replies",
    "mailserver.pop3.engine",
    "mailserver.imap.fragments",
    "mailserver.imap.grammar",
    "mailserver.imap.commands",
    "mailserver.imap.replies",
    "mailserver.imap.engine",
    "mailserver.imap.search",
    "mailserver.imap.fetch",
    "mailserver.imap.selected",
    "mailserver.queue.schedule",
    "mailserver.auth.passwords",
)
# Contracts and values: what they import for their types is no concern of an engine.
VALUES = (
    "mailserver.interfaces",
    "mailserver.errors",
    "mailserver.config.schema",
    "mailserver.queue.values",
)

# What reads a clock, a file, a socket, or starts something.
IMPURE = {
    "twisted.internet",
    "twisted.application",
    "twisted.protocols",
    "twisted.python.threadpool",
    "asyncio",
    "fcntl",
    "io",
    "mmap",
    "multiprocessing",
    "os",
    "pathlib",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
}
CLOCKS = {
    "time",
    "time_ns",
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "process_time",
    "sleep",
    "localtime",
}
DURABLE_CALLS = {"fsync", "fdatasync", "sync", "link", "rename", "renames", "replace", "symlink"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    """The syntax of a module."""
    return list(ast.walk(ast.parse(path.read_text("utf-8"))))


@functools.cache
def nodes_that_run(path: Path) -> list[ast.AST]:
    return list(_parts_that_run(ast.parse(path.read_text("utf-8"))))


def imports(path: Path, running: bool = False) -> Iterator[str]:
    """Full names of what a module imports, `from a import b` as a.b. running: not for its types only."""
    for node in nodes_that_run(path) if running else nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _parts_that_run(node: ast.AST) -> Iterator[ast.AST]:
    """What is inside a node, without what only a type checker reads."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.If) and ast.unparse(inner.test) == "TYPE_CHECKING":
            continue
        yield inner
        yield from _parts_that_run(inner)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


BY_NAME = {name_of(path): path for path in MODULES}


def modules_of(path: Path, running: bool = False) -> Iterator[str]:
    """Modules of ours that a module imports."""
    for name in imports(path, running):
        found = name if name in BY_NAME else name.rpartition(".")[0]
        if found in BY_NAME and found != "mailserver":
            yield found


def pure_modules() -> list[Path]:
    """The engines and all that they import."""
    waiting = [name for name in BY_NAME if any(within(name, engine) for engine in ENGINES)]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found and name not in VALUES:
            found.add(name)
            waiting += modules_of(BY_NAME[name])
    return [BY_NAME[name] for name in sorted(found)]


PURE = pure_modules()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_engines_are_where_the_design_says(engine: str) -> None:
    assert engine in BY_NAME


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocol_knows_the_others_and_the_store_through_interfaces_only(protocol: str) -> None:
    strangers = [f"mailserver.{other}" for other in PROTOCOLS if other != protocol]
    strangers += ["mailserver.store", "mailserver.queue", "mailserver.auth"]
    found = [
        f"{name_of(path)} imports {name}"
        for path in MODULES
        if within(name_of(path), f"mailserver.{protocol}")
        for name in imports(path)
        if any(within(name, stranger) for stranger in strangers)
    ]
    assert found == []


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_a_pure_module_does_no_input_or_output(path: Path) -> None:
    found = [name for name in imports(path) if any(within(name, module) for module in IMPURE)]
    for node in nodes(path):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            found.append(f"open() in line {node.lineno}")
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time":
            found += [f"time.{node.attr} in line {node.lineno}"] if node.attr in CLOCKS else []
    found += [name for name in imports(path) if name.startswith("time.") and name[5:] in CLOCKS]
    assert found == []


def test_only_durable_syncs_links_and_renames() -> None:
    found = []
    for path in MODULES:
        if name_of(path) == "mailserver.disk.durable":
            continue
        for node in nodes(path):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner, attribute = node.func.value, node.func.attr
                of_os = isinstance(owner, ast.Name) and owner.id == "os" and attribute in DURABLE_CALLS
                of_path = attribute in ("rename", "replace") and len(node.args) == 1 and not node.keywords
                if of_os or of_path or attribute in ("hardlink_to", "symlink_to"):
                    found.append(f"{name_of(path)} line {node.lineno}: {attribute}")
        found += [
            f"{name_of(path)} imports {name}"
            for name in imports(path)
            if name.startswith("os.") and name[3:] in DURABLE_CALLS
        ]
    assert found == []


def package_of(module: str) -> str:
    """The room: the second part of the name. Three modules are rooms of their own: values that others need
    who stand below the rest of their folder."""
    for own in ("config.schema", "delivery.body", "imap.capabilities"):
        if within(module, f"mailserver.{own}"):
            return own
    return module.split(".")[1] if "." in module else ""


def test_imports_go_downwards_only() -> None:
    """No cycle between rooms; nothing knows the wiring above it."""
    below: dict[str, set[str]] = defaultdict(set)
    for path in MODULES:
        room = package_of(name_of(path))
        for name in imports(path):
            if within(name, "mailserver") and name != "mailserver.__version__":
                other = package_of(name)
                if other != room:
                    below[room].add(other)
    for room, others in below.items():
        assert not others & {"tap", "cli"} or room in ("__main__",), f"{room} imports {others}"
        wiring = ("tap", "master", "worker")
        assert "service" not in others or room in wiring, f"{room} imports the wiring"
    _assert_no_cycle(below)


def test_no_module_imports_itself_by_way_of_others() -> None:
    """But for its types: what stands under TYPE_CHECKING is not there when the server runs."""
    below = {name: set(modules_of(path, running=True)) - {name} for name, path in BY_NAME.items()}
    _assert_no_cycle(below)


def _assert_no_cycle(below: Mapping[str, set[str]]) -> None:
    done: set[str] = set()

    def visit(room: str, way: tuple[str, ...]) -> None:
        assert room not in way, "cycle: " + " -> ".join((*way[way.index(room) :], room))
        if room in done:
            return
        for other in sorted(below.get(room, ())):
            visit(other, (*way, room))
        done.add(room)

    for room in sorted(below):
        visit(room, ())


def test_no_twisted_mail_protocol_is_used() -> None:
    """The ground is Twisted; its mail protocol classes are not (DESIGN: two decisions)."""
    found = [
        f"{name_of(path)} imports {name}"
        for path in MODULES
        for name in imports(path)
        if within(name, "twisted.mail")
    ]
    assert found == []
