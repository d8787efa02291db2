"""H11: the rules of `tests.imap.model` between sessions of different workers."""

from __future__ import annotations

from pathlib import Path

from tests.processes.model import of_two_workers, run


def test_H11_no_client_is_told_a_wrong_thing_whichever_worker_it_is_on(tmp_path: Path) -> None:
    with of_two_workers(tmp_path) as server:
        world = run(server, seed=7, steps=400)
        assert len(world.workers()) == 2
        assert len(world.history) > 50
        assert "Traceback" not in server.log()
