"""Dovecot as an LMTP server: one process tree in a folder of its own, on a Unix socket."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.helpers.dovecot_conf import configuration, user
from tests.helpers.server import eventually

PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
CONFIG = """\
protocols = lmtp
ssl = no
hostname = dovecot.example
postmaster_address = postmaster@peer.example
default_internal_user = {internal}
default_login_user = {internal}
auth_username_format = %Ln
mail_plugins = quota
plugin {{
 quota = maildir:User quota
}}
service lmtp {{
 unix_listener {home}/lmtp {{
  mode = 0666
 }}
}}
service anvil {{
 chroot =
}}
"""


class Dovecot:
    """users: name to the octets that its mailbox may hold, 0 for any number. Skips the test where Dovecot or
    its LMTP is not installed."""

    def __init__(self, users: dict[str, int]) -> None:
        program = shutil.which("dovecot", path=PATH)
        if program is None or not Path("/usr/lib/dovecot/lmtp").exists():
            pytest.skip("dovecot-lmtpd is not installed")
        self.home = Path(mkdtemp())
        self.home.chmod(0o755)
        self.socket = self.home / "lmtp"
        root = os.geteuid() == 0
        owner = pwd.getpwnam("mail" if root else getpass.getuser())
        (self.home / "mail").mkdir()
        os.chown(self.home / "mail", owner.pw_uid, owner.pw_gid)
        lines = [
            user(name, "x", owner, self.home / "mail", f"userdb_quota_rule=*:bytes={limit}" if limit else "")
            for name, limit in users.items()
        ]
        (self.home / "users").write_text("".join(lines))
        config = self.home / "dovecot.conf"
        settings = CONFIG.format(home=self.home, internal="nobody" if root else getpass.getuser())
        config.write_text(configuration(self.home, settings))
        with open(self.home / "output", "wb") as output:
            self._process = subprocess.Popen(
                [program, "-F", "-c", str(config)], stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )

    def texts(self, user: str) -> list[bytes]:
        folder = self.home / "mail" / user / "Maildir" / "new"
        return [path.read_bytes() for path in sorted(folder.glob("*"))]

    def told(self) -> str:
        """Its log, for a test that fails."""
        return "".join(
            path.read_text("utf-8", "replace")
            for path in (self.home / "output", self.home / "log")
            if path.exists()
        )

    def __enter__(self) -> Dovecot:
        try:
            eventually(self._ready, what="Dovecot listens")
        except AssertionError:
            told = self.told()
            self.__exit__()
            raise AssertionError(told) from None
        return self

    def _ready(self) -> bool:
        return self.socket.exists() or self._process.poll() is not None

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        shutil.rmtree(self.home, ignore_errors=True)
