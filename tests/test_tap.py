"""`twistd mailserver`, run for real: options, faulty configurations, start, reload, stop."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mailserver import tap
from tests.helpers.files import CONFIG, write_site
from tests.helpers.server import eventually

ROOT = Path(__file__).parents[1]
NO_PORTS = "[listen]\nsmtp = []\n"


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if name != "MAILSERVER_CONFIG"}
    return clean | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | more


def twistd(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run to its end: only for launches that fail."""
    return subprocess.run(
        command(*arguments),
        capture_output=True, text=True, cwd=folder, env=environment(**more), timeout=60, check=False,
    )  # fmt: skip


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", *arguments]


def test_twistd_lists_the_plugin(tmp_path: Path) -> None:
    assert "mailserver" in twistd(tmp_path, "--help").stdout


def test_the_plugins_own_help(tmp_path: Path) -> None:
    done = twistd(tmp_path, "mailserver", "--help")
    assert done.returncode == 0
    assert "--config" in done.stdout


def test_K1_a_broken_file_ends_the_launch_with_status_2_and_its_problems(tmp_path: Path) -> None:
    path = write_site(tmp_path, CONFIG + "[limits]\nrecipents = 5\nhops = 0\n")
    done = twistd(tmp_path, "-n", "mailserver", "-c", path.name)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"{path}: limits.hops: 0 is out of range (1 to 2147483647)",
        f'{path}: limits.recipents: unknown key (did you mean "recipients"?)',
    ]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("text", ["", "hostname = ", "[domains", "\x00"])
def test_K1_no_file_gives_a_traceback(tmp_path: Path, text: str) -> None:
    path = write_site(tmp_path, text)
    done = twistd(tmp_path, "-n", "mailserver", "--config", str(path))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert all(line.startswith(str(tmp_path)) for line in done.stderr.splitlines() if "warning" not in line)


def test_the_file_comes_from_the_environment_else_from_etc(tmp_path: Path) -> None:
    named = twistd(tmp_path, "-n", "mailserver", MAILSERVER_CONFIG=str(tmp_path / "none.toml"))
    assert named.stderr == f"{tmp_path}/none.toml: cannot be read: No such file or directory\n"
    if not Path(tap.DEFAULT_CONFIG).exists():
        default = twistd(tmp_path, "-n", "mailserver")
        assert default.stderr == f"{tap.DEFAULT_CONFIG}: cannot be read: No such file or directory\n"


def test_it_starts_reloads_and_stops(tmp_path: Path) -> None:
    """A server on no port: SIGHUP changes settings, a broken file does not end it, SIGTERM does."""
    path = write_site(tmp_path, CONFIG + NO_PORTS)
    pid_file = tmp_path / "data" / "mailserver.pid"
    output = tmp_path / "output"
    with output.open("w") as sink, subprocess.Popen(
        command("-n", "--pidfile=", "mailserver", "-c", str(path)),
        stdout=sink, stderr=subprocess.STDOUT, cwd=tmp_path, env=environment(),
    ) as server:  # fmt: skip
        try:
            wait_for(lambda: pid_file.exists() and pid_file.read_text() == f"{server.pid}\n", output)
            path.write_text(CONFIG + NO_PORTS + "[limits]\nhops = 40\n")
            reload = subprocess.run(
                [sys.executable, "-m", "mailserver", "reload", "-c", str(path)],
                cwd=ROOT, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert (reload.returncode, reload.stdout) == (0, f"told process {server.pid} to reload\n")
            wait_for(lambda: "settings read again" in output.read_text(), output)
            path.write_text("broken")
            server.send_signal(signal.SIGHUP)
            wait_for(lambda: "the settings stay as they were" in output.read_text(), output)
            assert server.poll() is None
        finally:
            server.terminate()
            status = server.wait(30)
    assert status in (0, -signal.SIGTERM), output.read_text()  # Twisted ends by the signal it got
    assert "Traceback" not in output.read_text()


def test_K1_ports_that_are_taken_end_the_launch_and_are_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        taken = [f"tcp:{holder.getsockname()[1]}:interface=127.0.0.1" for holder in (one, other)]
        listen = f'[listen]\nsmtp = ["{taken[0]}"]\nimap = ["{taken[1]}"]\n'
        done = twistd(
            tmp_path, "-n", "--pidfile=", "mailserver", "-c", str(write_site(tmp_path, CONFIG + listen))
        )
    assert done.returncode == 1
    told = done.stdout + done.stderr
    for description in taken:
        assert f"mailserver: cannot listen on {description}: [Errno 98] Address already in use" in told
    assert "Traceback" not in told


def test_K1_in_the_background_too_a_launch_that_fails_ends_and_is_told(tmp_path: Path) -> None:
    """twistd's parent waits for a word of its child; SystemExit is none."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = f"tcp:{holder.getsockname()[1]}:interface=127.0.0.1"
        path = write_site(tmp_path, CONFIG + f'[listen]\nsmtp = ["{taken}"]\n')
        done = twistd(tmp_path, "--pidfile=pid", "--logfile=log", "mailserver", "-c", str(path))
    assert done.returncode == 1
    assert f"mailserver: cannot listen on {taken}: [Errno 98] Address already in" in done.stderr
    line = f"cannot listen on {taken}: [Errno 98] Address already in use"
    eventually(lambda: line in (tmp_path / "log").read_text(), 20, "the child has logged why it ends")
    eventually(lambda: not (tmp_path / "pid").exists(), 20, "the child has ended")
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give its privileges up")
def test_F18_K3_started_as_root_it_runs_as_another_user_who_owns_what_it_makes(tmp_path: Path) -> None:
    """What that user cannot read changes nothing, and is told at once, not first at the next edit."""
    for folder in (*tmp_path.parents[:3], tmp_path):
        folder.chmod(0o755)
    path = write_site(tmp_path, CONFIG.replace('"data"', '"var/data"') + NO_PORTS)
    user = pwd.getpwnam("nobody")
    arguments = (f"--uid={user.pw_uid}", "--pidfile=pid", "--logfile=log", "mailserver", "-c", str(path))
    done = subprocess.run(
        command("--umask=0", *arguments),
        cwd=tmp_path, env=environment(), timeout=60, check=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, (tmp_path / "log").read_text()
    pid = int((tmp_path / "pid").read_text())
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        assert "Uid:" + f"\t{user.pw_uid}" * 4 in status and "Gid:" + f"\t{user.pw_gid}" * 4 in status
        made = [tmp_path / "var", *(tmp_path / "var").rglob("*")]
        assert {"data", "mailserver.pid", "salt", "queue", "mail"} <= {one.name for one in made}
        found = {one: (one.stat().st_uid, oct(one.stat().st_mode & 0o777)) for one in made}
        assert all(
            mine == (user.pw_uid, "0o700" if one.is_dir() else "0o600") for one, mine in found.items()
        ), found
        log = tmp_path / "log"
        wait_for(lambda: "users.toml: cannot be read: Permission denied" in log.read_text(), log)
        wait_for(lambda: "the users stay as they were" in log.read_text(), log)
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not Path(f"/proc/{pid}").exists(), tmp_path / "log")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give its privileges up")
def test_K1_a_folder_of_somebody_else_is_told_before_anything_is_made(tmp_path: Path) -> None:
    path = write_site(tmp_path, CONFIG + NO_PORTS)
    (tmp_path / "data").mkdir()
    done = twistd(tmp_path, "-n", "--uid=4711", "--pidfile=", "mailserver", "-c", str(path))
    assert done.returncode == 1
    told = f"mailserver: {tmp_path}/data is root's, not 4711's (chown -R 4711 {tmp_path}/data)"
    assert told in done.stdout + done.stderr
    assert not list((tmp_path / "data").iterdir())


def wait_for(true: Callable[[], object], output: Path) -> None:
    try:
        eventually(true, 30)
    except AssertionError:
        raise AssertionError(output.read_text()) from None


def test_makeService_reads_the_file_itself_where_nobody_has(tmp_path: Path) -> None:
    options = tap.Options()
    options["config"] = str(write_site(tmp_path, CONFIG + NO_PORTS))
    assert tap.makeService(options) is not None
