"""Fixtures every test may ask for: the real servers, one database per test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from cli.servers import Servers

_numbers = itertools.count(1)


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
