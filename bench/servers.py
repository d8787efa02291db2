"""The servers under test: ours from this checkout, and Debian's Postfix + Dovecot as the peers.

All listen on loopback, keep everything below one directory, and are stopped by the process that started
them. The peers need root (Postfix insists) and the packages postfix, dovecot-imapd, dovecot-pop3d,
dovecot-lmtpd.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.helpers.dovecot_conf import configuration, user

USERS = [f"user{n:03d}" for n in range(100)]
PASSWORD = "secret"
DOMAIN = "bench.test"
RELAYED = "relay.test"  # routed to the port `sink` of each server


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_port(port: int, log: Path, seconds: float = 30) -> None:
    """Until something accepts on the port; the log is shown where nothing does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    text = log.read_text()[-2000:] if log.exists() else "(no log)"
    raise SystemExit(f"nothing listens on port {port} after {seconds:.0f} s\n{text}")


def process_tree(roots: list[int]) -> list[int]:
    """The pids and all their descendants."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path(f"/proc/{name}/stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(name))
    found, ahead = [], list(roots)
    while ahead:
        pid = ahead.pop()
        found.append(pid)
        ahead += children.get(pid, ())
    return found


def cpu_seconds(roots: list[int]) -> float:
    """User and system time of the trees so far, reaped children included."""
    ticks = 0
    for pid in process_tree(roots):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        ticks += sum(int(field) for field in stat.rpartition(")")[2].split()[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


class Ours:
    """`twistd mailserver` with PLAIN passwords."""

    label = "ours"

    def __init__(self, directory: Path, workers: int = 1) -> None:
        self.directory = directory
        self.workers = workers
        self.smtp, self.imap, self.pop3, self.imaps, self.sink = free_ports(5)

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        users = "".join(f'[users."{u}@{DOMAIN}"]\npassword = "{{PLAIN}}{PASSWORD}"\n' for u in USERS)
        (self.directory / "users.toml").write_text(users)
        (self.directory / "users.toml").chmod(0o600)
        (self.directory / "mailserver.toml").write_text(
            f"""hostname = "mx.{DOMAIN}"
data_dir = "data"
users_file = "users.toml"
workers = {self.workers}
[domains."{DOMAIN}"]
[listen]
smtp = ["tcp:{self.smtp}:interface=127.0.0.1"]
imap = ["tcp:{self.imap}:interface=127.0.0.1"]
imaps = ["tcp:{self.imaps}:interface=127.0.0.1"]
pop3 = ["tcp:{self.pop3}:interface=127.0.0.1"]
[auth]
allow_cleartext = true
[limits]
connections_per_ip = 10000
[relay]
networks = ["127.0.0.0/8"]
[relay.routes]
"{RELAYED}" = "127.0.0.1:{self.sink}"
[log]
file = "mail.log"
"""
        )
        log = self.directory / "server.log"
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]
        command += ["mailserver", "-c", str(self.directory / "mailserver.toml")]
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=out, cwd=self.directory, env={**os.environ, "PYTHONPATH": _ROOT}
            )
        self.pids = [self.process.pid]
        for port in (self.smtp, self.imap, self.imaps, self.pop3):
            wait_port(port, log)
        if self.workers > 1:
            self._wait_workers(log)

    def _wait_workers(self, log: Path) -> None:
        """The ports are open before the workers have started, which is no work done for a message."""
        deadline = time.monotonic() + 30
        while log.read_text().count(" is process ") < self.workers:
            if time.monotonic() > deadline:
                raise SystemExit(f"the workers do not start\n{log.read_text()[-2000:]}")
            time.sleep(0.05)

    def maildir(self, user: str, folder: str = "") -> Path:
        root = self.directory / "data" / "mail" / DOMAIN / user
        return root / f".{folder}" if folder else root

    def adopt(self, user: str) -> None:
        """Make what was put into a user's Maildir from outside the server's own."""

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Peers:
    """Postfix (SMTP in, LMTP to Dovecot) and Dovecot (IMAP, POP3, Maildir)."""

    label = "peers"

    def __init__(self, directory: Path, workers: int = 1) -> None:
        self.directory = directory
        self.smtp, self.imap, self.pop3, self.lmtp, self.imaps, self.sink, unused = free_ports(7)
        self._secure = {"imap": self.imaps, "pop3": unused}

    def start(self) -> None:
        missing = [name for name in ("dovecot", "postfix") if shutil.which(name, path=SEARCH_PATH) is None]
        if missing or os.geteuid() != 0:
            raise SystemExit(
                f"the peers need root and {' and '.join(missing) or 'root'}: apt-get install "
                "postfix dovecot-imapd dovecot-pop3d dovecot-lmtpd"
            )
        for name in ("dovecot/log", "mail", "postfix/etc", "postfix/queue", "postfix/data", "postfix/log"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        mail = pwd.getpwnam("mail")
        os.chown(self.directory / "mail", mail.pw_uid, mail.pw_gid)
        self._start_dovecot(mail)
        self._start_postfix()
        self.pids = [self._dovecot.pid, self._postfix_pid]

    def _start_dovecot(self, mail: pwd.struct_passwd) -> None:
        home = self.directory / "dovecot"
        (home / "users").write_text(
            "".join(user(name, PASSWORD, mail, self.directory / "mail") for name in USERS)
        )
        services = "".join(
            f"service {name}-login {{\n inet_listener {name} {{\n port = {port}\n }}\n"
            f" inet_listener {name}s {{\n port = {self._secure[name]}\n ssl = yes\n }}\n"
            " service_count = 0\n process_min_avail = 2\n process_limit = 2\n client_limit = 4000\n}\n"
            f"service {name} {{\n service_count = 256\n process_min_avail = 2\n process_limit = 6000\n}}\n"
            for name, port in (("imap", self.imap), ("pop3", self.pop3))
        )
        (home / "dovecot.conf").write_text(
            configuration(
                home,
                f"""log_path = {home}/log/error.log
info_log_path = /dev/null
protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{home}/cert.pem
ssl_key = <{home}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_cache_size = 10M
mail_fsync = optimized
mail_max_userip_connections = 10000
maildir_very_dirty_syncs = no
default_client_limit = 10000
default_vsz_limit = 1G
service lmtp {{
 inet_listener lmtp {{
  address = 127.0.0.1
  port = {self.lmtp}
 }}
 process_min_avail = 2
 process_limit = 32
}}
service anvil {{
 client_limit = 12000
}}
service auth {{
 client_limit = 12000
}}
{services}""",
            )
        )
        curve = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            f"/CN={DOMAIN}",
        ]
        files = ["-out", str(home / "cert.pem"), "-keyout", str(home / "key.pem")]
        subprocess.run(["openssl", "req", "-x509", *curve, *files], check=True, capture_output=True)
        log = home / "log" / "stdout.log"
        with log.open("wb") as out:
            self._dovecot = subprocess.Popen(
                [_DOVECOT, "-F", "-c", str(home / "dovecot.conf")],
                stdout=out,
                stderr=out,
            )
        for port in (self.imap, self.imaps, self.pop3, self.lmtp):
            wait_port(port, log)

    def _start_postfix(self) -> None:
        home = self.directory / "postfix"
        shutil.chown(home / "data", "postfix")
        ask = [shutil.which("postconf", path=SEARCH_PATH), "-dh"]
        defaults = {
            key: subprocess.run([*ask, key], capture_output=True, text=True, check=True).stdout.strip()
            for key in ("daemon_directory", "command_directory", "meta_directory")
        }
        shutil.copy(Path(defaults["meta_directory"]) / "postfix-files", home / "etc")
        (home / "etc" / "users").write_text("".join(f"{u}@{DOMAIN} ok\n" for u in USERS))
        (home / "etc" / "main.cf").write_text(
            "".join(f"{key} = {value}\n" for key, value in defaults.items())
            + f"""compatibility_level = 3.6
config_directory = {home}/etc
queue_directory = {home}/queue
data_directory = {home}/data
mail_owner = postfix
setgid_group = postdrop
maillog_file = {home}/log/maillog
maillog_file_prefixes = {home}/log, /var, /dev/stdout
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.{DOMAIN}
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_maps = texthash:{home}/etc/users
virtual_transport = lmtp:inet:127.0.0.1:{self.lmtp}
smtpd_relay_restrictions = reject_unauth_destination
relay_domains = {RELAYED}
transport_maps = inline:{{ {RELAYED}=smtp:[127.0.0.1]:{self.sink} }}
default_transport = error:nothing leaves this machine
message_size_limit = 52428800
mailbox_size_limit = 0
virtual_mailbox_limit = 0
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
lmtp_host_lookup = native
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
in_flow_delay = 0
default_process_limit = 100
"""
        )
        (home / "etc" / "master.cf").write_text(_MASTER.format(smtp=self.smtp))
        subprocess.run([_POSTFIX, "-c", str(home / "etc"), "start"], check=True, capture_output=True)
        wait_port(self.smtp, home / "log" / "maillog")
        self._postfix_pid = int((home / "queue" / "pid" / "master.pid").read_text())

    def maildir(self, user: str, folder: str = "") -> Path:
        root = self.directory / "mail" / user / "Maildir"
        return root / f".{folder}" if folder else root

    def adopt(self, user: str) -> None:
        """Dovecot reads as the user `mail`."""
        for top, _, files in os.walk(self.maildir(user).parent):
            shutil.chown(top, "mail", "mail")
            for name in files:
                shutil.chown(Path(top) / name, "mail", "mail")

    def stop(self) -> None:
        command = [_POSTFIX, "-c", str(self.directory / "postfix" / "etc"), "stop"]
        subprocess.run(command, capture_output=True, check=False)
        self._dovecot.terminate()
        self._dovecot.wait(20)


_ROOT = str(Path(__file__).resolve().parents[1])
SEARCH_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
_DOVECOT = shutil.which("dovecot", path=SEARCH_PATH) or "dovecot"
_POSTFIX = shutil.which("postfix", path=SEARCH_PATH) or "postfix"
_MASTER = """127.0.0.1:{smtp} inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
lmtp      unix  - - n - - lmtp
smtp      unix  - - n - - smtp
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""
