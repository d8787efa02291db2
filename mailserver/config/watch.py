"""The settings in force: reloaded on demand, users files watched.

`Settings.now` and `Settings.users` are replaced whole, in the reactor thread, and only by values that passed
the full check of `load.read`; a broken file changes nothing. Files are read in a thread.

An edit of a users file is in force within `POLL_SECONDS` plus the time to read it: modification time, size
and inode are looked at; files changed less than `TICK_SECONDS` ago are read once more, because two changes
in one tick of the file system's clock look alike.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from mailserver.config.change import change_user
from mailserver.config.load import Loaded, read, read_users_again
from mailserver.config.problems import ConfigError, Problem
from mailserver.config.schema import Config, User, Users

POLL_SECONDS = 2.0
TICK_SECONDS = 2.0

RESTART = ("hostname", "data_dir", "extensions", "workers", "listen", "log")
"""Keys whose change waits for a restart: sockets, locks and names in the store hang on them."""

Run = Callable[..., Deferred[Any]]
Signature = tuple[tuple[int, int, int, int] | None, ...]


class Settings:
    """What is in force now.

    now, users: frozen values; look at them when needed, never keep them.
    run: `run(function, *arguments)` calls it in a thread; by default in the reactor's pool.
    tell: tells the other processes of a user who was changed here.
    """

    log = Logger()

    def __init__(self, loaded: Loaded, reactor: Any, run: Run | None = None) -> None:
        if loaded.config.path is None:
            raise ValueError("settings need a configuration that was read from a file")
        self.now: Config = loaded.config
        self.users: Users = loaded.users
        self._path = loaded.config.path
        self._reactor = reactor
        self._run = run or self._in_thread
        self._lock = DeferredLock()
        self._subscribers: list[Callable[[], object]] = []
        self.tell: Callable[[User], object] = _nobody
        self._heard = 0
        self._seen: Signature | None = None
        self._waiting: Deferred[list[Problem]] | None = None
        self._polling = LoopingCall(self._poll)
        self._polling.clock = reactor

    def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *arguments)

    # --- watching ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Watch the users files from now on."""
        if not self._polling.running:
            self._polling.start(POLL_SECONDS, now=True)

    def stop(self) -> None:
        if self._polling.running:
            self._polling.stop()

    def subscribe(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback` after each change, in the reactor thread. The answer ends the subscription."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def _poll(self) -> Deferred[None]:
        return self._lock.run(lambda: Deferred.fromCoroutine(self._look_at_users()))

    async def _look_at_users(self) -> None:
        files = self.now.users_files
        try:
            found, settled = await self._run(_signature, files)
            if found == self._seen:
                return
            first = self._seen is None
            self._seen = found if settled else ()
            users = await self._read(read_users_again, self.now)
        except ConfigError as error:
            if self._tell_again(error):
                self._log_problems(error.problems, "the users stay as they were")
            return
        except Exception:
            self.log.failure("the users files could not be looked at")
            return
        self._told = ""
        if users != self.users:
            self.users = users
            if not first:
                self.log.info("users files read again: {count} users", count=len(users.users))
            self._changed()

    async def _read(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """In a thread; once more where a change came meanwhile that it may have missed."""
        while True:
            before = self._heard
            found = await self._run(function, *arguments)
            if self._heard == before:
                return found

    # --- changes from here -------------------------------------------------------------------------

    def change_user(self, address: str, values: Mapping[str, str | int]) -> Deferred[None]:
        """Write these values into the users file that has this user; they are in force when it fires, in the
        other processes as soon as these have heard. Fails with MailError, and nothing was changed."""
        return self._lock.run(lambda: Deferred.fromCoroutine(self._change_user(address, values)))

    async def _change_user(self, address: str, values: Mapping[str, str | int]) -> None:
        users = await self._run(change_user, self.now, address, values)
        self.users = users
        self._changed()
        self.tell(users.users[address])

    def hear(self, user: User) -> None:
        """Another process has written this user's values into a users file."""
        self._heard += 1
        if self.users.users.get(user.address) not in (None, user):
            self.users = evolve(self.users, users={**self.users.users, user.address: user})
            self._changed()

    _told = ""

    def _tell_again(self, error: ConfigError) -> bool:
        """True where these problems were not logged the last time."""
        new = str(error) != self._told
        self._told = str(error)
        return new

    # --- reload ------------------------------------------------------------------------------------

    def reload(self) -> Deferred[list[Problem]]:
        """Read everything again. Fires with the problems, empty where the new settings are in force (or
        will be after a restart, for the keys in RESTART); never fails.

        Calls that come while one waits for its turn share its answer, so that a storm of signals costs
        two reads.
        """
        answer: Deferred[list[Problem]] = Deferred()
        if self._waiting is not None:
            self._waiting.addCallback(_also(answer))
            return answer
        self._waiting = Deferred()
        self._waiting.addCallback(_also(answer))
        self._lock.run(lambda: Deferred.fromCoroutine(self._reload()))
        return answer

    async def _reload(self) -> None:
        waiting, self._waiting = self._waiting, None
        assert waiting is not None
        problems: list[Problem] = []
        try:
            loaded: Loaded = await self._read(read, self._path)
            self._seen = None
            self._take(loaded)
        except ConfigError as error:
            problems = error.problems
            self._log_problems(problems, "the settings stay as they were")
        except Exception as error:
            problems = [Problem(self._path, "", f"could not be read: {error}")]
            self.log.failure("reload failed; the settings stay as they were")
        waiting.callback(problems)

    def _take(self, loaded: Loaded) -> None:
        fresh = loaded.config
        for key in RESTART:
            if getattr(fresh, key) != getattr(self.now, key):
                self.log.warn("{key}: the change needs a restart", key=key)
        kept = {key: getattr(self.now, key) for key in RESTART}
        for warning in loaded.warnings:
            self.log.warn("{warning}", warning=str(warning))
        self.now = evolve(fresh, **kept)
        self.users = loaded.users
        self._told = ""
        self.log.info("settings read again from {path}", path=str(self._path))
        self._changed()

    def _changed(self) -> None:
        for callback in list(self._subscribers):
            try:
                callback()
            except Exception:
                self.log.failure("a part of the server did not take the new settings")

    def _log_problems(self, problems: Iterable[Problem], consequence: str) -> None:
        for problem in problems:
            self.log.error("{problem}", problem=str(problem))
        self.log.error("{consequence}", consequence=consequence)


def _nobody(user: User) -> None:
    """This process is alone."""


def _also(answer: Deferred[list[Problem]]) -> Callable[[list[Problem]], list[Problem]]:
    def tell(problems: list[Problem]) -> list[Problem]:
        answer.callback(problems)
        return problems

    return tell


def _signature(files: Iterable[Path]) -> tuple[Signature, bool]:
    """[disk] What the files look like, and whether all of them have been left alone for a while."""
    found: list[tuple[int, int, int, int] | None] = []
    newest = 0.0
    for file in files:
        try:
            status = os.stat(file)
        except OSError:
            found.append(None)
            continue
        found.append((status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns))
        newest = max(newest, status.st_mtime, status.st_ctime)
    return tuple(found), not 0 <= time.time() - newest < TICK_SECONDS
