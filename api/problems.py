"""Refusals of the JSON APIs: one exception, one body, sentences that name the field, the limit and the fix.

Every refusal reads `{"error": {"field", "limit", "sentence"}}`; `field` and `limit` are null where they make no sense.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

#: How many more wrong fields a refusal names.
OTHERS_MAX = 5


class ProblemDetail(BaseModel):
    """What was wrong with a request and how to put it right."""

    model_config = ConfigDict(extra="allow")

    field: str | None = Field(description="The field, header or path part at fault, dotted")
    limit: str | int | float | None = Field(description="The limit that was broken, when there is one")
    sentence: str = Field(description="One sentence that a person can act on")


class Problem(BaseModel):
    """The body of every refusal."""

    error: ProblemDetail


class ApiError(Exception):
    """A request that is refused: becomes the HTTP status and the problem body.

    `field` names what was wrong (dotted), `sentence` says how to fix it, `limit` is the limit that was broken. `more`
    is added to the error object (a reference id, the state of an order).
    """

    def __init__(
        self,
        status: int,
        sentence: str,
        *,
        field: str | None = None,
        limit: str | int | float | None = None,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.field, self.limit = status, sentence, field, limit
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def body(self) -> bytes:
        """The problem as JSON bytes."""
        detail = {"field": self.field, "limit": self.limit, "sentence": self.sentence, **self.more}
        return orjson.dumps({"error": detail})


def not_found(what: str, name: str) -> ApiError:
    """404 for a thing that does not exist, or that the caller may not know about."""
    return ApiError(404, f"There is no {what} '{name}' here that this token may see.", field=what)


def conflict(sentence: str, *, field: str | None = None, **more: Any) -> ApiError:
    """409 for a request that the present state of things does not allow."""
    return ApiError(409, sentence, field=field, more=more)


_Detail = Mapping[str, Any]

#: The patterns people meet in bodies and queries -> what they ask for, in words.
_SHAPES: Mapping[str, str] = {
    r"^[A-Z]{3}$": "a currency code of three capital letters, such as USD",
    r"^([A-Z]{3})?$": "a currency code of three capital letters, such as USD, or empty",
    r"^[A-Za-z0-9._:@\-]+$": "an id of letters, digits and . _ : @ -",
    r"^[^@\s]+@[^@\s]+\.[^@\s]+$": "an e-mail address, such as anna@example.org",
    r"^\+?[1-9]\d{1,14}$": "a phone number in digits with its country code, such as +15551234567",
    r"^-?\d{1,2}(\.\d{1,6})?, ?-?\d{1,3}(\.\d{1,6})?$": "latitude and longitude in degrees, such as 34.1005, -117.5",
    r"^([01]\d|2[0-3]):[0-5]\d$": "a time of day from 00:00 to 23:59, such as 09:00",
    r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$": "a time of day from 00:00 to 24:00, such as 09:00",
    r"^([01]\d|2[0-4]):[0-5]\d$": "a time of day from 00:00 to 24:00, such as 09:00",
    r"^([0-4](\.\d)?|5(\.0)?)$": "from 0 to 5 with at most one decimal, such as 4.5",
    r"^[1-5](\.\d)?$": "from 1 to 5 with at most one decimal, such as 4.5",
    r"^(https?://\S+)?$": "a URL that begins with http:// or https://, or empty",
    r"^(wallet|provider):.+$": "wallet: or provider: and an id, such as wallet:<account_id>",
    r"^[0-9a-f]{64}$": "a SHA-256 in 64 small hexadecimal digits",
}

#: pydantic error type -> (limit, what is wrong and how to fix it), from the error's details.
_SENTENCES: dict[str, Callable[[_Detail], tuple[str | int | float | None, str]]] = {
    "missing": lambda e: ("required", "is missing; send it"),
    "extra_forbidden": lambda e: (None, "is not known here; remove it or correct its spelling"),
    "greater_than_equal": lambda e: (e["ge"], f"is {_shown(e)} and must be at least {e['ge']}"),
    "greater_than": lambda e: (e["gt"], f"is {_shown(e)} and must be more than {e['gt']}"),
    "less_than_equal": lambda e: (e["le"], f"is {_shown(e)} and must be at most {e['le']}"),
    "less_than": lambda e: (e["lt"], f"is {_shown(e)} and must be less than {e['lt']}"),
    "string_too_short": lambda e: (
        e["min_length"],
        f"is too short; send at least {e['min_length']} character(s)",
    ),
    "string_too_long": lambda e: (
        e["max_length"],
        f"is too long; send at most {e['max_length']} character(s)",
    ),
    "too_short": lambda e: (e["min_length"], f"has too few entries; send at least {e['min_length']}"),
    "too_long": lambda e: (e["max_length"], f"has too many entries; send at most {e['max_length']}"),
    "string_pattern_mismatch": lambda e: (
        e["pattern"],
        f"is {_shown(e)} and must be {_SHAPES[e['pattern']]}"
        if e["pattern"] in _SHAPES
        else f"is {_shown(e)} and must match {e['pattern']}",
    ),
    "enum": lambda e: (e["expected"], f"is {_shown(e)} and must be one of {e['expected']}"),
    "literal_error": lambda e: (e["expected"], f"is {_shown(e)} and must be one of {e['expected']}"),
    "int_type": lambda e: ("integer", f"is {_shown(e)} and must be a whole number"),
    "int_parsing": lambda e: ("integer", f"is {_shown(e)} and must be a whole number"),
    "int_from_float": lambda e: ("integer", f"is {_shown(e)} and must be a whole number"),
    "string_type": lambda e: ("string", "must be a string; put it in quotes"),
    "bool_parsing": lambda e: ("true or false", f"is {_shown(e)} and must be true or false"),
    "list_type": lambda e: ("list", "must be a list"),
    "model_type": lambda e: ("object", "must be a JSON object"),
    "model_attributes_type": lambda e: ("object", "must be a JSON object"),
    "dict_type": lambda e: ("object", "must be a JSON object"),
    "timezone_aware": lambda e: ("RFC 3339", "has no zone; send an instant such as 2026-01-15T10:00:00Z"),
    "datetime_parsing": lambda e: (
        "RFC 3339",
        "is no instant; send RFC 3339 with a zone, such as 2026-01-15T10:00:00Z",
    ),
    "datetime_from_date_parsing": lambda e: (
        "RFC 3339",
        "is no instant; send RFC 3339 with a zone, such as 2026-01-15T10:00:00Z",
    ),
}


def _shown(error: _Detail) -> str:
    """The offending value, short enough for a sentence."""
    text = repr(error.get("input"))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _dotted(location: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in location)


def from_validation(failure: ValidationError, *, where: str = "") -> ApiError:
    """422 for the first thing pydantic found wrong; names the others."""
    errors = failure.errors(include_url=False)
    first = errors[0]
    field = _dotted([*([where] if where else []), *first["loc"]]) or "body"
    details = {"input": first.get("input"), **first.get("ctx", {})}
    known = _SENTENCES.get(first["type"])
    if known is not None:
        limit, rest = known(details)
    else:
        message = first["msg"].removeprefix("Value error, ")
        limit, rest = None, f"is refused: {message}"
    return ApiError(422, f"'{field}' {rest}.{_others(errors, first)}", field=field, limit=limit)


def _others(errors: Sequence[_Detail], first: _Detail) -> str:
    """Which other fields are wrong, so that one try is enough to learn of all of them; the first few by name."""
    places = [error["loc"] for error in errors if error["loc"] != first["loc"][: len(error["loc"])]]
    names = list(dict.fromkeys(_dotted(place) for place in places))
    if not names:
        return ""
    shown = ", ".join(f"'{name[:60]}'" for name in names[:OTHERS_MAX])
    more = f" and {len(names) - OTHERS_MAX} more" if len(names) > OTHERS_MAX else ""
    return f" (Also wrong: {shown}{more}.)"
