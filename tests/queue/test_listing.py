"""`mailserver queue list` and `show`: what the sender of a message asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor

from mailserver.interfaces import By, DeliverBy
from mailserver.queue.spool import Spool
from tests.cli.test_commands import run as command
from tests.helpers.files import write_site
from tests.queue.scene import message

FAR = 4_000_000_000.0  # 2096-10-02T07:06:40Z


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A queue with a message of each kind."""
    site = write_site(tmp_path)
    spool = Spool(site.parent / "data" / "queue", reactor, threaded=False)
    spool.open()
    kinds: dict[str, dict[str, Any]] = {
        "later": {"release_at": FAR, "hold": "until;2096-10-02T07:06:40Z"},
        "return": {"deliver_by": DeliverBy(FAR, By(60, True)), "priority": 4},
        "notify": {"deliver_by": DeliverBy(FAR, By(60, False)), "priority": -3},
        "plain": {},
    }
    for name, fields in kinds.items():
        new = message("b@far.example", id=name, **fields)
        spool.enqueue(new.envelope, new.trace, new.body, new.targets)
    spool.close()
    return site


def run(*arguments: str) -> str:
    result = command("queue", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_list(config: Path) -> None:
    lines = {line.split()[0]: line for line in run("list", "--config", str(config)).splitlines()}
    assert "  held until 2096-10-02T07:06:40Z  <" in lines["later"]
    assert "  to be returned after 2096-10-02T07:06:40Z  priority 4  <" in lines["return"]
    assert "  late after 2096-10-02T07:06:40Z  priority -3  <" in lines["notify"]
    assert not any(word in lines["plain"] for word in ("held", "after", "priority"))


def test_show(config: Path) -> None:
    assert "priority 4" in run("show", "return", "--config", str(config))


def test_json(config: Path) -> None:
    found = {one["id"]: one for one in json.loads(run("list", "--json", "--config", str(config)))}
    keys = ("release", "deliver_by", "if_late", "priority")
    moment = "2096-10-02T07:06:40Z"
    assert [found["later"][key] for key in keys] == [moment, None, None, 0]
    assert [found["return"][key] for key in keys] == [None, moment, "return", 4]
    assert [found["notify"][key] for key in keys] == [None, moment, "notify", -3]
    (shown,) = json.loads(run("show", "plain", "--json", "--config", str(config)))
    assert [shown[key] for key in keys] == [None, None, None, 0]
