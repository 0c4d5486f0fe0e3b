"""Fixtures of the tests of whole networks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cli.servers import Servers
from tests.support.network_rig import Network, running_network


@pytest.fixture
async def network(servers: Servers, migrated_template: str) -> AsyncIterator[Network]:
    """A registry, a gateway, a buyer's node and three sellers' nodes, all in; letters travel well."""
    async with running_network(servers, migrated_template) as running:
        yield running
