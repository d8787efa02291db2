"""What `make run` prints can be pasted into a shell."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.server import ROOT, eventually, free_port

BIN = Path(sys.executable).parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def printed(folder: Path) -> str:
    """What `mailserver demo` prints, for ports that are free."""
    command = [sys.executable, "-m", "mailserver", "demo", "demo"]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_can_be_pasted_and_a_second_run_keeps_the_mail(tmp_path: Path) -> None:
    first = printed(tmp_path)
    assert first.isprintable() or set(re.findall(r"[^ -~]", first)) <= set("\n…")
    config = tmp_path / "demo" / "mailserver.toml"
    config.write_text(re.sub(r"tcp:\d+", lambda _: f"tcp:{free_port()}", config.read_text()))
    for mails in (1, 2):
        text = printed(tmp_path)
        [commands] = re.findall(r"its mailbox:\n(.*?)\n\n", text, re.DOTALL)
        with running(tmp_path) as server:
            eventually(lambda: b"pop3s on" in (tmp_path / "log").read_bytes(), what="start")
            done = subprocess.run(
                ["/bin/sh", "-ec", commands], capture_output=True, text=True, timeout=60, check=False
            )
            assert (done.returncode, done.stderr) == (0, "")
            assert len(re.findall(r'^\* \d+ FETCH .*"hello"', done.stdout, re.MULTILINE)) == mails
            server.send_signal(signal.SIGINT)
            server.wait(30)


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """As the Makefile starts it; what it prints goes to `log`."""
    words = ["--nodaemon", "--pidfile=", "mailserver", "--config", "demo/mailserver.toml"]
    with (
        open(folder / "log", "wb") as log,
        subprocess.Popen(
            [BIN / "twistd", *words], cwd=folder, env=ENVIRONMENT, stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()
