"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings
from twisted.trial.unittest import SynchronousTestCase

# A machine with other work to do is no failure; the time limit of a test is pytest's.
settings.register_profile(
    "mailserver", parent=settings.get_profile(settings.get_current_profile_name()), deadline=None
)
settings.load_profile("mailserver")


@pytest.fixture(autouse=True, scope="session")
def _trial_writes_below_pytests_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """trial's mktemp() gives names below the working directory, which trial itself makes anew but pytest
    does not."""

    def mktemp(case: SynchronousTestCase) -> str:
        return os.path.join(tmp_path_factory.mktemp(case._testMethodName[:32]), "temp")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SynchronousTestCase, "mktemp", mktemp)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Where everything is required, a test that is skipped has failed."""
    report = yield
    if report.skipped and os.environ.get("MAILSERVER_TESTS_REQUIRE") == "all":
        report.outcome = "failed"
        report.longrepr = f'skipped, and MAILSERVER_TESTS_REQUIRE is "all": {report.longrepr}'
    return report
