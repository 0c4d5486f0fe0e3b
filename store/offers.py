"""Offers of this seller: what is for sale over which slots, and how much of it is held and sold.

An offer is locked (`lock`) before its held and sold energy is read to decide on, and written back (`save_taken`) in the
same unit of work; the table's CHECK refuses to hold or sell more than is offered, and a trigger refuses more than the
meter's limit over all its offers, whatever the code above does. Whoever locks an offer has claimed the row of its
meter's limit first, if there is one; offers are locked in order of meter and id, so nobody waits in a circle.
Offers come and go as plain fields (`StoredOffer`): the catalogue's own class is built by the node that knows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypedDict, cast

from store import order_document
from store.db import UnitOfWork
from trade.money import Series
from trade.price_rules import PER_SLOT, PriceKind, PriceModel, Tier
from trade.quote import CancellationTerm

#: Longest stretch an offer may cover. Searches rely on it: an offer that began longer ago than this is over.
SPAN_S_MAX = 31 * 86_400


class StoredOffer(TypedDict):
    """The fields of one offer, named as the catalogue's offer names them (`source` and `state` as text)."""

    offer_id: str
    provider_id: str
    meter_id: str
    source: str
    currency: str
    offered_wh: Series
    held_wh: Series
    sold_wh: Series
    price_micro_per_kwh: Series
    wheeling_micro_per_kwh: int
    order_wh_min: int
    order_wh_max: int
    gate_closure_s: int
    quote_ttl_s: int
    cancellation_terms: tuple[CancellationTerm, ...]
    fulfillment_type: str
    valid_from: datetime
    valid_until: datetime
    state: str
    policy: str
    asset_id: str
    price_model: PriceModel
    renewable_per_mille: int | None
    carbon_g_per_kwh: Series | None
    certificates: tuple[str, ...]
    #: Read only: what the meter's limit leaves to all its offers.
    meter_free_wh: Series | None


#: Columns with one value each, that are the same in the table and in StoredOffer.
_PLAIN = (
    "offer_id",
    "provider_id",
    "meter_id",
    "source",
    "currency",
    "wheeling_micro_per_kwh",
    "order_wh_min",
    "order_wh_max",
    "gate_closure_s",
    "quote_ttl_s",
    "fulfillment_type",
    "valid_from",
    "valid_until",
    "state",
    "policy",
    "asset_id",
    "renewable_per_mille",
)
_SERIES = ("offered_wh", "held_wh", "sold_wh", "price_micro_per_kwh")
_COLUMNS = (
    *(*_PLAIN, *_SERIES, "starts_at", "ends_at", "slot_s", "cancellation_terms"),
    *("price_model", "carbon_g_per_kwh", "certificates"),
)


def _select(*, claim: bool) -> str:
    """Every column, and what the meter's limit leaves; with `claim` the limit stands until the unit of work ends."""
    return (
        f"SELECT {', '.join(_COLUMNS)},"  # noqa: S608
        " CASE WHEN EXISTS (SELECT FROM meter_limits AS l WHERE l.meter_id = offers.meter_id)"
        f" THEN meter_free_wh(meter_id, starts_at, slot_s, cardinality(offered_wh), {str(claim).lower()}) END"
        " AS meter_free_wh, price_least FROM offers"
    )


SELECT, _CLAIM = _select(claim=False), _select(claim=True)
_PLACES = ", ".join(f"${place + 1}" for place in range(len(_COLUMNS)))
_NOW_PLACE = f"${len(_COLUMNS) + 1}"
_INSERT = (
    f"INSERT INTO offers ({', '.join(_COLUMNS)}, created_at, updated_at, position)"  # noqa: S608
    f" VALUES ({_PLACES}, {_NOW_PLACE}, {_NOW_PLACE},"
    " (SELECT position FROM providers WHERE provider_id = $2)) ON CONFLICT DO NOTHING"
)
_UPDATE = (
    f"UPDATE offers SET ({', '.join(_COLUMNS)}, updated_at) = ROW ({_PLACES}, {_NOW_PLACE})"  # noqa: S608
    " WHERE offer_id = $1"
)


class OfferExists(Exception):
    """Another offer has this id."""


class OfferMissing(Exception):
    """The offer to be saved was never published."""


async def publish(uow: UnitOfWork, offer: StoredOffer, *, now: datetime) -> None:
    """Keep a new offer; raises OfferExists when its id is taken. `now` is the wall clock."""
    if await uow.connection.execute(_INSERT, *_row(offer), now) != "INSERT 0 1":
        raise OfferExists(offer["offer_id"])


async def save(uow: UnitOfWork, offer: StoredOffer, *, now: datetime) -> None:
    """Write every field of a locked offer; raises OfferMissing when there is none. `now` is the wall clock."""
    if await uow.connection.execute(_UPDATE, *_row(offer), now) != "UPDATE 1":
        raise OfferMissing(offer["offer_id"])


async def save_taken(uow: UnitOfWork, *, offer_id: str, offered_wh: Series, held_wh: Series, sold_wh: Series) -> None:
    """Write what is offered, held and sold of a locked offer; raises OfferMissing when there is none."""
    done = await uow.connection.execute(
        "UPDATE offers SET offered_wh = $2, held_wh = $3, sold_wh = $4 WHERE offer_id = $1",
        offer_id,
        offered_wh.values,
        held_wh.values,
        sold_wh.values,
    )
    if done != "UPDATE 1":
        raise OfferMissing(offer_id)


async def get(uow: UnitOfWork, offer_id: str) -> StoredOffer | None:
    """The offer with this id, unlocked: to look at, not to decide on."""
    row = await uow.connection.fetchrow(f"{SELECT} WHERE offer_id = $1", offer_id)
    return None if row is None else offer_of(row)


async def lock(uow: UnitOfWork, offer_id: str) -> StoredOffer | None:
    """The offer with this id, locked until the unit of work ends."""
    row = await uow.connection.fetchrow(f"{_CLAIM} WHERE offer_id = $1 FOR UPDATE", offer_id)
    return None if row is None else offer_of(row)


async def lock_all(uow: UnitOfWork, offer_ids: Iterable[str]) -> dict[str, StoredOffer]:
    """The offers with these ids, locked in one order everywhere, so that two such calls never wait for each other."""
    wanted = sorted(set(offer_ids))
    if len(wanted) == 1:  # the usual case, which the database plans once
        offer = await lock(uow, wanted[0])
        return {} if offer is None else {wanted[0]: offer}
    rows = await uow.connection.fetch(
        f"{_CLAIM} WHERE offer_id = ANY($1) ORDER BY meter_id, offer_id FOR UPDATE", wanted
    )
    return {row["offer_id"]: offer_of(row) for row in rows}


async def list_for(
    uow: UnitOfWork, *, provider_id: str | None = None, after: str | None = None, limit: int
) -> list[StoredOffer]:
    """Offers of one provider (or of all), newest first; `after` is the last offer_id of the page before."""
    rows = await uow.connection.fetch(
        f"{SELECT} WHERE ($1::text IS NULL OR provider_id = $1) AND ($2::text IS NULL"  # noqa: S608
        " OR (created_at, offer_id) < (SELECT created_at, offer_id FROM offers WHERE offer_id = $2))"
        " ORDER BY created_at DESC, offer_id DESC LIMIT $3",
        provider_id,
        after,
        limit,
    )
    return [offer_of(row) for row in rows]


async def has_other_slots(uow: UnitOfWork, *, meter_id: str, series: Series) -> bool:
    """True when the meter already has an offer over part of this time whose slots begin or end elsewhere.

    One meter's energy is shared out slot by slot, so everything sold from it must use the same slots. One question
    per meter at a time, until the unit of work ends.
    """
    await uow.connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('slots ' || $1, 0))", meter_id)
    row = await uow.connection.fetchrow(
        "SELECT 1 FROM offers WHERE meter_id = $1 AND starts_at < $3 AND ends_at > $2 AND starts_at > $4"
        " AND (slot_s <> $5 OR mod(extract(epoch FROM starts_at - $2)::bigint, $5) <> 0) LIMIT 1",
        meter_id,
        series.start,
        series.end,
        series.start - timedelta(seconds=SPAN_S_MAX + 1),
        series.slot_s,
    )
    return row is not None


def _row(offer: StoredOffer) -> tuple[Any, ...]:
    offered = offer["offered_wh"]
    values: Mapping[str, Any] = offer
    return (
        *(values[name] for name in _PLAIN),
        *(values[name].values for name in _SERIES),
        offered.start,
        offered.end,
        offered.slot_s,
        order_document.terms_to_document(offer["cancellation_terms"]),
        _model_to_document(offer["price_model"]),
        None if offer["carbon_g_per_kwh"] is None else offer["carbon_g_per_kwh"].values,
        list(offer["certificates"]),
    )


def offer_of(row: Mapping[str, Any]) -> StoredOffer:
    """A row of this table as plain fields."""
    start, slot_s = row["starts_at"], row["slot_s"]
    fields: dict[str, Any] = {name: row[name] for name in _PLAIN}
    fields |= {name: Series(start, slot_s, tuple(row[name])) for name in _SERIES}
    for name in ("carbon_g_per_kwh", "meter_free_wh"):
        fields[name] = None if row[name] is None else Series(start, slot_s, tuple(row[name]))
    fields["cancellation_terms"] = order_document.terms_from_document(row["cancellation_terms"])
    fields["price_model"] = _model_from_document(row["price_model"])
    fields["certificates"] = tuple(row["certificates"])
    return cast(StoredOffer, fields)


def _model_to_document(model: PriceModel) -> dict[str, Any]:
    document: dict[str, Any] = {"kind": model.kind.value}
    if model.tiers:
        document["tiers"] = [[tier.up_to_wh, tier.price_micro_per_kwh] for tier in model.tiers]
        # The column `price_least` reads it: an offer is found by the least it may cost.
        document["price_least"] = min(tier.price_micro_per_kwh for tier in model.tiers)
    if model.index:
        document |= {"index": model.index, "margin_micro_per_kwh": model.margin_micro_per_kwh}
    return document


def _model_from_document(document: Mapping[str, Any]) -> PriceModel:
    if document.get("kind", PriceKind.SERIES) == PriceKind.SERIES:
        return PER_SLOT  # a search reads very many of these
    return PriceModel(
        kind=PriceKind(document["kind"]),
        tiers=tuple(Tier(up_to_wh, price) for up_to_wh, price in document.get("tiers", ())),
        index=document.get("index", ""),
        margin_micro_per_kwh=document.get("margin_micro_per_kwh", 0),
    )
