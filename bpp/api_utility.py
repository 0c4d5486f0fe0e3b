"""The utility's desk: meters on its grid, trades it carries, and figures it replaces. The operator's alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api import meter_claims
from api.desk import Call, Desk
from api.paging import ListOf, Page, Strict
from api.problems import ApiError, conflict, not_found
from api.series import EnergySeriesIn, EnergySeriesOut, InstantOut
from beckn import meter_codes
from beckn.claims import UnableToClaim
from bpp import utility, utility_desk
from bpp.offer_models import Price
from bpp.scope import OPERATOR
from bpp.shop import Shop
from bpp.utility import GridMeter, Trade, UnableToCarry
from store import audit
from store import utility as store
from store.utility import StoredMeter
from trade.meter_ids import MeterIdRefused, bare_meter_id
from trade.money import micro_from_price, price_from_micro

#: Most power of a connection, W (a gigawatt).
LOAD_W_MAX = 1_000_000_000

Watts = Annotated[int, Field(ge=0, le=LOAD_W_MAX)]


class GridMeterIn(Strict):
    """How much a meter may trade in a slot, and what carrying it costs."""

    sanctioned_load_w: int = Field(ge=1, le=LOAD_W_MAX, description="Power its owner has a connection for, W")
    limit_percent: int = Field(default=50, ge=0, le=100, description="Share of the sanctioned load that may be traded")
    export_limit_w: Watts | None = Field(default=None, description="A lower limit for selling, W")
    import_limit_w: Watts | None = Field(default=None, description="A lower limit for buying, W")
    wheeling_buyer_per_kwh: Price = Field(default="0", description="What a buyer pays per kWh settled, major units")
    wheeling_seller_per_kwh: Price = Field(default="0", description="What a seller pays per kWh settled, major units")
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = Field(default="USD", description="Of both charges")


class GridMeterOut(BaseModel):
    """A meter on this utility's grid."""

    meter_id: str
    sanctioned_load_w: int
    limit_percent: int
    export_limit_w: int | None
    import_limit_w: int | None
    export_w_max: int = Field(description="What may be sold from it, W: the lower of both limits")
    import_w_max: int = Field(description="What may be bought for it, W: the lower of both limits")
    wheeling_buyer_per_kwh: str
    wheeling_seller_per_kwh: str
    currency: str

    @classmethod
    def of(cls, stored: StoredMeter) -> GridMeterOut:
        """From the meter's row."""
        meter = GridMeter(**stored)
        return cls(
            meter_id=meter.meter_id,
            sanctioned_load_w=meter.sanctioned_load_w,
            limit_percent=meter.limit_percent,
            export_limit_w=meter.export_limit_w,
            import_limit_w=meter.import_limit_w,
            export_w_max=meter.limit_w("EXPORT"),
            import_w_max=meter.limit_w("IMPORT"),
            wheeling_buyer_per_kwh=price_from_micro(meter.wheeling_buyer_micro_per_kwh),
            wheeling_seller_per_kwh=price_from_micro(meter.wheeling_seller_micro_per_kwh),
            currency=meter.currency,
        )


class TradesQuery(Page):
    """Which trades to list."""

    meter_id: str = Field(default="", max_length=128, description="Only those of this meter, on either side")
    state: Literal["", "ACTIVE", "CANCELLED"] = ""


class TradeOut(BaseModel):
    """A trade that this utility carries or carried."""

    trade_id: str
    bpp_id: str
    order_id: str
    state: str
    seller_meter_id: str
    buyer_meter_id: str
    energy: EnergySeriesOut
    wheeling_buyer_per_kwh: str
    wheeling_seller_per_kwh: str
    currency: str
    seller_alloc: EnergySeriesOut | None = Field(description="What the utility says was injected, if it does")
    buyer_alloc: EnergySeriesOut | None = Field(description="What the utility says was taken, if it does")
    created_at: InstantOut
    updated_at: InstantOut

    @classmethod
    def of(cls, trade: Trade) -> TradeOut:
        """From the rules' trade."""
        return cls(
            trade_id=trade.trade_id,
            bpp_id=trade.bpp_id,
            order_id=trade.order_id,
            state=trade.state.value,
            seller_meter_id=trade.request.seller_meter_id,
            buyer_meter_id=trade.request.buyer_meter_id,
            energy=EnergySeriesOut.of(trade.request.energy_wh),
            wheeling_buyer_per_kwh=price_from_micro(trade.wheeling_buyer_micro_per_kwh),
            wheeling_seller_per_kwh=price_from_micro(trade.wheeling_seller_micro_per_kwh),
            currency=trade.request.currency,
            seller_alloc=EnergySeriesOut.of(trade.seller_alloc_wh) if trade.seller_alloc_wh else None,
            buyer_alloc=EnergySeriesOut.of(trade.buyer_alloc_wh) if trade.buyer_alloc_wh else None,
            created_at=trade.created_at,
            updated_at=trade.updated_at,
        )


class AllocationIn(Strict):
    """The utility's own figure for one side of a trade."""

    side: Literal["SELLER", "BUYER"] = Field(description="Whose figure it replaces")
    allocation: EnergySeriesIn = Field(description="What was injected or taken, over the trade's own slots")
    reason: str = Field(min_length=1, max_length=500, description="Why; it is written into the audit")


class CodeIn(Strict):
    """A code of ownership to be made."""

    days: int | None = Field(default=None, ge=1, le=365, description="How long it is good; the node's own if absent")


class CodeOut(BaseModel):
    """A code of ownership, shown this once. Whoever has it can register the meter with one node, in one direction."""

    meter_id: str
    code: str
    expires_at: InstantOut


@dataclass(frozen=True, slots=True)
class Utilities:
    """The calls of a utility's operator."""

    shop: Shop

    def add_routes(self, desk: Desk) -> None:
        """Add the calls of this module."""
        tags: Any = ["utility"]
        meter = "/api/utility/meters/{meter_id}"
        desk.route("PUT", meter, role=OPERATOR, body=GridMeterIn, answer=GridMeterOut, tags=tags)(self.put_meter)
        desk.route(
            "POST", f"{meter}/codes", role=OPERATOR, body=CodeIn, answer=CodeOut, status=201, tags=tags
        )(self.issue_code)  # fmt: skip
        desk.route(
            "GET", "/api/utility/meters", role=OPERATOR, query=Page, answer=ListOf[GridMeterOut], tags=tags
        )(self.list_meters)  # fmt: skip
        desk.route(
            "GET", "/api/utility/trades", role=OPERATOR, query=TradesQuery, answer=ListOf[TradeOut], tags=tags
        )(self.list_trades)  # fmt: skip
        desk.route(
            "PUT", "/api/utility/trades/{trade_id}/allocation", role=OPERATOR, body=AllocationIn, answer=TradeOut,
            tags=tags,
        )(self.put_allocation)  # fmt: skip

    async def put_meter(self, call: Call[GridMeterIn]) -> GridMeterOut:
        """Keep a meter, or change its limits and charges; trades that are carried already stay as they are."""
        body = call.body
        stored = StoredMeter(
            meter_id=meter_id_of(call),
            sanctioned_load_w=body.sanctioned_load_w,
            limit_percent=body.limit_percent,
            export_limit_w=body.export_limit_w,
            import_limit_w=body.import_limit_w,
            wheeling_buyer_micro_per_kwh=micro_from_price(body.wheeling_buyer_per_kwh),
            wheeling_seller_micro_per_kwh=micro_from_price(body.wheeling_seller_per_kwh),
            currency=body.currency,
        )
        async with call.node.database.unit_of_work() as uow:
            await store.put_meter(uow, stored, now=call.now)
            await audit.add(
                uow, actor=call.token.actor, act="meter", subject=stored["meter_id"], detail=dict(stored), now=call.now
            )
        return GridMeterOut.of(stored)

    async def issue_code(self, call: Call[CodeIn]) -> CodeOut:
        """Give the owner of a meter a code that proves it: signed with this utility's key, good once and for a while.

        404 for a meter that is not on this grid; 503 when the registry, whose salt it takes, is silent.
        """
        meter_id, days = meter_id_of(call), call.body.days or self.shop.settings.utility_code_days
        async with call.node.database.unit_of_work() as uow:
            if not await store.meters_of(uow, [meter_id]):
                raise not_found("meter", meter_id)
            try:
                known_as = await call.node.claims.hash_of(meter_id)
            except UnableToClaim as silent:
                raise meter_claims.problem(silent, field="meter_id") from silent
            code, said = meter_codes.issue(call.node.identity, known_as, expires_at=call.now + timedelta(days=days))
            await store.keep_code(
                uow,
                nonce_digest=said.proof.nonce_digest,
                meter_id=meter_id,
                issued_by=call.token.actor,
                issued_at=call.now,
                expires_at=said.expires_at,
            )
        return CodeOut(meter_id=meter_id, code=code, expires_at=said.expires_at)

    async def list_meters(self, call: Call[None]) -> ListOf[GridMeterOut]:
        """List the meters on this grid, in order of their ids."""
        query = call.query
        async with call.node.database.unit_of_work() as uow:
            rows = await store.list_meters(uow, after=query.after, limit=query.limit)
        following = rows[-1]["meter_id"] if len(rows) == query.limit else None
        return ListOf[GridMeterOut](items=[GridMeterOut.of(row) for row in rows], next=following)

    async def list_trades(self, call: Call[None]) -> ListOf[TradeOut]:
        """List the trades that were logged here, newest first."""
        query = call.query
        async with call.node.database.unit_of_work() as uow:
            rows = await store.list_trades(
                uow, meter_id=query.meter_id, state=query.state, after=query.after, limit=query.limit
            )
        following = rows[-1]["trade_id"] if len(rows) == query.limit else None
        return ListOf[TradeOut](items=[TradeOut.of(utility_desk.trade_of(row)) for row in rows], next=following)

    async def put_allocation(self, call: Call[AllocationIn]) -> TradeOut:
        """Replace one side's figure by the utility's own; the seller's node is told, and settles by it.

        409 for other slots than the trade's.
        """
        body, trade_id = call.body, call.path["trade_id"]
        async with call.node.database.unit_of_work() as uow:
            stored = await store.lock_trade(uow, trade_id)
            if stored is None:
                raise not_found("trade", trade_id)
            try:
                trade = utility.replace_allocation(
                    utility_desk.trade_of(stored), body.side, body.allocation.series(), now=call.now
                )
            except UnableToCarry as refusal:
                raise conflict(refusal.sentence, field="allocation") from refusal
            await store.save_trade(uow, utility_desk.stored_of(trade))
            detail = {"side": body.side, "reason": body.reason, "energy_wh": list(body.allocation.energy_wh)}
            await audit.add(uow, actor=call.token.actor, act="allocate", subject=trade_id, detail=detail, now=call.now)
            await utility_desk.tell(self.shop, uow, trade)
        return TradeOut.of(trade)


def meter_id_of(call: Call[Any]) -> str:
    """The meter a path names, as it is stored; 422 when it names none."""
    try:
        return bare_meter_id(call.path["meter_id"])
    except MeterIdRefused as refusal:
        raise ApiError(422, f"{str(refusal)[0].upper()}{str(refusal)[1:]}.", field="meter_id") from refusal
