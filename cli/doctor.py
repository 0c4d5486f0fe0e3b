"""`powershare doctor`: what disagrees between a node, its registry record and what a peer sees.

It looks with the node's own settings and from the outside, as a stranger would: at the registry for the record, at the
registered URL for who answers there, and at each peer by posting a letter that is signed as the node signs and refused
for its empty message at the earliest: whoever complains of the message has accepted key, clock, identity and route.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import asyncpg
import orjson

from beckn import challenge, config, envelope, signing
from beckn.actions import ACTIONS, Role
from beckn.clock import WallClock
from beckn.config import BadConfiguration, NodeSettings
from beckn.records import Record, record_from_wire
from beckn.registry_client import RegistryClient, RegistryUnavailable
from cli.ask import NoAnswer, Reply, exchange
from schemas import documents
from store import migrate

__all__ = ["BadConfiguration", "Finding", "examine"]

#: How long a node or peer may take to answer, seconds.
ANSWER_S_MAX = 10.0
#: Clocks may differ by this much before peers refuse what we sign.
SKEW_S_MAX = float(signing.CREATED_AHEAD_S_MAX)
#: How many peers of each role are asked when none is named.
PEERS_OF_A_ROLE = 3
_NOT_TAKING_PART = ("UNDER_SUBSCRIPTION", "INITIATED", "EXPIRED", "UNSUBSCRIBED", "INVALID_SSL")
_REALM = re.compile(r'realm="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: right, wrong, or (None) not to be told from here."""

    about: str
    is_right: bool | None
    sentence: str


@dataclass(frozen=True, slots=True)
class _Patient:
    """The node under examination and what the registry says of it."""

    settings: NodeSettings
    records: tuple[Record, ...]

    @property
    def own(self) -> tuple[Record, ...]:
        """The records of the key it signs with."""
        return tuple(record for record in self.records if record.key_id == self.settings.key_id)


def examine(environment: Mapping[str, str], *, peers: Sequence[str] = ()) -> list[Finding]:
    """Everything found, in the order in which it should be mended. Raises BadConfiguration."""
    settings = config.read(NodeSettings, **_named(environment))
    findings = [Finding("settings", True, f"complete; this is {settings.subscriber_id}, key {settings.key_id}")]
    findings.append(_database(settings))
    directory, told = _ask_registry(settings)
    findings.append(told)
    findings.append(_clock(settings))
    if told.is_right is False:
        return findings
    patient = _Patient(settings, tuple(r for r in directory if r.subscriber_id == settings.subscriber_id))
    findings += _identity(patient)
    findings += _key(patient)
    findings += _route(patient)
    findings.append(_schemas(settings.public_url, "this node"))
    for record in patient.own:
        if record.type in (Role.BAP, Role.BPP):
            findings += [_seen_by(patient, record, peer) for peer in _choose(directory, record, peers)]
    return findings


def _named(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings out of an environment, whether ours or that of a node of the network that is up."""
    from cli import where

    names = NodeSettings.model_fields
    found = {name: where.setting(name.upper(), environment) for name in names}
    return {name: value for name, value in found.items() if value}


# --- This node -------------------------------------------------------------------------------------------------------


def _database(settings: NodeSettings) -> Finding:
    async def look() -> str:
        connection = await asyncpg.connect(settings.database_url, timeout=ANSWER_S_MAX)
        try:
            return await migrate.current(connection)
        finally:
            await connection.close()

    try:
        revision = asyncio.run(look())
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        return Finding("database", False, f"PostgreSQL cannot be used: {error or type(error).__name__}")
    if revision != migrate.head():
        sentence = f"is at revision '{revision}', this release needs '{migrate.head()}'; run `powershare migrate`"
        return Finding("database", False, sentence)
    return Finding("database", True, f"at revision {revision}")


def _schemas(url: str, whose: str) -> Finding:
    """Whether what is published there is what this release knows."""
    try:
        index = exchange("GET", f"{url}/schemas/", timeout_s=ANSWER_S_MAX).json()
        if not isinstance(index, dict) or set(index) != set(documents.PROFILES):
            return Finding("schema", None, f"{whose} publishes no schemas at {url}/schemas/")
        differing = [
            f"{profile}/{name}"
            for profile in documents.PROFILES
            for name in documents.schema_names()
            if exchange("GET", f"{url}/schemas/{profile}/{name}.json", timeout_s=ANSWER_S_MAX).json()
            != documents.document(profile, name)
        ]
    except NoAnswer as silence:
        return Finding("schema", False, f"{whose}: {silence}")
    if differing:
        sentence = f"{whose} runs another release: {len(differing)} schemas differ, the first is {differing[0]}"
        return Finding("schema", False, sentence)
    return Finding("schema", True, f"{whose} publishes the schemas of this release")


# --- The registry ----------------------------------------------------------------------------------------------------


def _ask_registry(settings: NodeSettings) -> tuple[tuple[Record, ...], Finding]:
    """Every record that takes part, our own in whatever state, and whether the registry can be believed."""
    if not settings.registry_url:
        return (), Finding("registry", False, "REGISTRY_URL is not set")

    async def look_up() -> list[dict[str, Any]]:
        key = signing.import_public_key(settings.registry_public_key) if settings.registry_public_key else None
        client = RegistryClient(settings.registry_url, public_key=key, wall=WallClock())
        try:
            found = await client.lookup({})
            for status in _NOT_TAKING_PART:  # these are only given to who asks for them
                found += await client.lookup({"subscriber_id": settings.subscriber_id, "status": status})
        finally:
            await client.close()
        return found

    try:
        answers = asyncio.run(look_up())
    except RegistryUnavailable as error:
        return (), Finding("registry", False, f"cannot be asked or believed: {error}")
    records: dict[tuple[str, str, str, str], Record] = {}
    for answer in answers:
        try:
            record = record_from_wire(answer)
        except ValueError:
            continue  # a record nobody can read is nobody's; its owner's doctor will miss it
        records.setdefault(record.identity, record)
    signed = "signed with REGISTRY_PUBLIC_KEY" if settings.registry_public_key else "REGISTRY_PUBLIC_KEY is not set"
    return tuple(records.values()), Finding("registry", True, f"knows {len(records)} records; {signed}")


def _clock(settings: NodeSettings) -> Finding:
    """Our clock against that of the registry, which dates its answers."""
    if not settings.registry_url:
        return Finding("clock", None, "there is no registry to compare with")
    try:
        reply = exchange("GET", f"{settings.registry_url}/health", timeout_s=ANSWER_S_MAX)
        theirs = parsedate_to_datetime(reply.headers["date"])
    except (NoAnswer, KeyError, ValueError) as error:
        return Finding("clock", None, f"the registry does not tell the time: {error}")
    ahead_s = (WallClock().now() - theirs).total_seconds()  # theirs has whole seconds, so 0 to 1 s are nothing
    if not -SKEW_S_MAX <= ahead_s <= SKEW_S_MAX + 1:
        direction = "ahead of" if ahead_s > 0 else "behind"
        sentence = f"this machine is {abs(ahead_s):.0f} s {direction} the registry; set the clock (NTP)"
        return Finding("clock", False, sentence)
    return Finding("clock", True, "agrees with the registry's")


def _identity(patient: _Patient) -> Iterator[Finding]:
    settings = patient.settings
    if not patient.records:
        sentence = f"the registry has no record of {settings.subscriber_id}; start the node, which subscribes itself"
        yield Finding("identity", False, sentence)
        return
    if not patient.own:
        held = ", ".join(sorted({record.key_id for record in patient.records}))
        yield Finding(
            "identity", False, f"the registry knows {settings.subscriber_id} with {held}, not {settings.key_id}"
        )
        return
    for record in patient.own:
        wrong = [
            f"{what} is '{theirs}' there and '{ours}' here"
            for what, theirs, ours in (
                ("domain", record.domain, settings.domain),
                ("country", record.country, settings.country_code),
                ("city", record.city, settings.city_code),
            )
            if theirs not in ("", ours)
        ]
        if record.status != "SUBSCRIBED":
            wrong.append(f"it is {record.status}; ask the network's operator")
        yield Finding("identity", not wrong, f"as {record.type}: {'; '.join(wrong) or 'SUBSCRIBED, all agrees'}")


def _key(patient: _Patient) -> Iterator[Finding]:
    settings, now = patient.settings, WallClock().now()
    for record in patient.own:
        wrong = []
        if record.signing_public_key != settings.identity.public_key:
            wrong.append("SIGNING_KEY does not belong to the public key in the registry; rotate to a new key id")
        if not record.valid_from <= now < record.valid_until:
            wrong.append(f"it is valid from {_day(record.valid_from)} to {_day(record.valid_until)}")
        if settings.encryption_key and record.encr_public_key not in (
            "",
            challenge.public_key_b64(settings.encryption_key),
        ):
            wrong.append("ENCRYPTION_KEY does not belong to the encryption key in the registry")
        sentence = f"key {record.key_id} as {record.type}: {'; '.join(wrong) or 'belongs to SIGNING_KEY and is valid'}"
        yield Finding("key", not wrong, sentence)


def _route(patient: _Patient) -> Iterator[Finding]:
    """Is the registered URL ours, and is it this node that answers there?"""
    settings = patient.settings
    for record in patient.own:
        ours = settings.public_url if record.type == Role.REGISTRY else settings.protocol_url
        if record.url != ours:
            sentence = f"the registry sends letters to {record.url}, PUBLIC_URL makes it {ours}; subscribe again"
            yield Finding("route", False, sentence)
        if record.type == Role.REGISTRY:
            continue
        action = next(action for action in ACTIONS.values() if record.type in (action.receiver, Role.BG))
        try:
            reply = exchange("POST", f"{record.url}/{action.name}", headers=_JSON, body=b"{}", timeout_s=ANSWER_S_MAX)
        except NoAnswer as silence:
            yield Finding("route", False, f"as {record.type}: {silence}")
            continue
        yield _who_answers(reply, record, settings.subscriber_id)


def _who_answers(reply: Reply, record: Record, subscriber_id: str) -> Finding:
    """An unsigned letter is refused by name: the refusal's realm says who is there."""
    found = _REALM.search(reply.headers.get("www-authenticate", ""))
    if found is None:
        sentence = f"{record.url} answers HTTP {reply.status} to an unsigned letter and does not say who it is"
        return Finding("route", False, sentence)
    if found[1] != subscriber_id:
        return Finding("route", False, f"at {record.url} answers '{found[1]}', not {subscriber_id}")
    return Finding("route", True, f"as {record.type}: answers at {record.url}")


# --- Peers -----------------------------------------------------------------------------------------------------------

_JSON = {"Content-Type": "application/json"}


def _choose(directory: Sequence[Record], own: Record, named: Sequence[str]) -> Iterator[Record]:
    """The peers to ask: the named ones, else some of each role that we may write to."""
    asked: dict[str, int] = {}
    seen: set[tuple[str, str]] = set()
    for record in directory:
        is_new = (record.subscriber_id, record.type) not in seen
        if record.status != "SUBSCRIBED" or not is_new or _probe_action(own.type, record.type) is None:
            continue
        if record.subscriber_id in named or (not named and asked.get(record.type, 0) < PEERS_OF_A_ROLE):
            seen.add((record.subscriber_id, record.type))
            asked[record.type] = asked.get(record.type, 0) + 1
            yield record


def _probe_action(ours: str, theirs: str) -> str | None:
    """What a node of our role may send to one of theirs, best something without consequence."""
    if theirs == Role.BG:
        return "search" if ours == Role.BAP else None
    pair = {(Role.BAP, Role.BPP): "support", (Role.BPP, Role.BAP): "on_support"}
    return pair.get((Role(ours), Role(theirs))) if theirs in (Role.BAP, Role.BPP) else None


def _seen_by(patient: _Patient, own: Record, peer: Record) -> Finding:
    """Post a signed letter with an empty message and read what it is refused for."""
    settings, now = patient.settings, WallClock().now()
    action = _probe_action(own.type, peer.type) or ""
    me = envelope.Party(settings.subscriber_id, settings.protocol_url)
    other = envelope.Party(peer.subscriber_id, peer.url)
    context = envelope.request_context(
        action=action,
        network=settings.network,
        bap=me if own.type == Role.BAP else other,
        bpp=me if own.type == Role.BPP else None if peer.type == Role.BG else other,
        transaction_id=str(uuid.uuid4()),
        message_id=str(uuid.uuid4()),
        now=now,
    )
    body = orjson.dumps({"context": context, "message": {}})
    headers = _JSON | {"Authorization": signing.sign(body, identity=settings.identity, now=now)}
    who = f"{peer.type} {peer.subscriber_id}"
    try:
        reply = exchange("POST", f"{peer.url}/{action}", headers=headers, body=body, timeout_s=ANSWER_S_MAX)
    except NoAnswer as silence:
        return Finding("peer", None, f"{who}: {silence}")
    return _verdict(who, reply)


def _verdict(who: str, reply: Reply) -> Finding:
    document = reply.json()
    error = document.get("error") if isinstance(document, dict) else None
    error = error if isinstance(error, dict) else {}
    path, sentence = str(error.get("paths", "")), str(error.get("message", "")) or f"HTTP {reply.status}"
    if reply.status in (401, 403, 407) or path.startswith(("header", "context")):
        return Finding("peer", False, f"{who} refuses our letters: {sentence}")
    if reply.status >= 500 or reply.status == 429:
        return Finding("peer", None, f"{who} cannot say: {sentence}")
    return Finding("peer", True, f"{who} accepts our key, clock, identity and route")


def _day(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M}Z"
