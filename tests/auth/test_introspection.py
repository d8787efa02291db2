"""The question to the provider, asked of a small one on loopback (RFC 7662)."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from mailserver.auth import introspection
from mailserver.auth.introspection import MAX_ANSWER, Introspector
from mailserver.config.schema import OAuth
from mailserver.errors import Busy, CannotAuthenticate
from mailserver.tls.client import verified_context


class Provider(Resource):
    """Answers with `answer` and `code`; with None not at all."""

    isLeaf = True
    answer: bytes | None = json.dumps({"active": True, "username": "alice"}).encode()
    code = 200

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []

    def render_POST(self, request: Any) -> Any:
        self.requests.append((request.requestHeaders, parse_qs(request.content.read().decode())))
        request.setResponseCode(self.code)
        return NOT_DONE_YET if self.answer is None else self.answer


class Asking(TestCase):
    def setUp(self) -> None:
        self.provider = Provider()
        port = reactor.listenTCP(0, Site(self.provider), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.oauth = OAuth(f"http://127.0.0.1:{port.getHost().port}/introspect", "me&", "p:w")
        self.ask = Introspector(reactor, verified_context)

    async def refused(self, oauth: OAuth | None = None) -> None:
        try:
            await self.ask(oauth or self.oauth, "x")
        except CannotAuthenticate:
            self.flushLoggedErrors()
            return
        self.fail("it was answered")

    async def test_what_is_asked(self) -> None:
        """RFC 7662, 2.1; RFC 6749, 2.3.1"""
        answer = await self.ask(self.oauth, "a+b/c=")
        self.assertEqual(answer, {"active": True, "username": "alice"})
        [(headers, form)] = self.provider.requests
        self.assertEqual(form, {"token": ["a+b/c="], "token_type_hint": ["access_token"]})
        [authorization] = headers.getRawHeaders("Authorization")
        self.assertEqual(base64.b64decode(authorization.removeprefix("Basic ")), b"me%26:p%3Aw")
        self.assertEqual(headers.getRawHeaders("Accept"), ["application/json"])

    async def test_other_answers_say_nothing(self) -> None:
        for code, answer in (
            (401, b"{}"),
            (500, b'{"active": true}'),
            (302, b'{"active": true}'),
            (200, b""),
            (200, b"[]"),
            (200, b"{"),
            (200, b'{"x": "' + b"y" * MAX_ANSWER + b'"}'),
        ):
            self.provider.code, self.provider.answer = code, answer
            await self.refused()

    async def test_nobody_there(self) -> None:
        await self.refused(OAuth("http://127.0.0.1:1/"))

    async def test_a_certificate_that_nobody_vouches_for(self) -> None:
        """Plain HTTP on that port: TLS does not come about."""
        await self.refused(OAuth(self.oauth.url.replace("http:", "https:"), timeout=5))

    async def test_a_provider_that_takes_too_long(self) -> None:
        self.provider.answer = None
        await self.refused(OAuth(self.oauth.url, timeout=0.05))

    async def test_D4_only_so_many_questions_at_once(self) -> None:
        self.patch(introspection, "MAX_WAITING", 2)
        self.provider.answer = None
        oauth = OAuth(self.oauth.url, timeout=0.2)
        waiting: list[Deferred[Any]] = [ensureDeferred(self.ask(oauth, "x")) for _ in range(2)]
        with self.assertRaises(Busy):
            await self.ask(oauth, "x")
        for one in waiting:
            try:
                await one
            except CannotAuthenticate:
                continue
            self.fail("it was answered")
        self.provider.answer = b"{}"
        self.assertEqual(await self.ask(self.oauth, "x"), {})

    async def test_a_client_that_goes_takes_its_question_along(self) -> None:
        self.provider.answer = None
        asked = ensureDeferred(self.ask(self.oauth, "x"))
        asked.cancel()
        self.failureResultOf(asked)
        self.assertEqual(self.ask._waiting, 0)
