"""Desk of indices: day-ahead prices and carbon intensities that offers refer to by name. The operator keeps them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from api.desk import Call, Desk
from api.paging import Instant, ListOf, Page, Strict
from api.problems import ApiError, conflict, not_found
from api.series import InstantOut
from bpp.scope import OPERATOR, PROSUMER
from energy_catalog import indices as rules
from energy_catalog.indices import CARBON_COLUMNS, PRICE_COLUMNS, IndexUnreadable, Read
from store import indices
from store.indices import CARBON, PRICE, CurrencyDiffers, Index
from trade.money import Series, utc
from trade.price_rules import Point

_TAGS = ["indices"]

#: Largest file that is read, bytes.
UPLOAD_BYTES_MAX = 8 * 1024 * 1024

_NAME = re.compile(r"[A-Za-z0-9._:-]{1,60}")

Currency = Annotated[str, Field(pattern=r"^([A-Z]{3})?$", description="ISO 4217; an XML file names its own")]


class IndexIn(Strict):
    """Values of an index: over equal slots as JSON, or a file as `text/csv` or `application/xml`.

    Prices are micro-units of the currency per kWh and may be negative, carbon is mg CO2 per kWh.
    """

    start: Instant | None = None
    slot_s: int | None = Field(default=None, ge=rules.SLOT_S_MIN, le=rules.SLOT_S_MAX)
    values: tuple[int, ...] = Field(default=(), max_length=rules.POINTS_MAX)
    currency: Currency = ""
    note: str = Field(default="", max_length=500, description="Where the values come from, for whoever looks at them")
    csv: str | None = Field(default=None, description="A whole CSV file; its header names the columns")
    xml: str | None = Field(default=None, description="A whole ENTSO-E A44 document")

    @model_validator(mode="after")
    def _one_form(self) -> IndexIn:
        forms = (bool(self.values), self.csv is not None, self.xml is not None)
        if sum(forms) != 1:
            raise ValueError("send exactly one of values, csv and xml")
        if self.values and (self.start is None or self.slot_s is None):
            raise ValueError("'values' need a 'start' and a 'slot_s'")
        return self


class IndexQuery(Strict):
    """What a file cannot say: its slots, its currency, and which auction of several is meant."""

    slot_s: int | None = Field(default=None, ge=rules.SLOT_S_MIN, le=rules.SLOT_S_MAX)
    currency: Currency = ""
    sequence: int | None = Field(default=None, ge=1, le=99, description="classificationSequence of ENTSO-E")
    note: str = Field(default="", max_length=500)


class IndexOut(BaseModel):
    """An index and what it covers."""

    name: str
    kind: Literal["PRICE", "CARBON"]
    currency: str
    note: str
    updated_at: InstantOut
    first: InstantOut | None
    last: InstantOut | None


class PointOut(BaseModel):
    """One value: micro-units of the currency per kWh, or mg CO2 per kWh, for `slot_s` from `starts_at`."""

    starts_at: InstantOut
    slot_s: int
    value: int


class PointsOf(Strict):
    """Query of an index's values: those that touch [start, end)."""

    start: Instant
    end: Instant
    limit: int = Field(default=1000, ge=1, le=rules.POINTS_MAX)

    @model_validator(mode="after")
    def _forward(self) -> PointsOf:
        if self.end <= self.start:
            raise ValueError("'end' must lie after 'start'")
        return self


def _text(name: str) -> Callable[[bytes], IndexIn]:
    def read(raw: bytes) -> IndexIn:
        try:
            return IndexIn(**{name: raw.decode("utf-8-sig")})
        except UnicodeDecodeError as failure:
            raise ApiError(400, "The body is no UTF-8 text; save the file as UTF-8.", field="body") from failure

    return read


class Indices:
    """The calls about one kind of index."""

    def __init__(self, kind: Literal["PRICE", "CARBON"]) -> None:
        self._kind = kind
        self._what = "price index" if kind == PRICE else "carbon index"
        self._path = "/api/price-indices" if kind == PRICE else "/api/carbon-indices"

    async def put(self, call: Call[IndexIn]) -> IndexOut:
        """Write values into an index, made if need be.

        The last version of a slot wins. 409 when the index has another currency. Offers that were priced before keep
        their prices.
        """
        name, query = self._name(call), call.query
        read = self._read(call.body, query)
        if self._kind == CARBON and min(point.value for point in read.points) < 0:
            raise ApiError(422, "'values' is refused: a carbon intensity is 0 or more.", field="values")
        currency = read.currency or call.body.currency or query.currency
        if self._kind == PRICE and not currency:
            raise ApiError(422, "'currency' is missing; a price index has one.", field="currency")
        if self._kind == CARBON and currency:
            raise ApiError(422, "'currency' is refused: grams have none; leave it out.", field="currency")
        async with call.node.database.unit_of_work() as uow:
            try:
                await indices.put(
                    uow,
                    self._kind,
                    name,
                    points=read.points,
                    currency=currency,
                    note=call.body.note or query.note,
                    now=call.now,
                )
            except CurrencyDiffers as refusal:
                raise conflict(
                    f"This index is in {refusal.currency}, not {currency}; choose another name.", field="currency"
                ) from refusal
            kept = await indices.get(uow, self._kind, name)
        assert kept is not None  # noqa: S101 - just written
        return self._shown(kept)

    async def list_all(self, call: Call[None]) -> ListOf[IndexOut]:
        """List the indices of this kind by name."""
        async with call.node.database.unit_of_work() as uow:
            rows = await indices.list_for(uow, self._kind, after=call.query.after, limit=call.query.limit)
        following = rows[-1].name if len(rows) == call.query.limit else None
        return ListOf[IndexOut](items=[self._shown(row) for row in rows], next=following)

    async def show(self, call: Call[None]) -> ListOf[PointOut]:
        """Show an index's values in a stretch of time."""
        name, query = self._name(call), call.query
        async with call.node.database.unit_of_work() as uow:
            if await indices.get(uow, self._kind, name) is None:
                raise not_found(self._what, name)
            points = await indices.points(
                uow, self._kind, name, start=utc(query.start), end=utc(query.end), limit=query.limit
            )
        items = [PointOut(starts_at=point.start, slot_s=point.slot_s, value=point.value) for point in points]
        return ListOf[PointOut](items=items, next=None)

    def add_routes(self, desk: Desk) -> None:
        """Add the calls of this kind."""
        one = f"{self._path}/{{name}}"
        desk.route(
            "PUT",
            one,
            role=OPERATOR,
            body=IndexIn,
            query=IndexQuery,
            answer=IndexOut,
            tags=_TAGS,
            body_bytes_max=UPLOAD_BYTES_MAX,
            readers={"text/csv": _text("csv"), "application/xml": _text("xml"), "text/xml": _text("xml")},
        )(self.put)
        desk.route("GET", self._path, role=PROSUMER, query=Page, answer=ListOf[IndexOut], tags=_TAGS)(self.list_all)
        desk.route("GET", one, role=PROSUMER, query=PointsOf, answer=ListOf[PointOut], tags=_TAGS)(self.show)

    def _read(self, body: IndexIn, query: IndexQuery) -> Read:
        """The points of a request in any of its forms; raises ApiError."""
        try:
            if body.csv is not None:
                columns = PRICE_COLUMNS if self._kind == PRICE else CARBON_COLUMNS
                return rules.read_csv(body.csv, columns, slot_s=body.slot_s or query.slot_s)
            if body.xml is not None:
                if self._kind == CARBON:
                    raise IndexUnreadable("ENTSO-E's A44 holds prices; send carbon as CSV or JSON")
                return rules.read_entsoe(body.xml, sequence=query.sequence)
            points = _points(body)
            rules.check_points(points)
        except IndexUnreadable as refusal:
            raise ApiError(422, f"The upload is refused: {refusal}.", field="body") from refusal
        return Read(points)

    def _shown(self, index: Index) -> IndexOut:
        return IndexOut(kind=self._kind, **{name: getattr(index, name) for name in _SHOWN})

    def _name(self, call: Call[IndexIn] | Call[None]) -> str:
        name = call.path["name"]
        if not _NAME.fullmatch(name):
            raise ApiError(
                422, f"'{name[:60]}' names no index; use 1 to 60 letters, digits and . _ : -", field="name", limit=60
            )
        return name


def _points(body: IndexIn) -> tuple[Point, ...]:
    assert body.start is not None and body.slot_s is not None  # noqa: S101 - the model asked for them
    slots = Series(utc(body.start), body.slot_s, body.values)
    return tuple(Point(slot.start, body.slot_s, value) for slot, value in slots.items())


_SHOWN = ("name", "currency", "note", "updated_at", "first", "last")


def add_routes(desk: Desk) -> None:
    """Add the calls of this module."""
    Indices("PRICE").add_routes(desk)
    Indices("CARBON").add_routes(desk)
