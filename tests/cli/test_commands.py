"""`mailserver …` as an administrator meets it: what is printed, what is written, the exit status."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailserver.auth.passwords import verify
from mailserver.cli import COMMANDS, _command
from mailserver.config.load import read
from mailserver.processes.instance import NAME, AlreadyRunning, InstanceLock, running
from tests.helpers.files import CONFIG, USERS, write_certificate, write_site


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return write_site(tmp_path)


def run(*arguments: str | Path, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(_command, [str(argument) for argument in arguments], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def users_text(site: Path) -> str:
    return (site.parent / "users.toml").read_text()


# --- check -----------------------------------------------------------------------------------------


def test_check_of_a_good_file(site: Path) -> None:
    result = run("check", "-c", site)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{site}: good\n")
    assert "example.org" in result.stdout


def test_K1_check_tells_every_problem_and_fails(site: Path) -> None:
    site.write_text(CONFIG + "[limits]\nrecipents = 5\nhops = 0\n")
    result = run("check", "-c", site)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"{site}: limits.hops: 0 is out of range (1 to 2147483647)",
        f'{site}: limits.recipents: unknown key (did you mean "recipients"?)',
    ]


def test_check_prints_warnings_and_succeeds(site: Path) -> None:
    write_certificate(site.parent, "mail.example.org", days=-1)
    site.write_text(CONFIG + '[tls]\ncertificate = "cert.pem"\nkey = "cert-key.pem"\n')
    result = run("check", "-c", site)
    assert result.exit_code == 0
    assert result.stderr.startswith(f"warning: {site}: tls.certificate: ")


def test_check_json(site: Path) -> None:
    good = json.loads(run("check", "-c", site, "--json").stdout)
    assert (good["good"], good["domains"], good["users"]) == (True, ["example.org"], 2)
    site.write_text("hostname = 5")
    result = run("check", "-c", site, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"][0]["key"] == "hostname"


def test_the_environment_names_the_default_file(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILSERVER_CONFIG", str(site))
    assert run("check").exit_code == 0


# --- user ------------------------------------------------------------------------------------------


def test_user_list(site: Path) -> None:
    lines = run("user", "list", "-c", site).stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["alice@example.org", "-", "al@example.org"],
        ["bob@example.org", "-"],
    ]


def test_user_quota(site: Path) -> None:
    run("user", "quota", "alice@example.org", "-c", site, "--quota", "2 GiB", "--quota-messages", "7")
    alice = json.loads(run("user", "list", "-c", site, "--json").stdout)[0]
    assert (alice["quota"], alice["quota_messages"]) == (2 << 30, 7)
    assert "2 GiB 7" in run("user", "list", "-c", site).stdout
    assert run("user", "quota", "alice@example.org", "-c", site).exit_code == 2
    assert run("user", "quota", "nobody@example.org", "-c", site, "--quota", "1").exit_code == 1


def test_user_list_json(site: Path) -> None:
    alice = json.loads(run("user", "list", "-c", site, "--json").stdout)[0]
    assert alice == {
        "address": "alice@example.org",
        "aliases": ["al@example.org"],
        "quota": 0,
        "quota_messages": 0,
        "disabled": False,
    }


def test_user_add_with_a_password_from_stdin(site: Path) -> None:
    result = run(
        *("user", "add", "Carol@example.org", "-c", site, "--password-stdin"),
        *("--alias", "c@example.org", "--quota", "2 GiB"),
        stdin="correct horse\n",
    )
    assert (result.exit_code, result.stdout) == (0, "added carol@example.org\n")
    carol = read(site).users.users["carol@example.org"]
    assert verify(carol.password, b"correct horse")
    assert carol.password.startswith("$argon2id$")
    assert (carol.aliases, carol.quota) == (("c@example.org",), 2 * 1024**3)
    assert "correct horse" not in users_text(site)


def test_user_add_makes_a_password_up(site: Path) -> None:
    result = run("user", "add", "carol@example.org", "-c", site, "--generate", "--json")
    password = json.loads(result.stdout)["password"]
    assert len(password) > 20
    assert verify(read(site).users.users["carol@example.org"].password, password.encode())


def test_user_add_keeps_comments_and_order(site: Path) -> None:
    (site.parent / "users.toml").write_text("# mine\n" + USERS)
    run("user", "add", "carol@example.org", "-c", site, "--generate")
    run("user", "remove", "carol@example.org", "-c", site)
    assert users_text(site).split() == ("# mine\n" + USERS).split()


def test_user_add_into_a_file_that_is_not_there(site: Path) -> None:
    (site.parent / "users.toml").unlink()
    assert run("user", "add", "carol@example.org", "-c", site, "--generate").exit_code == 0
    assert (site.parent / "users.toml").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("add", "alice@example.org", "--generate"), 1, "alice@example.org is there already"),
        (("add", "al@example.org", "--generate"), 1, "al@example.org is"),
        (("add", "x@other.example", "--generate"), 1, "the domain other.example is not served here"),
        (("add", "nobody", "--generate"), 2, "is not an address"),
        (("add", "c@example.org", "--generate", "--quota", "lots"), 2, "is not a size"),
        (("add", "c@example.org", "--generate", "--password-stdin"), 2, "not both"),
        (("add", "c@example.org"), 2, "use --password-stdin"),
        (("passwd", "carol@example.org", "--generate"), 1, "carol@example.org is not there"),
        (("remove", "carol@example.org"), 1, "carol@example.org is not there"),
        (("rename", "carol@example.org"), 2, "No such command"),
    ],
)
def test_user_what_cannot_be_done(site: Path, arguments: tuple[str, ...], status: int, message: str) -> None:
    before = users_text(site)
    where = ("-c", str(site)) if arguments[0] != "rename" else ()
    result = run("user", *arguments, *where)
    assert result.exit_code == status
    assert message in result.stderr
    assert users_text(site) == before


def test_an_empty_password_is_refused(site: Path) -> None:
    for stdin in ("\n", ""):
        result = run("user", "passwd", "bob@example.org", "-c", site, "--password-stdin", stdin=stdin)
        assert result.exit_code == 1
        assert "empty password" in result.stderr


def test_user_passwd(site: Path) -> None:
    result = run("user", "passwd", "bob@example.org", "-c", site, "--password-stdin", stdin="new one\r\n")
    assert result.exit_code == 0
    assert verify(read(site).users.users["bob@example.org"].password, b"new one")


def test_user_remove(site: Path) -> None:
    assert run("user", "remove", "bob@example.org", "-c", site).exit_code == 0
    assert list(read(site).users.users) == ["alice@example.org"]


def test_the_postmaster_cannot_be_removed(site: Path) -> None:
    site.write_text(CONFIG + 'postmaster = "bob"\n')
    before = users_text(site)
    result = run("user", "remove", "bob@example.org", "-c", site)
    assert result.exit_code == 1
    assert "postmaster: bob@example.org is no user" in result.stderr
    assert "nothing was changed" in result.stderr
    assert users_text(site) == before


def test_user_commands_with_a_broken_configuration(site: Path) -> None:
    site.write_text("hostname = 5")
    for arguments in (("list",), ("add", "x@example.org", "--generate"), ("remove", "bob@example.org")):
        assert run("user", *arguments, "-c", site).exit_code == 1


def test_F18_an_edit_keeps_the_group_and_takes_the_others_rights(site: Path) -> None:
    file = site.parent / "users.toml"
    file.chmod(0o644)
    run("user", "passwd", "bob@example.org", "-c", site, "--generate")
    assert file.stat().st_mode & 0o777 == 0o640
    assert not list(site.parent.glob("*.new"))


def test_an_edit_behind_a_symbolic_link_keeps_the_link(site: Path) -> None:
    (site.parent / "users.toml").rename(site.parent / "real.toml")
    (site.parent / "users.toml").symlink_to("real.toml")
    assert run("user", "remove", "bob@example.org", "-c", site).exit_code == 0
    assert (site.parent / "users.toml").is_symlink()
    assert "bob@example.org" not in users_text(site).replace("bob@elsewhere", "")


def test_two_edits_at_once_both_count(site: Path) -> None:
    """The second waits for the first, whose file it then reads."""
    file = site.parent / "users.toml"
    command = [
        sys.executable,
        "-m",
        "mailserver",
        "user",
        "add",
        "carol@example.org",
        "-c",
        str(site),
        "--generate",
    ]
    with file.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
        new = file.with_suffix(".other")
        new.write_text('[users."dave@example.org"]\npassword = "{PLAIN}x"\n\n' + USERS)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(1.5)
        new.rename(file)
    assert waiting.wait(30) == 0
    assert {"carol@example.org", "dave@example.org"} <= set(read(site).users.users)


# --- hash ------------------------------------------------------------------------------------------


def test_hash() -> None:
    result = run("hash", "--password-stdin", stdin="correct horse\n")
    assert verify(result.stdout.strip(), b"correct horse")


def test_hash_for_scram_as_json() -> None:
    result = run("hash", "--password-stdin", "--scheme", "scram-sha-256", "--json", stdin="correct horse\n")
    assert json.loads(result.stdout)["hash"].startswith("{SCRAM-SHA-256}")


def test_hash_without_a_terminal() -> None:
    assert run("hash").exit_code == 2


# --- reload ----------------------------------------------------------------------------------------


def test_reload_without_a_server(site: Path) -> None:
    result = run("reload", "-c", site)
    assert result.exit_code == 1
    assert "no server runs" in result.stderr


def test_reload_with_a_stale_pid_file(site: Path) -> None:
    (site.parent / "data").mkdir()
    (site.parent / "data" / "mailserver.pid").write_text(f"{os.getpid()}\n")
    assert run("reload", "-c", site).exit_code == 1


def test_reload_tells_the_server(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.parent / "data").mkdir()
    lock = InstanceLock(site.parent / "data" / NAME)
    lock.acquire()
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: told.append((pid, number)))
    assert run("reload", "-c", site, "--json").exit_code == 0
    assert told == [(os.getpid(), signal.SIGHUP)]
    site.write_text("hostname = 5")
    assert run("reload", "-c", site).exit_code == 1
    assert len(told) == 1
    lock.release()


def test_F19_a_second_server_on_one_data_dir_is_refused(tmp_path: Path) -> None:
    first = InstanceLock(tmp_path / NAME)
    first.acquire()
    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        InstanceLock(tmp_path / NAME).acquire()
    assert running(tmp_path) == os.getpid()
    first.release()
    assert running(tmp_path) is None
    InstanceLock(tmp_path / NAME).acquire()


def test_F19_the_lock_of_a_killed_server_blocks_nobody(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from mailserver.processes.instance import NAME, InstanceLock;"
        "InstanceLock(pathlib.Path(sys.argv[1]) / NAME).acquire(); print('held', flush=True); input()"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, text=True,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        assert server.stdout.readline() == "held\n"
        assert running(tmp_path) == server.pid
        server.kill()
    assert running(tmp_path) is None
    InstanceLock(tmp_path / NAME).acquire()


# --- quickstart and demo ---------------------------------------------------------------------------


def test_quickstart_writes_what_runs(tmp_path: Path) -> None:
    result = run(
        "quickstart", "Example.ORG", "-d", tmp_path / "etc", "--user", "alice", "--data-dir", tmp_path / "d"
    )
    assert result.exit_code == 0
    loaded = read(tmp_path / "etc" / "mailserver.toml")
    assert loaded.config.hostname == "mail.example.org"
    [password] = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("Password:")]
    assert verify(loaded.users.users["alice@example.org"].password, password.encode())
    assert "MX   10 mail.example.org." in result.stdout


def test_F18_quickstart_writes_files_for_the_owner_only(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        run("quickstart", "example.org", "-d", tmp_path, "--data-dir", tmp_path / "d")
    finally:
        os.umask(old)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_quickstart_never_overwrites(site: Path) -> None:
    result = run("quickstart", "example.org", "-d", site.parent)
    assert result.exit_code == 1
    assert site.read_text() == CONFIG
    assert users_text(site) == USERS


def test_quickstart_json_and_misuse(tmp_path: Path) -> None:
    result = run("quickstart", "example.org", "-d", tmp_path, "--data-dir", tmp_path / "d", "--json")
    assert json.loads(result.stdout)["address"] == "postmaster@example.org"
    assert run("quickstart", "not a domain", "-d", tmp_path / "x").exit_code == 2
    assert run("quickstart").exit_code == 2


def test_K2_quickstart_is_no_open_relay_and_keeps_no_plain_password(tmp_path: Path) -> None:
    run("quickstart", "example.org", "-d", tmp_path, "--data-dir", tmp_path / "d")
    loaded = read(tmp_path / "mailserver.toml")
    assert loaded.config.relay.networks == ()
    assert loaded.config.auth.allow_cleartext is False
    assert all(user.password.startswith("$argon2id$") for user in loaded.users.users.values())


def test_demo_is_written_once_and_explained_each_time(tmp_path: Path) -> None:
    first = run("demo", tmp_path / "demo")
    second = run("demo", tmp_path / "demo")
    assert first.stdout == second.stdout
    for word in (
        "alice@example.test",
        "bob@example.test",
        "2525",
        "2587",
        "2465",
        "2143",
        "2993",
        "2110",
        "2995",
    ):
        assert word in first.stdout
    loaded = read(tmp_path / "demo" / "mailserver.toml")
    [word] = [
        line.split()[2] for line in first.stdout.splitlines() if line.split()[:1] == ["alice@example.test"]
    ]
    assert verify(loaded.users.users["alice@example.test"].password, word.encode())
    for endpoints in (loaded.config.listen.smtp, loaded.config.listen.imaps):
        assert endpoints[0].endswith("interface=127.0.0.1")


def test_demo_json(tmp_path: Path) -> None:
    value = json.loads(run("demo", tmp_path / "demo", "--json").stdout)
    assert value["ports"]["imap"] == 2143
    assert set(value["users"]) == {"alice@example.test", "bob@example.test"}


# --- help ------------------------------------------------------------------------------------------


def test_help_names_every_command_and_shows_examples() -> None:
    text = run("--help").stdout
    assert all(name in text for name in COMMANDS)
    assert "mailserver quickstart example.org" in text


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "queue"])
def test_every_command_teaches_by_an_example(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"mailserver {name}" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("chek",), "No such command 'chek'. Did you mean 'check'?"),
        (("user", "pasword", "x@y.example"), "No such command 'pasword'. Did you mean 'passwd'?"),
        (("-c", "x.toml", "check"), "-c goes behind the command."),
        (("queue", "--json", "list"), "--json goes behind the command."),
    ],
)
def test_what_was_meant_is_told(arguments: tuple[str, ...], hint: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith(f"Error: {hint}\n")


def test_misuse_is_status_2() -> None:
    assert run("frobnicate").exit_code == 2
    assert run("check", "--frobnicate").exit_code == 2


def test_python_m_mailserver(site: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mailserver", "check", "-c", str(site)],
        capture_output=True, cwd=Path(__file__).parents[2], text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert tomllib.loads(CONFIG)["hostname"] in done.stdout
