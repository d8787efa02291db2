"""`twistd mailserver`: options, and the service made of a configuration.

A wrong configuration ends the launch here, before anything is opened: one line per problem on stderr, exit
status 2, no traceback.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.application.service import IService
from twisted.python import usage

from mailserver.config.load import Loaded, read
from mailserver.config.problems import ConfigError
from mailserver.master import Master
from mailserver.service import MailServer

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


def makeService(options: Options) -> IService:
    """The whole server, not yet started: one process, or the one that starts the others."""
    from twisted.internet import reactor  # noqa: PLC0415  (twistd has chosen one by now)

    if options.loaded is None:
        options.postOptions()
    assert options.loaded is not None
    if options.loaded.config.workers > 1:
        return Master(options.loaded, reactor)
    return MailServer(options.loaded, reactor)
