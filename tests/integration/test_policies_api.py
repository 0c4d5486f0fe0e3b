"""Which policies a node knows is public, on both sides."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.support.buyer_rig import buyer_rig
from tests.support.seller_rig import running_seller
from trade import policy

VILLAGE = {"name": "village", "version": 1, "settlement": "MIN_OF_TWO"}


@pytest.fixture
def directory(tmp_path: Path) -> str:
    (tmp_path / "village.json").write_text(json.dumps(VILLAGE))
    return str(tmp_path)


async def check(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=10) as stranger:
        listed = (await stranger.get("/api/policies")).json()
        assert [item["id"] for item in listed["items"]] == [
            "deg-wave2@1",
            "deviation@1",
            "iterated@1",
            "plain@1",
            "street@1",
            "village@1",
        ]
        shown = (await stranger.get("/api/policies/village@1")).json()
        assert shown["digest"] == policy.digest(policy.parse(VILLAGE))
        assert shown["rules"] == policy.document(policy.parse(VILLAGE))
        absent = await stranger.get("/api/policies/village@2")
        assert absent.status_code == 404
        assert "village@2" in absent.text


async def test_anybody_can_read_the_policies_of_a_buyers_node(database_url: str, directory: str) -> None:
    async with buyer_rig(database_url, policy_dir=directory) as rig:
        await check(str(rig.client.base_url))


async def test_anybody_can_read_the_policies_of_a_sellers_node(database_url: str, directory: str) -> None:
    async with running_seller(database_url, policy_dir=directory) as seller:
        await check(seller.url)
