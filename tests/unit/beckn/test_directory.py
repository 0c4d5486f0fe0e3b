"""What a node knows of its peers: from the feed, from lookups, from its own memory, and when the registry is silent."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from beckn import errors
from beckn.directory import RegistryDirectory
from beckn.records import record_from_wire
from beckn.registry_client import Page, RegistryUnavailable

START = datetime(2026, 1, 15, 10, 0, tzinfo=UTC)


class HandClock:
    def __init__(self) -> None:
        self.instant = START

    def now(self) -> datetime:
        return self.instant


def wire(subscriber_id: str = "bpp.example.org", key_id: str = "k1", **changes: Any) -> dict[str, Any]:
    return {
        "subscriber_id": subscriber_id,
        "url": f"https://{subscriber_id}/beckn",
        "type": "BPP",
        "domain": "uei:p2p_trading",
        "key_id": key_id,
        "signing_public_key": base64.b64encode(bytes(32)).decode(),
        "country": "IND",
        "city": "std:080",
        "valid_from": "2026-01-01T00:00:00.000Z",
        "valid_until": "2027-01-01T00:00:00.000Z",
        "created": "2026-01-01T00:00:00.000Z",
        "status": "SUBSCRIBED",
    } | changes


class FakeRegistry:
    """A registry in memory with the client's face; it can fall silent, and it can lack a feed."""

    url = "http://registry.test"
    public_key = None

    def __init__(self, *, has_feed: bool = True) -> None:
        self.feed: list[dict[str, Any]] = []
        self.has_feed, self.is_silent = has_feed, False
        self.reads = self.lookups = 0
        self.delay_s = 0.0

    async def changes(self, after: int) -> Page | None:
        self.reads += 1
        feed = list(self.feed)
        await asyncio.sleep(self.delay_s)
        if self.is_silent:
            raise RegistryUnavailable("nobody there")
        if not self.has_feed:
            return None
        if after > len(feed):
            return Page([], len(feed), is_last=True)
        page = feed[after : after + 2]
        return Page(page, after + len(page), is_last=len(page) < 2)

    async def lookup(self, filters: dict[str, str]) -> list[dict[str, Any]]:
        self.lookups += 1
        if self.is_silent:
            raise RegistryUnavailable("nobody there")
        newest = {(r["subscriber_id"], r["key_id"]): r for r in self.feed}
        return [
            r
            for r in newest.values()
            if r["status"] == "SUBSCRIBED" and all(r.get(k) == v for k, v in filters.items() if k != "ukId")
        ]

    async def close(self) -> None:
        pass


class FakeStore:
    """The two tables, in memory."""

    def __init__(self) -> None:
        self.state: tuple[int, datetime] | None = None
        self.rows: dict[tuple[str, ...], tuple[dict[str, Any], datetime]] = {}
        self.is_broken = False

    async def load(self, registry_url: str) -> tuple[int, datetime, list[tuple[dict[str, Any], datetime]]] | None:
        return None if self.state is None else (*self.state, list(self.rows.values()))

    async def save(
        self,
        registry_url: str,
        records: Sequence[dict[str, Any]],
        *,
        last_seq: int,
        read_at: datetime,
        good_until: datetime,
        replace_all: bool,
    ) -> None:
        if self.is_broken:
            raise ConnectionError("no database")
        if replace_all:
            self.rows.clear()
        for record in records:
            key = tuple(record[name] for name in ("subscriber_id", "type", "domain", "key_id"))
            self.rows[key] = (record, good_until)
        self.state = (last_seq, read_at)

    async def forget(self, subscriber_id: str, key_id: str) -> None:
        for key in [key for key in self.rows if (key[0], key[3]) == (subscriber_id, key_id)]:
            del self.rows[key]


class Node:
    """A directory and what is around it."""

    def __init__(self, registry: FakeRegistry, store: FakeStore | None = None, *, poll_s: float = 3600) -> None:
        self.registry, self.store, self.clock = registry, store or FakeStore(), HandClock()
        client: Any = registry
        self.directory = RegistryDirectory(client=client, store=self.store, wall=self.clock, poll_s=poll_s)

    async def __aenter__(self) -> Node:
        await self.directory.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.directory.stop()

    def turn(self, **duration: float) -> None:
        self.clock.instant += timedelta(**duration)


# --- Unknown, silent, stale ------------------------------------------------------------------------------------------


async def test_a_key_the_registry_does_not_know_is_not_found() -> None:
    async with Node(FakeRegistry()) as node:
        assert await node.directory.find_key("nobody", "k1") is None


async def test_an_unknown_key_is_refused_as_unreachable_while_the_registry_is_silent() -> None:
    registry = FakeRegistry()
    registry.is_silent = True
    async with Node(registry) as node:
        with pytest.raises(errors.RegistryUnreachable):
            await node.directory.find_key("bpp.example.org", "k1")
        assert not node.directory.status()["reachable"]


async def test_a_known_key_is_stale_an_hour_after_the_registry_fell_silent_and_no_sooner() -> None:
    registry = FakeRegistry()
    registry.feed = [wire()]
    async with Node(registry) as node:
        registry.is_silent = True
        node.turn(minutes=59, seconds=59)
        assert node.directory.cached_key("bpp.example.org", "k1") is not None
        assert await node.directory.url_of("bpp.example.org", "BPP") == "https://bpp.example.org/beckn"
        node.turn(seconds=1)
        assert node.directory.cached_key("bpp.example.org", "k1") is None
        assert await node.directory.find("BPP") == []
        with pytest.raises(errors.RegistryUnreachable):
            await node.directory.find_key("bpp.example.org", "k1")


async def test_a_key_ends_with_its_own_validity_even_while_the_registry_is_silent() -> None:
    registry = FakeRegistry()
    registry.feed = [wire(valid_until="2026-01-15T10:05:00.000Z")]
    async with Node(registry) as node:
        registry.is_silent = True
        node.turn(minutes=5)
        record = node.directory.cached_key("bpp.example.org", "k1")
        assert record is not None
        assert not record.is_valid(node.clock.now())
        assert await node.directory.find("BPP") == []


async def test_a_restarted_node_knows_its_peers_without_the_registry_for_what_is_left_of_the_hour() -> None:
    registry, store = FakeRegistry(), FakeStore()
    registry.feed = [wire()]
    async with Node(registry, store):
        pass
    registry.is_silent = True
    async with Node(registry, store) as again:
        assert again.directory.cached_key("bpp.example.org", "k1") is not None
        again.turn(minutes=61)
        assert again.directory.cached_key("bpp.example.org", "k1") is None


async def test_every_reading_prolongs_every_known_key() -> None:
    registry = FakeRegistry()
    registry.feed = [wire()]
    async with Node(registry) as node:
        node.turn(minutes=50)
        await node.directory.poll()
        registry.is_silent = True
        node.turn(minutes=50)
        assert node.directory.cached_key("bpp.example.org", "k1") is not None


# --- News ------------------------------------------------------------------------------------------------------------


async def test_a_revocation_in_the_feed_is_told_at_the_next_reading() -> None:
    registry = FakeRegistry()
    registry.feed = [wire()]
    async with Node(registry) as node:
        registry.feed.append(wire(status="UNSUBSCRIBED"))
        await node.directory.poll()
        record = node.directory.cached_key("bpp.example.org", "k1")
        assert record is not None
        assert record.status == "UNSUBSCRIBED"
        assert await node.directory.find("BPP") == []
        assert await node.directory.url_of("bpp.example.org", "BPP") is None


async def test_a_key_that_just_joined_is_found_without_waiting_for_the_poll() -> None:
    registry = FakeRegistry()
    async with Node(registry) as node:
        registry.feed.append(wire())
        assert await node.directory.find_key("bpp.example.org", "k1") is not None


async def test_a_key_that_joined_during_a_reading_is_found_by_the_next_one() -> None:
    registry = FakeRegistry()
    registry.delay_s = 0.05
    async with Node(registry) as node:
        under_way = asyncio.create_task(node.directory.poll())
        await asyncio.sleep(0.01)
        registry.feed.append(wire())  # too late for the reading under way
        assert await node.directory.find_key("bpp.example.org", "k1") is not None
        await under_way


async def test_a_crowd_of_letters_from_unknown_signers_makes_few_readings() -> None:
    registry = FakeRegistry()
    async with Node(registry) as node:
        before = registry.reads
        found = await asyncio.gather(*(node.directory.find_key(f"stranger-{n}", "k1") for n in range(500)))
        assert set(found) == {None}
        assert registry.reads - before <= 3


async def test_what_is_unknown_is_remembered_for_two_seconds() -> None:
    registry = FakeRegistry()
    async with Node(registry) as node:
        await node.directory.find_key("stranger", "k1")
        reads = registry.reads
        await node.directory.find_key("stranger", "k1")
        assert registry.reads == reads
        node.turn(seconds=2.1)
        await node.directory.find_key("stranger", "k1")
        assert registry.reads == reads + 1


async def test_a_registry_that_began_anew_replaces_all_that_was_known() -> None:
    registry, store = FakeRegistry(), FakeStore()
    registry.feed = [wire("a"), wire("b"), wire("c")]
    async with Node(registry, store) as node:
        registry.feed = [wire("d")]
        await node.directory.poll()
        assert node.directory.cached_key("a", "k1") is None
        assert node.directory.cached_key("d", "k1") is not None
    async with Node(registry, store):
        pass
    assert {key[0] for key in store.rows} == {"d"}


async def test_a_record_that_cannot_be_understood_hides_no_other() -> None:
    registry = FakeRegistry()
    registry.feed = [wire("a", signing_public_key="?"), wire("b"), wire("c", valid_until="soon"), wire("d")]
    async with Node(registry) as node:
        assert {record.subscriber_id for record in await node.directory.find("BPP")} == {"b", "d"}


async def test_news_read_while_the_database_is_away_is_written_when_it_is_back() -> None:
    registry, store = FakeRegistry(), FakeStore()
    async with Node(registry, store, poll_s=0.01) as node:
        store.is_broken = True
        registry.feed.append(wire())
        await asyncio.sleep(0.1)
        assert node.directory.cached_key("bpp.example.org", "k1") is not None
        assert not store.rows
        store.is_broken = False
        await asyncio.sleep(0.1)
        assert store.rows
        assert store.state is not None
        assert store.state[0] == 1


# --- Finding ---------------------------------------------------------------------------------------------------------


async def test_each_subscriber_is_found_once_with_its_newest_valid_key() -> None:
    registry = FakeRegistry()
    registry.feed = [
        wire(),
        wire(key_id="k2", created="2026-01-10T00:00:00.000Z", url="https://new/"),
        wire(key_id="k3", created="2026-01-12T00:00:00.000Z", status="UNSUBSCRIBED"),
        wire("other", type="BAP"),
        wire("elsewhere", domain="uei:ev_charging"),
    ]
    async with Node(registry) as node:
        found = await node.directory.find("BPP", "uei:p2p_trading")
        assert [(record.subscriber_id, record.key_id) for record in found] == [("bpp.example.org", "k2")]
        assert await node.directory.url_of("bpp.example.org", "BPP") == "https://new"
        assert await node.directory.url_of("bpp.example.org", "BAP") is None
        assert len(await node.directory.find("BPP")) == 2


async def test_a_seller_that_joined_half_a_second_ago_is_found_without_waiting_for_the_poll() -> None:
    registry = FakeRegistry()
    async with Node(registry) as node:
        registry.feed.append(wire())
        await asyncio.sleep(0.55)
        assert len(await node.directory.find("BPP")) == 1
        reads = registry.reads
        for _ in range(50):
            await node.directory.find("BPP")
        assert registry.reads == reads


async def test_a_key_used_in_two_roles_is_found_in_the_one_that_is_asked_for() -> None:
    registry = FakeRegistry()
    registry.feed = [wire(type="BAP"), wire(type="BPP")]
    async with Node(registry) as node:
        for role in ("BAP", "BPP"):
            record = node.directory.cached_key("bpp.example.org", "k1", role=role)
            assert record is not None
            assert record.type == role


# --- A registry without a feed ---------------------------------------------------------------------------------------


async def test_a_registry_without_a_feed_is_asked_by_lookup_at_most_once_a_minute() -> None:
    registry = FakeRegistry(has_feed=False)
    registry.feed = [wire()]
    async with Node(registry) as node:
        assert node.directory.cached_key("bpp.example.org", "k1") is None
        for _ in range(3):
            assert await node.directory.find_key("bpp.example.org", "k1") is not None
        assert node.directory.cached_key("bpp.example.org", "k1") is not None
        assert registry.lookups == 1
        node.turn(seconds=61)
        assert node.directory.cached_key("bpp.example.org", "k1") is None
        await node.directory.find_key("bpp.example.org", "k1")
        assert registry.lookups == 2
        assert node.directory.status()["mode"] == "lookup"


async def test_a_registry_that_answers_with_another_key_than_asked_for_is_not_believed_for_it() -> None:
    registry = FakeRegistry(has_feed=False)

    async def lookup(_filters: dict[str, str]) -> list[dict[str, Any]]:
        return [wire(key_id="another")]

    registry.lookup = lookup  # type: ignore[method-assign]
    async with Node(registry) as node:
        assert await node.directory.find_key("bpp.example.org", "k1") is None


async def test_a_key_that_a_lookup_no_longer_tells_of_is_dropped() -> None:
    registry = FakeRegistry(has_feed=False)
    registry.feed = [wire()]
    async with Node(registry) as node:
        await node.directory.find_key("bpp.example.org", "k1")
        registry.feed = []
        node.turn(seconds=61)
        assert await node.directory.find_key("bpp.example.org", "k1") is None
        assert await node.directory.find("BPP") == []


async def test_a_looked_up_key_outlives_a_silent_registry_for_the_hour_and_across_a_restart() -> None:
    registry, store = FakeRegistry(has_feed=False), FakeStore()
    registry.feed = [wire()]
    async with Node(registry, store, poll_s=0.01) as node:
        await node.directory.find_key("bpp.example.org", "k1")
        await asyncio.sleep(0.05)
    registry.is_silent = True
    async with Node(registry, store) as again:
        again.turn(minutes=59)
        assert await again.directory.find_key("bpp.example.org", "k1") is not None
        again.turn(minutes=2)
        with pytest.raises(errors.RegistryUnreachable):
            await again.directory.find_key("bpp.example.org", "k1")


# --- Records ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        {},
        wire(subscriber_id=""),
        wire(key_id=7),
        wire(signing_public_key=None),
        wire(valid_until="2026-01-01T00:00:00"),
        wire(valid_until="0001-01-01T00:00:00+23:00"),
    ],
)
def test_a_record_that_lacks_what_we_need_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"registry record|key"):
        record_from_wire(document)


def test_a_record_is_read_in_every_dialect() -> None:
    spki = base64.b64encode(bytes.fromhex("302a300506032b6570032100") + bytes(32)).decode()
    foreign = {
        "subscriber_id": "bpp.example.org",
        "subscriber_url": "https://bpp.example.org/beckn/",
        "type": "BPP",
        "ukId": "k1",
        "signing_public_key": spki,
        "location": {"country": {"code": "IND"}, "city": {"code": "std:080"}},
        "valid_until": "",
    }
    record = record_from_wire(foreign)
    assert (record.url, record.key_id, record.country, record.city) == (
        "https://bpp.example.org/beckn",
        "k1",
        "IND",
        "std:080",
    )
    assert record.is_valid(START)
    assert record.signing_public_key == bytes(32)
