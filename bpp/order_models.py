"""How this node's JSON API shows an order. Money in thousandths of a minor unit, energy in Wh."""

from __future__ import annotations

from pydantic import BaseModel, Field

from api import contracts
from api.contracts import ContractOut
from api.series import EnergySeriesOut, InstantOut
from trade.order import Order, OrderState


class OrderOut(ContractOut):
    """An order as its provider sees it. Who the customer is stays between the nodes."""

    buyer_id: str
    meter_id: str
    cancellation_reason_id: str
    note: str = Field(description="Why the provider cancelled or curtailed it")

    @classmethod
    def of(cls, order: Order) -> OrderOut:
        """From the rules' order."""
        return cls.model_construct(
            **contracts.shown(order),
            buyer_id=order.counterparty_id,
            meter_id=order.meter_id,
            cancellation_reason_id=order.cancellation_reason_id,
            note=order.refusal,
        )


class TrackOut(BaseModel):
    """How a delivery goes. Slots that are not measured yet are null."""

    order_id: str
    state: OrderState
    status: str = Field(description="active while more can come, else inactive")
    contracted: EnergySeriesOut
    delivered: DeliveredOut
    delivered_wh: int
    contracted_wh: int


class DeliveredOut(BaseModel):
    """Energy allocated to the order in each slot, Wh; null where the meter has not been read."""

    start: InstantOut
    slot_s: int
    energy_wh: list[int | None]


TrackOut.model_rebuild()
