"""The envelope: context, message, who signed, and the raw bytes they came in; ACKs written and read.

Bytes received are kept beside what was parsed from them, and the bytes are what is verified, stored and forwarded.
Three forms of context are understood (a location object, flat country and city, and the hybrid of both); one form is
written: the location object, version 1.1.0, times in UTC with milliseconds and Z.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from beckn import actions, errors
from schemas import validate, values

#: The body of an acknowledgement, the same for every letter.
ACK = b'{"message":{"ack":{"status":"ACK"}}}'

#: Longest id of any kind that is accepted from a stranger.
ID_CHARS_MAX = 255


@dataclass(frozen=True, slots=True)
class Network:
    """What every context of this network says: domain, version, place."""

    domain: str
    country_code: str
    country_name: str
    city_code: str
    city_name: str
    version: str = "1.1.0"


@dataclass(frozen=True, slots=True)
class Party:
    """A subscriber and the base URL it is registered with."""

    subscriber_id: str
    url: str


@dataclass(frozen=True, slots=True)
class Context:
    """A context as understood, whichever form it was written in; empty strings where a field was absent."""

    domain: str
    action: str
    version: str
    bap_id: str
    bap_uri: str
    bpp_id: str
    bpp_uri: str
    transaction_id: str
    message_id: str
    timestamp: datetime
    ttl_s: int | None
    country: str
    city: str

    @property
    def expires_at(self) -> datetime | None:
        """When the letter is no longer worth acting on; None when it says no ttl.

        A ttl may name more seconds than the calendar has; beyond ten years it makes no difference.
        """
        if self.ttl_s is None:
            return None
        return self.timestamp + timedelta(seconds=min(self.ttl_s, values.DURATION_S_MAX))


@dataclass(frozen=True, slots=True)
class Letter:
    """One accepted letter: what a handler is given."""

    letter_id: str
    body: bytes
    context: Context
    message: dict[str, Any]
    error: dict[str, Any] | None
    signer_id: str
    #: The signer's registered base URL: where an answer goes.
    signer_url: str
    #: The first sender's Authorization header as received, for a gateway to pass on.
    authorization: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer answered to a letter of ours: accepted, refused for good, or neither (then it is tried again)."""

    accepted: bool
    refused: bool
    http_status: int
    code: str = ""
    message: str = ""


#: Statuses that say "not now", whatever the body says.
_NOT_NOW = frozenset({408, 425, 429})


def format_instant(instant: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and Z."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_instant(text: str) -> datetime | None:
    """An RFC 3339 instant with a zone, in UTC; None when it is not one."""
    try:
        instant = datetime.fromisoformat(text)
        return None if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def object_of(body: bytes) -> dict[str, Any]:
    """The JSON object that a body must be; raises errors.InvalidJson."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise errors.InvalidJson from error
    if not isinstance(document, dict):
        raise errors.InvalidJson
    return document


def context_from_wire(document: Any) -> Context:
    """Understand a context in any of its three forms; raises errors.InvalidContext naming the field."""
    if not isinstance(document, dict):
        raise errors.InvalidContext("the letter has no context object")
    timestamp = parse_instant(_string(document, "timestamp", required=True))
    if timestamp is None:
        raise errors.InvalidContext(
            "context.timestamp must be RFC 3339 with a zone, such as 2026-01-15T10:00:00.000Z", path="context.timestamp"
        )
    ttl = _string(document, "ttl")
    ttl_s = values.parse_duration(ttl) if ttl else None
    if ttl and ttl_s is None:
        raise errors.InvalidContext("context.ttl must be an ISO 8601 duration such as PT30S", path="context.ttl")
    location = document.get("location")
    place = location if isinstance(location, dict) else {}
    return Context(
        domain=_string(document, "domain", required=True),
        action=_string(document, "action", required=True),
        version=_string(document, "version") or _string(document, "core_version", required=True),
        bap_id=_string(document, "bap_id", required=True),
        bap_uri=_string(document, "bap_uri", required=True, limit=2048),
        bpp_id=_string(document, "bpp_id"),
        bpp_uri=_string(document, "bpp_uri", limit=2048),
        transaction_id=_string(document, "transaction_id", required=True),
        message_id=_string(document, "message_id", required=True),
        timestamp=timestamp,
        ttl_s=ttl_s,
        country=_code(place.get("country")) or _code(document.get("country")),
        city=_code(place.get("city")) or _code(document.get("city")),
    )


def _string(document: dict[str, Any], field: str, *, required: bool = False, limit: int = ID_CHARS_MAX) -> str:
    value = document.get(field)
    path = f"context.{field}"
    if value is None and not required:
        return ""
    if not isinstance(value, str) or not (value or not required):
        raise errors.InvalidContext(f"{path} must be a string with something in it", path=path)
    if len(value) > limit:
        raise errors.InvalidContext(f"{path} has {len(value)} characters; at most {limit} are allowed", path=path)
    if "\x00" in value:
        raise errors.InvalidContext(f"{path} contains a NUL character; leave it out", path=path)
    return value


def _code(place: Any) -> str:
    """The code of a country or city, written as an object or flat."""
    if isinstance(place, dict):
        place = place.get("code")
    return place if isinstance(place, str) else ""


def request_context(
    *,
    action: str,
    network: Network,
    bap: Party,
    bpp: Party | None,
    transaction_id: str,
    message_id: str,
    now: datetime,
) -> dict[str, Any]:
    """A context of our own; `bpp` is None for a search through a gateway."""
    context: dict[str, Any] = {
        "domain": network.domain,
        "location": {
            "country": {"name": network.country_name, "code": network.country_code},
            "city": {"name": network.city_name, "code": network.city_code},
        },
        "action": action,
        "version": network.version,
        "bap_id": bap.subscriber_id,
        "bap_uri": bap.url,
    }
    if bpp is not None:
        context["bpp_id"] = bpp.subscriber_id
        context["bpp_uri"] = bpp.url
    context["transaction_id"] = transaction_id
    context["message_id"] = message_id
    context["timestamp"] = format_instant(now)
    context["ttl"] = values.duration_to_wire(actions.ACTIONS[action].ttl_s)
    return context


def reply_context(letter: Letter, *, action: str, network: Network, me: Party, now: datetime) -> dict[str, Any]:
    """The context of a seller's callback: same transaction_id and message_id, addressed to who signed the request."""
    return request_context(
        action=action,
        network=network,
        bap=Party(letter.signer_id, letter.signer_url),
        bpp=me,
        transaction_id=letter.context.transaction_id,
        message_id=letter.context.message_id,
        now=now,
    )


def build(context: dict[str, Any], message: dict[str, Any] | None, error: dict[str, Any] | None = None) -> bytes:
    """The bytes to sign and send, checked against the `emit` profile first.

    Raises schemas.validate.Invalid when this node made a letter that its own schemas refuse: a programmer's error.
    """
    document: dict[str, Any] = {"context": context}
    if message is not None:
        document["message"] = message
    if error is not None:
        document["error"] = error
    validate.check(context["action"], document, profile="emit")
    return orjson.dumps(document)


def parse_answer(http_status: int, body: bytes) -> Answer:
    """Read a peer's answer tolerantly: 200 or 202, `error` beside or inside `message`, v1 acks.

    A 2xx with NACK is a refusal; a 2xx that says neither promises nothing, so the letter is tried again.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    document = document if isinstance(document, dict) else {}
    message = document.get("message")
    message = message if isinstance(message, dict) else {}
    ack = message.get("ack")
    status = ack.get("status") if isinstance(ack, dict) else message.get("status")
    error = document.get("error") or message.get("error")
    error = error if isinstance(error, dict) else {}
    is_success = 200 <= http_status < 300
    is_our_fault = 400 <= http_status < 500 and http_status not in _NOT_NOW
    return Answer(
        accepted=is_success and status == "ACK",
        refused=is_our_fault or (is_success and status == "NACK"),
        http_status=http_status,
        code=str(error.get("code", "")),
        message=str(error.get("message", "")) or ("" if document else body[:200].decode("utf-8", "replace")),
    )
