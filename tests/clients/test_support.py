"""A program that is missing skips its tests, and fails them where nothing may be skipped."""

from __future__ import annotations

import pytest

from tests.clients.support import Programs


def test_a_missing_program(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAILSERVER_TESTS_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        programs.run("no-such-program")
    monkeypatch.setenv("MAILSERVER_TESTS_REQUIRE", "all")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        programs.run("no-such-program")
