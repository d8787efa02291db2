"""`twistd mailserver`: options, and the service made of a configuration.

A wrong configuration ends the launch here, before anything is opened: one line per problem on stderr, exit
status 2, no traceback. What else keeps the server from starting ends it with one line and status 1, also
where twistd goes to the background.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from twisted.application.service import IService, MultiService, Service
from twisted.python import usage

from mailserver.config.load import Loaded, read
from mailserver.config.problems import ConfigError
from mailserver.errors import MailError
from mailserver.master import Master
from mailserver.processes.instance import provide
from mailserver.service import MailServer, told

DEFAULT_CONFIG = "/etc/mailserver/mailserver.toml"


class Options(usage.Options):
    """Command line options of the plugin; `loaded` is the configuration once they are parsed."""

    synopsis = "[-c FILE]"
    longdesc = (
        "A whole mail server: SMTP, submission, relay queue, POP3 and IMAP over one Maildir. "
        "`mailserver check` says whether a configuration is right; `mailserver quickstart` writes one."
    )
    optParameters = [
        ["config", "c", None, f"The configuration file [default: $MAILSERVER_CONFIG, or {DEFAULT_CONFIG}]"],
    ]
    loaded: Loaded | None = None

    def postOptions(self) -> None:
        path = self["config"] or os.environ.get("MAILSERVER_CONFIG") or DEFAULT_CONFIG
        try:
            self.loaded = read(Path(path))
        except ConfigError as error:
            for problem in error.problems:
                print(problem, file=sys.stderr)
            raise SystemExit(2) from None
        for warning in self.loaded.warnings:
            print(f"warning: {warning}", file=sys.stderr)


class Launch(MultiService):
    """The server as twistd starts it.

    twistd takes a SystemExit for the end of the process and cleans nothing up: the pid file would stay, and a
    twistd whose child went to the background would wait for its word for ever.
    """

    def __init__(self, server: Service, data_dir: Path, twistd: Mapping[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        server.setServiceParent(self)  # type: ignore[no-untyped-call]
        self._data_dir = data_dir
        self._twistd = twistd

    def privilegedStartService(self) -> None:
        with self._ending():
            uid = self._twistd.get("uid")
            if uid is not None and uid != os.geteuid():
                try:
                    provide(self._data_dir, uid, self._gid(uid))
                except (MailError, OSError, ValueError) as error:
                    raise SystemExit(f"mailserver: {told(error)}") from None
            super().privilegedStartService()  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        with self._ending():
            super().startService()  # type: ignore[no-untyped-call]

    def _gid(self, uid: int) -> int | None:
        """As twistd chooses it."""
        gid: int | None = self._twistd.get("gid")
        if gid is None:
            with suppress(KeyError):
                return pwd.getpwuid(uid).pw_gid
        return gid

    @contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        except SystemExit as end:
            # Where the twistd in the foreground reads, 100 octets at most.
            waiting = self._twistd.get("statusPipe")
            with suppress(OSError):
                if waiting is not None:
                    os.write(waiting, f"1 {end.code}".encode("ascii", "backslashreplace")[:100])
            with suppress(OSError):
                if self._twistd.get("pidfile"):
                    os.unlink(self._twistd["pidfile"])
            raise


def makeService(options: Options) -> IService:
    """The whole server, not yet started: one process, or the one that starts the others."""
    from twisted.internet import reactor  # noqa: PLC0415  (twistd has chosen one by now)

    if options.loaded is None:
        options.postOptions()
    assert options.loaded is not None
    config = options.loaded.config
    server = (Master if config.workers > 1 else MailServer)(options.loaded, reactor)
    return Launch(server, config.data_dir, options.parent or {})
