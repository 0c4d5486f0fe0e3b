"""How either node's JSON API shows an order: what a buyer's app and a provider see alike.

Money in thousandths of a minor unit, energy in Wh. Each shop adds what only its own side may see.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from api.series import EnergySeriesOut, InstantOut, PriceSeriesOut
from trade.order import Order, OrderState
from trade.policy import digest
from trade.quote import QuoteLine, SettlementResult


class LineOut(BaseModel):
    """One line of a quote or settlement; what the buyer pays is positive."""

    kind: str
    title: str
    amount_milli: int
    energy_wh: int | None
    price_micro_per_kwh: int | None

    @classmethod
    def of(cls, line: QuoteLine) -> LineOut:
        """From the rules' line."""
        return cls.model_construct(
            kind=line.kind.value,
            title=line.title,
            amount_milli=line.amount_milli,
            energy_wh=line.energy_wh,
            price_micro_per_kwh=line.price_micro_per_kwh,
        )


class QuoteOut(BaseModel):
    """What the order costs the buyer; a quote that is not confirmed lapses at `expires_at` (wall clock)."""

    quote_id: str
    lines: list[LineOut]
    total_milli: int
    expires_at: InstantOut

    @classmethod
    def of(cls, order: Order) -> QuoteOut | None:
        """The order's quote, if it has one."""
        if order.quote is None:
            return None
        return cls.model_construct(
            quote_id=order.quote.quote_id,
            lines=[LineOut.of(line) for line in order.quote.lines],
            total_milli=order.quote.total_milli,
            expires_at=order.quote.expires_at,
        )


class FlowOut(BaseModel):
    """Money that one party of a settlement owes another; all flows of a settlement sum to zero."""

    kind: str
    payer: str
    payee: str
    amount_milli: int


class SettlementOut(BaseModel):
    """What was delivered, and what was paid for it (trading clock). A correction makes the next version."""

    version: int
    delivered: EnergySeriesOut
    lines: list[LineOut]
    flows: list[FlowOut]
    total_milli: int
    settled_at: InstantOut

    @classmethod
    def of(cls, result: SettlementResult) -> SettlementOut:
        """From the rules' settlement."""
        return cls.model_construct(
            version=result.version,
            delivered=EnergySeriesOut.of(result.delivered_wh),
            lines=[LineOut.of(line) for line in result.lines],
            flows=[
                FlowOut.model_construct(
                    kind=flow.kind.value, payer=flow.payer.value, payee=flow.payee.value, amount_milli=flow.amount_milli
                )
                for flow in result.flows
            ],
            total_milli=result.total_milli,
            settled_at=result.settled_at,
        )


class PolicyNamed(BaseModel):
    """The rules the contract is settled by; `GET /api/policies` has them whole."""

    policy: str = Field(description="Name and version, such as street@1")
    digest: str
    rule: str


class AllocationsOut(BaseModel):
    """What of the meters' energy belongs to this contract, Wh injected; null where a side has not spoken yet.

    `round` is the last round of settlement that is complete.
    """

    round: int
    buyer: EnergySeriesOut | None
    seller: EnergySeriesOut | None
    final: EnergySeriesOut | None

    @classmethod
    def of(cls, order: Order) -> AllocationsOut:
        """From the rules' order."""
        final = order.settlement.delivered_wh if order.settlement else order.final_wh
        return cls.model_construct(
            round=order.alloc_round,
            buyer=EnergySeriesOut.of(order.buyer_alloc_wh) if order.buyer_alloc_wh else None,
            seller=EnergySeriesOut.of(order.seller_alloc_wh) if order.seller_alloc_wh else None,
            final=EnergySeriesOut.of(final) if final else None,
        )


class DisputeOut(BaseModel):
    """An objection to a settlement. Totals are what the buyer's node owes the seller's by each side's books."""

    dispute_id: str
    order_id: str
    opened_by: str = Field(description="BUYER or SELLER")
    reason: str
    opened_at: InstantOut
    until: InstantOut = Field(description="When the lesser figure holds if nobody decides (trading clock)")
    buyer_total_milli: int | None
    seller_total_milli: int | None
    resolution: str = Field(description="How it ended; empty while it is open")
    resolved_at: InstantOut | None

    @classmethod
    def of(cls, order: Order) -> DisputeOut | None:
        """The order's newest dispute, if it ever had one."""
        dispute = order.dispute
        if dispute is None:
            return None
        return cls.model_construct(
            dispute_id=dispute.dispute_id,
            order_id=order.order_id,
            opened_by=dispute.opened_by.value,
            reason=dispute.reason,
            opened_at=dispute.opened_at,
            until=dispute.until,
            buyer_total_milli=dispute.buyer_total_milli,
            seller_total_milli=dispute.seller_total_milli,
            resolution=dispute.resolution,
            resolved_at=dispute.resolved_at,
        )


class TermOut(BaseModel):
    """Cancelling at least `notice_s_min` before delivery costs `fee_percent` of the energy."""

    notice_s_min: int
    fee_percent: int


class RatingGiven(BaseModel):
    """A rating the buyer gave in this order's session."""

    category: str
    value: str


class ContractOut(BaseModel):
    """What both sides see of an order."""

    order_id: str
    wire_order_id: str = Field(description="The id both nodes know it by in letters; empty before confirm")
    state: OrderState
    transaction_id: str
    provider_id: str
    provider_name: str
    offer_id: str
    source: str
    contracted: EnergySeriesOut
    price: PriceSeriesOut
    wheeling_micro_per_kwh: int
    currency: str
    quote: QuoteOut | None
    policy: PolicyNamed
    curtailed: EnergySeriesOut | None = Field(description="What the provider took back of the contract")
    allocations: AllocationsOut
    settlement: SettlementOut | None
    superseded: list[SettlementOut] = Field(description="Settlements that a correction replaced, oldest first")
    dispute: DisputeOut | None
    cancellation_terms: list[TermOut]
    cancelled_by: str
    ratings: list[RatingGiven]
    created_at: InstantOut
    updated_at: InstantOut


#: Fields of an order that are shown as they are.
_PLAIN = (
    "order_id",
    "wire_order_id",
    "state",
    "transaction_id",
    "provider_id",
    "provider_name",
    "offer_id",
    "source",
    "wheeling_micro_per_kwh",
    "currency",
    "cancelled_by",
    "created_at",
    "updated_at",
)


def shown(order: Order) -> dict[str, Any]:
    """The fields of ContractOut, from the rules' order."""
    return {
        **{name: getattr(order, name) for name in _PLAIN},
        "contracted": EnergySeriesOut.of(order.contracted_wh),
        "price": PriceSeriesOut.of(order.price_micro_per_kwh),
        "quote": QuoteOut.of(order),
        "policy": PolicyNamed.model_construct(
            policy=order.policy.id, digest=digest(order.policy), rule=order.policy.settlement.value
        ),
        "curtailed": EnergySeriesOut.of(order.curtailed_wh) if order.curtailed_wh else None,
        "allocations": AllocationsOut.of(order),
        "settlement": SettlementOut.of(order.settlement) if order.settlement else None,
        "superseded": [SettlementOut.of(result) for result in order.superseded],
        "dispute": DisputeOut.of(order),
        "cancellation_terms": [
            TermOut.model_construct(notice_s_min=term.notice_s_min, fee_percent=term.fee_percent)
            for term in order.cancellation_terms
        ],
        "ratings": [RatingGiven.model_construct(category=category, value=value) for category, value in order.ratings],
    }
