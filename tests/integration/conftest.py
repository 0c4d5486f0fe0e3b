"""Fixtures of the integration tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from cli.servers import Servers


@pytest.fixture(scope="module")
def module_database_url(servers: Servers, migrated_template: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The DATABASE_URL of a migrated database that the tests of one module share, one after another."""
    name = f"module_{request.module.__name__.rpartition('.')[2]}"
    yield servers.create_database(name, template=migrated_template)
    servers.drop_database(name)


@pytest.fixture
def shared_database_url(module_database_url: str) -> str:
    """The module's database with its post office emptied: for modules with so many tests that a copy each is slow."""

    async def empty() -> None:
        connection = await asyncpg.connect(module_database_url)
        try:
            await connection.execute("TRUNCATE inbox, outbox, clock_state")
        finally:
            await connection.close()

    asyncio.run(empty())
    return module_database_url
