"""Senders whose domain takes no mail (RFC 7505, 4.2; CASES G9)."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from mailserver.dns.values import DnsFailure
from mailserver.errors import MailError
from mailserver.smtp.senders import SECONDS, NoNullMx
from tests.helpers.settings import make_settings


class Stranger:
    user = ""
    relays = False

    def may_relay(self) -> bool:
        return self.relays


class Transaction:
    def __init__(self, path: str, sender: Any = None) -> None:
        self.reverse_path = path
        self.sender = sender or Stranger()


class Router:
    def is_local_domain(self, domain: str) -> bool:
        return domain == "example.org"


class Scene:
    def __init__(self, on: bool = True) -> None:
        self.clock = Clock()
        self.asked: list[str] = []
        self.answer: Deferred[bool] = succeed(True)
        settings = make_settings(limits={"refuse_null_mx": on})
        self.policy = NoNullMx(settings, Router(), self._ask, self.clock)  # type: ignore[arg-type]

    def _ask(self, domain: str) -> Deferred[bool]:
        self.asked.append(domain)
        return self.answer

    def refused(self, path: str, sender: Any = None) -> MailError | None:
        """None where the sender is taken at last."""
        found: list[Any] = []
        answer = self.policy.on_sender(Transaction(path, sender))  # type: ignore[arg-type]
        if answer is None:
            return None
        answer.addBoth(found.append)
        self.clock.advance(SECONDS + 1)
        return found[0].value if found[0] is not None else None


def test_G9_a_domain_that_takes_no_mail() -> None:
    scene = Scene()
    error = scene.refused("a@null.example")
    assert error is not None and (error.code, error.enhanced) == (550, "5.7.27")
    assert scene.asked == ["null.example"]


def test_G9_a_domain_that_takes_mail() -> None:
    scene = Scene()
    scene.answer = succeed(False)
    assert scene.refused("a@mail.example") is None


@pytest.mark.parametrize("answer", [fail(DnsFailure("no server")), Deferred()])
def test_G9_what_DNS_does_not_tell_refuses_nobody(answer: Deferred[bool]) -> None:
    scene = Scene()
    scene.answer = answer
    assert scene.refused("a@sick.example") is None
    assert scene.asked


@pytest.mark.parametrize("path", ["", "a@[192.0.2.1]", "a@example.org"])
def test_G9_who_is_not_asked_about(path: str) -> None:
    scene = Scene()
    assert scene.refused(path) is None
    assert not scene.asked


def test_G9_users_our_own_hosts_and_a_server_that_does_not_ask() -> None:
    known, ours = Stranger(), Stranger()
    known.user, ours.relays = "alice@example.org", True
    scene = Scene()
    assert scene.refused("a@null.example", known) is None
    assert scene.refused("a@null.example", ours) is None
    off = Scene(on=False)
    assert off.refused("a@null.example") is None
    assert scene.asked == off.asked == []
