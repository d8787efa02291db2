"""The server as a tree of services: the one place where the parts are wired together."""

from __future__ import annotations

import signal
from typing import Any

from twisted.application.service import IService, Service

from mailserver.config.load import Loaded
from mailserver.config.watch import Settings
from mailserver.instance import InstanceLock


class MailServer(Service):
    """Holds the settings and the lock of data_dir; SIGHUP reloads."""

    def __init__(self, loaded: Loaded, reactor: Any) -> None:
        self.settings = Settings(loaded, reactor)
        self._reactor = reactor
        self._lock = InstanceLock(loaded.config.data_dir)

    def startService(self) -> None:
        """After twistd has become a daemon and given up its privileges."""
        self.settings.now.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock.acquire()
        self.settings.start()
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self.settings.reload))
        super().startService()

    def stopService(self) -> None:
        self.settings.stop()
        self._lock.release()
        super().stopService()


def build(loaded: Loaded) -> IService:
    """The whole server, not yet started."""
    from twisted.internet import reactor  # noqa: PLC0415  (twistd has chosen one by now)

    return MailServer(loaded, reactor)
