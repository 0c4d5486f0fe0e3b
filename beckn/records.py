"""A registry's record as this node understands it, whatever dialect it came in, and records held for fast finding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from beckn import signing
from beckn.envelope import parse_instant

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Record:
    """One key of one subscriber in one role and domain, as the registry tells it."""

    subscriber_id: str
    type: str
    domain: str
    key_id: str
    url: str
    country: str
    city: str
    signing_public_key: bytes
    encr_public_key: str
    status: str
    valid_from: datetime
    valid_until: datetime
    created: datetime

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What makes two records be of the same thing."""
        return self.subscriber_id, self.type, self.domain, self.key_id

    def is_valid(self, now: datetime) -> bool:
        """True while letters signed with this key may be believed."""
        return self.status == "SUBSCRIBED" and self.valid_from <= now < self.valid_until


def record_from_wire(document: dict[str, Any]) -> Record:
    """Read a registry's record in any of its dialects; raises ValueError when it lacks what we need."""
    location = document.get("location")
    place = location if isinstance(location, dict) else {}
    url = _text(document, "url", "subscriber_url")
    subscriber_id, key_id = (
        _text(document, "subscriber_id"),
        _text(document, "key_id", "ukId", "unique_key_id", "pub_key_id"),
    )
    if not subscriber_id or not key_id:
        raise ValueError("a registry record must name subscriber_id and key_id")
    return Record(
        subscriber_id=subscriber_id,
        type=_text(document, "type"),
        domain=_text(document, "domain"),
        key_id=key_id,
        url=url.rstrip("/"),
        country=_code(document.get("country")) or _code(place.get("country")),
        city=_code(document.get("city")) or _code(place.get("city")),
        signing_public_key=signing.import_public_key(_text(document, "signing_public_key")),
        encr_public_key=_text(document, "encr_public_key"),
        status=_text(document, "status") or "SUBSCRIBED",
        valid_from=_instant(document, "valid_from", _NEVER),
        valid_until=_instant(document, "valid_until", _FOR_EVER),
        created=_instant(document, "created", _NEVER),
    )


def normalised(document: dict[str, Any], record: Record) -> dict[str, Any]:
    """A foreign record with the four names and the end that the store finds it by."""
    names = {
        "subscriber_id": record.subscriber_id,
        "type": record.type,
        "domain": record.domain,
        "key_id": record.key_id,
    }
    return {**document, **names, "valid_until": record.valid_until.isoformat()}


def _text(document: dict[str, Any], *names: str) -> str:
    for name in names:
        value = document.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def _code(place: Any) -> str:
    value = place.get("code") if isinstance(place, dict) else place
    return value if isinstance(value, str) else ""


def _instant(document: dict[str, Any], name: str, default: datetime) -> datetime:
    """An absent or empty time says nothing; one that cannot be read or has no zone spoils the record."""
    value = document.get(name)
    if not value:
        return default
    instant = parse_instant(str(value))
    if instant is None:
        raise ValueError(f"{name} of a registry record must be RFC 3339 with a zone")
    return instant


class RecordIndex:
    """Records in memory, by subscriber and by key. A key registered in several domains is found in `domain` first."""

    def __init__(self, domain: str = "") -> None:
        self._domain = domain
        self._by_subscriber: dict[str, dict[tuple[str, str, str], Record]] = {}
        self._by_key: dict[tuple[str, str], tuple[Record, ...]] = {}

    def put(self, record: Record) -> None:
        """Add a record, or replace the one of the same thing."""
        own = self._by_subscriber.setdefault(record.subscriber_id, {})
        own[record.type, record.domain, record.key_id] = record
        self._index(record.subscriber_id, record.key_id)

    def drop_key(self, subscriber_id: str, key_id: str) -> None:
        """Forget a key in all its roles."""
        own = self._by_subscriber.get(subscriber_id, {})
        for place in [place for place in own if place[2] == key_id]:
            del own[place]
        self._by_key.pop((subscriber_id, key_id), None)

    def key(self, subscriber_id: str, key_id: str, role: str) -> Record | None:
        """The record of a key: of the role asked for when there is one; our domain, SUBSCRIBED and newest first."""
        found = self._by_key.get((subscriber_id, key_id))
        if not found:
            return None
        if role and len(found) > 1:
            return next((record for record in found if record.type == role), found[0])
        return found[0]

    def of(self, subscriber_id: str) -> Iterator[Record]:
        """Every record of one subscriber."""
        return iter(self._by_subscriber.get(subscriber_id, {}).values())

    def all(self) -> Iterator[Record]:
        """Every record."""
        return (record for own in self._by_subscriber.values() for record in own.values())

    def __len__(self) -> int:
        return sum(len(own) for own in self._by_subscriber.values())

    def _index(self, subscriber_id: str, key_id: str) -> None:
        same_key = [record for record in self.of(subscriber_id) if record.key_id == key_id]
        same_key.sort(
            key=lambda record: (record.domain == self._domain, record.status == "SUBSCRIBED", record.created),
            reverse=True,
        )
        self._by_key[subscriber_id, key_id] = tuple(same_key)
