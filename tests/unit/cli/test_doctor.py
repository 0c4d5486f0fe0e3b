"""What the doctor makes of what it sees; the network itself is in tests/integration/test_cli_network.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from beckn.config import NodeSettings
from beckn.records import Record
from cli import doctor, keys
from cli.ask import Reply

KEYS = keys.generate("bap-1")
SETTINGS = NodeSettings(
    port=8003,
    public_url="http://bap.example",
    subscriber_id="bap.example",
    key_id="bap-1",
    signing_key=KEYS.signing_key,
    encryption_key=KEYS.encryption_key,
    database_url="postgresql://nowhere",
)
NOW = datetime.now(UTC)
RECORD = Record(
    subscriber_id="bap.example",
    type="BAP",
    domain=SETTINGS.domain,
    key_id="bap-1",
    url="http://bap.example/beckn",
    country=SETTINGS.country_code,
    city=SETTINGS.city_code,
    signing_public_key=SETTINGS.identity.public_key,
    encr_public_key=KEYS.encryption_public_key,
    status="SUBSCRIBED",
    valid_from=NOW - timedelta(days=1),
    valid_until=NOW + timedelta(days=1),
    created=NOW,
)


def _patient(*records: Record) -> doctor._Patient:
    return doctor._Patient(SETTINGS, records)


def _reply(status: int, error: dict[str, str] | None = None, **headers: str) -> Reply:
    body = {"message": {"ack": {"status": "NACK" if error else "ACK"}}} | ({"error": error} if error else {})
    return Reply(status, headers, orjson.dumps(body))


def test_a_node_the_registry_does_not_know_is_told_to_start() -> None:
    (finding,) = doctor._identity(_patient())
    assert finding.is_right is False
    assert "no record of bap.example" in finding.sentence


def test_a_key_id_that_the_registry_does_not_hold_is_named_beside_those_it_holds() -> None:
    (finding,) = doctor._identity(_patient(replace(RECORD, key_id="old")))
    assert (finding.is_right, finding.sentence) == (False, "the registry knows bap.example with old, not bap-1")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"domain": "other:domain"}, "domain is 'other:domain' there"),
        ({"country": "USA"}, "country is 'USA' there"),
        ({"city": "std:1"}, "city is 'std:1' there"),
        ({"status": "UNSUBSCRIBED"}, "it is UNSUBSCRIBED"),
    ],
)
def test_an_identity_that_differs_says_in_what(change: dict[str, str], word: str) -> None:
    (finding,) = doctor._identity(_patient(replace(RECORD, **change)))
    assert finding.is_right is False
    assert word in finding.sentence


@pytest.mark.parametrize(
    ("record", "word"),
    [
        (replace(RECORD, signing_public_key=bytes(32)), "SIGNING_KEY does not belong"),
        (replace(RECORD, encr_public_key=keys.generate("x").encryption_public_key), "ENCRYPTION_KEY does not belong"),
        (replace(RECORD, valid_until=NOW - timedelta(hours=1)), "it is valid from"),
        (replace(RECORD, valid_from=NOW + timedelta(hours=1)), "it is valid from"),
    ],
)
def test_a_key_that_peers_would_refuse_says_why(record: Record, word: str) -> None:
    (finding,) = doctor._key(_patient(record))
    assert finding.is_right is False
    assert word in finding.sentence


def test_a_healthy_record_is_right_in_everything() -> None:
    assert [finding.is_right for finding in doctor._identity(_patient(RECORD))] == [True]
    assert [finding.is_right for finding in doctor._key(_patient(RECORD))] == [True]


def test_somebody_else_at_the_registered_address_is_named() -> None:
    reply = _reply(401, {"code": "30016"}, **{"www-authenticate": 'Signature realm="other.example",headers="x"'})
    finding = doctor._who_answers(reply, RECORD, "bap.example")
    assert finding.is_right is False
    assert "answers 'other.example'" in finding.sentence


def test_an_address_that_does_not_say_who_it_is_is_wrong() -> None:
    assert doctor._who_answers(_reply(404), RECORD, "bap.example").is_right is False


@pytest.mark.parametrize(
    ("reply", "is_right"),
    [
        (_reply(401, {"code": "30016", "paths": "header.Authorization", "message": "no such key"}), False),
        (_reply(400, {"code": "30000", "paths": "context.bap_uri", "message": "not registered"}), False),
        (_reply(400, {"code": "30000", "paths": "message.ref_id", "message": "missing"}), True),
        (_reply(429, {"code": "30024", "message": "slow down"}), None),
        (Reply(502, {}, b"bad gateway"), None),
        (_reply(200), True),
    ],
)
def test_a_peers_refusal_is_about_us_only_when_it_is_about_the_signature_or_the_context(
    reply: Reply, is_right: bool | None
) -> None:
    assert doctor._verdict("BPP bpp.example", reply).is_right is is_right


def test_peers_that_cannot_be_written_to_are_not_asked() -> None:
    peers = [
        replace(RECORD, subscriber_id="bpp.example", type="BPP"),
        replace(RECORD, subscriber_id="gone.example", type="BPP", status="UNSUBSCRIBED"),
        replace(RECORD, subscriber_id="registry.example", type="BREG"),
        replace(RECORD, subscriber_id="bg.example", type="BG"),
        replace(RECORD, subscriber_id="other-bap.example", type="BAP"),
    ]
    assert [peer.subscriber_id for peer in doctor._choose(peers, RECORD, ())] == ["bpp.example", "bg.example"]
    assert [peer.subscriber_id for peer in doctor._choose(peers, RECORD, ("bg.example",))] == ["bg.example"]
