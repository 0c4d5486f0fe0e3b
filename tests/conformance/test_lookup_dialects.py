"""Lookup (protocol notes 3.4 to 3.7): one record that beckn-onix, protocol-server and our own nodes all read.

The two peers' readers are written here as their sources do it: onix decodes the whole reply strictly (one time that is
not RFC 3339 fails all of it) and takes the first element; protocol-server drops an element that lacks a string it wants
or whose `valid_until` is not in the future, and takes the first that is left.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from beckn.records import record_from_wire
from cli.servers import Servers
from tests.support.registry_rig import DOMAIN, Member, Registry, running_registry

# What Go's time.Time accepts in JSON: RFC 3339 with a zone, seconds, an optional fraction.
_GO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


def onix(reply: Any) -> dict[str, Any]:
    """pkg/plugin/implementation/registry: every element decoded, the first one taken."""
    assert isinstance(reply, list)
    for element in reply:
        for name in ("valid_from", "valid_until", "created", "updated"):
            if name in element:
                assert isinstance(element[name], str)
                assert _GO_TIME.fullmatch(element[name]), element[name]
        for name in (
            "subscriber_id",
            "url",
            "type",
            "domain",
            "key_id",
            "signing_public_key",
            "encr_public_key",
            "status",
        ):
            assert isinstance(element.get(name, ""), str)
    first: dict[str, Any] = reply[0]
    assert first["status"] not in {"EXPIRED", "UNSUBSCRIBED", "INVALID_SSL"}
    assert len(base64.b64decode(first["signing_public_key"], validate=True)) == 32
    return first


def protocol_server(reply: Any, now: datetime) -> dict[str, Any]:
    """src/utils/lookup: what lacks a field is dropped without a word."""
    wanted = ("subscriber_id", "subscriber_url", "type", "signing_public_key", "valid_until")
    left = [
        element
        for element in reply
        if all(isinstance(element.get(name), str) for name in wanted)
        and element["type"] in {"BAP", "BPP", "BG", "BREG"}
        and datetime.fromisoformat(element["valid_until"]) > now
    ]
    assert left
    return dict(left[0])


@pytest.fixture
async def registry(servers: Servers, migrated_template: str) -> AsyncIterator[Registry]:
    async with running_registry(servers, migrated_template) as running:
        yield running


async def enter(registry: Registry, member: Member, **changes: Any) -> None:
    answer = await registry.operate("/api/subscribers", member.application(**changes))
    assert answer.status == 201, answer.body


async def test_onix_finds_a_key_by_its_own_question_on_both_paths(registry: Registry) -> None:
    await enter(registry, Member("bpp.example.org", "https://bpp.example.org/beckn"))
    question = {"subscriber_id": "bpp.example.org", "key_id": "k1"}
    for path in ("/lookup", "/subscribers/lookup"):
        answer = await registry.post(path, question)
        assert answer.status == 200, "onix takes exactly 200"
        record = onix(answer.json)
        assert (record["url"], record["key_id"]) == ("https://bpp.example.org/beckn", "k1")


async def test_protocol_server_finds_a_key_and_the_gateway_by_its_own_questions(registry: Registry) -> None:
    await enter(registry, Member("bpp.example.org", "https://bpp.example.org/beckn"))
    await enter(registry, Member("gateway.example.org", "https://gateway.example.org/beckn", type="BG"))
    now = datetime.now(UTC)
    for question, url in [
        ({"subscriber_id": "bpp.example.org", "ukId": "k1"}, "https://bpp.example.org/beckn"),
        ({"type": "BPP", "domain": DOMAIN, "subscriber_id": "bpp.example.org"}, "https://bpp.example.org/beckn"),
        ({"type": "BG", "domain": DOMAIN}, "https://gateway.example.org/beckn"),
    ]:
        assert protocol_server(await registry.lookup(**question), now)["subscriber_url"] == url


async def test_the_java_registrys_question_is_understood(registry: Registry) -> None:
    await enter(registry, Member("bpp.example.org", "https://bpp.example.org/beckn"))
    question = {"unique_key_id": "k1", "type": "BPP", "domain": DOMAIN, "location": {"city": {"code": "std:080"}}}
    (record,) = await registry.lookup(**question)
    assert record["unique_key_id"] == record["pub_key_id"] == record["ukId"] == record["key_id"] == "k1"


async def test_valid_until_rolls_an_hour_ahead_so_that_no_cache_hides_a_revocation_for_long(registry: Registry) -> None:
    await enter(registry, Member("bpp.example.org", "https://bpp.example.org/beckn"))
    (record,) = await registry.lookup(subscriber_id="bpp.example.org")
    ahead = datetime.fromisoformat(record["valid_until"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < ahead <= timedelta(hours=1)
    assert record["valid_until"].endswith("Z")
    assert re.fullmatch(r".*\.\d{3}Z", record["valid_until"])


async def test_what_nobody_matches_is_an_empty_array_with_200(registry: Registry) -> None:
    answer = await registry.post("/lookup", {"subscriber_id": "nobody"})
    assert (answer.status, answer.json) == (200, [])


async def test_unknown_filters_are_ignored_and_no_filter_returns_everyone(registry: Registry) -> None:
    await enter(registry, Member("bpp.example.org", "https://bpp.example.org/beckn"))
    assert len(await registry.lookup(subscriber_id="bpp.example.org", nonsense={"a": 1}, created="x")) == 1
    everyone = await registry.lookup()
    assert {record["type"] for record in everyone} == {"BPP", "BREG"}
    assert (await registry.post("/lookup", b"")).json


@pytest.mark.parametrize("city", ["", "*", "std:080"])
async def test_a_record_without_a_city_serves_all_cities(registry: Registry, city: str) -> None:
    await enter(registry, Member("bpp.example.org", "https://bpp.example.org/beckn"), city=city)
    assert len(await registry.lookup(type="BPP", city="std:080")) == 1
    assert len(await registry.lookup(type="BPP", city={"code": "std:080"}, country="IND")) == 1
    elsewhere = await registry.lookup(type="BPP", location={"city": {"code": "std:011"}})
    assert len(elsewhere) == (0 if city == "std:080" else 1)


async def test_only_subscribed_records_are_told_unless_a_status_is_asked_for(registry: Registry) -> None:
    for name, status in [("in", "SUBSCRIBED"), ("waiting", "INITIATED"), ("out", "SUBSCRIBED"), ("kept", "SUBSCRIBED")]:
        await enter(registry, Member(name, f"https://{name}.example.org"), status=status)
    await registry.act("revoke", "out")
    await registry.act("suspend", "kept")

    async def told(**filters: str) -> set[str]:
        return {record["subscriber_id"] for record in await registry.lookup(type="BPP", **filters)}

    assert await told() == {"in"}
    assert await told(status="SUBSCRIBED") == {"in"}
    assert await told(status="INITIATED") == {"waiting"}
    assert await told(status="UNSUBSCRIBED") == {"out", "kept"}, "peers know no word for suspended"
    assert await told(status="nonsense") == set()


async def test_a_record_that_is_not_valid_yet_is_not_told_because_onix_would_believe_it(registry: Registry) -> None:
    later = {"valid_from": "2095-01-01T00:00:00Z", "valid_until": "2096-01-01T00:00:00Z"}
    answer = await registry.operate("/api/subscribers", Member("bpp", "https://bpp").application(**later))
    assert answer.status == 409, "no key of this registry lives that long"
    soon = datetime.now(UTC) + timedelta(days=1)
    await enter(registry, Member("bpp", "https://bpp"), valid_from=soon.isoformat())
    assert await registry.lookup(subscriber_id="bpp") == []


async def test_the_reply_is_signed_by_the_registry_and_our_nodes_read_it(registry: Registry) -> None:
    from beckn import signing

    await enter(registry, Member("bpp.example.org", "https://bpp.example.org/beckn"))
    answer = await registry.post("/lookup", {"subscriber_id": "bpp.example.org"})
    signing.verify(
        signing.digest(answer.body), signing.parse_header(answer.headers["Signature"]), public_key=registry.public_key
    )
    assert record_from_wire(answer.json[0]).is_valid(datetime.now(UTC))
