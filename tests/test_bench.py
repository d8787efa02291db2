"""The benchmark runs through; its figures are not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import AIMS, GROUPS, verdict

ROOT = Path(__file__).parents[1]


def test_a_short_run_of_every_workload(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    words = ["--only", "ours", "--repeat", "1", "--scale", "0.02", "--dir", tmp_path, "--json", figures]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    # A machine that is busy with other tests may miss an aim.
    assert done.returncode == 0 or "aims missed" in done.stdout, done.stdout + done.stderr
    found = json.loads(figures.read_text())
    assert len(found) > 2 * len(GROUPS)
    assert all(value >= 0 for sides in found.values() for value in sides["ours"])
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_one_row_over_mailboxes_of_an_earlier_run(tmp_path: Path) -> None:
    words = ["--only", "ours", "--repeat", "1", "--scale", "0.002", "--keep", tmp_path / "kept"]
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "bench", "large", "--rows", "SORT (DATE)", *map(str, words)],
            cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        shown = [
            line.strip() for line in done.stdout.partition("ours …")[2].partition("\n\n")[0].splitlines()
        ]
        assert [line[:18].strip() for line in shown if "SORT" in line] == ["first SORT (DATE)", "SORT (DATE)"]
    assert (tmp_path / "kept" / "ours" / "data").is_dir()


@pytest.mark.parametrize(
    ("name", "ours", "peers", "reached"),
    [
        ("SMTP in, durable and visible", 300.0, 100.0, True),
        ("SMTP in, durable and visible", 299.0, 100.0, False),
        ("SELECT", 13.0, 10.0, True),
        ("SELECT", 13.1, 10.0, False),
        ("SELECT", 13.1, None, True),
        ("250 to IDLE client, median", 19.0, 1.0, True),
        ("250 to IDLE client, median", 21.0, None, False),
        ("no aim", 1.0, 100.0, True),
    ],
)
def test_what_reaches_its_aim(name: str, ours: float, peers: float | None, reached: bool) -> None:
    assert verdict(name, ours, peers, AIMS)[1] is reached
