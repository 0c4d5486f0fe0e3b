"""Fixtures every test may ask for: the real servers, one database per test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from cli.servers import Servers

_numbers = itertools.count(1)
_executed: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count what ran: a test that was skipped did not."""
    if report.when == "call" and not report.skipped:
        _executed.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A run that executes nothing proves nothing, so it fails, also when everything was skipped."""
    if exitstatus == pytest.ExitCode.OK and not _executed and not session.config.option.collectonly:
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """One PostgreSQL and one Redis for the whole run, without fsync."""
    with Servers.start(durable=False) as running:
        yield running


@pytest.fixture(scope="session")
def migrated_template(servers: Servers) -> str:
    """The name of a database with every migration applied, to copy from."""
    from store import migrate

    migrate.upgrade(servers.create_database("migrated_template"))
    return "migrated_template"


@pytest.fixture
def database_url(servers: Servers, migrated_template: str) -> Iterator[str]:
    """The DATABASE_URL of a fresh, migrated database of this test alone."""
    name = f"test_{next(_numbers)}"
    yield servers.create_database(name, template=migrated_template)
    servers.drop_database(name)
