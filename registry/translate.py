"""Between the wire's dialects and the registry's own words.

One record serves every known client: beckn-onix reads `key_id` and `url`, protocol-server `ukId` and `subscriber_url`,
the Java SDK `unique_key_id` and `pub_key_id`. Times carry milliseconds and Z, because onix fails a whole reply over one
time it cannot parse and protocol-server drops a record without `valid_until`.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from beckn import challenge, envelope, errors, signing
from registry.membership import Application, wire_status
from store.subscribers import Filters, Subscription

#: How far ahead `valid_until` lies in a lookup reply: onix keeps a key until then, so a year would hide a revocation.
ROLLING_S = 3600
#: What may subscribe. The registry's own record has type BREG and comes from nowhere else.
ROLES = ("BAP", "BPP", "BG")
#: Longest id, name or code; longest URL.
TEXT_CHARS_MAX, URL_CHARS_MAX = 255, 2048

_KEY_ID_NAMES = ("key_id", "ukId", "unique_key_id", "pub_key_id")


# --- Out: records --------------------------------------------------------------------------------------------------


def record_to_wire(subscription: Subscription, *, now: datetime, is_rolling: bool) -> dict[str, Any]:
    """A record in all dialects at once. `is_rolling` shortens valid_until to an hour ahead (lookups); the change
    feed says the key's true end, because its readers hear of every change."""
    s = subscription
    valid_until = min(s.valid_until, now + timedelta(seconds=ROLLING_S)) if is_rolling else s.valid_until
    return {
        "subscriber_id": s.subscriber_id,
        "url": s.url,
        "subscriber_url": s.url,
        "type": s.type,
        "domain": s.domain,
        "location": {
            "country": {**_place(s.location, "country"), "code": s.country},
            "city": {**_place(s.location, "city"), "code": s.city},
        },
        "country": s.country,
        "city": s.city,
        **dict.fromkeys(_KEY_ID_NAMES, s.key_id),
        "signing_public_key": s.signing_public_key,
        "encr_public_key": s.encr_public_key,
        "valid_from": envelope.format_instant(s.valid_from),
        "valid_until": envelope.format_instant(valid_until),
        "status": wire_status(s, now).value,
        "created": envelope.format_instant(s.created),
        "updated": envelope.format_instant(s.updated),
    }


def instant_to_wire(instant: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and Z."""
    return envelope.format_instant(instant)


def _place(location: dict[str, Any] | None, name: str) -> dict[str, Any]:
    part = (location or {}).get(name)
    return part if isinstance(part, dict) else {}


# --- In: lookups ---------------------------------------------------------------------------------------------------


def filters_from_wire(document: dict[str, Any]) -> Filters:
    """What a lookup asks for; unknown fields are ignored, empty ones and `*` mean any. Raises errors.Refusal."""
    place = document.get("location")
    place = place if isinstance(place, dict) else {}
    return Filters(
        subscriber_id=_filter(document, "subscriber_id"),
        type=_filter(document, "type"),
        domain=_filter(document, "domain"),
        key_id=next((value for name in _KEY_ID_NAMES if (value := _filter(document, name))), ""),
        country=_code(document, place, "country"),
        city=_code(document, place, "city"),
        status=_filter(document, "status"),
    )


def _filter(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if value is None or value == "*":
        return ""
    return _checked(value, name)


def _code(document: dict[str, Any], place: dict[str, Any], name: str) -> str:
    """The code of a country or city: an object or a plain string, at the top or in `location`."""
    for path, given in ((f"location.{name}", place.get(name)), (name, document.get(name))):
        code = given.get("code") if isinstance(given, dict) else given
        if code not in (None, "", "*"):
            return _checked(code, path)
    return ""


# --- In: applications ----------------------------------------------------------------------------------------------


def application_from_wire(document: dict[str, Any], *, domain: str) -> Application:
    """Read the body of a /subscribe in any dialect; keys come out as base64 of the raw 32 bytes.

    Raises errors.Refusal that names the field and says what would be right. An absent domain is the network's own.
    """
    role = _required(document, "type").upper()
    if role not in ROLES:
        raise errors.Refusal(f"type must be one of {', '.join(ROLES)}", path="type")
    place = document.get("location")
    place = place if isinstance(place, dict) else {}
    return Application(
        subscriber_id=subscriber_id_of(document),
        type=role,
        domain=_filter(document, "domain") or domain,
        key_id=_id(document, *_KEY_ID_NAMES),
        url=_url(document),
        country=_code(document, place, "country"),
        city=_code(document, place, "city"),
        location=_location(place),
        signing_public_key=signing_key(_required(document, "signing_public_key"), "signing_public_key"),
        encr_public_key=encryption_key(_filter(document, "encr_public_key"), "encr_public_key"),
        valid_from=_instant(document, "valid_from"),
        valid_until=_instant(document, "valid_until"),
    )


def subscriber_id_of(document: dict[str, Any]) -> str:
    """Who a body speaks of; raises errors.Refusal."""
    return _id(document, "subscriber_id")


def signing_key(text: str, path: str) -> str:
    """An Ed25519 public key, raw or SPKI, as base64 of the raw bytes; raises errors.Refusal."""
    try:
        return base64.b64encode(signing.import_public_key(text)).decode()
    except ValueError as error:
        raise errors.Refusal(f"{path}: {error}", path=path) from error


def encryption_key(text: str, path: str) -> str:
    """An X25519 public key, raw or SPKI, as base64 of the raw bytes; empty stays empty. Raises errors.Refusal."""
    if not text:
        return ""
    try:
        return base64.b64encode(challenge.import_public(text).public_bytes_raw()).decode()
    except ValueError as error:
        raise errors.Refusal(f"{path}: {error}", path=path) from error


def url_problem(url: str) -> str:
    """Why a URL cannot be a subscriber's base URL; empty when it can."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"it cannot be read: {error}"
    del port
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "it must begin with http:// or https:// and a host"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "it must have no user, query or fragment, since actions are appended to it"
    return ""


def _url(document: dict[str, Any]) -> str:
    name = "url" if document.get("url") else "subscriber_url"
    url = _checked(document.get(name) or "", "url", limit=URL_CHARS_MAX).rstrip("/")
    problem = url_problem(url)
    if problem:
        raise errors.Refusal(f"url is no base URL of a subscriber: {problem}", path=name)
    return url


def _location(place: dict[str, Any]) -> dict[str, Any] | None:
    """Names that came beside the codes are kept; anything larger is not a place."""
    kept: dict[str, Any] = {}
    for name in ("country", "city"):
        title = _place(place, name).get("name")
        if title:
            kept[name] = {"name": _checked(title, f"location.{name}.name")}
    return kept or None


def _instant(document: dict[str, Any], name: str) -> datetime | None:
    value = document.get(name)
    if value is None or value == "":
        return None
    instant = envelope.parse_instant(value) if isinstance(value, str) else None
    if instant is None:
        raise errors.Refusal(f"{name} must be RFC 3339 with a zone, such as 2026-01-15T10:00:00.000Z", path=name)
    # What peers are told has milliseconds, so what is compared has them too.
    return instant.astimezone(UTC).replace(microsecond=instant.microsecond // 1000 * 1000)


def _id(document: dict[str, Any], *names: str) -> str:
    """An id that will stand in keyId, where `|`, `"` and `,` part the pieces."""
    for name in names:
        if document.get(name):
            value = _checked(document[name], name)
            if any(part in value for part in '|", \t'):
                raise errors.Refusal(f'{name} may not contain | " , or blanks, because it stands in keyId', path=name)
            return value
    raise errors.Refusal(f"{names[0]} is missing", path=names[0])


def _required(document: dict[str, Any], name: str) -> str:
    value = _filter(document, name)
    if not value:
        raise errors.Refusal(f"{name} is missing", path=name)
    return value


def _checked(value: Any, path: str, *, limit: int = TEXT_CHARS_MAX) -> str:
    if not isinstance(value, str):
        raise errors.Refusal(f"{path} must be a string", path=path)
    if len(value) > limit or "\x00" in value:
        raise errors.Refusal(f"{path} may have at most {limit} characters and no NUL", path=path)
    return value
