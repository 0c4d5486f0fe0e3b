"""Lists by cursor, and what a caller says in headers about how it wants its answer."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.problems import ApiError

T = TypeVar("T")

#: The longest a caller may keep a request open with `Prefer: wait`, seconds.
WAIT_S_MAX = 30.0

_PREFERENCE = re.compile(r"^(wait|offers)=\"?(\d{1,6}(?:\.\d{1,3})?)\"?$")
_REQUEST_ID = re.compile(r"^[\x21-\x7e]{1,128}$")


class Strict(BaseModel):
    """Base of the models of requests: closed, so that a misspelt field is refused and not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


#: An instant in requests: RFC 3339 with a zone.
Instant = AwareDatetime

#: Text that a person reads, bounded.
Name = Annotated[str, Field(min_length=1, max_length=200)]

#: An identifier chosen by a caller: it ends up in URLs, logs and letters.
Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:@\-]+$")]


class Page(Strict):
    """Query of a list: where to go on and how many at most."""

    after: str | None = Field(default=None, max_length=512, description="`next` of the page before")
    limit: int = Field(default=50, ge=1, le=500)


class ListOf(BaseModel, Generic[T]):
    """One page of a list; `next` is null on the last."""

    items: Sequence[T]
    next: str | None


def cursor(*parts: Any) -> str:
    """An opaque cursor that holds the sort key of a page's last entry."""
    return base64.urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")


def read_cursor(value: str | None, *, count: int) -> list[Any] | None:
    """The sort key out of a cursor; raises ApiError when it is not one of ours."""
    if value is None:
        return None
    try:
        parts = orjson.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
    except (binascii.Error, ValueError):
        parts = None
    if not isinstance(parts, list) or len(parts) != count or not all(isinstance(p, str | int) for p in parts):
        raise ApiError(422, "'after' is no cursor of this list; send the 'next' of a page.", field="after")
    return parts


@dataclass(frozen=True, slots=True)
class Wait:
    """What `Prefer: wait=N, offers=K` asks for; `seconds` is 0 when the caller wants its answer at once."""

    seconds: float = 0.0
    offers: int | None = None

    def __bool__(self) -> bool:
        return self.seconds > 0


NO_WAIT = Wait()


def read_prefer(values: Sequence[str]) -> Wait:
    """Read the Prefer headers (RFC 7240): unknown preferences are ignored, `wait` is capped at WAIT_S_MAX."""
    seconds, offers = 0.0, None
    for value in values:
        for part in re.split("[,;]", value):
            found = _PREFERENCE.match(part.strip().lower())
            if found is None:
                continue
            if found[1] == "wait":
                seconds = min(float(found[2]), WAIT_S_MAX)
            else:
                offers = max(1, int(float(found[2])))
    return Wait(seconds, offers) if seconds > 0 else NO_WAIT


def read_request_id(value: str | None) -> str:
    """The caller's X-Request-Id when it is fit for a log line, else one of ours."""
    return value if value is not None and _REQUEST_ID.match(value) else uuid.uuid4().hex
